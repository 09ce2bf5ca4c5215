"""The command `sample_size`: what more wells bring, judged by wells that did not teach."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from models.errors import InputError
from models.networks.recipe import Recipe
from models.networks.sample_size import sample_sizes
from models.networks.splits import nested_draws
from models.networks.starts import read_start
from pipelines import sample_size
from pipelines.params import Params
from pipelines.prepared import PreparedScreen
from tests.pipelines.chain import prepared_screen


@pytest.fixture(scope="module")
def controls(chain: Path) -> Recipe:
    return Params.read(chain / "params.yaml").recipes["controls"]


@pytest.fixture(scope="module")
def screen(chain: Path) -> PreparedScreen:
    return prepared_screen(chain, "patient-1")


def sizes_of(chain: Path, recipe: Recipe, screen: PreparedScreen, layout: pd.DataFrame) -> pd.DataFrame:
    start = read_start(chain / "artifacts" / "trunks" / "small", recipe)
    return sample_sizes(start.network, screen.images, layout, recipe, draws=4, sizes=3, device="cpu")


def test_each_draw_teaches_with_ever_more_units_and_judges_by_others() -> None:
    units = np.repeat([f"u{number:02d}" for number in range(20)], 3)
    strata = np.repeat([0, 1], 30)
    plan = nested_draws(units, strata, draws=5, sizes=4, seed=3)
    assert len(plan) == 20
    for number in range(5):
        own = [draw for draw in plan if draw.number == number]
        assert all(not set(units[draw.train]) & set(units[draw.test]) for draw in own)
        assert all(set(smaller.train) < set(larger.train) for smaller, larger in itertools.pairwise(own))
        assert all(np.array_equal(draw.test, own[0].test) for draw in own)
        assert [draw.units for draw in own] == [1, 2, 3, 6]
        assert [(strata[draw.train] == 0).sum() for draw in own] == [3, 6, 9, 18]
        assert [(strata[draw.train] == 1).sum() for draw in own] == [3, 6, 12, 21]      # a third of ten is three here and four there
    assert len({tuple(draw.test) for draw in plan}) > 1
    again = nested_draws(units, strata, draws=5, sizes=4, seed=3)
    assert all(np.array_equal(one.train, other.train) for one, other in zip(plan, again, strict=True))


def test_sizes_that_come_out_alike_are_one() -> None:
    units = np.array([f"u{number}" for number in range(6)])
    plan = nested_draws(units, np.zeros(6, int), draws=2, sizes=9, seed=0)
    assert [draw.units for draw in plan if draw.number == 0] == [1, 2, 3, 4]


def test_metrics_come_from_the_wells_that_did_not_teach(chain: Path, controls: Recipe, screen: PreparedScreen) -> None:
    """Labels that say nothing can be learnt, and are no better than chance on other wells."""
    table = sizes_of(chain, controls, screen, screen.layout)
    assert table.groupby("draw")["wells"].apply(lambda wells: wells.is_monotonic_increasing).all()
    assert {"auroc", "z_prime"} <= set(table)
    assert (table["judged"] > 0).all()
    empty = screen.layout.copy()
    for role, other in (("negative", "positive"), ("positive", "negative")):
        empty.loc[screen.layout.index[screen.layout["role"] == role][::2], "role"] = other
    by_chance = sizes_of(chain, controls, screen, empty)
    assert by_chance["auroc"].mean() < 0.6
    assert table["auroc"].mean() > 0.9


def test_recipes_that_train_more_than_a_head_are_refused(chain: Path, controls: Recipe, screen: PreparedScreen) -> None:
    whole = replace(controls, trunk=replace(controls.trunk, trained="all"))
    with pytest.raises(InputError, match=r"trunk\.trained: all"):
        sizes_of(chain, whole, screen, screen.layout)
    with pytest.raises(InputError, match="phase-II parent"):
        sizes_of(chain, replace(controls, target="controls_and_duplicates"), screen, screen.layout)


def test_words_say_what_the_last_wells_brought() -> None:
    table = pd.DataFrame({"wells": [5] * 3 + [10] * 3 + [20] * 3, "r2": [0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.7, 0.8, 0.9],
                          "rmse": [0.4, 0.5, 0.6, 0.3, 0.2, 0.25, 0.1, 0.2, 0.15]})
    sizes = sample_size.over_draws(table)
    assert sizes["r2"].tolist() == [0.2, 0.6, 0.8]
    assert sizes["draws"].tolist() == [3, 3, 3]
    words = sample_size.in_words(sizes)
    assert "0.800 with 20 to learn from (0.720 to 0.880" in words
    assert "0.600 with 10: the last 10 brought +0.200" in words
    assert len(sample_size.draw_sizes(sizes, title="t").axes) == 2


def test_command_writes_table_and_picture(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(chain)
    model = next(name for name, spec in Params.read("params.yaml").models.items()
                 if Params.read("params.yaml").recipes[spec.recipe].trunk.trained == "head")
    monkeypatch.setattr(sys, "argv", ["sample_size", model, "--draws", "3", "--sizes", "2", "--out", str(tmp_path)])
    sample_size.main()
    table = pd.read_csv(tmp_path / f"{model}.csv")
    assert table["draw"].nunique() == 3
    with Image.open(tmp_path / f"{model}.png") as picture:
        assert picture.width > 400
    assert "to learn from" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["sample_size", "nobody"])
    with pytest.raises(InputError, match="no model 'nobody'"):
        sample_size.main()
