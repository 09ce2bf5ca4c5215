"""A folder of labelled images becomes an image set, whatever kind of image it holds; what cannot be one is refused in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from models.errors import InputError
from models.plates.imageset import ImageArchive
from models.plates.spreadsheets import read_table
from pipelines.add_imageset import main
from pipelines.imagesets import read_imageset

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 255, (24, 30, 3), dtype=np.uint8)
KINDS: dict[str, Callable[[np.ndarray], Image.Image]] = {
    "grey": lambda pixels: Image.fromarray(pixels[..., 0]), "colour": Image.fromarray,
    "transparent": lambda pixels: Image.fromarray(pixels).convert("RGBA"), "palette": lambda pixels: Image.fromarray(pixels).convert("P"),
    "one bit": lambda pixels: Image.fromarray(pixels).convert("1"),
    "sixteen bits": lambda pixels: Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)}


def folder_of(place: Path, *labels: str, kind: str = "colour", images: int = 3, name: str = "img_{}.png") -> Path:
    for label in labels:
        (place / label).mkdir(parents=True)
        for number in range(images):
            KINDS[kind](np.roll(COLOUR, 3 * number + sum(map(ord, label)), axis=0)).save(place / label / name.format(number))
    return place


def add(source: Path, out: Path, *words: str) -> None:
    main([str(source), "--name", "mine", "--sample", "L929", "--out", str(out), *words])


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_any_kind_are_a_set(tmp_path: Path, kind: str) -> None:
    add(folder_of(tmp_path / "source", "dead", "living", kind=kind), tmp_path / "data")
    table = read_table(tmp_path / "data" / "mine" / "images.csv")
    assert sorted(table["label"]) == ["dead"] * 3 + ["living"] * 3
    with ImageArchive(tmp_path / "data" / "mine" / "images.zip") as archive:
        shapes = {archive.read(path).shape for path in table["path"]}
    assert shapes == ({(24, 30)} if kind in ("grey", "one bit", "sixteen bits") else {(24, 30, 3)})


def test_names_and_labels_of_any_alphabet_and_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = folder_of(tmp_path / "source", "Tote Zellen", "lebend µ", name="Bild ß {}.png")
    add(source, tmp_path / "data")
    assert "3 Tote Zellen, 3 lebend µ" in capsys.readouterr().out
    add(source, tmp_path / "data")
    assert "already there, made from the same files" in capsys.readouterr().out


@pytest.mark.parametrize(("labels", "message"), [
    ((), "holds no image"), (("living",), "1 label found, a model tells two apart: living (3)"), (("a", "b", "c"), "3 labels found"),
    (("Living", "living"), "the labels 'Living' and 'living' differ by capitals or spaces only"),
    (("dead cells", "dead  cells"), "differ by capitals or spaces only")])
def test_labels_that_make_no_two_classes_are_refused(tmp_path: Path, labels: tuple[str, ...], message: str) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(InputError, match=re.escape(message)):
        add(folder_of(tmp_path / "source", *labels), tmp_path / "data")
    assert not (tmp_path / "data" / "mine").exists()


def test_images_that_cannot_be_read_are_all_named_in_words(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "source", "dead", "living")
    (source / "dead" / "x.png").write_bytes(b"hello")
    (source / "living" / "y.png").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        add(source, tmp_path / "data")
    told = str(caught.value)
    assert "dead/x.png cannot be read" in told
    assert "living/y.png has zero bytes" in told
    assert "0x" not in told


def patients(place: Path, rows: str) -> tuple[Path, Path]:
    """Six images of three patients, and a table that says `rows` of them."""
    source = folder_of(place / "source", "p1", "p2", "p3", images=2)
    (place / "labels.csv").write_text(rows, encoding="utf-8")
    return source, place / "labels.csv"


GOOD = "p1/img_0,dead,1\np1/img_1,living,1\np2/img_0,dead,2\np2/img_1,living,2\np3/img_0,dead,3\np3/img_1,living,3\n"


@pytest.mark.parametrize("header", ["path,label,Patient ID", "Datei,Klasse,patient_id", "image path,class,Spender"])
def test_a_patient_is_a_group_whatever_the_column_is_called(tmp_path: Path, capsys: pytest.CaptureFixture[str], header: str) -> None:
    source, labels = patients(tmp_path, f"{header}\n{GOOD}")
    add(source, tmp_path / "data", "--labels", str(labels))
    assert read_table(tmp_path / "data" / "mine" / "images.csv")["group"].tolist() == list("112233")
    assert f"groups: column '{header.split(',')[2]}' of labels.csv" in capsys.readouterr().out


def test_of_a_slide_and_its_patient_the_patient_is_the_group(tmp_path: Path) -> None:
    wide = "path,label,slide,patient\n" + "".join(f"{row[:-1]}s{place},{row[-1]}\n" for place, row in enumerate(GOOD.split()))
    source, labels = patients(tmp_path, wide)
    add(source, tmp_path / "data", "--labels", str(labels))
    assert read_table(tmp_path / "data" / "mine" / "images.csv")["group"].tolist() == list("112233")


def test_nothing_is_left_out_without_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, labels = patients(tmp_path, "path,label,lot,group\np1/img_0.png,dead,x,1\np2/img_0.png,dead,x,\np2/img_1.png,living,x,2\n")
    add(source, tmp_path / "data", "--labels", str(labels))
    told = capsys.readouterr().out
    assert "3 image(s) are left out, for labels.csv does not name them: p1/img_1.png, p3/img_0.png, p3/img_1.png" in told
    assert "columns of labels.csv that were not used: lot" in told
    assert "1 image(s) name no group and are taken as groups of their own: p2/img_0.png" in told


@pytest.mark.parametrize("row", [r"C:\photos\source\p3\img_1.png", "/elsewhere/p3/img_1.png", "p3\\img_1", "p3/img_1.png"])
def test_a_path_of_another_machine_finds_its_image(tmp_path: Path, row: str) -> None:
    source, labels = patients(tmp_path, f"path,label\n{row},dead\np1/img_0.png,living\n")
    add(source, tmp_path / "data", "--labels", str(labels))
    table = pd.read_csv(tmp_path / "data" / "mine" / "images.csv")
    assert table.loc[table["label"] == "dead", "path"].tolist() == ["p3/img_1.png"]


@pytest.mark.parametrize(("rows", "message"), [
    ("p4/only.png,dead\np1/img_0.png,living\n", "no image 'p4/only.png' under the source"),      # p1/only.png is another image
    ("img_0.png,dead\np1/img_1.png,living\n", "or several of that name"),
    ("p1/img_0.png,dead\np1/img_0,living\n", "rows 2, 3 of labels.csv are all of p1/img_0.png (labels: dead, living)")])
def test_a_row_that_means_no_image_or_one_that_has_a_row_is_refused(tmp_path: Path, rows: str, message: str) -> None:
    source, labels = patients(tmp_path, f"path,label\n{rows}")
    (source / "p1" / "only.png").write_bytes((source / "p1" / "img_0.png").read_bytes())
    with pytest.raises(InputError, match=re.escape(message)):
        add(source, tmp_path / "data", "--labels", str(labels))


def test_classes_of_patients_in_folders_are_the_topmost_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("tumour", "normal"):
        folder_of(tmp_path / "source" / label, f"p1-{label}", f"p2-{label}", f"p3-{label}", images=1)
    (tmp_path / "source" / "normal" / "p3-normal" / "._img_0.png").write_bytes(b"a Mac's")
    add(tmp_path / "source", tmp_path / "data", "--group-pattern", "/(p[0-9])")
    told = capsys.readouterr().out
    assert "3 normal, 3 tumour" in told
    assert "groups that a split keeps together: 3" in told


@pytest.mark.parametrize(("words", "message"), [
    (("--classes", "dead,alive"), "--classes names dead, alive; it must name both as they are written there"),
    (("--group-pattern", "(img"), "--group-pattern (img is no regular expression")])
def test_options_that_do_not_fit_are_told_in_one_line(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        add(folder_of(tmp_path / "source", "dead", "living"), tmp_path / "data", *words)


def test_images_that_would_be_called_alike_keep_apart(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "source", "dead", "living")
    Image.fromarray(COLOUR).save(source / "dead" / "img_0.tif")
    add(source, tmp_path / "data")
    assert {"dead/img_0.png", "dead/img_0.tif"} < set(read_table(tmp_path / "data" / "mine" / "images.csv")["image_id"])


def test_groups_that_share_an_image_become_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else what taught a model tests it: a patient twice in the set under two names."""
    source = folder_of(tmp_path / "source", "dead", "living")
    groups = {"dead/img_0.png": "ann", "dead/img_1.png": "bea", "dead/img_2.png": "cleo", "living/img_0.png": "dora",
              "living/img_1.png": "dora", "living/img_2.png": "eve", "dead/z_0.png": "cleo", "dead/z_1.png": "cleo"}
    for number in (0, 1):       # cleo has images of ann and of bea
        Image.open(source / "dead" / f"img_{number}.png").save(source / "dead" / f"z_{number}.png", compress_level=0)
    rows = "\n".join(f"{path},{path.partition('/')[0]},{group}" for path, group in groups.items())
    (source / "labels.csv").write_text(f"path,label,group\n{rows}\n")
    add(source, tmp_path / "data", "--labels", str(source / "labels.csv"))
    said = capsys.readouterr().out
    table = read_table(tmp_path / "data" / "mine" / "images.csv")
    named = dict(zip(table["path"], table["group"], strict=True))
    assert len({named[path] for path, group in groups.items() if group in ("ann", "bea", "cleo")}) == 1
    assert len(set(named.values())) == 3
    assert "2 image(s) are copies of images of other groups" in said
    assert "groups that a split keeps together: 3" in said


def test_a_box_becomes_a_square_about_its_middle(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    grey = COLOUR[..., 0]
    Image.fromarray(grey).save(source / "a.png")
    (source / "boxes.csv").write_text("image,label,xmin,ymin,xmax,ymax\na.png,toxic,10,6,20,10\na.png,nontoxic,0,8,4,16\n")
    add(source, tmp_path / "data", "--boxes", str(source / "boxes.csv"), "--margin", "1")
    table = read_table(tmp_path / "data" / "mine" / "images.csv")
    assert set(table["group"]) == {"a.png"}
    with ImageArchive(tmp_path / "data" / "mine" / "images.zip") as archive:
        wide, tall = (archive.read(path) for path in ("a_000.tif", "a_001.tif"))
    np.testing.assert_array_equal(wide, grey[3:13, 10:20])
    np.testing.assert_array_equal(tall, np.concatenate([grey[8:16, 1::-1], grey[8:16, 0:6]], axis=1))     # mirrored beyond the image
    with pytest.raises(InputError, match="already there with other content"):
        add(source, tmp_path / "data", "--boxes", str(source / "boxes.csv"), "--margin", "2")


@pytest.mark.parametrize(("box", "message"), [
    ("40,2,44,6", "the middle of the box (40, 2, 44, 6) lies outside of a.png, which has 30x24 pixels"),
    ("0,0,1e9,1e9", "the middle of the box (0, 0, 1e+09, 1e+09) lies outside of a.png"),
    ("-100,2,110,6", "the box (-100, 2, 110, 6) is larger than a.png, which has 30x24 pixels"), ("0,0,inf,9", "row 3: a box needs")])
def test_a_box_that_is_none_of_its_image_is_refused(tmp_path: Path, box: str, message: str) -> None:
    """Boxes that were drawn on larger images would else become crops of mirrored borders, with the label of a cell."""
    (source := tmp_path / "source").mkdir()
    Image.fromarray(COLOUR[..., 0]).save(source / "a.png")
    (source / "boxes.csv").write_text(f"image,label,xmin,ymin,xmax,ymax\na.png,toxic,10,6,20,10\na.png,nontoxic,{box}\n")
    with pytest.raises(InputError, match=re.escape(message)):
        add(source, tmp_path / "data", "--boxes", str(source / "boxes.csv"))
    assert not (tmp_path / "data" / "mine").exists()


@pytest.mark.parametrize("margin", ["0", "-1", "nan", "inf"])
def test_a_margin_is_a_number_above_zero(tmp_path: Path, margin: str) -> None:
    with pytest.raises(InputError, match=r"--margin must be a number above 0, got"):
        add(folder_of(tmp_path / "source", "dead", "living"), tmp_path / "data", f"--margin={margin}")


def test_the_depth_is_that_of_most_images(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "source", "dead", "living", kind="grey")
    KINDS["sixteen bits"](COLOUR).save(source / "dead" / "odd.png")
    add(source, tmp_path / "data")
    assert read_imageset(tmp_path / "data" / "mine").bit_depth == 8
