"""Big plates made small: the same numbers as a model would see, once, resumable, and straight into add_screen and the service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile

from models.errors import ImageError, InputError, ScreenError
from models.plates.images import PlateArchive, encode_tiff
from models.plates.prepare import InputSpec, prepare_plate
from models.plates.readers import Source
from pipelines import project as module
from pipelines.add_screen import main as add_screen
from pipelines.project import Projecting, main, project
from pipelines.screens import read_screen
from serving.uploads import read_screen as read_form

ROOT = Path(__file__).parents[2]
WELLS = ("A01", "A02", "B01", "B02")
RNG = np.random.default_rng(0)
STACKS = {(plate, well, channel): RNG.integers(0, 4000, (5, 70, 70), dtype=np.uint16)
          for plate in ("P1", "P2") for well in WELLS for channel in ("dapi", "gfp")}
SPEC = InputSpec(planes=("dapi:mip", "gfp:mid", "dapi:mos"), size=32)


def microscope(folder: Path, *, single: bool = False) -> Path:
    """Two plates of stacks, as files of several planes or one file a plane."""
    for (plate, well, channel), stack in STACKS.items():
        (folder / plate).mkdir(parents=True, exist_ok=True)
        for number, planes in enumerate(stack if single else [stack]):
            name = f"{well}_{channel}_z{number}.tif" if single else f"{well}_{channel}.tif"
            tifffile.imwrite(folder / plate / name, planes, photometric="minisblack", compression="lzw" if well == "B02" else None)
    return folder


def source(folder: Path, *, single: bool = False) -> Source:
    return Source(folder=folder, pattern="{plate}/{well}_{channel}" + ("_z{z}.tif" if single else ".tif"))


def layout(path: Path) -> Path:
    roles = ("negative,DMSO,,", "positive,kill,5,uM", "treated,drug,1,uM", "treated,drug,10,uM")
    path.write_text("well,role,treatment,dose,unit\n" + "".join(f"{well},{role}\n" for well, role in zip(WELLS, roles, strict=True)))
    return path


def archives(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "images").iterdir())}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The microscope's folder, and `small` beside it."""
    folder = tmp_path_factory.mktemp("made")
    project(Projecting(source=source(microscope(folder / "raw")), out=folder / "small", size=32, threads=2,
                       facts={"sample": "U2OS", "pixel_size_um": 0.5}), progress=False)
    return folder


def test_the_small_images_are_the_projections_of_the_stacks(made: Path) -> None:
    for plate in ("P1", "P2"):
        with PlateArchive(made / "small" / "images" / f"{plate}.zip") as archive:
            assert len(archive.members) == 4 * 2 * 3
            for well in WELLS:
                for number, channel in enumerate(("dapi", "gfp")):
                    stack = STACKS[plate, well, channel].astype(float)
                    for place, plane in enumerate((stack.max(axis=0), stack[2], stack.mean(axis=0))):
                        small = archive.read(f"{well}_s1_c{3 * number + place}_z0.tif")
                        assert (small.shape, small.dtype) == ((32, 32), np.uint16)
                        assert abs(small.mean() - plane.mean()) < 0.02 * plane.mean()


def test_a_model_sees_what_it_sees_of_the_whole_stacks(made: Path, tmp_path: Path) -> None:
    layout(tmp_path / "layout.csv")
    options = ["--out", str(tmp_path), "--sample", "U2OS", "--platemap", str(tmp_path / "layout.csv")]
    add_screen([str(made / "raw"), "--pattern", "{plate}/{well}_{channel}.tif", "--name", "whole", *options])
    add_screen([str(made / "small"), "--name", "small", *options])
    small, whole = (read_screen(tmp_path / name) for name in ("small", "whole"))
    assert [channel.name for channel in small.channels] == [f"{one}_{kind}" for one in ("dapi", "gfp") for kind in ("mip", "mid", "mos")]
    assert (small.bit_depth, small.pixel_size_um) == (16, 0.5 * 70 / 32)
    prepared = []
    for screen in (small, whole):
        with PlateArchive(tmp_path / screen.name / "images" / "P1.zip") as archive:
            prepared.append(prepare_plate(archive, SPEC, channels=[channel.name for channel in screen.channels]))
    np.testing.assert_allclose(prepared[0].pixels.astype(float), prepared[1].pixels.astype(float), atol=0.51 / 65535, rtol=2**-10)
    assert prepared[0].wells.equals(prepared[1].wells)


def test_the_service_takes_the_archives_and_screen_json(made: Path) -> None:
    screen = read_form((made / "small" / "screen.json").read_text())
    assert (screen.sample, screen.bit_depth, len(screen.channels)) == ("U2OS", 16, 6)


def test_files_of_one_plane_give_the_same_bytes_and_so_does_any_number_of_threads(made: Path, tmp_path: Path) -> None:
    folder = microscope(tmp_path / "raw", single=True)
    project(Projecting(source=source(folder, single=True), out=tmp_path / "small", size=32, threads=3), progress=False)
    assert archives(tmp_path / "small") == archives(made / "small")


def plates_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The plate of every stack that is read from now on."""
    read, write = list[str](), module._write_small

    def spy(stack: module._Stack, size: int) -> None:
        read.append(stack.plate)
        write(stack, size)
    monkeypatch.setattr(module, "_write_small", spy)
    return read


def test_the_same_command_again_reads_nothing_and_a_changed_plate_is_made_anew(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = microscope(tmp_path / "raw")
    request = Projecting(source=source(folder), out=tmp_path / "small", size=32)
    project(request, progress=False)
    before, read = archives(tmp_path / "small"), plates_read(monkeypatch)
    project(request, progress=False)
    assert (read, archives(tmp_path / "small")) == ([], before)
    tifffile.imwrite(folder / "P2" / "A01_dapi.tif", STACKS["P1", "A01", "dapi"], photometric="minisblack")
    project(request, progress=False)
    assert set(read) == {"P2"}
    assert archives(tmp_path / "small")["P1.zip"] == before["P1.zip"]
    with pytest.raises(ScreenError, match=r"other settings .*size 32.*--force"):
        project(Projecting(source=source(folder), out=tmp_path / "small", size=16), progress=False)
    project(Projecting(source=source(folder), out=tmp_path / "small", size=16, force=True), progress=False)
    assert not (tmp_path / "small" / ".parts").exists()


def test_images_that_cannot_be_used_are_all_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    folder = microscope(tmp_path / "raw")
    good = {name: (folder / "P1" / name).read_bytes() for name in ("A01_dapi.tif", "B02_gfp.tif")}
    (folder / "P1" / "A01_dapi.tif").write_bytes(good["A01_dapi.tif"][:9000])
    (folder / "P1" / "B02_gfp.tif").write_bytes(encode_tiff(np.zeros((8, 8), np.uint16)).replace(b"II", b"XX", 1))
    request = Projecting(source=source(folder), out=tmp_path / "small", size=32)
    with pytest.raises(ImageError, match=r"2 image\(s\) cannot be used; 1 plate\(s\) are done") as caught:
        project(request, progress=False)
    assert {(item.plate, item.well) for item in caught.value.findings} == {("P1", "A01"), ("P1", "B02")}
    assert list(archives(tmp_path / "small")) == ["P2.zip"]
    assert len(list((tmp_path / "small" / ".parts" / "P1").glob("*.tif"))) == 6 * 3
    for name, data in good.items():
        (folder / "P1" / name).write_bytes(data)
    project(request, progress=False)
    assert list(archives(tmp_path / "small")) == ["P1.zip", "P2.zip"]


def test_small_images_of_files_that_changed_since_are_made_anew(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run that was cut off, and of a plate whose archive is gone."""
    folder, write, done = microscope(tmp_path / "raw"), module._write_small, list[str]()
    tifffile.imwrite(folder / "P1" / "A01_dapi.tif", STACKS["P2", "A01", "dapi"], photometric="minisblack")

    def stop(stack: module._Stack, size: int) -> None:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(stack.well)
        write(stack, size)

    request = Projecting(source=source(folder), out=tmp_path / "small", size=32, threads=1)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_small", stop)
        with pytest.raises(KeyboardInterrupt):
            project(request, progress=False)
    assert list((tmp_path / "small" / ".parts").rglob("A01_s1_c0_z0.tif"))
    tifffile.imwrite(folder / "P1" / "A01_dapi.tif", STACKS["P1", "A01", "dapi"], photometric="minisblack")
    project(request, progress=False)
    assert archives(tmp_path / "small") == archives(made / "small")
    (tmp_path / "small" / "images" / "P2.zip").unlink()
    project(request, progress=False)
    assert archives(tmp_path / "small") == archives(made / "small")


def test_planes_are_taken_in_their_order_and_rounded(tmp_path: Path) -> None:
    """Planes of 10, 11, ... 22, named z0 to z12: the middle is 16, the mean 16; of four planes 10, 11, 11, 11 the mean is 11, not 10."""
    (tmp_path / "raw").mkdir()
    for well, values in (("A01", range(10, 23)), ("A02", (10, 11, 11, 11))):
        for number, value in enumerate(values):
            tifffile.imwrite(tmp_path / "raw" / f"{well}_z{number}.tif", np.full((20, 24), value, np.uint8))
    project(Projecting(source=Source(folder=tmp_path / "raw", pattern="{well}_z{z}.tif"), out=tmp_path / "small", size=8,
                       facts={"pixel_size_um": 0.5}), progress=False)
    (name,) = archives(tmp_path / "small")
    with PlateArchive(tmp_path / "small" / "images" / name) as archive:
        said = {well: [int(archive.read(f"{well}_s1_c{place}_z0.tif").max()) for place in range(3)] for well in ("A01", "A02")}
    assert said == {"A01": [22, 16, 16], "A02": [11, 11, 11]}
    assert "pixel_size_um" not in json.loads((tmp_path / "small" / "screen.json").read_text())     # no squares any more


def test_planes_of_several_sizes_are_no_stack(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for number, side in enumerate((20, 24)):
        tifffile.imwrite(tmp_path / "raw" / f"A01_z{number}.tif", np.zeros((side, side), np.uint8))
    with pytest.raises(ImageError, match=r"A01_z0\.tif and its neighbours make no stack"):
        project(Projecting(source=Source(folder=tmp_path / "raw"), out=tmp_path / "small"), progress=False)


KILLED = """
import os, signal, sys
from pathlib import Path
from models.plates.readers import Source
from pipelines import project

def write(stack, size, count=[0], write=project._write_small):
    count[0] += 1
    if count[0] == 12:
        os.kill(os.getpid(), signal.SIGKILL)
    write(stack, size)

project._write_small = write
project.project(project.Projecting(source=Source(folder=Path(sys.argv[1]), pattern="{plate}/{well}_{channel}.tif"), out=Path(sys.argv[2]),
                                   size=32, threads=1), progress=False)
"""


def test_killed_among_the_stacks_it_goes_on_and_ends_alike(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(made / "raw"), str(tmp_path)], cwd=ROOT, env={**os.environ}, check=False)
    assert killed.returncode == -9
    assert list(archives(tmp_path)) == ["P1.zip"]
    read = plates_read(monkeypatch)
    project(Projecting(source=source(made / "raw"), out=tmp_path, size=32), progress=False)
    assert read == ["P2"] * 5
    assert archives(tmp_path) == archives(made / "small")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "projected.json", "screen.json"]


def test_memory_is_that_of_the_threads_not_of_the_stacks(tmp_path: Path) -> None:
    """Two threads with thrice as many planes and twice as many wells take what one takes twice, whether they meet at their peaks or not; a
    stack alone would take 24 MB.
    """
    def peak(planes: int, wells: int, *, threads: int) -> int:
        folder = tmp_path / f"raw{planes}"
        folder.mkdir()
        for number in range(wells):
            tifffile.imwrite(folder / f"A{number + 1:02d}.tif", np.zeros((planes, 512, 512), np.uint16), photometric="minisblack")
        request = Projecting(source=Source(folder=folder), out=tmp_path / f"small{planes}", threads=threads)
        tracemalloc.start()
        try:
            project(request, progress=False)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(16, 3, threads=1), peak(48, 6, threads=2)
    assert many < 2 * few + 2**20
    assert many < 24 * 2**20


def test_an_interrupt_begins_nothing_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, release = list[str](), threading.Event()

    def stop(stack: module._Stack, size: int) -> None:
        begun.append(stack.well)
        release.wait(0.2)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_write_small", stop)
    with pytest.raises(KeyboardInterrupt):
        project(Projecting(source=source(microscope(tmp_path / "raw")), out=tmp_path / "small", threads=1), progress=False)
    assert len(begun) < 16


def test_the_command_says_what_it_made_and_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = microscope(tmp_path / "raw")
    main([str(folder), "--out", str(tmp_path / "small"), "--pattern", "{plate}/{well}_{channel}.tif", "--size", "32",
          "--projections", "mip,mid", "--channels", "hoechst=dapi", "--plate-format", "96"])
    said = capsys.readouterr().out
    assert "channels now: hoechst_mip, hoechst_mid; recipes find hoechst_mip under hoechst:mip" in said
    assert "P1: 4 stacks, " in said
    assert "names no sample" in said
    assert f"python -m pipelines.add_screen {tmp_path / 'small'} --name NAME --platemap FILE" in said
    assert json.loads((tmp_path / "small" / "screen.json").read_text())["plate_format"] == 96


@pytest.mark.parametrize(("options", "words"), [
    ({"size": 4}, "--size"), ({"threads": 0}, "--threads"), ({"projections": ("max",)}, "--projections")])
def test_wrong_options_are_said(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Projecting(source=Source(folder=Path()), out=Path(), **options)
