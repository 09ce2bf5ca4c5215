"""OME-Zarr plates of both versions, as another program (ngio 1.1.3) wrote them; and what must not be let in."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

from models.errors import ImageError, InputError
from models.plates.ome_zarr import ZarrStack, read_image
from models.plates.planes import open_planes
from models.plates.readers import Source, read_source

GOLDEN = Path(__file__).parent / "golden"
LAYOUT = "well,role,treatment,dose,unit\nB02,negative,DMSO,,\nB03,treated,drug,5,nM\nC11,positive,kill,5,nM\n"
WELLS = {"B02": 1, "B03": 2, "C11": 3}


def golden(version: str, folder: Path) -> Path:
    """The plate that ngio wrote, and a layout beside it."""
    with zipfile.ZipFile(GOLDEN / f"ome_zarr_{version}.zip") as archive:
        archive.extractall(folder)
    (folder / "layout.csv").write_text(LAYOUT, encoding="utf-8")
    return folder / f"plate_{version}.zarr"


def expected(well: str, site: int, channel: int) -> np.ndarray:
    """(3, 20, 24): every value tells where it belongs."""
    z, y, x = np.ogrid[:3, :20, :24]
    return (10_000 * WELLS[well] + 1000 * (site - 1) + 100 * channel + 10 * z + (y + x) % 7).astype(np.uint16)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("inside", [False, True], ids=["folder of plates", "plate"])
def test_plates_of_both_versions_are_read_alike(tmp_path: Path, version: str, inside: bool) -> None:
    plate = golden(version, tmp_path)
    source = Source(folder=plate, platemap=tmp_path / "layout.csv", plate="P") if inside else Source(folder=tmp_path, plate="P")
    found = read_source(source)
    assert (found.convention, found.channels, found.facts) == ("ome_zarr", ("dapi", "gfp_488"), {"pixel_size_um": 0.65})
    assert len(found.files) == 3 * 2 * 2
    assert f"OME-Zarr {version}, images of 2 channel(s), 3 plane(s), 20x24 pixels" in found.said
    for row in found.files.to_dict("records"):
        with open_planes(row["path"], row["part"]) as planes:
            np.testing.assert_array_equal(np.stack(list(planes)), expected(row["well"], row["site"], found.channels.index(row["channel"])))
    assert set(found.files["plate"]) == {"P"}


def test_several_plates_are_called_by_their_folders(tmp_path: Path) -> None:
    golden("0.4", tmp_path).rename(tmp_path / "BR1.ome.zarr")
    golden("0.5", tmp_path).rename(tmp_path / "BR2.zarr")
    assert sorted(set(read_source(Source(folder=tmp_path)).files["plate"])) == ["BR1", "BR2"]


def image(folder: Path, pixels: np.ndarray, axes: str, *, version: int = 2, **options: object) -> Path:
    """One OME-Zarr image, metadata by the specification."""
    array = zarr.create_array(str(folder / "0"), data=pixels, zarr_format=version, **options)
    assert array.shape == pixels.shape
    scales = [{"axes": [{"name": axis} for axis in axes], "datasets": [{"path": "0"}]}]
    if version == 2:
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps({"multiscales": scales}))
    else:
        (folder / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group",
                                                      "attributes": {"ome": {"version": "0.5", "multiscales": scales}}}))
    return folder


RNG = np.random.default_rng(0)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("axes", "shape", "chunks"), [
    ("yx", (16, 24), (16, 24)), ("zyx", (7, 16, 24), (3, 16, 24)), ("tczyx", (2, 3, 4, 16, 24), (1, 1, 4, 8, 8)),
    ("czyx", (3, 5, 16, 24), (3, 5, 16, 24))])
def test_axes_and_chunks_of_all_kinds(tmp_path: Path, version: int, axes: str, shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    pixels = RNG.integers(0, 65535, shape, dtype=np.uint16)
    folder = image(tmp_path, pixels, axes, version=version, chunks=chunks)
    whole = pixels.reshape((1,) * (5 - len(shape)) + shape)
    for time in range(whole.shape[0]):
        for channel in range(whole.shape[1]):
            stack = ZarrStack(folder, f"t{time}c{channel}")
            assert len(stack) == whole.shape[2]
            np.testing.assert_array_equal(np.stack([stack[place] for place in reversed(range(len(stack)))])[::-1], whole[time, channel])
    assert read_image(folder).labels == ("",) * whole.shape[1]


def test_a_codec_that_unpickles_is_refused_before_a_chunk_is_touched(tmp_path: Path) -> None:
    folder = image(tmp_path, np.zeros((16, 24), np.uint16), "yx")
    metadata = json.loads((folder / "0" / ".zarray").read_text())
    mark = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (mark,))

    (folder / "0" / "0.0").write_bytes(pickle.dumps(Bomb()))
    (folder / "0" / ".zarray").write_text(json.dumps(metadata | {"filters": [{"id": "pickle", "protocol": 5}], "compressor": None}))
    with pytest.raises(ImageError, match="is packed by pickle") as caught, open_planes(folder) as planes:
        planes[0]
    assert caught.value.findings[0].rule == "image_codec"
    assert not mark.exists()


@pytest.mark.parametrize(("dtype", "rule"), [("<f4", "image_depth"), ("|O", "image_depth"), ("nonsense", "image_depth")])
def test_other_kinds_of_numbers_are_refused(tmp_path: Path, dtype: str, rule: str) -> None:
    folder = image(tmp_path, np.zeros((16, 24), np.uint16), "yx")
    metadata = json.loads((folder / "0" / ".zarray").read_text())
    (folder / "0" / ".zarray").write_text(json.dumps(metadata | {"dtype": dtype}))
    with pytest.raises(ImageError) as caught, open_planes(folder):
        pass
    assert caught.value.findings[0].rule == rule


def test_missing_damaged_and_huge_pixels_are_image_errors(tmp_path: Path) -> None:
    plate = golden("0.5", tmp_path)
    group = plate / "B" / "02" / "0"
    chunks = [path for path in (group / "0" / "c").rglob("*") if path.is_file()]
    for chunk in chunks:
        chunk.write_bytes(b"nonsense")
    with pytest.raises(ImageError, match="B/02/0 cannot be read"), open_planes(group) as planes:
        list(planes)
    for chunk in chunks:
        chunk.unlink()
    with pytest.raises(ImageError, match="has metadata, but no pixels"), open_planes(group):
        pass
    metadata = json.loads((group / "0" / "zarr.json").read_text())
    (group / "0" / "zarr.json").write_text(json.dumps(metadata | {"shape": [2, 3, 60_000, 60_000]}))
    with pytest.raises(ImageError, match="declares 3,600,000,000 pixels"), open_planes(group):
        pass


@pytest.mark.parametrize(("old", "new", "words"), [
    ('"path":"B/02"', '"path":"../../etc"', r"no OME-Zarr plate of version 0\.4 or 0\.5: 'etc' lies outside of"),
    ('"wells"', '"holes"', "its metadata lack 'wells'"),
    ('"path":"B/02"', '"path":2', "its metadata are not built as the specification has them"),
    ("{", "", "cannot be read")])
def test_metadata_that_break_the_specification_are_said(tmp_path: Path, old: str, new: str, words: str) -> None:
    plate = golden("0.4", tmp_path)
    text = json.dumps(json.loads((plate / ".zattrs").read_text()), separators=(",", ":"))
    assert old in text
    (plate / ".zattrs").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=words):
        read_source(Source(folder=plate, platemap=tmp_path / "layout.csv"), convention="ome_zarr")
    if new:
        with pytest.raises(InputError, match=words):
            read_source(Source(folder=plate, platemap=tmp_path / "layout.csv"))


def test_rounds_of_staining_count_as_time_points(tmp_path: Path) -> None:
    plate = golden("0.4", tmp_path)
    well = json.loads((plate / "B" / "02" / ".zattrs").read_text())
    for number, one in enumerate(well["well"]["images"]):
        one["acquisition"] = number
    (plate / "B" / "02" / ".zattrs").write_text(json.dumps(well))
    found = read_source(Source(folder=plate, platemap=tmp_path / "layout.csv", plate="P"))
    assert [item.rule for item in found.findings] == ["timepoints"]
    first = read_source(Source(folder=plate, platemap=tmp_path / "layout.csv", plate="P", timepoint=0))
    assert found.files.query("well == 'B02'")["path"].map(lambda path: path.name).tolist() == ["1", "1"]
    assert first.files.query("well == 'B02'")["path"].map(lambda path: path.name).tolist() == ["0", "0"]
