"""Whatever fits or does not fit the OpenAPI document is answered as the document says: schemathesis against the running service."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from serving.app import create_app
from serving.settings import Settings
from tests.serving.tiny import MODEL, SCREEN, Server, TinyPlate
from tests.waiting import PATIENCE, until

OPERATIONS = [(method.upper(), path) for path, ways in create_app(Settings()).openapi()["paths"].items() for method in ways]


def test_the_document_says_what_everything_means() -> None:
    document = create_app(Settings()).openapi()
    fields = {f"{name}.{field}": said for name, schema in document["components"]["schemas"].items()
              for field, said in schema.get("properties", {}).items()}
    fields |= {f"{path} {parameter['name']}": parameter for path, ways in document["paths"].items() for way in ways.values()
               for parameter in way.get("parameters", ())}
    assert len(fields) > 200
    assert [name for name, said in fields.items() if not said.get("description")] == []


@pytest.fixture(scope="module")
def document(server: Server) -> Any:
    import schemathesis  # two seconds that other tests need not pay
    from schemathesis.checks import load_all_checks

    load_all_checks()
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.fixture(scope="module")
def place(http: httpx.Client, plate: TinyPlate) -> dict[str, str]:
    """A job that is done, and one of its wells."""
    sent = http.post("/jobs", data={"model": MODEL, "screen": json.dumps(SCREEN), "options": '{"fit": {"level": 0.93}}'}, files={
        "images": ("P1.zip", plate.archive.read_bytes()), "layout": ("layout.csv", plate.layout.read_bytes())})
    job = sent.json()["id"]
    until(lambda: http.get(f"/jobs/{job}").json()["state"] == "done")
    return {"job": job, "plate": "P1", "well": "B02", "name": "none", "file": "layout.csv"}


def examine(document: Any, server: Server, *, method: str, path: str, known: dict[str, str] | None, examples: int) -> int:
    """Send requests that fit the document and ones that do not; returns how many. known: of the path, instead of made-up ones."""
    from schemathesis import GenerationMode
    from schemathesis.checks import CHECKS

    # the document cannot say which bytes are a plate: what fits it may be refused
    excluded = CHECKS.get_by_names(["positive_data_acceptance"])
    sent = 0
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        if mode is GenerationMode.NEGATIVE and not refutable(document[path][method].definition.raw):
            continue

        @seed(20261128)
        @settings(max_examples=examples, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
        @given(document[path][method].as_strategy(generation_mode=mode, path_parameters=known))
        def answered_as_said(case: Any) -> None:
            nonlocal sent
            sent += 1
            case.call_and_validate(base_url=server.url, excluded_checks=excluded, timeout=PATIENCE)
        answered_as_said()
    return sent


def refutable(operation: dict[str, Any]) -> bool:
    """Whether anything of a request can be wrong: every text is a good path, and nothing is a wrong part of no form."""
    asked = [set(item["schema"]) - {"type", "title", "default"} for item in operation.get("parameters", []) if item["in"] != "path"]
    return "requestBody" in operation or any(asked)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_made_up_requests(document: Any, server: Server, method: str, path: str) -> None:
    assert examine(document, server, method=method, path=path, known=None, examples=12) >= 1


@pytest.mark.parametrize(("method", "path"), [item for item in OPERATIONS if "{job}" in item[1] and item[0] != "DELETE"])
def test_requests_for_a_job_that_is_there(document: Any, server: Server, place: dict[str, str], method: str, path: str) -> None:
    known = {name: value for name, value in {**place, "other": place["job"]}.items() if f"{{{name}}}" in path}
    assert examine(document, server, method=method, path=path, known=known, examples=8) >= 1


def test_an_address_with_a_line_break_is_answered_like_any_other(http: httpx.Client, server: Server) -> None:
    """Routes of BentoML's own answered it with a text, and a log for people would have had a line of its sender's making."""
    answer = http.get("/jobs/one%0Atwo")
    assert (answer.status_code, set(answer.json())) == (404, {"error", "findings"})
    until(lambda: "GET /jobs/one?two 404" in server.log.read_text())
