"""A folder of labelled images becomes an image set, whatever kind of image it holds; what cannot be one is refused in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import InputError
from models.plates.imageset import ImageArchive
from models.plates.spreadsheets import read_table
from pipelines.add_imageset import main

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
