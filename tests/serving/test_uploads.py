"""Forms by law: whatever stands in them, reading them gives values or an InputError."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.environment import port
from models.errors import DosewellError, InputError
from models.plates.images import PlateArchive
from serving.forms import StoredFile
from serving.settings import Settings
from serving.uploads import read_layout_file, read_mapping, read_options, read_screen, sent_table, store_images, table_path
from tests.serving.tiny import SCREEN

SCALARS = st.none() | st.booleans() | st.integers(-10, 2000) | st.floats() | st.text(max_size=8)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
                      max_leaves=5)
SCREEN_FIELDS = ("name", "sample", "kind", "channels", "magnification", "bit_depth", "plate_format", "controls", "positive_control",
                 "source")
OPTION_FIELDS = ("fit", "exclusions", "force")
FIT_FIELDS = ("model", "loss", "mode", "bounds", "interval", "level", "ic_level", "flat_level")


_numbers: Iterator[int] = count()


def stored(folder: Path, name: str, data: bytes = b"") -> StoredFile:
    """A file as it lies on disk when its form has come."""
    path = folder / f"part-{next(_numbers)}"
    path.write_bytes(data)
    return StoredFile(filename=name, path=path, sha256=hashlib.sha256(data).hexdigest())


def accepts_or_refuses(read: Any, text: str) -> None:
    with suppress(InputError):
        read(text)


@given(st.dictionaries(st.sampled_from(SCREEN_FIELDS), VALUES))
@settings(max_examples=150)
def test_any_screen_is_read_or_refused(changes: dict[str, Any]) -> None:
    accepts_or_refuses(read_screen, json.dumps({**SCREEN, **changes}))


@given(st.dictionaries(st.sampled_from(OPTION_FIELDS), VALUES), st.dictionaries(st.sampled_from(FIT_FIELDS), VALUES))
@settings(max_examples=150)
def test_any_options_are_read_or_refused(changes: dict[str, Any], fit: dict[str, Any]) -> None:
    accepts_or_refuses(read_options, json.dumps({"fit": fit, **changes}))


@given(st.text(max_size=200))
@settings(max_examples=150)
def test_any_text_is_read_or_refused(text: str) -> None:
    accepts_or_refuses(lambda given: read_mapping(given, field="screen"), text)


@given(st.lists(st.tuples(st.text(max_size=12), st.binary(max_size=40)), min_size=1, max_size=4))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_files_stay_in_their_folder(tmp_path: Path, files: list[tuple[str, bytes]]) -> None:
    folder = tmp_path / "images"
    with suppress(InputError):
        for path in store_images([stored(tmp_path, name, data) for name, data in files], folder):
            assert path.parent == folder
            PlateArchive(path).close()
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("part-")} == {"images"}


@pytest.mark.parametrize("name", ["../../x.zip", "..\\..\\x.zip", "/etc/x.zip"])
def test_file_names_lose_their_folders(tmp_path: Path, name: str) -> None:
    assert store_images([stored(tmp_path, name)], tmp_path / "images") == (tmp_path / "images" / "x.zip",)


@pytest.mark.parametrize("name", ["C:x.zip", ".zip", "", "a\0b.zip", "x" * 300 + ".zip", "\u7d30" * 100 + ".zip"])
def test_names_that_no_file_should_have_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be used") as caught:
        store_images([stored(tmp_path, name)], tmp_path / "images")
    assert "no usable file name" in caught.value.findings[0].message


def test_archives_that_differ_in_case_only_are_one_plate_sent_twice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sent more than once"):
        store_images([stored(tmp_path, "P1.zip"), stored(tmp_path, "P1.ZIP")], tmp_path / "images")


def test_a_table_is_spoken_of_by_the_name_that_its_sender_gave_it(tmp_path: Path) -> None:
    file = stored(tmp_path, "../My Layout.XLSX")
    assert table_path(file) == table_path(file) == sent_table(tmp_path) == tmp_path / "sent" / "My Layout.XLSX"
    with pytest.raises(InputError) as caught:
        read_layout_file(file, plate_format=96, default_plate="P1")
    assert "My Layout.XLSX is empty" in caught.value.findings[0].message
    with pytest.raises(InputError, match="cannot be read"):
        table_path(stored(tmp_path, "layout.pdf"))


@pytest.mark.parametrize(("name", "text"), [("DOSEWELL_POLL_SECONDS", "soon"), ("DOSEWELL_MAX_UPLOAD_MB", "-1"),
                                            ("DOSEWELL_SCORING_THREADS", "nan"), ("DOSEWELL_SCORING_THREADS", "0.5"),
                                            ("DOSEWELL_JOB_WORKERS", "1.5"), ("DOSEWELL_WORKERS", "0"), ("DOSEWELL_DEVICE", "gpu"),
                                            ("DOSEWELL_PRECISION", "fp16"), ("DOSEWELL_RETRY_SECONDS", "inf")])
def test_settings_name_the_variable_at_fault(name: str, text: str) -> None:
    with pytest.raises(DosewellError, match=rf"{name} must be .*, got '{text}'"):
        Settings.from_environment({name: text})


@pytest.mark.parametrize("text", ["nonsense://", "mlflow.db", "http://", "sqlite://mlflow.db", "sqlite:///", "ftp://anna:secret@host/x"])
def test_an_address_of_no_registry_is_told_before_the_start(text: str) -> None:
    with pytest.raises(DosewellError, match=r"is no address of an MLflow registry; name a server by .* \(MLFLOW_TRACKING_URI\)") as caught:
        Settings.from_environment({"MLFLOW_TRACKING_URI": text})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "http://lab:5000", "https://a:b@lab/mlflow", "postgresql+psycopg://a:b@lab/mlflow", "sqlite:////srv/x.db"])
def test_addresses_of_registries_are_taken(text: str) -> None:
    assert Settings.from_environment({"MLFLOW_TRACKING_URI": text}).tracking_uri == text


def test_an_empty_variable_counts_as_not_set() -> None:
    names = ("DOSEWELL_STATE", "DOSEWELL_TOKENS", "DOSEWELL_WORKERS", "DOSEWELL_DEVICE", "DOSEWELL_POLL_SECONDS", "DOSEWELL_PRECISION")
    assert Settings.from_environment(dict.fromkeys(names, "")) == Settings.from_environment({})


@pytest.mark.parametrize("text", ["http", "0", "65536", "80.5"])
def test_a_port_that_is_none_is_said(text: str) -> None:
    with pytest.raises(DosewellError, match=rf"SERVICE_PORT must be a whole number from 1 to 65535, got '{text}'"):
        port({"SERVICE_PORT": text}, "SERVICE_PORT", 3000)
