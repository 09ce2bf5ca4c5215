"""The stage `prepare`: a file a plate, refused screens stop here, and the same data gives the same bytes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import zipfile
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.errors import ImageError, ScreenError
from models.plates.data_hash import data_md5
from models.plates.images import PlateArchive, WellImages, write_archive
from models.plates.prepare import InputSpec, prepare_plate
from pipelines import prepare
from pipelines.command import run_command
from pipelines.params import Params
from pipelines.prepared import read_prepared
from tests.pipelines.chain import SIZE, call, commands, prepared_screen, tiny_params
from tests.pipelines.lab import content


def test_each_plate_has_its_arrays(chain: Path) -> None:
    for screen, plates in (("a549", 1), ("patient-1", 2)):
        data = prepared_screen(chain, screen)
        layout = pd.read_csv(chain / "data" / screen / "layout.csv")
        assert len(data.images) == len(data.layout) == len(layout)
        assert data.images.wells["plate"].nunique() == plates
        assert set(map(tuple, data.images.wells[["plate", "well"]].to_numpy())) == set(map(tuple, layout[["plate", "well"]].to_numpy()))
        pixels = np.asarray(data.images.pixels)
        assert pixels.shape[1:] == (3, SIZE, SIZE)
        assert (pixels.dtype, pixels.min() >= 0, pixels.max() <= 1) == (np.float16, True, True)
        assert data.data_md5 == data_md5(chain / "data" / screen)
    mip, mid, again = (data.images.pixels[:, channel] for channel in range(3))
    assert (mip == again).all()
    assert (mip != mid).any(axis=(1, 2)).all()


def test_the_same_data_gives_the_same_bytes(chain: Path, tmp_path: Path) -> None:
    spec = Params.read(chain / "params.yaml").inputs["spheroid"]
    assert prepare.run(chain / "data" / "patient-1", spec, tmp_path / "out", kept=tmp_path / "kept") == (192, ["PAT_1-P1", "PAT_1-P2"])
    assert content(tmp_path / "out") == content(chain / "artifacts" / "prepared" / "patient-1")
    files = {f"PAT_1-P{number}.{kind}" for number in (1, 2) for kind in ("safetensors", "quality.csv")}
    assert set(content(tmp_path / "out")) == files | {"source.json"}


def test_a_new_plate_alone_is_prepared_and_what_is_kept_is_what_would_be_made(chain: Path, tmp_path: Path,
                                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    data, kept, out, numbers = tmp_path / "patient-1", tmp_path / "kept", tmp_path / "out", count()
    spec = Params.read(chain / "params.yaml").inputs["spheroid"]
    shutil.copytree(chain / "data" / "patient-1", data)
    images = data / "images"
    one, two = images / "PAT_1-P1.zip", images / "PAT_1-P2.zip"

    def again(spec: InputSpec = spec) -> list[str]:
        """Plates prepared now, in the place of what DVC has removed; all is as it were from scratch."""
        shutil.rmtree(out, ignore_errors=True)
        made = prepare.run(data, spec, out, kept=kept)[1]
        fresh = tmp_path / f"fresh{next(numbers)}"
        prepare.run(data, spec, fresh / "out", kept=fresh / "kept")
        assert content(out) == content(fresh / "out")
        assert {path.name for path in kept.iterdir()} == {path.name for path in (fresh / "kept").iterdir()}     # of no other run
        return made

    two.rename(tmp_path / "later.zip")
    assert again() == ["PAT_1-P1"]
    (tmp_path / "later.zip").rename(two)
    assert again() == ["PAT_1-P2"]
    (data / "layout.csv").write_text((data / "layout.csv").read_text() + "\n")
    assert again() == []
    first = one.stat()
    with zipfile.ZipFile(two) as archive:   # other images of the same size and time
        names = archive.namelist()
        swapped = dict(zip(names, reversed(names), strict=True))
        write_archive(one, ((name, archive.read(swapped[name])) for name in names))
    os.utime(one, ns=(first.st_atime_ns, first.st_mtime_ns))
    assert one.stat().st_size == first.st_size
    assert again() == ["PAT_1-P1"]
    assert again(replace(spec, intensity="depth")) == ["PAT_1-P1", "PAT_1-P2"]
    monkeypatch.setattr(prepare, "CODE", (tmp_path,))
    assert again(replace(spec, intensity="depth")) == ["PAT_1-P1", "PAT_1-P2"]


def test_a_preparation_that_was_cut_off_goes_on(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, data = Params.read(chain / "params.yaml").inputs["spheroid"], chain / "data" / "patient-1"

    def cut(archive: PlateArchive, *arguments: Any, **options: Any) -> WellImages:
        if archive.plate == "PAT_1-P2":
            raise KeyboardInterrupt
        return prepare_plate(archive, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "prepare_plate", cut)
        with pytest.raises(KeyboardInterrupt):
            prepare.run(data, spec, tmp_path / "out", kept=tmp_path / "kept")
    shutil.copytree(data, tmp_path / "data")

    def overtaken(archive: PlateArchive, *arguments: Any, **options: Any) -> WellImages:
        found = prepare_plate(archive, *arguments, **options)
        os.utime(archive.path)      # somebody is still copying it
        return found

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "prepare_plate", overtaken)
        with pytest.raises(ScreenError, match=r"PAT_1-P1.zip was changed while it was read; run the stage again"):
            prepare.run(tmp_path / "data", spec, tmp_path / "other", kept=tmp_path / "fresh")
    assert not list((tmp_path / "fresh").glob("*.safetensors"))
    with monkeypatch.context() as patch:    # killed while it wrote: between a plate's two files
        patch.setattr("models.plates.prepare.save_file", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare.run(data, spec, tmp_path / "out", kept=tmp_path / "kept")
    assert prepare.run(data, spec, tmp_path / "out", kept=tmp_path / "kept") == (192, ["PAT_1-P2"])
    assert content(tmp_path / "out") == content(chain / "artifacts" / "prepared" / "patient-1")


def test_a_kept_plate_cannot_be_changed_through_what_was_made_of_it(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, data = Params.read(chain / "params.yaml").inputs["brightfield"], chain / "data" / "a549"
    made = prepare.run(data, spec, tmp_path / "one", kept=tmp_path / "kept")[1]
    modes = {path.suffix: path.stat().st_mode & 0o222 for path in (tmp_path / "one").iterdir() if path.name != "source.json"}
    assert modes == {".safetensors": 0, ".csv": 0}
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no hard links here")))
    assert (made, prepare.run(data, spec, tmp_path / "two", kept=tmp_path / "kept")[1]) == (["A549-plate-1"], [])
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_refused_screen_stops_here(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data", "params.yaml"):
        (tmp_path / name).symlink_to(chain / name)
    shutil.copytree(chain / "artifacts" / "validate", tmp_path / "artifacts" / "validate")
    path = tmp_path / "artifacts" / "validate" / "a549.json"
    verdict = json.loads(path.read_text())
    finding = {"rule": "layout_well", "severity": "error", "message": "well A01 stands twice", "plate": "P1", "well": "A01",
               "column": "well", "value": "A01"}
    path.write_text(json.dumps(verdict | {"accepted": False, "findings": [finding]}))
    words = commands(tiny_params())["prepare"]["a549"]
    with pytest.raises(ScreenError) as caught:
        call(words)
    assert "well A01 stands twice" in str(caught.value)
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: call(words))
    assert str(ended.value.code).startswith("error: screen 'a549' is refused for 1 reason")
    assert not (tmp_path / "artifacts" / "prepared").exists()


def test_what_is_missing_is_said(chain: Path, tmp_path: Path) -> None:
    (tmp_path / "s" / "images").mkdir(parents=True)
    shutil.copy(chain / "data" / "a549" / "screen.yaml", tmp_path / "s")
    with pytest.raises(ScreenError, match=r"images holds no plate archive"):
        prepare.run(tmp_path / "s", InputSpec(size=16), tmp_path / "out", kept=tmp_path / "kept")
    with pytest.raises(ScreenError, match="holds no prepared plate; run `dvc repro`"):
        read_prepared(chain / "data" / "a549", tmp_path)
    with pytest.raises(ImageError, match="the model needs channel"):
        prepare.run(chain / "data" / "a549", InputSpec(planes=("gfp:mid",), size=16), tmp_path / "out", kept=tmp_path / "kept")
