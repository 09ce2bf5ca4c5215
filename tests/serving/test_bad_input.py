"""What cannot be used is answered by 4xx with findings a person can act on, quickly, and the service lives on."""

from __future__ import annotations

import errno
import io
import json
import os
import socket
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from models.errors import InputError
from models.plates.images import encode_tiff
from serving.client import Client, RejectedError, read_plates
from serving.faults import error_record, status_of
from serving.uploads import read_mapping
from tests.serving.conftest import Post
from tests.serving.tiny import MODEL, SCREEN, Server, TinyPlate
from tests.waiting import PATIENCE, until


def archive(members: dict[str, bytes], *, link: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = 0o120777 << 16
            file.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def lying_tiff(side: int = 60_000) -> bytes:
    """200 bytes that declare 3.6 gigapixels."""
    data = bytearray(encode_tiff(np.zeros((8, 8), np.uint8)))
    for tag in (256, 257):  # width and height: tag, type LONG or SHORT, count 1, value
        place = next(at for at in range(len(data)) if data[at:at + 2] == struct.pack("<H", tag) and data[at + 4:at + 8] == b"\1\0\0\0")
        data[place + 2:place + 12] = struct.pack("<HII", 4, 1, side)
    return bytes(data)


def check(response: httpx.Response, status: int, message: str) -> None:
    assert response.status_code == status, response.text[:1000]
    answer = response.json()
    assert set(answer) == {"error", "findings"}
    assert answer["error"]
    assert answer["findings"]
    assert all(set(finding) == {"rule", "severity", "message", "plate", "well", "column", "value"} for finding in answer["findings"])
    assert message in response.text, response.text[:1000]


@pytest.mark.parametrize(("changes", "message"), [
    ({"images": None}, "'images' is missing"),
    ({"layout": None}, "'layout' is missing"),
    ({"model": None}, "'model' is missing"),
    ({"screen": None}, "'screen' is missing"),
    ({"option": "{}"}, "unknown field 'option'"),
    ({"images": "http://127.0.0.1:1/P1.zip"}, "must be uploaded as a file"),
    ({"layout": "http://127.0.0.1:1/layout.csv"}, "must be uploaded as a file"),
    ({"layout": ("layout.pdf", b"%PDF")}, "a layout is a .csv"),
    ({"layout": ("layout.csv", b"")}, "layout"),
    ({"layout": ("layout.xlsx", b"PK\x03\x04broken")}, "layout.xlsx"),
    ({"images": ("P1.zip", b"no zip")}, "not a readable zip"),
    ({"images": ("P1.zip", b"")}, "not a readable zip"),
    ({"images": ("..", b"x")}, "no usable file name"),
    ({"images": ("A01_s1_c0_z0.exe", b"x")}, "A01_s1_c0_z0.exe"),
    ({"screen": "{"}, "neither JSON nor YAML"),
    ({"screen": "- a\n- b\n"}, "must be a mapping"),
    ({"screen": "a: &x [1]\nb: *x\n"}, "aliases are not read"),
    ({"screen": "!!python/object/apply:os.system ['true']"}, "neither JSON nor YAML"),
    ({"screen": "[" * 5000}, "'screen'"),
    ({"screen": json.dumps({"name": "x"})}, "sample"),
    ({"screen": json.dumps({**SCREEN, "plate_format": 97})}, "plate_format"),
    ({"screen": json.dumps({**SCREEN, "plate_format": []})}, "plate_format"),
    ({"screen": json.dumps({**SCREEN, "channels": 5})}, "channels"),
    ({"screen": json.dumps({**SCREEN, "channels": ["dna"]})}, "brightfield"),
    ({"screen": json.dumps({**SCREEN, "chanels": ["dna"]})}, "did you mean 'channels'"),
    ({"options": "{"}, "'options'"),
    ({"options": '{"fit": {"modle": "4pl"}}'}, "options.fit.modle: unknown key, did you mean"),
    ({"options": '{"fit": {"ic_level": 300}}'}, "ic_level"),
    ({"options": '{"exclusions": [{"plate": "P1", "well": "Z99", "reason": "x"}]}'}, "Z99"),
])
def test_unusable_forms(post: Post, changes: dict, message: str) -> None:
    check(post(**changes), 400, message)


def duplicate(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table.iloc[[5]]])


def dose_as_text(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(dose=table["dose"].astype("object").where(table["treatment"] != "alpha", "ten"))


@pytest.mark.parametrize(("change", "message"), [
    (duplicate, "is named 2 times on plate P1"),
    (lambda table: table[table["role"] != "positive"], "positive"),
    (dose_as_text, "'ten'"),
    (lambda table: table.assign(well=table["well"].replace("A01", "Q99")), "Q99"),
    (lambda table: table.drop(columns="role"), "role"),
    (lambda table: table.assign(plate="P9"), "P9"),
])
def test_unusable_layouts_get_the_rule_s_message(post: Post, plate: TinyPlate, change: Callable, message: str) -> None:
    check(post(layout=("layout.csv", plate.csv(change(plate.table)))), 400, message)


@pytest.mark.parametrize(("data", "message"), [
    (archive({"../../A01_s1_c0_z0.tif": b"x"}), "archive_name"),
    (archive({"A01_s1_c0_z0.tif": b"x"}, link="A02_s1_c0_z0.tif"), "symbolic link"),
    (archive({"A01_s1_c0_z0.tif": bytes(50 * 2**20)}), "zip bomb"),
    (archive({"A01_s1_c0_z0.tif": b"II*\0" + struct.pack("<I", 8) + b"garbage"}), "A01"),
    (archive({"A01_s1_c0_z0.tif": b""}), "zero bytes"),
    (archive({"A01_s1_c0_z0.tif": lying_tiff()}), "image_too_large"),
    (archive({}), "P1"),
])
def test_hostile_archives(post: Post, data: bytes, message: str) -> None:
    check(post(images=("P1.zip", data)), 400, message)


def test_a_missing_image_is_named(post: Post, plate: TinyPlate) -> None:
    images = [item for item in plate.images.items() if not item[0].startswith("B03_")]
    response = post(images=images)
    assert "B03" in response.text


@pytest.mark.parametrize(("model", "status", "message"), [
    ("nobody", 404, "no model 'nobody' is registered; registered: toxicity-TINY, viability-TINY"),
    (f"{MODEL}@nowhere", 404, "no alias 'nowhere'"), (f"{MODEL}/99", 404, "99"), (f"{MODEL}/3", 409, "r2_cv is 0.1"),
    ("a b", 404, "names no model")])
def test_models_that_cannot_answer(post: Post, model: str, status: int, message: str) -> None:
    check(post(model=model), status, message)


@pytest.mark.parametrize("options", [{"a" * 3_000_000: 1}, {"fit": {"model": "b" * 3_000_000}}])
def test_a_long_mistake_is_not_answered_at_length(post: Post, options: dict) -> None:
    """A value that was sent stood in the answer twice, 6 MB of it."""
    answer = post(options=json.dumps(options))
    assert (answer.status_code, len(answer.content) < 20_000) == (400, True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_nothing_is_no_mistake_of_the_service(number: int) -> None:
    error = OSError(number, os.strerror(number))
    assert status_of(error) == 507
    assert f"({os.strerror(number)}); nothing was accepted" in error_record(error)["error"]


def test_a_disk_that_cannot_be_read_is_the_services_fault() -> None:
    assert status_of(OSError(errno.EIO, os.strerror(errno.EIO))) == 500


def test_other_content_types_methods_and_broken_bodies(http: httpx.Client) -> None:
    check(http.post("/score", json={"images": "http://127.0.0.1:1/"}), 400, "missing")
    check(http.post("/score", content=b"x", headers={"content-type": "application/vnd.bentoml+pickle"}), 400, "missing")
    check(http.post("/score", content=b"--b\r\nbroken", headers={"content-type": "multipart/form-data; boundary=b"}), 400, "")
    check(http.post("/score", content=b"x", headers={"content-type": "multipart/form-data"}), 400, "boundary")
    check(http.get("/score"), 405, '"rule": "method_not_allowed"')
    for address in ("/nothing", "/jobs/a/b/c", "/page/nothing.js"):
        check(http.get(address), 404, '"rule": "not_found"')


def test_too_large_by_its_own_word(http: httpx.Client) -> None:
    response = http.post("/score", files={"images": ("P1.zip", bytes(9 * 2**20))})
    check(response, 413, "larger than 8 MiB")
    assert response.json()["findings"][0]["rule"] == "request_too_large"


def test_too_large_in_chunks(server: Server) -> None:
    """A body without Content-Length is counted while it comes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n"
                           b"content-type: multipart/form-data; boundary=b\r\n\r\n")
        opening = b'--b\r\ncontent-disposition: form-data; name="images"; filename="P1.zip"\r\n\r\n'
        chunk = bytes(2**16)
        try:
            connection.sendall(b"%x\r\n%s\r\n" % (len(opening), opening))
            for _ in range(200):
                connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        except OSError:
            pass  # the server closed before everything was sent
        assert b" 413 " in connection.recv(4096).split(b"\r\n")[0]


def good_parts(plate: TinyPlate) -> dict[str, tuple[Any, ...]]:
    return {"images": ("P1.zip", plate.archive.read_bytes(), "application/zip"),
            "layout": ("layout.csv", plate.layout.read_bytes(), "text/csv"),
            "model": (None, MODEL.encode()), "screen": (None, json.dumps(SCREEN).encode())}


ROUTES = ("/score", "/jobs", "/curves", "/classify", "/layouts")
KNOWN_FIELDS = ("images", "layout", "model", "screen", "options", "readout", "imageset", "adapt", "plate")
OTHER_FIELDS = ("url", "uri", "href", "src", "source", "file", "path", "callback")     # that services which fetch have


def requests_with(address: str, plate: TinyPlate) -> list[dict[str, Any]]:
    """Requests with an address in each place of each route that takes uploads: texts, files, file names, types of content, query, JSON."""
    good = good_parts(plate)
    made: list[dict[str, Any]] = []
    for url in ROUTES:
        for field in KNOWN_FIELDS + OTHER_FIELDS:
            parts = [(None, address.encode()), (address, address.encode()), ("P1.zip", address.encode(), "text/uri-list"),
                     ("P1.zip", b"", f'message/external-body; access-type=URL; URL="{address}"')]
            made += [{"url": url, "files": {**good, field: part}} for part in (parts if field in KNOWN_FIELDS else parts[:2])]
            made += [{"url": url, "params": {field: address}, "files": {"model": good["model"]}}]
        made += [{"url": url, "json": {"images": address, "layout": address, "model": MODEL}},
                 {"url": url, "content": address, "headers": {"Content-Type": "text/uri-list"}}]
    return made


def at_once(http: httpx.Client, asked: list[dict[str, Any]]) -> list[int]:
    """Statuses of requests of which each sends its last byte when all others have sent theirs but the last."""
    gate = Barrier(len(asked))

    def send(given: dict[str, Any]) -> int:
        request = http.build_request("POST", **given)
        body = request.read()

        def pieces() -> Iterator[bytes]:
            yield body[:-1]
            gate.wait(timeout=PATIENCE)
            yield body[-1:]
        return client.post(request.url, content=pieces(), headers=request.headers).status_code

    limits = httpx.Limits(max_connections=len(asked))
    with httpx.Client(timeout=PATIENCE, trust_env=False, limits=limits) as client, ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(send, asked))


def test_nothing_is_fetched(http: httpx.Client, plate: TinyPlate) -> None:
    """A server of our own counts who knocks while 300 different requests, all open at once, name its address wherever one fits."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        listener.setblocking(False)
        asked = requests_with(f"http://127.0.0.1:{listener.getsockname()[1]}/P1.zip", plate)
        assert len(asked) > 300
        asked = [asked[number * len(asked) // 300] for number in range(300)]
        answers = at_once(http, asked)
        time.sleep(0.5)     # whoever wants to fetch later
        with pytest.raises(BlockingIOError):    # nobody waits to be let in
            listener.accept()
    assert max(answers) < 500
    instead = [status for request, status in zip(asked, answers, strict=True) if request["url"] == "/score" and any(
        request.get("files", {}).get(field, good)[1:2] != good[1:2] for field, good in good_parts(plate).items() if field != "model")]
    assert len(instead) > 5
    assert set(instead) <= {400}    # an address, or nothing, in the place of images, layout or screen


def test_the_client_raises_what_the_service_found(client: Client, plate: TinyPlate, tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="no model 'nobody'") as caught:
        client.score([plate.archive], layout=plate.layout, model="nobody", screen=SCREEN)
    assert caught.value.status == 404
    with pytest.raises(InputError, match="neither plate zips nor images"):
        read_plates(tmp_path)


def test_the_service_is_well_after_all_that(post: Post, server: Server) -> None:
    assert post().status_code == 200
    (own,) = (path for path in (server.state / "uploads").iterdir() if path.is_dir())     # of the one process that answers
    until(lambda: list(own.iterdir()) == [])    # what was refused above may be cleared away still
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("text", ["a: !!bool x", 'a: !!int ""', "a: !!timestamp x", f"a: 1{':0' * 300}:0.5"])
def test_yaml_on_which_its_own_loader_trips_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_mapping(text, field="screen")


def test_mappings() -> None:
    assert read_mapping('{"a": [1]}', field="options") == {"a": [1]}
    assert read_mapping("a: [1]", field="options") == {"a": [1]}
    with pytest.raises(InputError, match="cannot be read"):
        read_mapping("1: 2", field="options")
    for half in ('{"a": "\\ud800"}', '{"\\ud800": 1}', 'a: "\\ud800"'):    # of a character beyond 16 bits
        with pytest.raises(InputError, match="surrogates"):
            read_mapping(half, field="options")
    assert read_mapping('{"a": "\\ud83d\\ude00"}', field="options") == {"a": "\U0001f600"}
