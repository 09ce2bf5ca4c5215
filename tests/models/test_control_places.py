"""Negative controls that read otherwise in one place than in another: told, and the others left in peace."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.control_places import place_findings
from models.errors import Finding
from models.plates.wells import parse_well, wells_of

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


def found(table: pd.DataFrame) -> list[Finding]:
    return place_findings(table, value="readout", controls="both", plate_format=FORMAT)


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
    assert len(place_findings(table[table["role"] == "negative"], value="readout", controls="negative", plate_format=FORMAT)) == 1
    assert found(table[table["role"] == "negative"]) == []      # no positive control left: no window
