"""Who is let in: tokens with roles, this machine alone without them, no other site's page, and nothing secret in any log."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient, WebSocketDenialResponse

from models.errors import DosewellError
from pipelines.servers import free_port
from serving.access import SCOPE_KEY, AccessGuard, TokenFile, add_token, is_loopback, parse_tokens, require_tokens
from serving.app import create_app
from serving.job_desk import JobDesk
from serving.job_files import JobFiles
from serving.job_records import NewJob
from serving.jobs import JobStore
from serving.limits import BodyLimit
from serving.observe import JsonFormatter, Observer
from serving.settings import Settings, require_port, require_state
from tests.serving.tiny import ROOT, Server

LOCAL = "http://127.0.0.1:3000"


def client(tokens: Path, *, server: str = "127.0.0.1") -> TestClient:
    """An app that says who asks, behind the service's own guards. server: the address at which it was reached."""
    async def answer(request: Request) -> Response:
        await request.body()
        token = request.scope[SCOPE_KEY]
        return JSONResponse({"name": token.name, "role": token.role})

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "DELETE"])], middleware=[
        Middleware(Observer), Middleware(AccessGuard, tokens=TokenFile(tokens)), Middleware(BodyLimit, max_bytes=1000)])

    async def reached(scope: dict, receive: object, send: object) -> None:
        await app({**scope, "server": (server, 3000)}, receive, send)
    return TestClient(reached, base_url=LOCAL)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "secret" / "tokens"


@pytest.fixture
def anna(tokens: Path) -> str:
    """A score token, beside an admin's."""
    add_token(tokens, name="boss", role="admin")
    return add_token(tokens, name="anna", role="score")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the project logs, as the service writes it."""
    stream, project = io.StringIO(), logging.getLogger("dosewell")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    level = project.level
    project.addHandler(handler)
    project.setLevel(logging.INFO)
    yield stream
    project.removeHandler(handler)
    project.setLevel(level)


def test_a_known_token_is_let_in_with_its_role(tokens: Path, anna: str) -> None:
    answer = client(tokens, server="10.0.0.7").get("/jobs", headers={"authorization": f"Bearer {anna}", "host": "dosewell.lab"})
    assert answer.json() == {"name": "anna", "role": "score"}


@pytest.mark.parametrize("header", [
    None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic YTpi", "Basic {anna}", "{anna}", "bearer\tx", "Bearer \xff"])
def test_anybody_else_is_not(tokens: Path, anna: str, header: str | None) -> None:
    asking = client(tokens)
    headers = {} if header is None else {"authorization": header.format(anna=anna).encode("latin-1")}
    for method, path in (("GET", "/jobs"), ("POST", "/score"), ("GET", "/metrics"), ("DELETE", "/jobs/1"), ("POST", "/"), ("GET", "/pag")):
        answer = asking.request(method, path, headers=headers)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert set(answer.json()) == {"error", "findings"}


def test_a_token_finds_its_own_jobs_alone_at_every_address_and_an_admin_everybodys(tmp_path: Path, tokens: Path, anna: str) -> None:
    ben, boss = add_token(tokens, name="ben", role="score"), add_token(tokens, name="chief", role="admin")
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")
    job, _ = store.accept(NewJob(fingerprint="f", owner="anna", model="m", version=1, adapt=False, screen="s", sample="S", plates=1,
                                 wells=1))
    app = create_app(Settings(state=tmp_path))
    app.state.desk, app.state.promoter = JobDesk(store, JobFiles(tmp_path / "jobs")), SimpleNamespace()
    asking = TestClient(AccessGuard(app, tokens=TokenFile(tokens)), base_url=LOCAL, raise_server_exceptions=False)

    def ask(secret: str, method: str, path: str, job: str) -> httpx.Response:
        body = {"json": {"exclusions": [{"plate": "P1", "well": "A01", "excluded": True, "reason": "x"}]}} if method == "post" else {}
        path = path.format(job=job, other=job, plate="P1", well="A01")
        return asking.request(method, path, headers={"authorization": f"Bearer {secret}"}, **body)

    ways = [(method, path) for path, methods in app.openapi()["paths"].items() if "{job}" in path for method in methods]
    assert len(ways) >= 7
    for method, path in sorted(ways):       # delete comes first
        nothing = ask(ben, method, path, "0" * 32)
        assert (nothing.status_code, nothing.json()["findings"][0]["rule"]) == (404, "unknown_job")
        assert ask(ben, method, path, job.id).json() == nothing.json(), (method, path)
        for secret in (anna, boss) if method != "delete" else ():
            assert "unknown_job" not in ask(secret, method, path, job.id).text, (method, path)
    for secret, seen in ((ben, []), (anna, [job.id]), (boss, [job.id])):
        assert [line["id"] for line in ask(secret, "get", "/jobs", "").json()["jobs"]] == seen
    bens, _ = store.accept(NewJob(fingerprint="b", owner="ben", model="m", version=1, adapt=False, screen="s", sample="S", plates=1,
                                  wells=1))
    for first, second in ((bens.id, job.id), (job.id, bens.id)):    # one of two is not enough
        assert ask(ben, "get", f"/jobs/{{job}}/against/{second}", first).status_code == 404
    assert ask(boss, "get", f"/jobs/{{job}}/against/{bens.id}", job.id).status_code == 409     # neither is done
    assert ask(anna, "delete", "/jobs/{job}", job.id).status_code == 204
    store.close()


def test_a_file_of_tokens_that_others_may_read_is_told(tokens: Path, anna: str, caplog: pytest.LogCaptureFixture) -> None:
    for mode, said in ((0o600, False), (0o640, True), (0o604, True)):
        caplog.clear()
        tokens.chmod(mode)
        TokenFile(tokens)
        assert ("may be read by others" in caplog.text) is said, oct(mode)


def test_only_http_is_answered_whoever_asks(tokens: Path, anna: str) -> None:
    with pytest.raises(WebSocketDenialResponse) as refused, client(tokens).websocket_connect("/jobs", headers={
            "authorization": f"Bearer {anna}"}):
        pass
    assert (refused.value.status_code, refused.value.json()["error"]) == (403, "only HTTP is answered")


@pytest.mark.parametrize("path", ["/", "/docs", "/livez", "/readyz", "/openapi.json", "/page/app.js", "/static_content/swagger-ui.css"])
def test_what_holds_no_data_needs_no_token(tokens: Path, anna: str, path: str) -> None:
    assert client(tokens).get(path).status_code == 200


def test_the_hash_and_not_the_token_is_kept_and_only_for_its_owner(tokens: Path, anna: str) -> None:
    assert anna not in tokens.read_text()
    assert tokens.stat().st_mode & 0o777 == 0o600
    assert len(anna) >= 40


def test_a_token_is_taken_back_without_a_restart(tokens: Path, anna: str) -> None:
    asking, headers = client(tokens), {"authorization": f"Bearer {anna}"}
    assert asking.get("/jobs", headers=headers).status_code == 200
    kept = tokens.read_text()
    tokens.write_text("\n".join(line for line in kept.splitlines() if not line.startswith("anna")))
    assert asking.get("/jobs", headers=headers).status_code == 401
    tokens.write_text(kept + "rubbish\n")
    assert asking.get("/jobs", headers=headers).status_code == 401     # a damaged file changes nothing
    tokens.write_text(kept)
    assert asking.get("/jobs", headers=headers).status_code == 200
    tokens.unlink()
    assert asking.get("/jobs", headers=headers).status_code == 401     # a file that is gone opens nothing


@pytest.mark.parametrize(("text", "message"), [
    ("anna", "line 1"), ("anna boss " + "0" * 64, "line 1"), ("# ok\n\nanna score 12", "line 3"),
    (f"anna score {'0' * 64}\nanna admin {'1' * 64}", "'anna' again"), (f"an/na score {'0' * 64}", "line 1")])
def test_a_tokens_file_names_its_line_at_fault(text: str, message: str) -> None:
    with pytest.raises(DosewellError, match=message) as caught:
        parse_tokens(text)
    assert "0" * 64 not in str(caught.value)


def test_a_token_is_added_to_a_file_whose_last_line_has_no_end(tokens: Path, anna: str) -> None:
    """As some editors leave it: both tokens were spoilt, and the service did not start any more."""
    tokens.write_text(tokens.read_text().rstrip("\n"))
    bert = add_token(tokens, name="bert", role="score")
    for secret in (anna, bert):
        assert client(tokens).get("/jobs", headers={"authorization": f"Bearer {secret}"}).status_code == 200


def test_nobody_waits_for_a_disk_that_does_not_say_whether_the_tokens_changed(tokens: Path, anna: str,
                                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    asking, back, look = client(tokens), threading.Event(), TokenFile._look

    def slow(self: TokenFile) -> tuple[int, int]:
        back.wait(20)
        return look(self)

    async def ask() -> None:
        transport = httpx.ASGITransport(app=asking.app)
        async with httpx.AsyncClient(transport=transport, base_url=LOCAL) as http:
            known = asyncio.create_task(http.get("/jobs", headers={"authorization": f"Bearer {anna}"}))
            await asyncio.sleep(0.2)
            assert (await http.get("/livez")).status_code == 200
            assert not known.done()
            back.set()
            assert (await known).json()["name"] == "anna"
    monkeypatch.setattr(TokenFile, "_look", slow)
    asyncio.run(ask())


def test_a_file_of_another_encoding_is_a_damaged_one(tokens: Path, anna: str) -> None:
    asking, headers = client(tokens), {"authorization": f"Bearer {anna}"}
    tokens.write_text(tokens.read_text(), encoding="utf-16")
    assert asking.get("/jobs", headers=headers).status_code == 200
    with pytest.raises(DosewellError, match="line 1"):
        TokenFile(tokens)


def test_a_name_has_one_token(tokens: Path, anna: str) -> None:
    for name in ("anna", "", "a b", "bert\n", "x" * 65):
        with pytest.raises(DosewellError, match="cannot be a name"):
            add_token(tokens, name=name, role="score")


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost", "LOCALHOST:80", "[::1]:3000"])
def test_without_tokens_this_machine_is_let_in(tokens: Path, host: str) -> None:
    assert client(tokens).get("/jobs", headers={"host": host}).json() == {"name": "", "role": "admin"}


@pytest.mark.parametrize(("host", "server"), [
    ("[", "127.0.0.1"), ("evil.example", "127.0.0.1"), ("127.0.0.1.evil.example", "127.0.0.1"), ("", "127.0.0.1"),
    ("127.0.0.1", "10.0.0.7"), ("127.0.0.1", "::")])
def test_without_tokens_nobody_else_is(tokens: Path, host: str, server: str) -> None:
    """A name that a site points at 127.0.0.1 (rebinding), and a service that was told to listen elsewhere."""
    assert client(tokens, server=server).get("/jobs", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("header", ["host", "origin", "authorization"])
def test_a_header_by_which_is_judged_stands_once(tokens: Path, header: str) -> None:
    """Of two names of the service, the last one let a page of the first in."""
    answer = client(tokens).get("/jobs", headers=[("host", "127.0.0.1"), (header, "http://evil.example"), (header, "127.0.0.1")])
    assert (answer.status_code, "more than once" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_without_tokens_nobody_comes_in_through_a_gateway(tokens: Path, name: str) -> None:
    """One that asks as 127.0.0.1, as nginx does by itself, made everybody an admin."""
    answer = client(tokens).get("/jobs", headers={"host": "127.0.0.1:3000", name: "10.0.0.7"})
    assert (answer.status_code, "no tokens" in answer.json()["error"]) == (403, True)
    secret = add_token(tokens, name="anna", role="score")
    assert client(tokens).get("/jobs", headers={name: "10.0.0.7", "authorization": f"Bearer {secret}"}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:3001", "http://localhost:3000", "", "http://["])
def test_another_sites_page_is_refused_with_or_without_a_token(tokens: Path, origin: str) -> None:
    assert client(tokens).post("/jobs", headers={"origin": origin}).status_code == 403
    secret = add_token(tokens, name="anna", role="score")
    answer = client(tokens).post("/jobs", headers={"origin": origin, "authorization": f"Bearer {secret}"})
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_services_own_page_is_not_another_site(tokens: Path) -> None:
    assert client(tokens).post("/jobs", headers={"origin": LOCAL}).status_code == 200


def test_answers_carry_the_headers_that_keep_browsers_in_check(tokens: Path, anna: str) -> None:
    for answer in (client(tokens).get("/"), client(tokens).get("/jobs"), client(tokens).post("/", content=b"x" * 2000)):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert len(answer.headers["x-request-id"]) == 32
    assert client(tokens).get("/", headers={"x-request-id": "run-7.plate-3"}).headers["x-request-id"] == "run-7.plate-3"
    assert "\n" not in client(tokens).get("/", headers={"x-request-id": "a b"}).headers["x-request-id"]


def test_a_request_leaves_one_structured_line_and_no_secret(tokens: Path, anna: str, log: io.StringIO) -> None:
    client(tokens).get("/jobs?x=secret-in-query", headers={"authorization": f"Bearer {anna}", "x-request-id": "request-1"})
    client(tokens).get("/jobs", headers={"authorization": "Bearer wrong-secret"})
    client(tokens).get("/livez")
    first, second = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (first["method"], first["path"], first["status"], first["by"], first["request_id"]) == ("GET", "/jobs", 200, "anna", "request-1")
    assert (second["status"], second["by"], second["client"]) == (401, "", "testclient")
    assert not [secret for secret in (anna, "wrong-secret", "secret-in-query") if secret in log.getvalue()]


@pytest.mark.parametrize(("host", "expected"), [
    ("127.0.0.1", True), ("127.8.8.8", True), ("localhost", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("::", False),
    ("", False), ("10.0.0.7", False), ("example", False)])
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_no_start_beyond_loopback_without_tokens(tokens: Path) -> None:
    require_tokens("127.0.0.1", tokens, named=False)
    with pytest.raises(DosewellError, match=r"listen at 0\.0\.0\.0, where others can reach it, and has no tokens"):
        require_tokens("0.0.0.0", tokens, named=False)
    with pytest.raises(DosewellError, match=r"DOSEWELL_TOKENS names .* which is not there"):
        require_tokens("127.0.0.1", tokens, named=True)
    add_token(tokens, name="anna", role="score")
    require_tokens("0.0.0.0", tokens, named=False)
    require_tokens("127.0.0.1", tokens, named=True)


def test_tokens_that_were_named_are_asked_for_even_where_the_file_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway on this machine asks under a local name: a misspelt path, or a file that is gone when a process starts, lets nobody in."""
    named = Settings.from_environment({"DOSEWELL_TOKENS": str(tmp_path / "tokens"), "DOSEWELL_STATE": str(tmp_path)})
    assert TokenFile(named.tokens, named=named.tokens_needed).needed
    assert TokenFile(named.tokens, named=named.tokens_needed).find("anything") is None
    secret = add_token(tmp_path / "tokens", name="anna", role="score")
    monkeypatch.setattr(os, "environ", {"DOSEWELL_STATE": str(tmp_path)})
    Settings.from_environment(os.environ).share()       # what a process that starts again is told
    (tmp_path / "tokens").unlink()
    again = Settings.from_environment(os.environ)
    tokens = TokenFile(again.tokens, named=again.tokens_needed)
    assert tokens.needed
    assert tokens.find(secret) is None


def test_without_tokens_none_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"DOSEWELL_STATE": str(tmp_path)})
    Settings.from_environment(os.environ).share()
    assert not Settings.from_environment(os.environ).tokens_needed


def test_a_port_that_is_taken_and_a_folder_that_cannot_be_are_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DosewellError, match=r"folder .* \(DOSEWELL_STATE\) cannot be used: Not a directory"):
        require_state(Settings(state=tmp_path / "file" / "state"))
    require_state(Settings(state=tmp_path / "new" / "state"))
    assert (tmp_path / "new" / "state").stat().st_mode & 0o077 == 0      # plates of patients
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DosewellError, match=rf"port {port}: Address already in use; choose another by --port or SERVICE_PORT"):
            require_port("127.0.0.1", port, patience=0.3)
    require_port("127.0.0.1", port)


def test_the_command_refuses_to_start_beyond_loopback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "serving.cli", "serve", "--host", "0.0.0.0", "--port", str(free_port())]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "DOSEWELL_STATE": str(tmp_path)}, capture_output=True,
                          text=True)
    assert done.returncode == 1
    assert "has no tokens" in done.stderr


def test_the_guards_stand_before_all_that_the_server_answers(http: httpx.Client) -> None:
    for path in ("/metrics", "/livez", "/schema.json", "/models", "/nowhere"):
        assert http.get(path, headers={"host": "evil.example"}).status_code == 403, path
        assert http.get(path).headers["x-content-type-options"] == "nosniff"


def test_only_the_services_own_port_is_open(server: Server) -> None:
    """BentoML's parent process took commands at two further ports, to run any program, from anybody with an account on the machine."""
    parent = psutil.Process(server.process.pid)
    found = [connection for process in (parent, *parent.children(recursive=True)) for connection in process.net_connections()
             if connection.status == psutil.CONN_LISTEN or connection.type != socket.SOCK_STREAM]
    assert {connection.laddr.port for connection in found} == {server.port}


def test_labels_of_metrics_stay_few_whatever_is_asked(http: httpx.Client) -> None:
    """BentoML's own had one for each address: the id of every job, and whatever a stranger without a token makes up."""
    for path in ("/jobs/0f0f0f", "/jobs/0f0f0f/result", "/page/made-up", "/made-up"):
        assert http.get(path).status_code == 404
    text = http.get("/metrics").text
    assert 'dosewell_requests_total{method="GET",route="/jobs/{job}",status="404"}' in text
    assert 'dosewell_requests_total{method="GET",route="other",status="404"}' in text
    assert not [word for word in ("0f0f0f", "made-up", "bentoml_") if word in text]


def test_the_policy_lets_no_inline_script_run(http: httpx.Client) -> None:
    for path in ("/", "/page/app.js"):
        policy = http.get(path).headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|style=", http.get("/").text)
