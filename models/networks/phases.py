"""Phase III of system S2 (Berker et al., section II-B.5, Fig. 4): drug wells join the controls, each with its duplicate's label.

Phase I trains on the control plate of a cell line, phase II on a screen's own controls; both are ordinary trainings (target
`control_class`) from their parent. Phase III goes on from phase II with target `controls_and_duplicates`: what phase II says of a drug
well becomes the label of its duplicate, so that the network learns what duplicates have in common rather than its own answers.
"""

from __future__ import annotations

import pandas as pd

SAME = ("treatment", "dose", "dose_unit", "treatment_2", "dose_2", "dose_unit_2")


def duplicate_sets(wells: pd.DataFrame) -> pd.Series:
    """Wells of one set hold the same treatment(s) at the same dose(s), whatever their plate; int per row, index kept."""
    return wells.groupby([name for name in SAME if name in wells], dropna=False, sort=False).ngroup()


def exchange_labels(wells: pd.DataFrame, raw: pd.Series) -> pd.Series:
    """The label of each row: mean raw output of the other wells of its duplicate set, NaN where there is no other.

    wells: columns plate, well, treatment, dose, dose_unit (rows are wells and sites); raw: output on 0-1 of the same rows. A well's
    output is the median over its sites. Of two duplicates each gets the other's output (Table I: 0.62, 0.50 -> 0.50, 0.62).
    """
    table = wells.assign(_raw=raw, _set=duplicate_sets(wells))
    of_well = table.groupby(["_set", "plate", "well"], sort=False)["_raw"].median().reset_index()
    by_set = of_well.groupby("_set")["_raw"]
    of_well = of_well.assign(_label=(by_set.transform("sum") - of_well["_raw"]) / (by_set.transform("count") - 1).where(lambda n: n > 0))
    joined = table.merge(of_well[["_set", "plate", "well", "_label"]], on=["_set", "plate", "well"], how="left", validate="many_to_one")
    return pd.Series(joined["_label"].to_numpy(), index=wells.index, name="label")
