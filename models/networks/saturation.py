"""Wells that a network cannot tell apart: a head whose rectified units are all at rest answers with its last bias, whatever the image."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.errors import Finding

MIN_WELLS, MIN_SHARE = 3, 0.05      # of a plate, that share one output to the last digit, to be told


def saturation_findings(wells: pd.DataFrame, *, value: str, model: str) -> list[Finding]:
    """A warning for each plate of which many wells have the very same raw output. wells: plate, well, excluded and the column `value`,
    a row per well; wells that are left out do not count.

    Their true values differ, so what they hide is scatter: of positive controls it makes Z' look better than it is.
    """
    found = []
    for plate, rows in wells[wells[value].notna() & ~wells["excluded"]].groupby("plate", sort=False):
        values, counts = np.unique(rows[value].to_numpy(), return_counts=True)
        if counts.max() < max(MIN_WELLS, MIN_SHARE * len(rows)):
            continue
        common = values[counts.argmax()]
        same = rows.loc[rows[value] == common, "well"]
        found.append(Finding(
            rule="saturated_output", severity="warning", plate=str(plate), well=", ".join(same), column=value, value=f"{common:.6g}",
            message=f"{len(same)} of {len(rows)} wells get the very same {value}, {common:.4g}: model {model} cannot tell them apart. The "
                    "scatter among them is hidden, so Z' and intervals look better than they are where these wells count; train a model "
                    "whose head does not saturate (head.activation: leaky_relu), or read their images by eye"))
    return found
