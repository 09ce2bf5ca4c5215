"""Files that mean harm (hostile/): refused by what they say of themselves, before anything of them is unpacked; `python -m
benchmarks.attacks` measures time and memory of the same over HTTP.
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.attacks import with_image
from benchmarks.processes import PeakMemory, family
from models.errors import ImageError, InputError, RefusedError, TableError
from models.networks.bundle import read_card, trunk_finder, write_bundle
from models.networks.predict import load_predictor
from models.plates.images import PlateArchive, encode_tiff
from models.plates.imageset import ImageArchive
from models.plates.layout import parse_layout
from models.plates.pixels import decode_image
from models.plates.spreadsheets import read_table
from models.registered import RegisteredVersion, refusing
from serving.loaded import warm
from tests.serving.conftest import Post
from tests.serving.hostile.archives import ARCHIVES, MEMBER
from tests.serving.hostile.images import IMAGES, packed_tiff, png, shared_strip
from tests.serving.hostile.tables import TABLES
from tests.serving.tiny import Server, TinyPlate, tiny_bundle

HARMLESS = {"PNG of 60,000 x 60,000 by its header", "TIFF whose next page is itself", "TIFF with a tag of 4 billion values",
            "TIFF of 8 x 8 that unpacks to 100 MB, LZW", "TIFF of 8 x 8 that unpacks to 100 MB, LZMA", "OME-TIFF of a billion laughs",
            "OME-TIFF of 20,000 open UUIDs", "ImageJ stack of a billion planes"}
# what lies about itself is left aside, and what is left is small
REFUSED_UNREAD = {"image_too_large", "image_bomb", "image_pages", "image_packing", "image_unreadable"}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """tifffile says what it left aside."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("tifffile").setLevel(logging.NOTSET)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str) -> None:
    data = IMAGES[name]()
    if name in HARMLESS:
        assert decode_image(data, MEMBER).nbytes < 2**20
        return
    with pytest.raises(ImageError, match="A01_s1_c0_z0") as caught:
        decode_image(data, MEMBER)
    assert {finding.rule for finding in caught.value.findings} <= REFUSED_UNREAD
    assert {finding.well for finding in caught.value.findings} == {"A01"}


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("kind", [PlateArchive, ImageArchive])
def test_archives(name: str, kind: Callable[[Path], PlateArchive], tmp_path: Path) -> None:
    path = tmp_path / "P1.zip"
    path.write_bytes(ARCHIVES[name]())
    with pytest.raises(ImageError), kind(path) as archive:
        archive.read(MEMBER)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, tmp_path: Path) -> None:
    file, make = TABLES[name]
    (tmp_path / file).write_bytes(make())
    with pytest.raises(TableError, match="cannot be read as a table"):
        read_table(tmp_path / file)


def test_a_plate_with_such_an_image_costs_the_service_little(post: Post, plate: TinyPlate, server: Server) -> None:
    assert post().status_code == 200
    processes = family(server.process.pid)
    for data in (png(8_000, 8_000, mode="RGBA"), shared_strip(), packed_tiff(7_900), packed_tiff(16_000, said=8)):
        with PeakMemory(lambda: processes, every=0.003) as memory:
            answer = post(images=("P1.zip", with_image(plate, data)))
        assert answer.status_code == 400
        assert "A01" in answer.text
        assert memory.extra_mb < 200
    assert post().status_code == 200


def lying(header: dict, body: bytes, *, length: int | None = None) -> bytes:
    """A safetensors file that says this of itself."""
    text = json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


WEIGHTS = {
    "a header of 8 EB": lambda header, body: lying(header, body, length=2**63 - 1),
    "a header of 10 GB": lambda header, body: lying(header, body, length=10**10),
    "tensors that overlap": lambda header, body: lying(header | {"0.weight": header["0.weight"] | {"data_offsets": [0, 1024]}}, body),
    "a tensor beyond the end": lambda header, body: lying(header | {"0.bias": header["0.bias"] | {"data_offsets": [0, 10**12]}}, body),
    "a shape of 2 to the 80": lambda header, body: lying(header | {"0.bias": header["0.bias"] | {"shape": [2**40, 2**40]}}, body),
    "bytes that no tensor has": lambda header, body: lying(header, bytes(4096) + body),
    "weights that are no numbers": lambda header, body: lying(header, np.full(len(body) // 4, np.nan, np.float32).tobytes())}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_lie_are_refused(tmp_path: Path, name: str) -> None:
    """Though the card has their hash: whoever may register could have made both."""
    bundle = tiny_bundle(tmp_path / "m1")
    good = (bundle / "weights.safetensors").read_bytes()
    end = 8 + int.from_bytes(good[:8], "little")
    write_bundle(tmp_path / "m2", read_card(bundle), head=WEIGHTS[name](json.loads(good[8:end]), good[end:]), trunk=None)

    def load() -> None:
        warm(load_predictor(tmp_path / "m2", find_trunk=trunk_finder([tmp_path]), device="cpu"))
    with pytest.raises(RefusedError):
        refusing(RegisteredVersion(name="viability-TINY", version=1, run_id=""), load)


@given(st.binary(max_size=400), st.integers(0, 400), st.integers(0, 40))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_bytes_in_a_tiff_are_read_or_refused(plate: TinyPlate, noise: bytes, at: int, width: int) -> None:
    data = bytearray(plate.images[MEMBER])
    data[at:at + width] = noise[:width]
    with suppress(InputError):
        assert decode_image(bytes(data), MEMBER).nbytes < 17 * 2**20


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=8))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_bytes_in_an_archive_are_read_or_refused(tmp_path: Path, at: int, noise: bytes) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for well in ("A01", "A02"):
            archive.writestr(f"{well}_s1_c0_z0.tif", encode_tiff(np.zeros((8, 8), np.uint8)))
    data = bytearray(buffer.getvalue())
    at = len(data) - 1 - at % len(data)
    data[at:at + len(noise)] = noise
    path = tmp_path / "P1.zip"
    path.write_bytes(data)
    with suppress(InputError), PlateArchive(path) as plate:
        for member in plate.members["member"]:
            plate.read(member)


CELLS = st.text(max_size=12) | st.sampled_from(["A01", "B2", "negative", "treated", "10 uM", "1,5", "1e999", "=1+1", "nan", "∞", "-5"])
NAMES = ["well", "plate", "role", "treatment", "dose", "dose_unit", "Conc. [uM]", "readout", "row", "column", "x"]
HEADERS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=7)


@given(HEADERS, st.lists(st.lists(CELLS, max_size=8), max_size=6), st.sampled_from([",", ";", "\t"]))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_table_is_a_layout_with_findings_or_refused(tmp_path: Path, header: list[str], rows: list[list[str]], mark: str) -> None:
    path = tmp_path / "layout.csv"
    path.write_text("\n".join(mark.join(row) for row in (header, *rows)), encoding="utf-8", errors="surrogatepass")
    try:
        raw = read_table(path)
    except InputError:
        return
    parsed = parse_layout(raw, plate_format=96)
    assert len(parsed.layout) == len(raw)   # a row is never dropped silently
