"""Layouts that lie wrong on their plate are found by how the wells behave, and right ones raise no alarm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from models.plates.images import encode_tiff
from models.plates.wells import PLATE_FORMATS, parse_well, well_name
from validation.behaviour import TURNS, by_chance, coherence, effect, rank_correlation, separation
from validation.behaviour_rules import RULES

if TYPE_CHECKING:
    from .conftest import Draft

BACK = {"shifted by one row downwards": "shifted by one row upwards", "shifted by one row upwards": "shifted by one row downwards",
        "shifted by one column to the right": "shifted by one column to the left",
        "shifted by one column to the left": "shifted by one column to the right"}


def turn_layout(draft: Draft, plate: str, turn: str) -> None:
    """Name each well where it would lie if the plate had been turned; wells that fall off it go, with the images left over."""
    rows, columns = (size - 1 for size in PLATE_FORMATS[96])
    here = draft.layout["plate"] == plate
    moved = [TURNS[turn](*parse_well(well), rows, columns) for well in draft.layout.loc[here, "well"]]
    inside = [0 <= row <= rows and 0 <= column <= columns for row, column in moved]
    names = [well_name(*place) if keep else "" for place, keep in zip(moved, inside, strict=True)]
    draft.layout.loc[here, "well"] = names
    draft.layout = draft.layout[draft.layout["well"] != ""].reset_index(drop=True)
    left = set(draft.layout.loc[draft.layout["plate"] == plate, "well"])
    draft.images[plate] = {name: data for name, data in draft.images[plate].items() if name[:3] in left}


def behaviour(draft: Draft, folder: Path) -> dict[str, list[str]]:
    """Plates by rule of behaviour that says something."""
    found: dict[str, list[str]] = {}
    for finding in draft.judge(folder).findings:
        if finding.rule in {rule.name for rule in RULES}:
            found.setdefault(finding.rule, []).append(finding.plate)
    return found


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_layout_is_named_as_it_lies(full_plates: Draft, tmp_path: Path, turn: str) -> None:
    turn_layout(full_plates, "P2", turn)
    findings = [finding for finding in full_plates.judge(tmp_path / "screen").errors if finding.rule == "layout_turned"]
    assert [(finding.plate, finding.value) for finding in findings] == [("P2", BACK.get(turn, turn))]


@pytest.mark.parametrize("seed", range(3))
def test_a_dead_assay_raises_no_alarm(full_plates: Draft, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for members in full_plates.images.values():
        for name in members:
            members[name] = encode_tiff(rng.normal(100, 20, (16, 16)).clip(0, 255).astype(np.uint8))
    assert behaviour(full_plates, tmp_path / "screen") == {}


def test_a_right_layout_raises_no_alarm(full_plates: Draft, tmp_path: Path) -> None:
    assert behaviour(full_plates, tmp_path / "screen") == {}


def swap(draft: Draft, *plates: str) -> None:
    here = draft.layout["plate"].isin(plates)
    roles = draft.layout["role"].replace({"negative": "positive", "positive": "negative"})
    draft.layout["role"] = draft.layout["role"].where(~here, roles)
    draft.layout.loc[draft.layout["role"] == "negative", ["dose", "dose_unit"]] = ""


def test_swapped_controls_are_found_by_the_dosed_wells(full_plates: Draft, tmp_path: Path) -> None:
    swap(full_plates, "P1", "P2", "P3")
    found = behaviour(full_plates, tmp_path / "screen")
    assert found["controls_swapped"] == ["P1", "P2", "P3"]
    assert "controls_disagree" not in found


def test_controls_swapped_on_one_plate_are_found_by_the_others(full_plates: Draft, tmp_path: Path) -> None:
    swap(full_plates, "P3")
    assert behaviour(full_plates, tmp_path / "screen")["controls_disagree"] == ["P3"]


def test_a_stray_control_is_named(full_plates: Draft, tmp_path: Path) -> None:
    rows = [full_plates.at("negative"), full_plates.at("positive")]
    first, second = (full_plates.member(row) for row in rows)
    full_plates.images["P1"][first] = full_plates.images["P1"][second]
    warnings = [finding for finding in full_plates.judge(tmp_path / "screen").warnings if finding.rule == "control_stray"]
    assert [(finding.plate, finding.well) for finding in warnings] == [("P1", full_plates.layout.at[rows[0], "well"])]


def test_a_control_series_that_does_not_fall(full_plates: Draft, tmp_path: Path) -> None:
    series = (full_plates.layout["role"] == "reference") & (full_plates.layout["plate"] == "P2")
    doses = sorted(full_plates.layout.loc[series, "dose"], key=float)
    reverse = dict(zip(doses, doses[::-1], strict=True))
    full_plates.layout.loc[series, "dose"] = full_plates.layout.loc[series, "dose"].map(reverse)
    assert behaviour(full_plates, tmp_path / "screen") == {"control_series": ["P2"]}


def test_read_outs_speak_where_images_do_not(full_plates: Draft, tmp_path: Path) -> None:
    viability = 1 / (1 + pd.to_numeric(full_plates.layout["dose"]).fillna(0) / 300)
    full_plates.layout["OD450"] = (0.2 + viability.where(full_plates.layout["role"] != "positive", 0)).round(4).astype("str")
    swap(full_plates, "P1", "P2", "P3")
    for finding in full_plates.judge(tmp_path / "screen").errors:
        assert finding.rule == "controls_swapped"


SIGNALS = pd.DataFrame({"a": [0.0, 0.1, -0.1, 4.0, 4.1, 3.9, 2.0]}, index=list("ABCDEFG"))


def test_effect_runs_from_negative_to_positive() -> None:
    effects = effect(SIGNALS, list("ABC"), list("DEF"))
    assert effects["A"] == pytest.approx(0)
    assert effects["D"] == pytest.approx(1)
    assert effects["G"] == pytest.approx(0.5)
    assert effect(SIGNALS, list("ABC"), list("ABC")).isna().all()


def test_separation() -> None:
    assert separation(SIGNALS, list("ABC"), list("DEF")) == 1
    assert np.isnan(separation(SIGNALS, list("AB"), list("DEF")))


def test_coherence_needs_replicates_and_is_low_by_chance() -> None:
    rng = np.random.default_rng(3)
    noise = pd.DataFrame({"a": rng.normal(size=60)})
    groups = pd.Series(np.repeat(np.arange(20), 3))
    assert abs(coherence(noise, groups)) < 0.3
    assert coherence(noise + groups.to_numpy()[:, None], groups) > 0.9
    assert np.isnan(coherence(noise, pd.Series(range(60))))


def test_chance_and_rank_correlation() -> None:
    assert by_chance(1.0, 10) == 2**-10
    assert by_chance(0.0, 10) == 1
    assert rank_correlation(pd.Series([1, 10, 100]), pd.Series([9, 3, 1])) == pytest.approx(-1)
    assert np.isnan(rank_correlation(pd.Series([1, 1]), pd.Series([9, 3])))
