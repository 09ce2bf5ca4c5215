"""The column contracts: example rows of the five systems fit them, and each kind of breach is named."""

from __future__ import annotations

import pandas as pd
import pytest

from models.columns import Contract
from models.errors import TableError
from models.tables import (
    COMBINATION_PAIRS,
    COMBINATIONS,
    CURVES,
    IMAGE_CLASSES,
    IMAGE_SET,
    LAYOUT,
    SINGLE_DOSES,
    TREATMENTS,
    WELL_SCORES,
    check_table,
)
from tests import contract_rows as examples

TABLES = ((LAYOUT, examples.LAYOUT_ROWS), (IMAGE_SET, examples.IMAGE_SET_ROWS), (WELL_SCORES, examples.WELL_SCORE_ROWS),
          (CURVES, examples.CURVE_ROWS), (TREATMENTS, examples.TREATMENT_ROWS), (IMAGE_CLASSES, examples.IMAGE_CLASS_ROWS),
          (SINGLE_DOSES, examples.SINGLE_DOSE_ROWS), (COMBINATIONS, examples.COMBINATION_ROWS),
          (COMBINATION_PAIRS, examples.COMBINATION_PAIR_ROWS))


@pytest.mark.parametrize(("contract", "row"), [
    pytest.param(contract, row, id=f"{contract.name}-{system}") for contract, rows in TABLES for system, row in rows.items()])
def test_example_rows_fit(contract: Contract, row: dict[str, object]) -> None:
    checked = check_table(pd.DataFrame([row]), contract)
    assert list(checked.columns) == [name for name in contract.names() if name in row]


def test_missing_column_is_named_with_those_found() -> None:
    with pytest.raises(TableError, match="no column 'well'; columns found: plate, role"):
        check_table(pd.DataFrame({"plate": ["P"], "role": ["treated"]}), LAYOUT)


def test_text_in_a_number_names_plate_well_and_value() -> None:
    row = examples.LAYOUT_ROWS["viability"] | {"dose": "ten"}
    with pytest.raises(TableError) as caught:
        check_table(pd.DataFrame([row]), LAYOUT)
    finding = caught.value.findings[0]
    assert (finding.plate, finding.well, finding.column, finding.value) == ("A549-1", "B03", "dose", "ten")


def test_a_wrong_cell_is_named_by_its_place_where_rows_of_several_tables_share_their_numbers() -> None:
    row = examples.LAYOUT_ROWS["viability"]
    with pytest.raises(TableError) as caught:
        check_table(pd.DataFrame([row, row | {"well": "B04", "role": "dmso?"}], index=[0, 0]), LAYOUT)
    (finding,) = caught.value.findings
    assert (finding.plate, finding.well, finding.value) == ("A549-1", "B04", "dmso?")
    assert finding.message.endswith("got 'dmso?'")


def test_repeated_key_is_found() -> None:
    row = examples.LAYOUT_ROWS["viability"]
    with pytest.raises(TableError, match="A549-1 B03 more than once"):
        check_table(pd.DataFrame([row, row]), LAYOUT, keys=("plate", "well"))


def test_role_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(TableError, match="one of negative, positive"):
        check_table(pd.DataFrame([examples.LAYOUT_ROWS["viability"] | {"role": "dmso?"}]), LAYOUT)


def test_rows_and_their_order_and_extra_columns_survive() -> None:
    rows = pd.DataFrame([examples.LAYOUT_ROWS["viability"] | {"well": well, "operator": "KC"} for well in ("H12", "A01", "C05")])
    checked = check_table(rows, LAYOUT)
    assert checked["well"].tolist() == ["H12", "A01", "C05"]
    assert checked.columns[-1] == "operator"
