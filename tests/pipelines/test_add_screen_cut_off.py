"""A screen whose making is cut off: nothing is half-written, and the next run goes on."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from models.errors import InputError, ScreenError
from models.plates.images import PlateArchive
from models.plates.readers import Source
from pipelines.add_screen import add_screen
from pipelines.image_copy import Copied, PlateCopy, file_digest, source_digests
from pipelines.screen_tables import Request
from pipelines.screens import plate_archives, process_mark, whole_folder
from tests.pipelines.chain import ROOT
from tests.pipelines.lab import content, edit, images_of, lab_folder, layout_of, request

KILLED = """
import os, signal, sys
from pathlib import Path
from models.plates.readers import Source
from pipelines import add_screen, image_copy

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def after_a_plate(path, plate, note=image_copy._write_note):
    note(path, plate)
    kill()

def among_images(self, file, count=[0], planes=image_copy._PlateWork._planes):
    count[0] += 1
    if count[0] == 7:
        kill()
    yield from planes(self, file)

def between_renames(path, target, rename=Path.rename):
    rename(path, target)
    if ".replaced-" in str(target):
        kill()

source, out = Path(sys.argv[1]), Path(sys.argv[2])
for name, patch in (("after", (image_copy, "_write_note", after_a_plate)), ("among", (image_copy._PlateWork, "_planes", among_images)),
                    ("between", (Path, "rename", between_renames))):
    if not (child := os.fork()):
        setattr(*patch)
        add_screen.add_screen(add_screen.Request(source=Source(folder=source, pattern="{plate}/{well}.tif"), name="mine", out=out / name,
                                                 force=True), progress=False)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, name
"""


def test_killed_at_any_moment_nothing_is_half_written_and_the_next_run_goes_on(tmp_path: Path) -> None:
    wells = ["A01", "A02", "A03", "A04"]
    folder = tmp_path / "run"
    for plate in ("P1", "P2", "P3"):
        images_of(folder, wells, plate=plate)
    layout_of(folder, wells)
    wanted = Request(source=Source(folder=folder, pattern="{plate}/{well}.tif"), name="mine")
    add_screen(replace(wanted, out=tmp_path / "whole"), progress=False)
    add_screen(replace(wanted, out=tmp_path / "between"), progress=False)
    whole = content(tmp_path / "whole")
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "PYTHONWARNINGS": "ignore"}, check=False)
    assert done.returncode == 0, done.stderr
    for name, said in (("after", "1 plate(s) had been copied"), ("among", "1 plate(s) had been copied"), ("between", "already there")):
        out = tmp_path / name
        assert not (out / "mine").exists(), name
        assert all(path.name.startswith(".mine.") for path in out.iterdir())
        assert said in "\n".join(add_screen(replace(wanted, out=out), progress=False)), name
        assert content(out) == whole, name


def test_work_of_another_content_is_not_gone_on_with(tmp_path: Path) -> None:
    folder, out = lab_folder(tmp_path / "plate7"), tmp_path / "data"
    with whole_folder(out / "mine", key="other") as making:
        (making / "half").write_text("x")
        left = shutil.copytree(making, out / ".mine.making-other-999999999")
    shutil.rmtree(out / "mine")
    add_screen(request(folder, out), progress=False)
    assert not left.exists()
    assert {path.name for path in out.iterdir()} == {"mine", ".mine.copied.json"}


def test_an_interrupted_run_keeps_its_work_and_a_running_one_keeps_others_out(tmp_path: Path) -> None:
    target = tmp_path / "mine"

    def interrupt(word: str) -> None:
        with whole_folder(target, key="k") as folder:
            (folder / word).write_text(word)
            raise KeyboardInterrupt

    for word in ("one", "two"):
        with pytest.raises(KeyboardInterrupt):
            interrupt(word)
    with whole_folder(target, key="k") as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["one", "two"]
    (tmp_path / f".mine.making-k-{process_mark(os.getppid())}").mkdir()
    with pytest.raises(ScreenError, match=f"process {os.getppid()} is making"), whole_folder(target, key="k"):
        pass


def test_a_process_that_got_the_number_of_a_killed_one_keeps_nobody_out(tmp_path: Path) -> None:
    """As in a container that was started again: its programs have the numbers of those before."""
    (tmp_path / f".mine.making-k-{os.getppid()}~1.5").mkdir()
    (tmp_path / f".mine.replaced-{os.getppid()}~1.5").mkdir()
    with whole_folder(tmp_path / "mine", key="k") as folder:
        (folder / "all").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_image_that_cannot_be_read_is_told_with_its_well_each_time(tmp_path: Path) -> None:
    """The same command again must not take the plate that lacks it for one that is done."""
    folder, out = lab_folder(tmp_path / "plate7"), tmp_path / "data"
    (folder / "A1_g.tif").write_bytes(b"II*\0broken")
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            add_screen(request(folder, out), progress=False)
        assert [(finding.plate, finding.well) for finding in caught.value.findings] == [("plate7", "A01")]
    assert not (out / "mine").exists()


def test_a_platemap_that_gives_the_same_files_to_other_wells_makes_another_archive(tmp_path: Path) -> None:
    """Else the wells would be scored by each other's images."""
    folder, out = lab_folder(tmp_path / "plate7"), tmp_path / "data"
    add_screen(request(folder, out), progress=False)
    for old, new in (("A1_g.tif", "?"), ("A2_g.tif", "A1_g.tif"), ("?", "A2_g.tif")):
        edit(folder, old, new)
    add_screen(request(folder, out, force=True), progress=False)
    with PlateArchive(out / "mine" / "images" / "plate7.zip") as plate:
        assert [plate.read(f"{well}_s1_c0_z0.tif").max() for well in ("A01", "A02")] == [3, 1]


def test_another_size_of_jpegs_makes_another_archive(tmp_path: Path) -> None:
    folder, out = layout_of(tmp_path, wells := ["A01", "A02", "A03", "A04"]), tmp_path / "data"
    for well in wells:
        Image.fromarray(np.full((64, 64), 90, np.uint8)).save(folder / f"{well}.jpg")
    wanted = Request(source=Source(folder=folder, pattern="{well}.jpg"), name="mine", out=out, force=True)
    for size, side in ((None, 64), (16, 16), (32, 32)):
        add_screen(replace(wanted, jpeg_size=size), progress=False)
        (archive,) = plate_archives(out / "mine")
        with PlateArchive(archive) as plate:
            assert plate.read("A01_s1_c0_z0.tif").shape == (side, side)


def test_files_are_known_by_all_of_their_content_and_by_their_folder(tmp_path: Path) -> None:
    content_of = np.random.default_rng(0).bytes(3 * 2**20 + 5)
    (tmp_path / "large").write_bytes(content_of)
    assert file_digest(tmp_path / "large") == hashlib.sha256(content_of).hexdigest()
    found = set[str]()
    for texts in (("one", "two"), ("other", "two"), ("one", "other")):
        paths = [tmp_path / channel / "A01.tif" for channel in ("dapi", "gfp")]
        for path, text in zip(paths, texts, strict=True):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        found.add(source_digests(pd.DataFrame({"plate": "P1", "path": paths}), root=tmp_path, progress=False)["P1"])
    assert len(found) == 3


def test_a_screen_is_as_deep_and_as_varied_as_its_plates_together() -> None:
    grey, deep = (PlateCopy(shapes=shapes, depths=depths, planes=planes, digest="", state="", archive="")
                  for shapes, depths, planes in ((((8, 6),), (8,), 1), (((8, 6), (9, 6)), (8, 16), 3)))
    for plates in ({"P1": grey, "P2": deep}, {"P1": deep, "P2": grey}):
        copied = Copied(plates=plates)
        assert (copied.shapes, copied.depth, copied.planes) == ([(8, 6), (9, 6)], 16, 3)
