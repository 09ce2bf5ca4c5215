"""Attached cells, flat while they live and round once they are dead: simulated dishes, touching cells, the border, noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from models.counting import AttachedOptions, count_cells, segment_attached
from models.counting.attached import cut_to_convex
from models.counting.segment import grey
from models.errors import InputError
from models.plates.simulate.fibroblasts import draw_fibroblasts
from pipelines import count_cells as command

SIZE = 200
GRID = [(30.0 + 45 * row, 30.0 + 45 * column) for row in range(4) for column in range(4)]


def ellipse(centre: tuple[float, float], *, long: float, short: float, angle: float = 0.0) -> np.ndarray:
    """Distance from the centre, 1 on the ellipse."""
    rows, columns = np.indices((SIZE, SIZE))
    down, right = rows - centre[0], columns - centre[1]
    along, across = right * np.cos(angle) + down * np.sin(angle), down * np.cos(angle) - right * np.sin(angle)
    return np.asarray(np.hypot(along / long, across / short))


def dish(living: list[tuple[float, float]], dead: list[tuple[float, float]], *, seed: int = 0) -> np.ndarray:
    """uint8: faint spindles that turn step by step, dark discs with a halo, uneven light, noise."""
    rng = np.random.default_rng(seed)
    image = 150 + 6 * np.linspace(-1, 1, SIZE)[:, None] * np.ones(SIZE)
    for number, centre in enumerate(living):
        away = ellipse(centre, long=13.5, short=6, angle=0.7 * number)
        image += -6 * np.exp(-away**6) - 20 * np.exp(-((away - 1) / 0.18) ** 2)
    for centre in dead:
        away = ellipse(centre, long=6.5, short=6.5)
        image += -38 * np.exp(-away**4) - 48 * np.exp(-((away - 1) / 0.17) ** 2) + 34 * np.exp(-((away - 1.42) / 0.2) ** 2)
    return np.clip(np.rint(ndimage.gaussian_filter(image, 0.7) + rng.normal(0, 2.2, image.shape)), 0, 255).astype(np.uint8)


def agreed(cells: pd.DataFrame, true: pd.DataFrame) -> int:
    """Cells of the same state whose box's centre lies within a true cell's radius, one to one."""
    down, right = ((cells[f"{axis}_min"] + cells[f"{axis}_max"] - 1).to_numpy(float)[:, None] / 2 for axis in "yx")
    away = np.hypot(down - true["row"].to_numpy(), right - true["column"].to_numpy()) / true["radius"].to_numpy()
    fits = (away <= 1) & (cells["state"].to_numpy()[:, None] == true["state"].to_numpy())
    rows, columns = linear_sum_assignment(~fits)
    return int(fits[rows, columns].sum())


@pytest.mark.parametrize(("living", "dead"), [(16, 0), (0, 16), (11, 5), (3, 13), (1, 0)])
def test_every_cell_is_counted_once_and_with_its_state(living: int, dead: int) -> None:
    places = [GRID[i] for i in np.random.default_rng(living).permutation(len(GRID))]
    true = pd.DataFrame([(*place, 8.0, "living" if number < living else "dead") for number, place in enumerate(places[:living + dead])],
                        columns=["row", "column", "radius", "state"])
    counted = count_cells(dish(places[:living], places[living:living + dead]), AttachedOptions())
    assert (counted.living, counted.dead, agreed(counted.cells, true)) == (living, dead, living + dead)
    assert (counted.cells["area"] == np.bincount(counted.labels.ravel())[1:]).all()


def test_simulated_dishes_are_counted_nearly_as_they_are() -> None:
    found = true = right = 0
    for seed, share in enumerate((0.1, 0.3, 0.6, 0.9)):
        pixels, cells = draw_fibroblasts(dead_share=share, rng=np.random.default_rng([7, seed]))
        counted = count_cells(pixels, AttachedOptions())
        found, true, right = found + len(counted), true + len(cells), right + agreed(counted.cells, cells)
        assert abs(counted.dead - (cells["state"] == "dead").sum()) <= 2
    assert right >= 0.9 * found
    assert right >= 0.9 * true


def test_the_count_is_the_same_from_any_side_in_any_depth_and_as_a_negative() -> None:
    image = dish(GRID[:9], GRID[9:14])
    for other in (image, image[::-1], image[:, ::-1], image.T, image.astype(np.uint16) * 257, np.stack([image] * 3, axis=-1), 255 - image):
        counted = count_cells(other, AttachedOptions())
        assert (counted.living, counted.dead) == (9, 5)


def test_larger_cells_are_found_with_a_larger_diameter() -> None:
    image = np.asarray(Image.fromarray(dish(GRID[:6], GRID[6:10])).resize((2 * SIZE, 2 * SIZE), Image.Resampling.BICUBIC))
    counted = count_cells(image, AttachedOptions(diameter=34.0, blur=1.6, dead_edge=0.018))
    assert (counted.living, counted.dead) == (6, 4)


def test_cells_that_touch_are_told_apart() -> None:
    living, dead = [(40, 40), (40, 62), (120, 100), (142, 100)], [(160, 40), (160, 54), (40, 130), (54, 130)]
    counted = count_cells(dish(living, dead), AttachedOptions())
    assert (counted.living, counted.dead) == (4, 4)


@pytest.mark.parametrize("apart", [12, 15])
def test_dead_cells_in_a_clump_are_told_apart(apart: float) -> None:
    """Three of them enclose ground between them, and their rims are steep on the outside only where they touch."""
    corners = [(0.0, 0.0), (0.0, 1.0), (0.87, 0.5), (0.87, 1.5)]
    dead = [(y + apart * down, x + apart * right) for y, x in ((40, 40), (120, 110)) for down, right in corners]
    counted = count_cells(dish([], dead), AttachedOptions())
    assert (counted.living, counted.dead) == (0, 8)


@pytest.mark.parametrize(("row", "counts"), [(3.0, True), (-4.0, False), (1.5, True), (-6.0, False)])
def test_a_cell_counts_in_the_field_where_its_centre_lies(row: float, counts: bool) -> None:
    places = [(row, 30.0), (SIZE - 1 - row, 75.0), (100.0, row), (60.0, SIZE - 1 - row)]
    counted = count_cells(dish([], [(100.0, 100.0), *places]), AttachedOptions())
    assert (counted.living, counted.dead) == (0, 1 + 4 * counts)


def test_noise_alone_has_no_cells() -> None:
    flat = [np.full(shape, 7, np.uint8) for shape in ((60, 60), (1, 1), (3, 90))]
    for image in (dish([], []), dish([], [], seed=1), *flat):
        labels, rounded = segment_attached(grey(image))
        assert labels.shape == image.shape
        assert not labels.any()
        assert len(rounded) == 0


def test_one_convex_object_stays_whole_and_discs_in_a_row_are_cut() -> None:
    spindle = ellipse((100, 100), long=25, short=7, angle=0.5) < 1
    row = np.logical_or.reduce([ellipse((100, 60 + 17 * number), long=9, short=9) < 1 for number in range(4)])
    assert cut_to_convex(spindle, AttachedOptions()).max() == 1
    labels = cut_to_convex(row, AttachedOptions())
    assert cut_to_convex(row, AttachedOptions(convex=0, largest=20)).max() == 1
    assert sorted({int(labels[100, 60 + 17 * number]) for number in range(4)}) == [1, 2, 3, 4]


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(20, 180), st.integers(20, 180), st.integers(3, 14), st.integers(3, 14)), max_size=12))
def test_pieces_share_their_objects_out_and_none_is_too_small(ellipses: list[tuple[int, int, int, int]]) -> None:
    options = AttachedOptions()
    mask = np.zeros((SIZE, SIZE), bool)
    for row, column, long, short in ellipses:
        mask |= ellipse((row, column), long=long, short=short) < 1
    labels = cut_to_convex(mask, options)
    objects, count = ndimage.label(mask)
    kept = np.bincount(objects.ravel(), minlength=count + 1) >= options.smallest * options.disc
    kept[0] = False
    assert ((labels > 0) == kept[objects]).all()
    assert (np.bincount(labels.ravel())[1:] >= options.smallest * options.disc).all()
    assert all(len(np.unique(objects[labels == number])) == 1 for number in range(1, labels.max() + 1))


@pytest.mark.parametrize("options", [{"diameter": 0}, {"floor": 0}, {"dead_edge": -1}, {"smallest": 0}, {"largest": 0.1}, {"convex": 2},
                                     {"shown": -1}, {"blur": -1}])
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        AttachedOptions(**options)


def test_the_command_counts_attached_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, (living, dead) in {"a": (3, 12), "b": (5, 11)}.items():
        Image.fromarray(dish(GRID[:living], GRID[living:living + dead])).save(tmp_path / f"{name}.png")
    asked = ["count_cells", str(tmp_path), "--out", str(tmp_path / "out"), "--attached"]
    monkeypatch.setattr("sys.argv", asked)
    command.main()
    counts = pd.read_csv(tmp_path / "out" / "counts.csv").set_index("image")
    assert counts.loc["a.png", ["living", "dead", "grade", "grade_low", "grade_high", "verdict"]].tolist() == [3, 12, 4, 3, 4, "toxic"]
    assert counts.loc["b.png", ["living", "dead", "grade", "grade_low", "grade_high", "verdict"]].tolist() == [5, 11, 3, 2, 4, "cannot say"]
    assert "8 living and 23 dead cells" in (said := capsys.readouterr().out)
    assert "taken as one culture: dead share 0.74 (0.57-0.86), grade 4 (3-4), toxic" in said
    monkeypatch.setattr("sys.argv", [*asked, "--longest", "3"])
    with pytest.raises(InputError, match="--longest"):
        command.main()
