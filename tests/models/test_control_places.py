"""Wells that read otherwise in one place than in another: told, and the others left in peace."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.control_places import place_findings
from models.errors import Finding
from models.plates.screen import Controls, Screen
from models.scoring import score_measured
from models.wells import parse_well, wells_of

FORMAT = 384


def plate(rng: np.random.Generator, *, noise: float = 0.05, columns: float = 0.0, rows: float = 0.0, border: float = 0.0,
          seed_columns: tuple[int, ...] = (0, 7, 16, 23)) -> pd.DataFrame:
    """Controls in some columns, negative and positive in turn; the negative ones change by so much of the window over the plate."""
    names = [str(name) for name in wells_of(FORMAT)]
    places = [parse_well(name) for name in names]
    kept = [(name, row, column) for name, (row, column) in zip(names, places, strict=True) if column in seed_columns]
    table = pd.DataFrame(kept, columns=["well", "row", "column"])
    table["role"] = np.where((table["row"] + table["column"]) % 2 == 0, "negative", "positive")
    at_border = table["row"].isin([0, 15]) | table["column"].isin([0, 23])
    living = 1 + columns * (table["column"] / 23 - 0.5) + rows * (table["row"] / 15 - 0.5) + border * at_border
    level = living.where(table["role"] == "negative", 0.0)
    return table.assign(plate="P1", excluded=False, readout=100 + 1000 * (level + noise * rng.standard_normal(len(table))))


def found(table: pd.DataFrame, controls: Controls = "both") -> list[Finding]:
    return place_findings(table.assign(viability=np.nan, treatment="", dose=np.nan), pd.DataFrame(), value="readout", controls=controls,
                          plate_format=FORMAT)


@pytest.mark.parametrize(("change", "words"), [
    ({"columns": 0.4}, "rise by 4. % of the assay's window from column 1 to column 24"),
    ({"columns": -0.3}, "fall by .. % of the assay's window from column 1 to column 24"),
    ({"rows": 0.4}, "rise by .. % of the assay's window from row A to row P"),
    ({"border": -0.3}, "fall by .. % of the assay's window from the inner wells to the border")])
def test_what_depends_on_the_place_is_told(change: dict[str, float], words: str) -> None:
    (finding,) = found(plate(np.random.default_rng(1), noise=0.04, **change))
    assert (finding.rule, finding.plate, finding.severity) == ("position_effect", "P1", "warning")
    assert pd.Series([finding.message]).str.contains(words).all(), finding.message


def test_even_plates_are_left_in_peace_and_small_changes_too() -> None:
    rng = np.random.default_rng(2)
    assert sum(bool(found(plate(rng, noise=0.15))) for _ in range(300)) <= 3        # three looks at 0.001 each
    assert not any(found(plate(rng, noise=0.02, columns=0.1)) for _ in range(20))


def test_controls_of_one_column_few_or_left_out_tell_nothing() -> None:
    rng = np.random.default_rng(3)
    assert found(plate(rng, columns=0.6, seed_columns=(0,))) == []
    table = plate(rng, columns=0.6)
    assert len(found(table)) == 1
    few = table.assign(excluded=~table["well"].isin(["A01", "A17", "B08", "B24", "C01"]) & table["role"].eq("negative"))
    assert found(few) == []
    assert found(table.assign(readout=np.nan)) == []
    alone = table[table["role"] == "negative"]
    assert len(found(alone, controls="negative")) == 1
    assert found(alone) == []      # no positive control left: no window


def scattered(rng: np.random.Generator, *, border: float = 1.0, lower: float = 1.0) -> pd.DataFrame:
    """20 killing treatments of 8 doses in duplicate at random places, controls in the middle column alone; border wells read so much of
    what they should, and in the lower half of the plate IC50s are so much higher.
    """
    names = [str(name) for name in wells_of(FORMAT)]
    controls = [name for name in names if name.endswith("12")]
    places = list(rng.permutation([name for name in names if name not in controls]))
    rows = [(name, ("negative", "positive")[at % 2], "", np.nan, float("nan")) for at, name in enumerate(controls)]
    rows += [(str(places.pop()), "treated", f"drug {number}", dose, 10.0 ** (number % 5))
             for number in range(20) for dose in np.logspace(-1, 5, 8) for _ in range(2)]
    table = pd.DataFrame(rows, columns=["well", "role", "treatment", "dose", "ic50"])
    row, column = np.array([parse_well(name) for name in table["well"]]).T
    ic50 = table["ic50"] * np.where(row >= 8, lower, 1.0)
    living = np.where(table["role"] == "treated", 1 / (1 + table["dose"] / ic50), table["role"] == "negative")
    outer = np.isin(row, (0, 15)) | np.isin(column, (0, 23))
    return table.drop(columns="ic50").assign(
        plate="P1", replicate=1, dose_unit=np.where(table["dose"].notna(), "nM", ""),
        readout=1000 * (living * np.where(outer, border, 1.0) + 0.05 * rng.standard_normal(len(table))))


@pytest.mark.parametrize(("wrong", "words"), [
    ({"border": 0.75}, "beside their treatments' curves, fall by .. % of the assay's window from the inner wells to the border"),
    ({"lower": 30.0}, "beside their treatments' curves, rise by .. % of the assay's window from row A to row P")])
def test_treated_wells_tell_of_places_where_no_control_is(wrong: dict[str, float], words: str) -> None:
    """A border that dried; another cell line in half of the wells. Controls of one column, and Z', know nothing of it."""
    screen = Screen.from_dict({"name": "s", "sample": "X", "plate_format": FORMAT})

    def told(table: pd.DataFrame) -> list[str]:
        return [one.message for one in score_measured(table, screen=screen).findings if one.rule == "position_effect"]

    (message,) = told(scattered(np.random.default_rng(4), **wrong))
    assert pd.Series([message]).str.contains(words).all(), message
    assert told(scattered(np.random.default_rng(4))) == []


@pytest.mark.parametrize(("bad", "words"), [
    (("P1", "P2"), "in column 7 of all 2 plates alike lie"), (("P2",), "in column 7 of plate P2 lie")])
def test_a_column_that_reads_less_is_told_on_all_plates_or_on_the_one(bad: tuple[str, ...], words: str) -> None:
    rng = np.random.default_rng(8)
    table = pd.concat([scattered(rng).assign(plate=plate) for plate in ("P1", "P2")], ignore_index=True)
    screen = Screen.from_dict({"name": "s", "sample": "X", "plate_format": FORMAT})
    assert [one for one in score_measured(table, screen=screen).findings if one.rule == "position_effect"] == []
    table.loc[table["well"].str.endswith("07") & table["plate"].isin(bad), "readout"] *= 0.7
    (finding,) = [one for one in score_measured(table, screen=screen).findings if one.rule == "position_effect"]
    assert words in finding.message
    assert float(finding.value) < -0.1


def test_no_curve_is_sure_where_controls_differ_by_a_quarter_of_the_window_from_place_to_place() -> None:
    """Drugs at random places, and controls among them, on a plate whose border dried."""
    table = scattered(np.random.default_rng(5), border=0.6)
    lowest = table["dose"].eq(table["dose"].min())
    table.loc[lowest, ["role", "treatment", "dose_unit", "dose"]] = ["negative", "", "", np.nan]
    scored = score_measured(table, screen=Screen.from_dict({"name": "s", "sample": "X", "plate_format": FORMAT}))
    (finding,) = [one for one in scored.findings if one.rule == "position_effect"]
    assert "the negative controls of plate P1 fall by" in finding.message
    assert not scored.curves["status"].eq("ok").any()
    assert scored.curves["reason"].str.contains("what a well of plate P1 reads depends on where it lies").all()


def test_a_series_laid_out_the_wrong_way_round_is_no_matter_of_places() -> None:
    """Eight drugs in rows on three plates, one from right to left: it tells of itself."""
    rng = np.random.default_rng(6)
    rows = [(f"P{copy}", str(well), ("negative", "positive")[column // 11] if column in (0, 11) else "treated", row, column)
            for copy in range(3) for well in wells_of(96) for row, column in [parse_well(str(well))]]
    table = pd.DataFrame(rows, columns=["plate", "well", "role", "row", "column"])
    dosed = table["role"] == "treated"
    meant = 10.0 ** (0.4 * table["column"])
    given = meant.where(table["row"] != 2, 10.0 ** (0.4 * (11 - table["column"])))
    living = np.where(dosed, 1 / (1 + given / 10.0 ** (1 + table["row"] / 3)), table["role"] == "negative")
    wells = table.assign(treatment=np.where(dosed, "drug " + table["row"].astype(str), ""), dose=meant.where(dosed),
                         dose_unit=np.where(dosed, "nM", ""), replicate=1, readout=living + 0.05 * rng.standard_normal(len(table)))
    scored = score_measured(wells.drop(columns=["row", "column"]), screen=Screen.from_dict({"name": "s", "sample": "X"}))
    assert [one.rule for one in scored.findings] == []
    assert "is the dilution series the wrong way round?" in scored.curves.set_index("treatment").loc["drug 2", "reason"]
