"""Jobs: accepted once, done, kept, changed and deleted."""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import openpyxl
import pandas as pd
import pytest

from models.tables import CURVES, WELL_SCORES, check_table
from tests.serving.conftest import Submit
from tests.serving.tiny import MODEL, Server, TinyPlate, wait
from tests.waiting import until


def test_a_job_gives_what_the_endpoint_gives(http: httpx.Client, done: dict, post: Callable[..., httpx.Response]) -> None:
    answer = http.get(f"/jobs/{done['id']}/result").json()
    expected = post(options=json.dumps({"fit": {"interval": "wald"}})).json()
    assert {name: answer[name] for name in expected} == expected
    assert (answer["job"], answer["revision"], answer["changes"], answer["adapted"]) == (done["id"], 0, [], None)


def test_a_job_says_what_it_is(http: httpx.Client, done: dict) -> None:
    assert (done["name"], done["model"], done["version"], done["plates"], done["wells"]) == ("tiny", MODEL, 1, 1, 96)
    assert done["created"] <= done["started"] <= done["finished"]
    assert done["id"] in [job["id"] for job in http.get("/jobs").json()["jobs"]]
    assert done["id"] in [job["id"] for job in http.get("/jobs", params={"state": "done"}).json()["jobs"]]
    assert done["id"] not in [job["id"] for job in http.get("/jobs", params={"state": "failed"}).json()["jobs"]]
    assert http.get("/jobs", params={"state": "odd"}).status_code == 400


@pytest.mark.parametrize(("accepted", "packed"), [
    ("gzip", True), ("br;q=1.0, GZIP ; q=0.5", True), ("*", True), ("gzip;q=0", False), ("gzip; q=0.000, *", False), ("br", False),
    ("", False), ("*;q=0", False), ("identity, x-gzip-not", False)])
def test_a_view_is_packed_for_whom_takes_it_so(http: httpx.Client, done: dict, accepted: str, *, packed: bool) -> None:
    answer = http.get(f"/jobs/{done['id']}/view", headers={"accept-encoding": accepted})
    assert ("content-encoding" in answer.headers, answer.headers["vary"]) == (packed, "accept-encoding")
    assert answer.json()["wells"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_as_files(http: httpx.Client, done: dict, form: str) -> None:
    response = http.get(f"/jobs/{done['id']}/result", params={"format": form})
    assert response.headers["content-type"] == "application/zip"
    assert response.headers["content-disposition"].startswith('attachment; filename="tiny-')
    read = pd.read_csv if form == "csv" else pd.read_parquet
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        wells, curves = (read(io.BytesIO(archive.read(f"{name}.{form}"))) for name in ("wells", "curves"))
    alone = http.get(f"/jobs/{done['id']}/result", params={"format": form, "table": "curves"})
    pd.testing.assert_frame_equal(read(io.BytesIO(alone.content)), curves)
    check_table(curves, CURVES)
    assert len(wells) == 96
    if form == "parquet":
        check_table(wells.assign(flags=wells["flags"].map(list)), WELL_SCORES)


def test_a_workbook_without_formulas(http: httpx.Client, submit: Submit, plate: TinyPlate) -> None:
    """A treatment that is called like a formula is a text."""
    table = plate.table.assign(treatment=plate.table["treatment"].replace("alpha", '=HYPERLINK("http://evil.example")'))
    job = wait(http, submit(layout=("layout.csv", plate.csv(table))).json()["id"])
    response = http.get(f"/jobs/{job['id']}/result", params={"format": "xlsx"})
    book = openpyxl.load_workbook(io.BytesIO(response.content))
    assert book.sheetnames == ["treatments", "curves", "wells", "quality", "flags", "changes", "columns", "about"]
    told = {(sheet, column): meaning for sheet, column, _, meaning in book["columns"].iter_rows(min_row=2, values_only=True)}
    assert told["curves", "dss_asym"] == "iTReX asymmetric drug sensitivity score"
    assert told["wells", "viability"].startswith("1 = negative control")
    assert {("curves", "treatment"), ("wells", "exclusion_reason")} <= set(told)
    assert book["wells"].max_row == 97
    words = {row[0]: row for row in book["treatments"].iter_rows(values_only=True)}
    assert words["treatment"][3] == "IC50"
    assert words["beta"][1] in ("hit", "no hit", "cannot say")
    assert all(isinstance(row[3], str) for row in words.values())     # with its unit, and with > or < where it is censored
    cells = [cell for row in book["curves"].iter_rows() for cell in row]
    assert '=HYPERLINK("http://evil.example")' in [cell.value for cell in cells]
    assert not [cell for cell in cells if cell.data_type == "f"]
    response = http.get(f"/jobs/{job['id']}/result", params={"format": "csv", "table": "curves"})
    assert pd.read_csv(io.BytesIO(response.content))["treatment"].tolist() == ["\'=HYPERLINK(\"http://evil.example\")", "beta"]
    http.delete(f"/jobs/{job['id']}")


def test_a_report_page(http: httpx.Client, done: dict) -> None:
    response = http.get(f"/jobs/{done['id']}/result", params={"format": "html"})
    assert response.headers["content-type"].startswith("text/html")
    assert "attachment" in response.headers["content-disposition"]
    assert "alpha" in response.text


@pytest.mark.parametrize("query", [{"format": "pickle"}, {"format": "json", "table": "wells"}, {"format": "csv", "table": "secrets"}])
def test_other_forms_are_refused(http: httpx.Client, done: dict, query: dict) -> None:
    response = http.get(f"/jobs/{done['id']}/result", params=query)
    assert response.status_code == 400
    assert "format is one of" in response.text


def test_the_same_upload_is_the_same_job(http: httpx.Client, submit: Submit, done: dict) -> None:
    again = submit(options=json.dumps({"fit": {"interval": "wald"}}))
    assert again.status_code == 200
    assert (again.json()["id"], again.json()["state"], again.json()["sent"]) == (done["id"], "done", done["sent"] + 1)
    other = submit(options=json.dumps({"fit": {"interval": "none"}}))
    assert other.status_code == 202
    http.delete(f"/jobs/{other.json()['id']}")


@pytest.mark.parametrize(("changes", "status", "message"), [
    ({"model": "nobody"}, 404, "no model 'nobody'"), ({"model": f"{MODEL}/3"}, 409, "r2_cv is 0.1"),
    ({"images": ("P1.zip", b"no zip")}, 400, "not a readable zip"), ({"adapt": "perhaps"}, 400, "'adapt' is true or false"),
    ({"layout": ("layout.csv", b"plate,well\nP1,A01\n")}, 400, "no column 'role'"), ({"option": "{}"}, 400, "unknown field 'option'")])
def test_what_is_no_use_is_refused_before_it_is_a_job(http: httpx.Client, server: Server, submit: Submit, changes: dict, status: int,
                                                      message: str) -> None:
    jobs, folders = [job["id"] for job in http.get("/jobs").json()["jobs"]], set((server.state / "jobs").iterdir())
    response = submit(**changes)
    assert response.status_code == status, response.text
    assert message in response.text
    assert [job["id"] for job in http.get("/jobs").json()["jobs"]] == jobs
    assert set((server.state / "jobs").iterdir()) <= folders    # that of a job that was deleted while it ran may go meanwhile


def test_where_the_service_keeps_an_upload_is_not_told(submit: Submit) -> None:
    answer = submit(images=("P1.zip", b"PK no zip"))
    assert (answer.status_code, answer.json()["error"].startswith("P1.zip is not a readable zip archive")) == (400, True)


def test_a_job_whose_images_are_no_use_is_refused_with_findings(http: httpx.Client, submit: Submit, plate: TinyPlate) -> None:
    def refused() -> float:
        found = re.search(r'dosewell_jobs_total\{kind="score",state="refused"\} (.+)', http.get("/metrics").text)
        return float(found[1]) if found else 0.0

    before = refused()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in plate.images.items():
            archive.writestr(name, b"" if name.startswith("B03") else data)
    job = wait(http, submit(images=("P1.zip", buffer.getvalue())).json()["id"])
    assert job["state"] == "refused"
    assert job["id"] in [one["id"] for one in http.get("/jobs?state=refused").json()["jobs"]]
    assert job["id"] not in [one["id"] for one in http.get("/jobs?state=failed").json()["jobs"]]
    assert "B03" in job["findings"][0]["message"]
    until(lambda: refused() == before + 1)      # and not failed: nobody is called at night
    response = http.get(f"/jobs/{job['id']}/result")
    assert (response.status_code, "was refused" in response.text) == (409, True)
    (listed,) = (one for one in http.get("/jobs?state=refused").json()["jobs"] if one["id"] == job["id"])
    assert "findings" not in listed
    change = {"exclusions": [{"plate": "P1", "well": "A01", "reason": "x"}]}
    assert http.post(f"/jobs/{job['id']}/exclusions", json=change).status_code == 409
    assert http.delete(f"/jobs/{job['id']}").status_code == 204


def test_wells_are_left_out_and_taken_back_without_scoring(http: httpx.Client, server: Server, submit: Submit,
                                                           post: Callable[..., httpx.Response]) -> None:
    job = wait(http, submit(options='{"fit": {"level": 0.9}}').json()["id"])
    place = f"/jobs/{job['id']}"
    first = http.get(f"{place}/result").json()
    well = next(row["well"] for row in first["wells"] if row["treatment"] == "alpha")
    short = well[0].lower() + well[1:].lstrip("0")      # as a person writes it
    out = http.post(f"{place}/exclusions", json={"exclusions": [{"plate": "P1", "well": short, "reason": "bubble"}]})
    assert (out.status_code, out.json()["revision"]) == (200, 1)
    answer = http.get(f"{place}/result").json()
    expected = post(options=json.dumps({"fit": {"level": 0.9}, "exclusions": [{"plate": "P1", "well": well, "reason": "bubble"}]})).json()
    assert answer["curves"] == expected["curves"]
    assert answer["wells"] == expected["wells"]
    assert answer["quality"] == expected["quality"]
    same = http.post(f"{place}/exclusions", json={"exclusions": [{"plate": "P1", "well": well, "reason": "bubble"}]})
    assert same.json()["revision"] == 1     # nothing changed
    (change,) = answer["changes"]
    assert (change["well"], change["excluded"], change["reason"], change["revision"]) == (well, True, "bubble", 1)
    back = http.post(f"{place}/exclusions", json={"exclusions": [{"plate": "P1", "well": well, "excluded": False, "reason": "was dust"}]})
    assert back.json()["revision"] == 2
    answer = http.get(f"{place}/result").json()
    assert answer["curves"] == first["curves"]
    assert [(change["excluded"], change["reason"]) for change in answer["changes"]] == [(True, "bubble"), (False, "was dust")]
    for path in (server.state / "jobs" / job["id"] / "revisions").iterdir():     # a fit that was cut off is done again when it is asked for
        path.rename(path.with_name(f"lost-{path.name}"))
    with ThreadPoolExecutor(4) as pool:     # and several people may ask for it at the same moment
        again = list(pool.map(lambda _: http.get(f"{place}/result"), range(4)))
    assert [answer.json()["curves"] for answer in again] == [first["curves"]] * 4
    http.delete(place)


def test_changes_of_two_people_are_both_kept_or_the_later_is_refused(http: httpx.Client, submit: Submit) -> None:
    """Of one well the later change won over one that its sender had not seen."""
    job = wait(http, submit(options='{"fit": {"level": 0.78}}').json()["id"])
    place = f"/jobs/{job['id']}"
    wells = [row["well"] for row in http.get(f"{place}/result").json()["wells"] if row["treatment"] == "alpha"][:4]

    def change(well: str, reason: str, *, revision: int = 0, **more: object) -> httpx.Response:
        exclusions = [{"plate": "P1", "well": well, "reason": reason, **more}]
        return http.post(f"{place}/exclusions", json={"exclusions": exclusions, "revision": revision})
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda well: change(well, "bubble"), wells))
    assert {answer.status_code for answer in at_once} == {200}
    assert sorted(answer.json()["revision"] for answer in at_once) == [1, 2, 3, 4]
    after = http.get(f"{place}/result").json()
    assert {row["well"] for row in after["wells"] if row["excluded"]} == set(wells)
    late = change(wells[0], "was dust", excluded=False)
    assert late.status_code == 409
    assert f"P1 {wells[0]} was left out (bubble); nothing was changed now" in late.json()["error"]
    assert "latest revision, 4" in late.json()["error"]
    assert http.get(f"{place}/result").json() == after
    seen = change(wells[0], "was dust", excluded=False, revision=4)
    assert seen.json()["revision"] == 5
    http.delete(place)


@pytest.mark.parametrize(("body", "message"), [
    ({"exclusions": []}, "no well is named"), ({"exclusions": [{"plate": "P1", "well": "Z99", "reason": "x"}]}, "no well Z99"),
    ({"exclusions": [{"plate": "P1", "well": "A01", "reason": " "}]}, "say why"), ({"exclusions": [{"plate": "P1"}]}, "well"),
    ({"wells": []}, "exclusions"), ([1], "body")])
def test_changes_that_make_no_sense(http: httpx.Client, done: dict, body: object, message: str) -> None:
    response = http.post(f"/jobs/{done['id']}/exclusions", json=body)
    assert response.status_code == 400
    assert message in response.text
    assert http.get(f"/jobs/{done['id']}").json()["revision"] == 0


def test_a_deleted_job_is_gone_with_its_files(http: httpx.Client, server: Server, submit: Submit) -> None:
    job = wait(http, submit(options='{"fit": {"level": 0.8}}').json()["id"])["id"]
    assert (server.state / "jobs" / job).is_dir()
    assert http.delete(f"/jobs/{job}").status_code == 204
    assert not (server.state / "jobs" / job).exists()
    for response in (http.get(f"/jobs/{job}"), http.get(f"/jobs/{job}/result"), http.delete(f"/jobs/{job}")):
        assert response.status_code == 404
    assert http.get("/jobs/../../etc/passwd").status_code == 404


def test_a_job_whose_files_were_lost_is_mended_by_sending_its_plates_again(http: httpx.Client, server: Server, submit: Submit) -> None:
    options = '{"fit": {"level": 0.64}}'
    job = wait(http, submit(options=options).json()["id"])["id"]
    before = http.get(f"/jobs/{job}/result").json()
    shutil.rmtree(server.state / "jobs" / job)
    lost = http.get(f"/jobs/{job}/result")
    assert (lost.status_code, "send the same again" in lost.text) == (409, True)
    again = submit(options=options)
    assert (again.status_code, again.json()["id"]) == (200, job)
    assert wait(http, job)["state"] == "done"
    assert http.get(f"/jobs/{job}/result").json()["wells"] == before["wells"]


def test_metrics_and_logs_name_jobs(http: httpx.Client, server: Server, done: dict) -> None:
    for name in ('jobs_in_state{state="done"}', 'jobs_total{kind="score",state="done"}', 'job_seconds_count{kind="score"}'):
        until(lambda name=name: f"dosewell_{name}" in http.get("/metrics").text)    # soon after the job is done

    def mine() -> dict[str, dict]:
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith('{"time"')]
        return {line["message"]: line for line in lines if line.get("job_id") == done["id"]}
    until(lambda: mine().keys() >= {"job accepted", "job begins", "job done"})      # by two processes: in no order
    assert "request_id" in mine()["job accepted"]
