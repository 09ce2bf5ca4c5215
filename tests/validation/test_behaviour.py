"""Layouts that lie wrong on their plate are found by how the wells behave, and right ones raise no alarm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from models.plates.images import encode_tiff
from models.plates.layout import ParsedLayout, parse_layout
from models.plates.screen import Screen
from models.wells import PLATE_FORMATS, parse_well, well_name
from validation.behaviour import TURNS, balanced_accuracy, effect, rank_correlation
from validation.behaviour_rules import RULES, disagreeing
from validation.layout_fit import MISTAKES, SWAPPED, suspicions
from validation.rules import judge_screen

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


@pytest.mark.parametrize("kind", ["negative", "positive"])
def test_one_kind_of_control_alone_has_nothing_to_be_exchanged_with(kind: str) -> None:
    """Taking the only controls for the others frees the curves of their start: it would explain many a right plate better."""
    names = [well_name(row, column) for row in range(8) for column in range(12)]
    wells = pd.DataFrame({"well": names, "role": [kind if column < 2 else "treated" for _ in range(8) for column in range(12)],
                          "treatment": ["" if column < 2 else f"drug{row}" for row in range(8) for column in range(12)],
                          "dose": [np.nan if column < 2 else 10.0 ** (column / 2) for _ in range(8) for column in range(12)]})
    wells[["row", "column"]] = [parse_well(name) for name in names]
    signals = pd.DataFrame(np.random.default_rng(0).normal(size=(96, 3)), index=names)
    assert SWAPPED not in [one.mistake for one in suspicions(wells, signals, 96)]
    wells.loc[wells["column"] == 0, "role"] = "positive" if kind == "negative" else "negative"
    assert SWAPPED in [one.mistake for one in suspicions(wells, signals, 96)]


def test_controls_swapped_on_one_plate_are_found_by_the_others(full_plates: Draft, tmp_path: Path) -> None:
    swap(full_plates, "P3")
    assert behaviour(full_plates, tmp_path / "screen")["controls_disagree"] == ["P3"]


def test_only_a_plate_that_stands_against_agreeing_others_disagrees() -> None:
    """Beside a swapped plate, two right ones that differ a little must not be blamed for what their sum with it looks like."""
    swapped, one, two = np.array([-1.0, 0.0]), np.array([0.8, 0.6]), np.array([0.8, -0.6])
    assert disagreeing({"P1": swapped, "P2": one, "P3": two}) == ["P1"]
    assert disagreeing({"P1": swapped, "P2": -swapped}) == ["P1", "P2"]     # nobody can tell which
    assert disagreeing({"P2": one, "P3": two}) == disagreeing({"P1": swapped}) == disagreeing({}) == []
    assert disagreeing({"P1": swapped, "P2": np.ones(3)}) == []


def test_a_stray_control_is_named(full_plates: Draft, tmp_path: Path) -> None:
    rows = [full_plates.at("negative"), full_plates.at("positive")]
    first, second = (full_plates.member(row) for row in rows)
    full_plates.images["P1"][first] = full_plates.images["P1"][second]
    warnings = [finding for finding in full_plates.judge(tmp_path / "screen").warnings if finding.rule == "control_stray"]
    assert [(finding.plate, finding.well) for finding in warnings] == [("P1", full_plates.layout.at[rows[0], "well"])]


def test_a_mislabelled_column_of_controls_is_named(full_plates: Draft, tmp_path: Path) -> None:
    """Two of nine controls of each kind with the other's role: too many for their share to look clear, but the kinds lie far apart."""
    layout = full_plates.layout
    here = layout["plate"] == "P1"
    strays = [layout.index[here & (layout["role"] == kind)][:2] for kind in ("negative", "positive")]
    for rows, kind in zip(strays, ("positive", "negative"), strict=True):
        layout.loc[rows, "role"] = kind
    found = [finding for finding in full_plates.judge(tmp_path / "screen").warnings if finding.rule == "control_stray"]
    assert {well for finding in found for well in finding.wells} == {well for rows in strays for well in layout.loc[rows, "well"]}
    assert {finding.plate for finding in found} == {"P1"}


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
    errors = full_plates.judge(tmp_path / "screen").errors
    assert {finding.rule for finding in errors} == {"controls_swapped"}
    assert sorted(finding.plate for finding in errors if "by the read-out" in finding.message) == ["P1", "P2", "P3"]


def with_readouts(draft: Draft, dosed: float, *, assay: str = "") -> Draft:
    """The draft with read-outs: 1.2 in negative controls, 0.2 in positive ones, `dosed` in all others."""
    rng = np.random.default_rng(0)
    read = draft.layout["role"].map({"negative": 1.2, "positive": 0.2}).fillna(dosed)
    draft.layout["OD450"] = (read + rng.normal(0, 0.03, len(read))).round(4).astype("str")
    draft.screen["assay"] = assay
    return draft


def drugs_in_rows(*, turned: bool = False, edge: float = 1.0) -> ParsedLayout:
    """A table of read-outs without the assay's name: negative controls left, positive ones right, a drug in each row; the border reads
    `edge` of what it should.
    """
    rng = np.random.default_rng(0)
    roles = ["negative", *["treated"] * 10, "positive"]
    wells = pd.DataFrame([(well_name(row, column), role, row, column) for row in range(8) for column, role in enumerate(roles)],
                         columns=["well", "role", "row", "column"])
    wells["dose"] = (10.0 ** (0.4 * wells["column"])).where(wells["role"] == "treated")
    living = 1 / (1 + wells["dose"] / wells["row"].map(dict(enumerate([20, 100, 300, 1000, 5, 3000, np.inf, 60]))))
    living = living.fillna(wells["role"].map({"negative": 1.0, "positive": 0.0}))
    living = living.where(wells["row"].between(1, 6) & wells["column"].between(1, 10), edge * living)
    read = (0.1 + living + rng.normal(0, 0.05, 96)).to_numpy()
    return parse_layout(wells.assign(plate="P1", treatment=("drug " + wells["row"].astype(str)).where(wells["role"] == "treated", ""),
                                     dose_unit="nM", readout=read[::-1] if turned else read)
                        .drop(columns=["row", "column"]).astype("str").replace("nan", ""), plate_format=96)


def test_a_border_that_dried_is_not_taken_for_a_turned_plate() -> None:
    """Mirrored, its layout explains more; but whoever turned it would have dead wells read more than living ones."""
    verdict = judge_screen(drugs_in_rows(edge=0.75), Screen(name="s", sample="A549"))
    assert verdict.accepted
    told = next(one for one in verdict.findings if one.rule == "layout_turned")
    assert "as in an assay of living cells, so the layout is taken as right" in told.message


@pytest.mark.parametrize(("assay", "severity"), [("", "warning"), ("LDH", None), ("CCK-8", "error")])
def test_controls_that_read_the_wrong_way_round_are_asked_about_unless_the_assay_is_known(assay: str, severity: str | None) -> None:
    """A drug in each row looks the same when it is turned; the numbers are all wrong."""
    findings = judge_screen(drugs_in_rows(turned=True), Screen(name="s", sample="A549", assay=assay)).findings
    told = [one.severity for one in findings if one.rule in ("controls_direction", "controls_swapped", "layout_turned")]
    assert told == ([severity] if severity else [])


@pytest.mark.parametrize("seed", range(4))
def test_a_plate_all_of_whose_doses_kill_is_not_taken_for_exchanged_controls(seed: int) -> None:
    layout, _ = plate_of_curves(seed)
    rng = np.random.default_rng(seed)
    shown = pd.DataFrame((layout["role"] != "negative").to_numpy(float)[:, None] + rng.normal(0, 0.1, (96, 1)), index=layout["well"])
    found = suspicions(layout, shown, 96)
    assert {one.mistake for one in found} == set(MISTAKES)
    assert all(one.gain < 15 for one in found)


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_plate_without_a_well_that_lives_is_marked_since_exchanged_controls_would_look_the_same(draft: Draft, tmp_path: Path,
                                                                                                   exchanged: bool) -> None:
    with_readouts(draft, 1.2 if exchanged else 0.2)
    if exchanged:
        swap(draft, "P1")
    verdict = draft.judge(tmp_path / "screen")
    told = [finding for finding in verdict.findings if finding.rule == "all_affected" and "read-out" in finding.message]
    assert [finding.severity for finding in told] == ["warning"]
    assert "either every dose has its full effect, or negative and positive controls are exchanged" in told[0].message
    assert not [one for one in verdict.errors if one.rule in ("controls_swapped", "layout_turned") and "read-out" in one.message]


@pytest.mark.parametrize(("dosed", "assay"), [(0.2, "CCK-8"), (1.2, ""), (0.6, "")])
def test_nothing_is_said_where_the_assay_or_a_dosed_well_tells_the_controls_apart(draft: Draft, tmp_path: Path, dosed: float,
                                                                                assay: str) -> None:
    with_readouts(draft, dosed, assay=assay)
    if dosed == 0.6:
        draft.layout.loc[draft.at("treated"), "OD450"] = "1.2"
        draft.layout.loc[draft.at("treated", 5), "OD450"] = "1.1"
    assert not [one for one in draft.judge(tmp_path / "screen").findings if one.rule == "all_affected" and "read-out" in one.message]


def test_a_kind_of_control_of_which_too_few_were_read_is_named(draft: Draft, tmp_path: Path) -> None:
    with_readouts(draft, 0.7)
    draft.layout.loc[draft.layout.index[draft.layout["role"] == "positive"][1:], "OD450"] = ""
    told = [finding for finding in draft.judge(tmp_path / "screen").findings if finding.rule == "readout_controls"]
    assert [(finding.severity, len(finding.wells)) for finding in told] == [("warning", 5)]
    assert "1 of 6 positive control wells of plate P1 has a read-out" in told[0].message


SIGNALS = pd.DataFrame({"a": [0.0, 0.1, -0.1, 4.0, 4.1, 3.9, 2.0]}, index=list("ABCDEFG"))


def test_effect_runs_from_negative_to_positive() -> None:
    effects = effect(SIGNALS, list("ABC"), list("DEF"))
    assert effects["A"] == pytest.approx(0)
    assert effects["D"] == pytest.approx(1)
    assert effects["G"] == pytest.approx(0.5)
    assert effect(SIGNALS, list("ABC"), list("ABC")).isna().all()


def test_balanced_accuracy() -> None:
    assert balanced_accuracy(SIGNALS, list("ABC"), list("DEF")) == 1
    assert np.isnan(balanced_accuracy(SIGNALS, list("AB"), list("DEF")))


def test_rank_correlation() -> None:
    assert rank_correlation(pd.Series([1, 10, 100]), pd.Series([9, 3, 1])) == pytest.approx(-1)
    assert np.isnan(rank_correlation(pd.Series([1, 1]), pd.Series([9, 3])))


def plate_of_curves(seed: int, *, signals: int = 2) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A full 96-well layout and what its wells show: negative 0, positive 1, four drugs on sigmoids, noise 0.1."""
    rng = np.random.default_rng(seed)
    given = [("negative", "", np.nan)] * 8 + [("positive", "", np.nan)] * 8
    given += [("treated", f"drug {drug}", 10.0**dose) for drug in range(4) for dose in range(5) for _ in range(4)]
    wells = [well_name(row, column) for row in range(8) for column in range(12)]
    layout = pd.DataFrame(given, columns=["role", "treatment", "dose"]).iloc[rng.permutation(96)].reset_index(drop=True).assign(well=wells)
    layout["row"], layout["column"] = np.divmod(np.arange(96), 12)
    level = {"negative": 0.0, "positive": 1.0}
    shown = [level.get(role, (dose or 1) / ((dose or 1) + 300)) for role, dose in zip(layout["role"], layout["dose"], strict=True)]
    return layout, pd.DataFrame(np.array(shown)[:, None] + rng.normal(0, 0.1, (96, signals)), index=wells)


def test_a_right_layout_is_likelier_than_every_mistake_and_a_mistake_is_undone_by_its_reverse() -> None:
    layout, shown = plate_of_curves(1)
    found = suspicions(layout, shown, 96)
    assert {one.mistake for one in found} == set(MISTAKES)
    assert all(one.gain < -50 and one.explained < 0.3 for one in found)
    for mistake in TURNS:
        moved = shown.set_axis([well_name(*TURNS[mistake](*parse_well(well), 7, 11)) if all(
            0 <= place <= last for place, last in zip(TURNS[mistake](*parse_well(well), 7, 11), (7, 11), strict=True)) else f"off {well}"
            for well in shown.index])       # what stood in a well is seen where the turned plate shows it
        best = suspicions(layout, moved, 96)[0]
        assert (best.mistake, best.explained > 0.9, best.as_is < 0.5) == (mistake, True, True)
    exchanged = layout.assign(role=layout["role"].replace({"negative": "positive", "positive": "negative"}))
    assert suspicions(exchanged, shown, 96)[0].mistake == SWAPPED


def test_the_evidence_does_not_depend_on_units_or_on_how_signals_are_mixed() -> None:
    layout, shown = plate_of_curves(2, signals=3)
    mixed = pd.DataFrame(shown.to_numpy() @ np.array([[2.0, 0.3, 0], [0, 50, -1], [1, 0, 0.1]]) + 7, index=shown.index)
    for one, other in zip(suspicions(layout, shown, 96), suspicions(layout, mixed, 96), strict=True):
        assert one.mistake == other.mistake
        assert one.gain == pytest.approx(other.gain, abs=1e-6)
        assert one.explained == pytest.approx(other.explained, abs=1e-6)


def test_a_few_odd_wells_are_explained_by_no_layout() -> None:
    """Two wells of different drugs, one below the other, lie far out of a plate on which nothing happens."""
    rng = np.random.default_rng(5)
    layout, _ = plate_of_curves(5)
    shown = pd.DataFrame(rng.normal(0, 1, (96, 3)), index=layout["well"])
    shown.loc[["D06", "E06"]] += 40
    assert suspicions(layout, shown, 96)[0].explained < 0.5


def test_too_few_wells_say_nothing() -> None:
    layout, shown = plate_of_curves(3)
    assert suspicions(layout.head(12), shown, 96) == []
    assert suspicions(layout, shown.head(12), 96) == []
    assert suspicions(layout, shown * 0.0, 96) == []        # one image in every well
    positive = layout.loc[layout["role"] == "positive", "well"]
    assert SWAPPED not in [one.mistake for one in suspicions(layout, shown.drop(positive), 96)]     # their images are missing


@pytest.mark.parametrize(("assay", "refused"), [("CCK-8", True), ("LDH release", False), ("", False), ("CCK-8 and LDH", False)])
def test_a_read_out_that_rises_with_living_cells_is_higher_in_negative_controls(draft: Draft, tmp_path: Path, assay: str,
                                                                               refused: bool) -> None:
    dead = draft.layout["role"].map({"negative": 1.0, "positive": 0.0})    # told the wrong way round; the drugs do nothing
    rng = np.random.default_rng(0)
    draft.layout["OD450"] = (1.2 - 0.8 * dead.fillna(0.5) + rng.normal(0, 0.01, len(dead))).round(4).astype("str")
    draft.screen["assay"] = assay
    found = [finding for finding in draft.judge(tmp_path / "screen").errors if finding.rule == "controls_swapped"]
    assert bool(found) is refused
    if refused:
        assert "in the screen's assay (CCK-8) living cells read higher than dead ones" in found[0].message
