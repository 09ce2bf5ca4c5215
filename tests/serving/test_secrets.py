"""What nobody may read: tokens and passwords, asked of a running service while all that it stands on is away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from pipelines.servers import free_port
from serving.access import add_token
from tests.serving.tiny import ROOT, Server
from tests.waiting import PATIENCE

DATABASE, REGISTRY, WRONG = "d4tabase-s3cret", "r3gistry-s3cret", "wr0ng-s3cret-token"
CREDENTIALS = {"MLFLOW_TRACKING_USERNAME": "dosewell", "MLFLOW_TRACKING_PASSWORD": REGISTRY}


@dataclass(frozen=True)
class Guarded:
    """A service with tokens whose database and registry are known to need passwords, and cannot be reached."""

    server: Server
    tokens: dict[str, str]

    @property
    def secrets(self) -> list[str]:
        return [DATABASE, REGISTRY, WRONG, *self.tokens.values()]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    state = tmp_path_factory.mktemp("guarded") / "state"
    tokens = {name: add_token(state / "tokens", name=name, role=role) for name, role in (("anna", "score"), ("boss", "admin"))}
    with Server(state, f"http://dosewell:{REGISTRY}@127.0.0.1:{free_port()}", **CREDENTIALS,
                DOSEWELL_DATABASE_URL=f"postgresql+psycopg://dosewell:{DATABASE}@127.0.0.1:{free_port()}/jobs") as server:
        yield Guarded(server, tokens)


def asked(http: httpx.Client, secret: str) -> list[httpx.Response]:
    """The answers of every address of the service, in every way that it has, to somebody with this token in each place for one."""
    answers = []
    for path, ways in http.get("/openapi.json").json()["paths"].items():
        for way in ways:
            address = path.replace("{", "").replace("}", "")
            for extra in ({}, {"params": {"token": secret, "format": secret}}, {"data": {"model": secret, "token": secret}}):
                if way == "post" or "data" not in extra:
                    answers.append(http.request(way, address, headers={"authorization": f"Bearer {secret}"}, **extra))
    return answers + [http.get(path, headers={"authorization": f"Bearer {secret}"}) for path in ("/metrics", "/readyz", "/", "/nowhere")]


def test_no_secret_stands_in_an_answer_a_log_or_a_file(guarded: Guarded) -> None:
    with httpx.Client(base_url=guarded.server.url, timeout=PATIENCE, trust_env=False) as http:
        answers = {name: asked(http, secret) for name, secret in {**guarded.tokens, "nobody": WRONG}.items()}
    said = [f"{answer.status_code} {answer.headers} {answer.text}" for found in answers.values() for answer in found]
    kept = {path.name: path.read_text(errors="replace") for path in guarded.server.state.rglob("*") if path.is_file()}
    for secret in guarded.secrets:
        echoed = [text for text in said if secret in text and not text.startswith("4")]  # a refusal may repeat what its asker sent
        assert not echoed, echoed[0][:1000]
        assert not [name for name, text in kept.items() if secret in text]
    for secret in (DATABASE, REGISTRY):
        assert not [text for text in said if secret in text]

    # and the places where they might stand were asked
    assert {answer.status_code for answer in answers["nobody"]} == {200, 401}
    assert any(answer.status_code == 503 and "postgresql+psycopg://dosewell:***@" in answer.text for answer in answers["anna"])
    (models,) = (answer for answer in answers["boss"] if answer.url.path == "/models" and not answer.url.query)
    assert "http://***@127.0.0.1" in models.json()["registry"]["error"]
    log = kept["server.log"]
    assert '"by": "anna"' in log
    assert "the database of jobs at postgresql+psycopg://dosewell:***@" in log
    assert "the registry cannot be reached" in log


@pytest.mark.parametrize("address", [
    f"postgresql+psycopg://dosewell:{DATABASE}@127.0.0.1:port/jobs", f"postgresql+psycopg://dosewell:x@{DATABASE}@127.0.0.1/jobs",
    f"dosewell:{DATABASE}@127.0.0.1", f"postgres+nothing://dosewell:{DATABASE}@127.0.0.1/jobs"])
def test_an_address_of_no_use_stops_the_start_without_being_shown(tmp_path: Path, address: str) -> None:
    environment = {"PYTHONPATH": str(ROOT), "DOSEWELL_STATE": str(tmp_path), "DOSEWELL_DATABASE_URL": address}
    done = subprocess.run([sys.executable, "-m", "serving.cli", "serve", "--port", str(free_port())], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert done.stderr.startswith("dosewell: ")
    assert len(done.stderr.splitlines()) == 1
    assert DATABASE not in done.stderr + done.stdout
