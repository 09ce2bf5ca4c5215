"""Counting on simulated cells whose number, place and state are known; grades; boxes matched with drawn ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.counting import AttachedOptions, CellOptions, count_cells, count_nuclei, match_boxes, reactivity_grade
from models.counting.cells import stands_out
from models.counting.segment import grey
from models.errors import InputError
from pipelines import count_cells as command

SIZE, DIAMETER = 220, 22
BOX = ["x_min", "y_min", "x_max", "y_max"]
GRID = [(40 + 46 * row, 36 + 48 * column) for row in range(4) for column in range(4)]


def distance(centre: tuple[float, float]) -> np.ndarray:
    rows, columns = np.indices((SIZE, SIZE))
    return np.asarray(np.hypot(rows - centre[0], columns - centre[1]))


def bright_field(living: list[tuple[float, float]], dead: list[tuple[float, float]], *, ruling: bool = False, seed: int = 0) -> np.ndarray:
    """uint8: living cells shine in a dark ring, dead ones are grey smudges; uneven light, noise, and the lines of a counting chamber."""
    rng = np.random.default_rng(seed)
    image = 0.38 + 0.05 * np.linspace(-1, 1, SIZE)[:, None] * np.ones(SIZE)
    for centre in living:
        away = distance(centre)
        image += 0.5 * np.exp(-((away / 5) ** 4)) - 0.24 * np.exp(-(((away - 9.5) / 2) ** 2))
    for centre in dead:
        image -= 0.11 * np.exp(-((distance(centre) / 10) ** 8)) * (1 + rng.normal(0, 0.05, image.shape))
    if ruling:
        image[:, 4:7] += 0.4
        image[211:214] -= 0.3
    return np.clip(255 * (image + rng.normal(0, 0.008, image.shape)), 0, 255).astype(np.uint8)


def boxes(centres: list[tuple[float, float]]) -> pd.DataFrame:
    return pd.DataFrame([(x - DIAMETER / 2, y - DIAMETER / 2, x + DIAMETER / 2, y + DIAMETER / 2) for y, x in centres], columns=BOX)


@pytest.mark.parametrize(("living", "dead"), [(12, 4), (3, 13), (16, 0), (0, 16), (1, 0)])
@pytest.mark.parametrize("ruling", [False, True])
def test_every_cell_is_counted_once_and_with_its_state(living: int, dead: int, ruling: bool) -> None:
    places = [GRID[i] for i in np.random.default_rng(living).permutation(len(GRID))]
    counted = count_cells(bright_field(places[:living], places[living:living + dead], ruling=ruling))
    assert (counted.living, counted.dead) == (living, dead)
    for state, centres in (("living", places[:living]), ("dead", places[living:living + dead])):
        match = match_boxes(counted.cells[counted.cells["state"] == state], boxes(centres))
        assert len(match.pairs) == len(centres)
    assert (counted.cells["area"] == np.bincount(counted.labels.ravel())[1:]).all()


def test_touching_cells_are_told_apart() -> None:
    counted = count_cells(bright_field([(60, 60), (60, 81), (150, 150), (170, 150)], []))
    assert counted.living == 4


def test_the_count_is_the_same_from_any_side_and_in_any_depth() -> None:
    image = bright_field(GRID[:9], GRID[9:14])
    states = count_cells(image).cells["state"].value_counts().to_dict()
    for other in (image[::-1], image[:, ::-1], image.T, image.astype(np.uint16) * 257, np.stack([image] * 3, axis=-1), image / 255):
        assert count_cells(other).cells["state"].value_counts().to_dict() == states


def test_larger_cells_are_found_with_a_larger_diameter() -> None:
    image = np.asarray(Image.fromarray(bright_field(GRID[:6], [])).resize((2 * SIZE, 2 * SIZE), Image.Resampling.BICUBIC))
    assert count_cells(image, CellOptions(diameter=2 * DIAMETER, blur=2.0, dead_edge=0.03)).living == 6


def test_an_empty_image_has_no_cells_and_no_grade() -> None:
    counted = count_cells(bright_field([], []))
    assert len(counted) == 0
    assert not counted.labels.any()
    with pytest.raises(InputError, match="0 dead and 0 living"):
        _ = counted.grade
    assert len(count_cells(np.full((60, 60), 7, np.uint8))) == 0
    assert len(count_nuclei(np.full((60, 60), 7, np.uint8))) == 0


@pytest.mark.parametrize("bright", [True, False])
def test_nuclei_are_counted_by_true_number(bright: bool) -> None:
    rng = np.random.default_rng(3)
    image = np.full((SIZE, SIZE), 0.06)
    for centre in GRID:
        image += rng.uniform(0.08, 0.7) * np.exp(-((distance(centre) / rng.uniform(7, 10)) ** 8))    # dim ones beside bright ones
    image += 0.4 * np.exp(-((distance((GRID[0][0], GRID[0][1] + 17)) / 9) ** 8))                     # touches the first
    image = np.clip(image + rng.normal(0, 0.01, image.shape), 0, 1)
    counted = count_nuclei(image if bright else 1 - image)
    assert len(counted) == len(GRID) + 1
    assert set(counted.cells["state"]) == {""}


@pytest.mark.parametrize(("dead", "living", "grade", "word", "toxic"), [
    (0, 10, 0, "none", False), (1, 99, 1, "slight", False), (20, 80, 1, "slight", False), (21, 79, 2, "mild", False),
    (50, 50, 2, "mild", False), (51, 49, 3, "moderate", True), (70, 30, 3, "moderate", True), (71, 29, 4, "severe", True),
    (5, 0, 4, "severe", True)])
def test_grades_of_iso_10993_5(dead: int, living: int, grade: int, word: str, toxic: bool) -> None:
    found = reactivity_grade(dead, living)
    assert (found.grade, found.word, found.toxic) == (grade, word, toxic)
    assert found.dead_share == dead / (dead + living)


@given(st.integers(0, 500), st.integers(0, 500))
def test_one_more_dead_cell_never_lowers_the_grade(dead: int, living: int) -> None:
    if dead + living:
        assert reactivity_grade(dead + 1, living).grade >= reactivity_grade(dead, living).grade


@given(st.integers(0, 300), st.integers(0, 300))
def test_limits_of_the_share_are_wilsons(dead: int, living: int) -> None:
    if not (count := dead + living):
        return
    found, z = reactivity_grade(dead, living), 1.959964
    middle = (dead + z * z / 2) / (count + z * z)
    half = z / (count + z * z) * np.sqrt(dead * living / count + z * z / 4)
    assert (found.low, found.high) == (pytest.approx(middle - half, abs=1e-6), pytest.approx(middle + half, abs=1e-6))
    assert found.low <= found.dead_share <= found.high
    assert found.lowest <= found.grade <= found.highest


@pytest.mark.parametrize(("dead", "living", "verdict"), [
    (1, 0, "cannot say"), (0, 5, "not toxic"), (3, 2, "cannot say"), (55, 45, "cannot say"), (550, 450, "toxic"), (45, 55, "cannot say"),
    (450, 550, "not toxic"), (9, 1, "toxic")])
def test_few_cells_near_a_limit_give_no_verdict(dead: int, living: int, verdict: str) -> None:
    assert reactivity_grade(dead, living).verdict == verdict


def test_boxes_are_matched_one_to_one() -> None:
    drawn = boxes([(50, 50), (50, 90), (150, 150)])
    found = pd.concat([boxes([(52, 49), (48, 51), (50, 92)]), boxes([(100, 20)])], ignore_index=True)
    match = match_boxes(found, drawn)
    assert {tuple(pair) for pair in match.pairs} in ({(0, 0), (2, 1)}, {(1, 0), (2, 1)})
    assert (match.precision, match.recall) == (0.5, pytest.approx(2 / 3))
    nothing = match_boxes(found.iloc[:0], drawn)
    assert np.isnan(nothing.precision)
    assert nothing.recall == 0


@pytest.mark.parametrize(("box", "matches"), [
    ((5, 5, 15, 15), True),         # a quarter of the drawn one, in its middle
    ((7, 7, 13, 13), False),        # less than a tenth of it
    ((0, 0, 20, 38), True), ((0, 0, 20, 44), False), ((-24, 0, 20, 20), False),     # about half of each other; centre inside, and outside
    ((0, 0, 200, 12), False)])
def test_boxes_match_by_overlap_and_by_both_centres(box: tuple[int, int, int, int], matches: bool) -> None:
    drawn, found = pd.DataFrame([(0, 0, 20, 20)], columns=BOX), pd.DataFrame([box], columns=BOX)
    for first, second in ((found, drawn), (drawn, found)):
        assert bool(len(match_boxes(first, second).pairs)) is matches


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 2), np.uint8), np.zeros((2, 3, 4, 3), np.uint8), np.zeros((0, 5), np.uint8),
                                   np.zeros((4, 4), complex), np.full((4, 4), 200.0), np.full((4, 4), np.nan)])
def test_what_is_no_image_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected"):
        grey(wrong)


@pytest.mark.parametrize("options", [CellOptions(), AttachedOptions()])
def test_no_cells_are_made_out_of_noise(options: CellOptions | AttachedOptions) -> None:
    noise = np.clip(np.random.default_rng(0).normal(128, 25, (225, 225)), 0, 255).astype(np.uint8)
    with pytest.raises(InputError, match="stands out from its noise"):
        count_cells(noise, options)
    cells = np.clip(bright_field(GRID[:3], GRID[3:10]) + np.random.default_rng(1).normal(0, 5, (SIZE, SIZE)), 0, 255).astype(np.uint8)
    assert stands_out(grey(cells))


@pytest.mark.parametrize("options", [{"diameter": 0}, {"largest": 0.1}, {"longest": 0.5}, {"solidity": 2}, {"blur": -1}])
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        CellOptions(**options)


def test_the_command_keeps_a_row_for_every_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(bright_field(GRID[:3], GRID[3:10])).save(folder / "a.png")
    Image.fromarray(bright_field([], [])).save(folder / "b.tif")
    (folder / "c.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not asked")
    monkeypatch.setattr("sys.argv", ["count_cells", str(folder), "--out", str(tmp_path / "out")])
    command.main()
    counts = pd.read_csv(tmp_path / "out" / "counts.csv").set_index("image")
    assert counts.index.tolist() == ["a.png", "b.tif", "c.png"]
    assert counts.loc["a.png", ["living", "dead", "grade", "word", "verdict"]].tolist() == [3, 7, 3, "moderate", "cannot say"]
    assert "no cell found" in counts.loc["b.tif", "reason"]
    assert "c.png" in counts.loc["c.png", "reason"]
    cells = pd.read_csv(tmp_path / "out" / "cells.csv")
    assert cells.groupby("image").size().to_dict() == {"a.png": 10}
    overlay = np.asarray(Image.open(tmp_path / "out" / "overlays" / "a.png"))
    outlined = (overlay == command.COLOURS["dead"]).all(axis=-1)
    for cell in cells[cells["state"] == "dead"].itertuples():
        box = outlined[cell.y_min:cell.y_max, cell.x_min:cell.x_max]
        assert all(side.any() for side in (box[0], box[-1], box[:, 0], box[:, -1]))


def test_the_command_without_images_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image found"):
        command.find_images([tmp_path])
    Image.fromarray(bright_field([], [])).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"there is no .*elsewhere"):
        command.find_images([tmp_path, tmp_path / "elsewhere"])


def test_an_image_at_another_scale_is_told_and_is_no_part_of_the_culture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                       capsys: pytest.CaptureFixture[str]) -> None:
    """Its living cells, four times as large, are not found, or taken for dead."""
    field = Image.fromarray(bright_field(GRID[:5], GRID[5:7]))
    for name, image in (("a", field), ("b", field), ("c", field), ("far", field.resize((4 * SIZE, 4 * SIZE))), ("below/d", field)):
        (tmp_path / f"{name}.png").parent.mkdir(exist_ok=True)
        image.save(tmp_path / f"{name}.png")
    monkeypatch.setattr("sys.argv", ["count_cells", str(tmp_path), "--out", str(tmp_path / "out"), "--no-overlays"])
    command.main()
    counts = pd.read_csv(tmp_path / "out" / "counts.csv", keep_default_na=False).set_index("image")
    assert counts["reason"].ne("").tolist() == [False, False, False, True]
    assert "4 times as large as most of these images" in counts.loc["far.png", "reason"]
    assert counts.loc["far.png", "verdict"] == "cannot say"
    told = capsys.readouterr().out
    assert "15 living and 6 dead cells, without 1 image(s) for the reasons given; taken as one culture" in told
    assert "1 image(s) in folders of these folders are not counted" in told


def test_images_of_one_name_in_two_folders_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, dead in (("day 1", GRID[3:10]), ("day 2", GRID[3:5])):
        (tmp_path / folder).mkdir()
        Image.fromarray(bright_field(GRID[:3], dead)).save(tmp_path / folder / "a.png")
    monkeypatch.setattr("sys.argv", ["count_cells", str(tmp_path / "day 1"), str(tmp_path / "day 2"), "--out", str(tmp_path / "out")])
    command.main()
    text = (tmp_path / "out" / "counts.csv").read_text()
    assert "day 1/a.png,3,7," in text       # whole numbers of cells
    assert "day 2/a.png,3,2," in text
    assert sorted(path.parent.name for path in (tmp_path / "out" / "overlays").rglob("a.png")) == ["day 1", "day 2"]
