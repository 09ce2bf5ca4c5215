"""Image sets: what imageset.yaml and images.csv may say, archives that are believed only as far as they can be, pixels as networks get
them, and simulated sets whose truth is known.
"""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from models.errors import ImageError, ScreenError, TableError
from models.plates.images import encode_tiff
from models.plates.imageset import ImageArchive, ImageSet, as_layout, check_images, prepare_image, prepare_images
from models.plates.prepare import InputSpec
from models.plates.simulate.imagesets import example_imagesets, toxicity_set, treatment_set, tumour_set

SET = ImageSet(name="s", sample="HepG2", classes=("treated", "untreated"))
GREY = InputSpec(planes=("image:mid",), size=8)
COLOUR = InputSpec(planes=("image.red:mid", "image.green:mid", "image.blue:mid"), size=8)


@pytest.mark.parametrize(("values", "message"), [
    ({"name": "s", "sample": "x"}, "missing field 'classes'"), ({"nmae": "s", "sample": "x", "classes": ["a", "b"]}, "did you mean 'name'"),
    ({"name": "s", "sample": "x", "classes": "ab"}, "classes must be a list of two labels, got 'ab'"),
    ({"name": "s", "sample": "x", "classes": ["a", "a"]}, "classes must be two different labels"),
    ({"name": "s", "sample": "x", "classes": ["a", "b", "c"]}, "classes must be two different labels"),
    ({"name": "s", "sample": "x", "classes": ["a", "b"], "bit_depth": 9}, "bit_depth must be"),
    ({"name": "s", "sample": "", "classes": ["a", "b"]}, "sample must name")])
def test_fields_are_checked(values: dict[str, object], message: str) -> None:
    with pytest.raises(ScreenError, match=message):
        ImageSet.from_dict(values)


def test_a_set_comes_back_from_its_fields() -> None:
    assert ImageSet.from_dict(SET.to_dict()) == SET
    assert SET.acquisition()["channels"] == [{"name": "image", "stain": ""}]


def test_the_table_is_filled_and_checked() -> None:
    table = pd.DataFrame({"image_id": ["a", "b", "c"], "path": ["a.tif", "b.tif", "c.tif"], "label": ["treated", "", "untreated"]})
    checked = check_images(table, SET)
    assert checked["group"].tolist() == ["a", "b", "c"]
    assert check_images(table.assign(group=["g", "", None]), SET)["group"].tolist() == ["g", "b", "c"]
    layout = as_layout(checked, SET)
    np.testing.assert_array_equal(layout["target"], [1, np.nan, 0])
    assert (layout["plate"] == "s").all()
    with pytest.raises(TableError, match=r"image b has the label 'traeted'; imageset\.yaml has the classes treated, untreated"):
        check_images(table.assign(label=["treated", "traeted", ""]), SET)
    with pytest.raises(TableError, match="a more than once"):
        check_images(table.assign(image_id="a"), SET)


def archive(folder: Path, members: dict[str, bytes]) -> Path:
    path = folder / "images.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_archives_are_not_believed(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a.tif")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.tif", b"\0" * 30_000_000)
    (tmp_path / "text.zip").write_text("no zip")
    for name, message in (("link.zip", "symbolic link"), ("bomb.zip", "zip bomb"), ("text.zip", "not a readable zip")):
        with pytest.raises(ImageError, match=message):
            ImageArchive(tmp_path / name)
    for outside in ("../a.tif", "/a.tif", "b\\a.tif"):
        with pytest.raises(ImageError, match="leads outside"):
            ImageArchive(archive(tmp_path, {outside: b"x"}))


def test_what_is_not_there_or_damaged_is_named(tmp_path: Path) -> None:
    with ImageArchive(archive(tmp_path, {"a.tif": b"II*\0nothing", "notes.txt": b"hello"})) as opened:
        assert opened.images() == ("a.tif",)
        with pytest.raises(ImageError, match=r"a\.tif cannot be read"):
            opened.read("a.tif")
        with pytest.raises(ImageError, match=r"images\.csv names b\.tif, which is not in images\.zip"):
            opened.read("b.tif")


def test_pixels_come_on_one_scale_whatever_the_file(tmp_path: Path) -> None:
    """Grey as every colour, colour as its parts or their mean, 8 and 16 bits alike, any shape as a square."""
    grey = np.full((16, 24), 51, np.uint8)
    colour = np.stack([grey, 2 * grey, 0 * grey], axis=-1)
    np.testing.assert_allclose(prepare_image(grey, COLOUR), 0.2)
    np.testing.assert_allclose(prepare_image(colour, COLOUR).mean(axis=(1, 2)), [0.2, 0.4, 0.0], atol=1e-6)
    np.testing.assert_allclose(prepare_image(colour, GREY), 0.2, atol=1e-6)
    np.testing.assert_allclose(prepare_image(np.full((9, 9), 13_107, np.uint16), GREY), 0.2)
    np.testing.assert_allclose(prepare_image(np.stack([grey, grey, grey]), GREY), 0.2, atol=1e-6)
    np.testing.assert_allclose(prepare_image(np.stack([colour, colour]), COLOUR).mean(axis=(1, 2)), [0.2, 0.4, 0.0], atol=1e-6)
    stretched = prepare_image(np.arange(256, dtype=np.uint8).reshape(16, 16), InputSpec(planes=("image:mid",), size=16, intensity="well"))
    assert (stretched.min(), stretched.max()) == (0, 1)
    png = io.BytesIO()
    Image.fromarray(colour).save(png, "PNG")
    with ImageArchive(archive(tmp_path, {"x/a.tif": encode_tiff(colour), "x/b.png": png.getvalue()})) as opened:
        table = pd.DataFrame({"image_id": ["b", "a"], "path": ["x/b.png", "x/a.tif"]})
        images = prepare_images(opened, table, COLOUR, name="s")
    np.testing.assert_array_equal(images.pixels[0], images.pixels[1])
    assert images.wells.to_dict("records") == [{"plate": "s", "well": "b", "site": 1}, {"plate": "s", "well": "a", "site": 1}]
    assert images.pixels.shape == (2, 3, 8, 8)


@pytest.mark.parametrize(("spec", "message"), [
    (InputSpec(planes=("hoechst:mip",), size=8), "has the channel 'image' and no plate"),
    (InputSpec(planes=("image:mid",), size=8, intensity="plate"), "intensity depth or well")])
def test_inputs_of_plates_do_not_fit(spec: InputSpec, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        prepare_image(np.zeros((8, 8), np.uint8), spec)


def test_the_examples_have_as_many_images_as_their_papers() -> None:
    hepg2, l929, liver = example_imagesets()
    assert hepg2.wanted["label"].value_counts().to_dict() == {"untreated": 123, "treated": 80}
    assert (len(l929.wanted), len(l929.unlabelled)) == (185, 150)
    assert liver.wanted["label"].value_counts().to_dict() == {"benign": 68, "malignant": 68}
    assert hepg2.wanted.groupby("group")["label"].nunique().max() == 1  # a dish was treated or not
    for example in (hepg2, l929, liver):
        assert example.imageset.classes[0] in ("treated", "toxic", "malignant")


def test_an_image_is_the_same_whatever_else_is_drawn() -> None:
    for make in (treatment_set, toxicity_set, tumour_set):
        example = make(size=48)
        first, last = example.wanted.iloc[0], example.wanted.iloc[-1]
        alone = example.draw(str(last["image_id"]), str(last["label"]), 48).pixels
        example.draw(str(first["image_id"]), str(first["label"]), 48)
        np.testing.assert_array_equal(example.draw(str(last["image_id"]), str(last["label"]), 48).pixels, alone)
        other = make(size=48, seed=2)
        assert not np.array_equal(other.draw(str(last["image_id"]), str(last["label"]), 48).pixels, alone)


def test_toxic_is_more_than_half_of_the_counted_cells_dead() -> None:
    example = toxicity_set(labelled=12, unlabelled=0, size=112)
    for _, drawn in example.images():
        assert drawn.cells is not None
        assert (drawn.label == "toxic") == ((drawn.cells["state"] == "dead").mean() > 0.5)
        assert drawn.cells[["row", "column"]].to_numpy().min() >= 0
        assert drawn.cells[["row", "column"]].to_numpy().max() < 112
    assert {drawn.label for _, drawn in example.images()} == {"toxic", "nontoxic"}


def test_drawn_cells_lie_where_the_truth_says() -> None:
    """Dead cells are dark at their centre; of a living one only the nucleus is a little darker than the field."""
    example = toxicity_set(labelled=6, unlabelled=0, size=224)
    darkness: dict[str, list[float]] = {"dead": [], "living": []}
    for _, drawn in example.images():
        field = float(np.median(drawn.pixels))
        for cell in drawn.cells.itertuples():
            darkness[cell.state].append(field - float(drawn.pixels[int(cell.row), int(cell.column)]))
    assert np.percentile(darkness["dead"], 5) > 25 > np.percentile(darkness["living"], 95)
