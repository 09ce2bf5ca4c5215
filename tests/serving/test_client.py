"""The client and its command line: stacks projected first, progress, lost connections, and nothing scored twice."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from models.errors import InputError
from models.plates.images import PlateArchive, write_plate
from models.plates.prepare import InputSpec, prepare_plate
from models.plates.screen import Screen
from serving.client import Client, RejectedError, ServiceError, read_images, read_plates
from serving.client_files import pack
from tests.serving.tiny import CLASSIFIER, MODEL, ROOT, SAMPLE, SCREEN, Server, TinyPlate
from tests.waiting import PATIENCE

STACKED = Screen.from_dict({**SCREEN, "channels": [{"name": "hoechst", "stain": "DNA"}, {"name": "pi"}, {"name": "gfp", "stain": "GFP"}]})
PLANES = ("hoechst:mip", "hoechst:mid", "gfp:mos")


# -- what is sent ------------------------------------------------------------------------------------------------------


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Three wells of three channels and five planes, 16 bits."""
    rng = np.random.default_rng(0)
    write_plate(tmp_path / "source" / "P1.zip", [
        (f"{well}_s1_c{channel}_z{plane}.tif", rng.integers(0, 60_000, (24, 30)).astype(np.uint16))
        for well in ("A01", "A02", "B07") for channel in range(3) for plane in range(5)])
    return tmp_path / "source" / "P1.zip"


@pytest.mark.parametrize("loose", [False, True])
def test_a_projected_plate_is_read_as_the_stacks_would_be(stack: Path, tmp_path: Path, loose: bool) -> None:
    """To half a grey value of 65,535, by which the mean of the planes is rounded; the others are equal."""
    source = [stack]
    if loose:
        with zipfile.ZipFile(stack) as archive:
            archive.extractall(tmp_path / "loose")
        source = read_plates(tmp_path / "loose")
    told: list[tuple[str, int, int]] = []
    (tmp_path / "out").mkdir()
    package = pack(source, STACKED, PLANES, plate="P1", into=tmp_path / "out", progress=lambda *at: told.append(at))
    assert [channel.name for channel in package.screen.channels] == ["hoechst_mip", "hoechst_mid", "gfp_mos"]
    assert [channel.stain for channel in package.screen.channels] == ["DNA", "DNA", "GFP"]
    assert "became" in package.said
    assert told[-1] == ("projecting P1", 3, 3)
    spec = InputSpec(planes=PLANES, size=16)
    with PlateArchive(stack) as before, PlateArchive(package.files[0]) as after:
        assert len(after.members) == 9
        whole = prepare_plate(before, spec, channels=[channel.name for channel in STACKED.channels])
        small = prepare_plate(after, spec, channels=[channel.name for channel in package.screen.channels])
    assert whole.wells.equals(small.wells)
    assert np.array_equal(whole.pixels[:, :2], small.pixels[:, :2])
    np.testing.assert_allclose(whole.pixels[:, 2].astype(float), small.pixels[:, 2].astype(float), atol=2 / 65535 + 2**-11)


def test_the_same_plate_is_packed_to_the_same_bytes(stack: Path, tmp_path: Path) -> None:
    """Else a plate that is sent again would be another job."""
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(pack([stack], STACKED, PLANES, plate="P1", into=tmp_path / name).files[0].read_bytes())
    assert made[0] == made[1]


def test_what_needs_no_projecting_goes_as_it_is(stack: Path, plate: TinyPlate, tmp_path: Path) -> None:
    screen = Screen.from_dict({**SCREEN, "channels": [{"name": "brightfield"}]})
    flat = pack([plate.archive], screen, ("brightfield:mid",), plate="P1", into=tmp_path)
    assert (flat.files, flat.screen, flat.said) == ((plate.archive,), screen, "")
    unknown = pack([stack], STACKED, (), plate="P1", into=tmp_path)     # the model's card is not known
    other = pack([stack], STACKED, ("dapi:mip",), plate="P1", into=tmp_path)    # the service will say what is missing
    assert unknown.files == other.files == (stack,)


def test_folders_of_images_are_plates(plate: TinyPlate, tmp_path: Path) -> None:
    for name in ("P1", "P2"):
        (tmp_path / "plates" / name).mkdir(parents=True)
        for image, data in list(plate.images.items())[:3]:
            (tmp_path / "plates" / name / image).write_bytes(data)
    (tmp_path / "out").mkdir()
    package = pack(read_plates(tmp_path / "plates"), Screen.from_dict({**SCREEN, "channels": [{"name": "brightfield"}]}), (), plate="x",
                   into=tmp_path / "out")
    assert [path.name for path in package.files] == ["P1.zip", "P2.zip"]


def test_photos_are_read_in_place_of_tiffs_not_beside_them(tmp_path: Path) -> None:
    for name in ("A01.png", "a2.JPG", "._A01.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in read_plates(tmp_path)] == ["A01.png", "a2.JPG"]
    (tmp_path / "A01.tif").write_bytes(b"")
    assert [path.name for path in read_plates(tmp_path)] == ["A01.tif"]
    with pytest.raises(InputError, match="there is no"):
        read_plates(tmp_path / "nowhere")


# -- a connection that breaks ------------------------------------------------------------------------------------------


class Flaky:
    """Between client and service: the first requests that `cuts` names are passed on, and their answers lost."""

    def __init__(self, target: str, cuts: dict[str, int]) -> None:
        self.seen: list[str] = []
        flaky = self

        class Handler(BaseHTTPRequestHandler):
            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                head = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                answer = httpx.request(self.command, f"{target}{self.path}", content=body, headers=head, trust_env=False, timeout=PATIENCE)
                flaky.seen.append(f"{self.command} {self.path}")
                if cuts.get(f"{self.command} {self.path}", 0) > 0:
                    cuts[f"{self.command} {self.path}"] -= 1
                    self.close_connection = True
                    return      # no answer
                self.send_response(answer.status_code)
                for name in ("content-type", "content-disposition"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_POST = do_DELETE = pass_on  # noqa: N815  # names that the server looks for

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def through(server: Server) -> Iterator[Callable[[dict[str, int]], Flaky]]:
    made: list[Flaky] = []

    def make(cuts: dict[str, int]) -> Flaky:
        made.append(Flaky(server.url, cuts))
        return made[-1]
    yield make
    for flaky in made:
        flaky.stop()


def test_what_is_lost_on_the_way_is_sent_again_and_scored_once(through: Callable[[dict[str, int]], Flaky], plate: TinyPlate,
                                                               http: httpx.Client) -> None:
    flaky = through({"POST /jobs": 1, "GET /models": 1})
    options = {"fit": {"level": 0.87}}
    with Client(flaky.url, patience=60) as client:
        scores = client.score([plate.archive], layout=plate.layout, model=MODEL, screen=SCREEN, options=options)
    assert flaky.seen.count("POST /jobs") == 2
    assert len(scores.wells) == 96
    record = http.get(f"/jobs/{scores.job}").json()
    assert record["sent"] == 2
    assert sum(job["created"] >= record["created"] for job in http.get("/jobs").json()["jobs"]) == 1
    http.delete(f"/jobs/{scores.job}")


def test_patience_ends() -> None:
    with Client("http://127.0.0.1:9", patience=0.1) as client, pytest.raises(ServiceError, match="is the service up"):
        client.models()


@pytest.fixture
def behind_tls(through: Callable[[dict[str, int]], Flaky], tmp_path: Path) -> tuple[str, Path]:
    """The service behind TLS with a certificate of the site's own authority: its address, and the authority's file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab")])
    now = datetime.now(UTC)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
            .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256()))
    (tmp_path / "lab.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (tmp_path / "lab.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    gateway, context = through({}), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "lab.pem", tmp_path / "lab.key")
    gateway.server.socket = context.wrap_socket(gateway.server.socket, server_side=True)
    return f"https://localhost:{gateway.server.server_port}", tmp_path / "lab.pem"


def test_a_site_has_its_own_authority(behind_tls: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A hospital's gateway has a certificate that no browser's list knows: it could not be used, which was said after two minutes."""
    url, authority = behind_tls
    with Client(url, patience=600) as client, pytest.raises(InputError, match=r"is not trusted .* SSL_CERT_FILE"):
        client.models()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with Client(url) as client:
        assert client.models()["models"]


def test_an_address_that_is_none_and_an_answer_that_is_not_dosewells_are_told_at_once() -> None:
    with pytest.raises(InputError, match="'localhost:3000' is no address"):
        Client("localhost:3000")
    for answer, message in ((httpx.Response(301, headers={"location": "https://lab/"}), "elsewhere, at https://lab/"),
                            (httpx.Response(413, text="<h1>Too\nlarge</h1><hr>nginx"), "413 and not as Dosewell .*: Too large nginx")):
        with Client("http://service", patience=600) as client:
            client._http = httpx.Client(base_url="http://service", transport=httpx.MockTransport(lambda _, answer=answer: answer))
            with pytest.raises(ServiceError, match=message):
                client.models()


@pytest.mark.parametrize(("status", "asked"), [(500, 1), (404, 1), (503, 2), (408, 2)])
def test_only_what_may_pass_is_tried_again(status: int, asked: int) -> None:
    """A service that starts again answers 503; one that made a mistake makes it again."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(status if len(seen) == 1 else 200, json={"error": "no", "findings": [], "models": []})
    with Client("http://service", patience=5) as client:
        client._http = httpx.Client(base_url="http://service", transport=httpx.MockTransport(answer))
        if asked == 2:
            assert client.models()["models"] == []
        else:
            with pytest.raises((ServiceError, RejectedError)):
                client.models()
    assert len(seen) == asked


@pytest.mark.parametrize("body", [{"message": "forbidden"}, ["forbidden"]])
def test_the_answer_of_something_else_on_the_way_is_told_with_its_status(body: object) -> None:
    with Client("http://gateway", patience=0) as client:
        client._http = httpx.Client(base_url="http://gateway", transport=httpx.MockTransport(lambda _: httpx.Response(403, json=body)))
        with pytest.raises(ServiceError, match="answered 403") as caught:
            client.models()
    assert caught.value.status == 403


# -- jobs --------------------------------------------------------------------------------------------------------------


def test_results_are_downloaded_and_wells_are_left_out(client: Client, plate: TinyPlate, tmp_path: Path) -> None:
    screen = {**SCREEN, "name": "Übersicht 薬"}
    scores = client.score([plate.archive], layout=plate.layout, model=MODEL, screen=screen, options={"fit": {"level": 0.86}})
    names = {form: client.download(scores.job, form, to=tmp_path).name for form in ("json", "csv", "parquet", "xlsx", "html")}
    stem = f"Übersicht_薬-{scores.job[:8]}"
    assert names == {"json": f"{stem}.json", "csv": f"{stem}-csv.zip", "parquet": f"{stem}-parquet.zip", "xlsx": f"{stem}.xlsx",
                     "html": f"{stem}.html"}
    well = str(scores.wells.loc[scores.wells["treatment"] == "alpha", "well"].iloc[0])
    out = client.change_wells(scores.job, [{"plate": "P1", "well": well, "reason": "bubble"}])
    assert out.wells.set_index("well").loc[well, "excluded"]
    assert out.curves["n"].sum() == scores.curves["n"].sum() - 1
    assert out.wells.set_index("well").loc[well, "od"] == scores.wells.set_index("well").loc[well, "od"]    # not scored again
    assert client.result(scores.job).answer["changes"][0]["reason"] == "bubble"
    assert scores.job in [job["id"] for job in client.jobs()]
    client.delete(scores.job)
    with pytest.raises(RejectedError, match="no such job"):
        client.job(scores.job)


@pytest.mark.parametrize("headers", [{"content-disposition": "attachment; filename=\"P.xlsx\"; filename*=UTF-8''P.xlsx"}, {}])
def test_a_download_that_the_disk_does_not_take_leaves_what_was_there(headers: dict[str, str], tmp_path: Path) -> None:
    """Half a workbook under its final name would be opened as the result. A gateway may take the name away."""
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/result"):
            return httpx.Response(200, content=b"x" * 100_000, headers=headers)
        return httpx.Response(200, json={"state": "done"})
    before, name = resource.getrlimit(resource.RLIMIT_FSIZE), "P.xlsx" if headers else "j1.xlsx"
    (tmp_path / name).write_text("the one before")
    with Client("http://service", patience=0) as client:
        client._http = httpx.Client(base_url="http://service", transport=httpx.MockTransport(answer))
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                client.download("j1", "xlsx", to=tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "the one before")]
        assert client.download("j1", "xlsx", to=tmp_path / "new") == tmp_path / "new" / name


def test_all_jobs_are_listed_however_many(client: Client, many_jobs: list[str]) -> None:
    assert [job["id"] for job in client.jobs(state="done") if job["id"] in many_jobs] == many_jobs


def test_progress_is_told(server: Server, plate: TinyPlate) -> None:
    told: list[tuple[str, int, int]] = []
    with Client(server.url, on_progress=lambda *at: told.append(at)) as client:
        scores = client.score([plate.archive], layout=plate.layout, model=MODEL, screen=SCREEN, options={"fit": {"level": 0.85}})
        client.delete(scores.job)
    sending = [at for at in told if at[0] == "sending"]
    assert [done for _, done, _ in sending] == sorted(done for _, done, _ in sending)
    assert sending[-1][1] == sending[-1][2] >= plate.archive.stat().st_size


def test_a_refused_plate_says_why(client: Client, plate: TinyPlate, tmp_path: Path) -> None:
    write_plate(tmp_path / "P1.zip", [("A01_s1_c0_z0.tif", np.zeros((40, 40), np.uint8))])
    with pytest.raises(RejectedError) as caught:
        client.score([tmp_path / "P1.zip"], layout=plate.layout, model=MODEL, screen=SCREEN)
    assert caught.value.status == 400
    assert caught.value.findings


# -- command line ------------------------------------------------------------------------------------------------------


def dosewell(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "serving.cli", *words], capture_output=True, text=True, cwd=ROOT, check=False,
                          timeout=PATIENCE, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environment})


def test_score_and_exclude_on_the_command_line(server: Server, plate: TinyPlate, tmp_path: Path) -> None:
    (tmp_path / "screen.json").write_text(json.dumps(SCREEN))
    done = dosewell("score", str(plate.archive), "--layout", str(plate.layout), "--screen", str(tmp_path / "screen.json"), "--model", MODEL,
                    "--options", '{"fit": {"level": 0.84}}', "--out", str(tmp_path / "out"), "--also", "xlsx", DOSEWELL_URL=server.url)
    assert done.returncode == 0, done.stderr
    assert "96 wells, 2 treatments" in done.stdout
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".html", ".csv", ".json", ".xlsx"}
    answer = json.loads((tmp_path / "out" / "answer.json").read_text())
    again = dosewell("exclude", answer["job"], f"P1:{answer['wells'][40]['well']}=a bubble", "--url", server.url, "--out",
                     str(tmp_path / "second"))
    assert again.returncode == 0, again.stderr
    assert pd.read_csv(tmp_path / "second" / "wells.csv")["excluded"].sum() == 1
    well, asked = f"P1:{answer['wells'][40]['well']}", ("exclude", answer["job"], "--url", server.url)
    for late in (("--out", str(tmp_path / "out")), ("--revision", "0")):     # chosen by the first result, which is no longer the latest
        refused = dosewell(*asked, "--restore", f"{well}=was dust", *late)
        assert refused.returncode == 1
        assert f"{well.replace(':', ' ')} was left out (a bubble); nothing was changed now" in refused.stderr
    seen = dosewell(*asked, "--restore", f"{well}=was dust", "--out", str(tmp_path / "second"))
    assert seen.returncode == 0, seen.stderr
    assert json.loads((tmp_path / "second" / "answer.json").read_text())["revision"] == 2


def test_an_earlier_jobs_result_is_what_score_wrote(server: Server, client: Client, plate: TinyPlate, tmp_path: Path) -> None:
    scores = client.score([plate.archive], layout=plate.layout, model=MODEL, screen=SCREEN, options={"fit": {"level": 0.81}})
    written = [path.name for path in scores.write(tmp_path / "first")]
    done = dosewell("result", scores.job, "--out", str(tmp_path / "again"), "--also", "xlsx", DOSEWELL_URL=server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{scores.summary()}\n")
    for name in written:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
    assert sorted(path.suffix for path in (tmp_path / "again").iterdir() if path.name not in written) == [".xlsx"]
    listed = dosewell("result", "--url", server.url)
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [job["id"] for job in list(client.jobs())[:20]]
    assert any(scores.job in line and "done" in line and f"{MODEL} version 1" in line for line in listed.stdout.splitlines())
    client.delete(scores.job)
    gone = dosewell("result", scores.job, DOSEWELL_URL=server.url)
    assert gone.returncode == 1
    assert "no such job" in gone.stderr
    assert "`dosewell result` without an id lists the latest" in gone.stderr


def test_further_forms_need_a_folder(tmp_path: Path) -> None:
    """They were left out without a word."""
    done = dosewell("result", "0" * 32, "--also", "xlsx", DOSEWELL_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "--also xlsx needs --out" in done.stderr


def test_what_cannot_be_used_is_told_before_anything_is_sent(server: Server, client: Client, plate: TinyPlate, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    words = ["score", str(plate.archive), "--layout", str(plate.layout), "--model", MODEL]
    jobs = [job["id"] for job in client.jobs()]
    for more, message in ((["--sample", SAMPLE, "--out", str(tmp_path / "taken")], "taken is no folder that can be written to (File"),
                          (["--screen", str(tmp_path / "none.yaml")], "none.yaml; name a screen.yaml with --screen"),
                          (["--sample", SAMPLE, "--model", "nobody"], "nobody is no champion")):
        done = dosewell(*words, *more, DOSEWELL_URL=server.url)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert [job["id"] for job in client.jobs()] == jobs


def interrupt(process: subprocess.Popen[str]) -> str:
    """Ctrl-C until it ends, and what it said: Python does not see one that comes just before it begins to wait for the network."""
    for _ in range(6):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=10)[1]
    process.kill()
    raise AssertionError(f"still running after six interrupts: {process.communicate()[1]}")


def test_an_interrupted_client_says_how_to_go_on(plate: TinyPlate) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [sys.executable, "-m", "serving.cli", "score", str(plate.archive), "--layout", str(plate.layout), "--model", MODEL,
                   "--sample", SAMPLE, "--url", f"http://127.0.0.1:{silent.getsockname()[1]}"]
        before = signal.signal(signal.SIGINT, signal.default_int_handler)   # tests in the background ignore it, and what they start too
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        signal.signal(signal.SIGINT, before)
        with silent.accept()[0] as asked:
            asked.recv(1)
            told = interrupt(process)
    assert process.returncode == 130
    assert "interrupted; the same command continues where it stopped" in told
    assert "Traceback" not in told


def test_a_screen_beside_the_images_is_found_and_a_sample_is_enough(server: Server, plate: TinyPlate, tmp_path: Path) -> None:
    images, layout = tmp_path / "images", tmp_path / "layout.csv"
    images.mkdir()
    shutil.copy(plate.archive, images)
    shutil.copy(plate.layout, layout)
    words = ["score", str(images), "--layout", str(layout), "--model", MODEL, "--url", server.url, "--options", '{"fit": {"level": 0.83}}']
    unknown = dosewell(*words)
    assert unknown.returncode == 1
    assert "--screen" in unknown.stderr
    assert "--sample" in unknown.stderr
    by_sample = dosewell(*words, "--sample", SAMPLE, "--out", str(tmp_path / "by_sample"))
    assert by_sample.returncode == 0, by_sample.stderr
    (tmp_path / "screen.json").write_text(json.dumps(SCREEN))
    found = dosewell(*words, "--out", str(tmp_path / "found"))
    assert found.returncode == 0, found.stderr
    assert f"screen: {tmp_path / 'screen.json'}" in found.stderr
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "by_sample" / "curves.csv"), pd.read_csv(tmp_path / "found" / "curves.csv"))
    other = dosewell(*words, "--sample", "NOT THIS ONE")
    assert other.returncode == 1
    assert "NOT THIS ONE" in other.stderr


def test_a_sample_is_not_enough_for_a_model_that_nobody_promoted(client: Client, plate: TinyPlate) -> None:
    with pytest.raises(InputError, match="no champion"):
        client.describe("TINY", layout=plate.layout, model="viability-nobody")


def test_classify_on_the_command_line(server: Server, plate: TinyPlate, tmp_path: Path) -> None:
    for name, data in list(plate.images.items())[:3]:
        (tmp_path / name).write_bytes(data)
    assert len(read_images(tmp_path)) == 3
    done = dosewell("classify", str(tmp_path), "--model", CLASSIFIER, "--sample", "TINY", "--url", server.url,
                    "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "3 images" in done.stdout
    assert len(pd.read_csv(tmp_path / "out" / "classes.csv")) == 3
    wrong = dosewell("classify", str(tmp_path), "--model", MODEL, "--sample", "TINY", "--url", server.url)
    assert wrong.returncode == 1
    assert "scores plates" in wrong.stderr
