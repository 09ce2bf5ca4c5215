"""The client: lost connections, answers of others on the way, progress, and nothing scored twice."""

from __future__ import annotations

import resource
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from models.errors import InputError
from models.plates.images import write_plate
from serving.client import Client, RejectedError, ServiceError
from tests.serving.tiny import MODEL, SCREEN, Server, TinyPlate
from tests.waiting import PATIENCE

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
