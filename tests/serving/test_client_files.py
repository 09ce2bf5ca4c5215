"""What the client sends: stacks are projected first, all else goes as it is."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from models.errors import InputError
from models.plates.images import PlateArchive, write_plate
from models.plates.prepare import InputSpec, prepare_plate
from models.plates.screen import Screen
from serving.client import read_plates
from serving.client_files import pack
from tests.serving.tiny import SCREEN, TinyPlate

STACKED = Screen.from_dict({**SCREEN, "channels": [{"name": "hoechst", "stain": "DNA"}, {"name": "pi"}, {"name": "gfp", "stain": "GFP"}]})
PLANES = ("hoechst:mip", "hoechst:mid", "gfp:mos")


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Three wells of three channels and five planes, 16 bits."""
    rng = np.random.default_rng(0)
    write_plate(tmp_path / "source" / "P1.zip", [
        (f"{well}_s1_c{channel}_z{plane}.tif", rng.integers(0, 60_000, (24, 30)).astype(np.uint16))
        for well in ("A01", "A02", "B07") for channel in range(3) for plane in range(5)])
    return tmp_path / "source" / "P1.zip"


@pytest.mark.parametrize("loose", [False, True])
def test_a_projected_plate_is_read_as_the_stacks_would_be(stack: Path, tmp_path: Path, loose: bool) -> None:
    """To half a grey value of 65,535, by which the mean of the planes is rounded; the others are equal."""
    source = [stack]
    if loose:
        with zipfile.ZipFile(stack) as archive:
            archive.extractall(tmp_path / "loose")
        source = read_plates(tmp_path / "loose")
    told: list[tuple[str, int, int]] = []
    (tmp_path / "out").mkdir()
    package = pack(source, STACKED, PLANES, plate="P1", into=tmp_path / "out", progress=lambda *at: told.append(at))
    assert [channel.name for channel in package.screen.channels] == ["hoechst_mip", "hoechst_mid", "gfp_mos"]
    assert [channel.stain for channel in package.screen.channels] == ["DNA", "DNA", "GFP"]
    assert "became" in package.said
    assert told[-1] == ("projecting P1", 3, 3)
    spec = InputSpec(planes=PLANES, size=16)
    with PlateArchive(stack) as before, PlateArchive(package.files[0]) as after:
        assert len(after.members) == 9
        whole = prepare_plate(before, spec, channels=[channel.name for channel in STACKED.channels])
        small = prepare_plate(after, spec, channels=[channel.name for channel in package.screen.channels])
    assert whole.wells.equals(small.wells)
    assert np.array_equal(whole.pixels[:, :2], small.pixels[:, :2])
    np.testing.assert_allclose(whole.pixels[:, 2].astype(float), small.pixels[:, 2].astype(float), atol=2 / 65535 + 2**-11)


def test_the_same_plate_is_packed_to_the_same_bytes(stack: Path, tmp_path: Path) -> None:
    """Else a plate that is sent again would be another job."""
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(pack([stack], STACKED, PLANES, plate="P1", into=tmp_path / name).files[0].read_bytes())
    assert made[0] == made[1]


def test_what_needs_no_projecting_goes_as_it_is(stack: Path, plate: TinyPlate, tmp_path: Path) -> None:
    screen = Screen.from_dict({**SCREEN, "channels": [{"name": "brightfield"}]})
    flat = pack([plate.archive], screen, ("brightfield:mid",), plate="P1", into=tmp_path)
    assert (flat.files, flat.screen, flat.said) == ((plate.archive,), screen, "")
    unknown = pack([stack], STACKED, (), plate="P1", into=tmp_path)     # the model's card is not known
    other = pack([stack], STACKED, ("dapi:mip",), plate="P1", into=tmp_path)    # the service will say what is missing
    assert unknown.files == other.files == (stack,)


def test_folders_of_images_are_plates(plate: TinyPlate, tmp_path: Path) -> None:
    for name in ("P1", "P2"):
        (tmp_path / "plates" / name).mkdir(parents=True)
        for image, data in list(plate.images.items())[:3]:
            (tmp_path / "plates" / name / image).write_bytes(data)
    (tmp_path / "out").mkdir()
    package = pack(read_plates(tmp_path / "plates"), Screen.from_dict({**SCREEN, "channels": [{"name": "brightfield"}]}), (), plate="x",
                   into=tmp_path / "out")
    assert [path.name for path in package.files] == ["P1.zip", "P2.zip"]


def test_photos_are_read_in_place_of_tiffs_not_beside_them(tmp_path: Path) -> None:
    for name in ("A01.png", "a2.JPG", "._A01.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in read_plates(tmp_path)] == ["A01.png", "a2.JPG"]
    (tmp_path / "A01.tif").write_bytes(b"")
    assert [path.name for path in read_plates(tmp_path)] == ["A01.tif"]
    with pytest.raises(InputError, match="there is no"):
        read_plates(tmp_path / "nowhere")
