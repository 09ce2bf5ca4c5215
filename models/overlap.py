"""Plates whose controls overlap: their viability means nothing, and so do the numbers of every curve that rests on them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from models.effects import on_curves, words_of_plates
from models.errors import Finding
from models.plates.screen import Controls
from models.tables import CURVES

RULE = "controls_overlap"
_WITHHELD = tuple(name for name in CURVES.names()
                  if name == "auc" or (name.startswith(("ec50", "ic50", "dss")) and not name.endswith("_relation")))


def overlapping(quality: pd.DataFrame, *, controls: Controls) -> dict[str, str]:
    """plate -> what is wrong, of plates whose Z' is below 0: three SDs of one kind of control reach into three of the other's.

    quality: as `assay_quality` gives it, a row per plate. Where single wells do that (the robust Z' is fine), it says so.
    controls: what the screen declares; where they are negative ones alone, a read-out of 0 is 0 %, and three of their SDs reach it.
    """
    if controls == "negative":
        rows = quality[~quality["cv_negative"].between(0, 1 / 3) & quality["cv_negative"].notna()]
        return {str(plate): f"negative controls of plate {plate} lie about zero (CV {cv:.2f}), which is no 100 % (is the table one of "
                            "inhibition? Then give viability)" for plate, cv in zip(rows["plate"], rows["cv_negative"], strict=True)}
    if controls != "both":
        return {}
    rows = quality[quality["z_prime"] < 0]
    return {str(plate): f"controls of plate {plate} overlap (Z' {z_prime:.2f}"
                        + (f"; robust Z' {median:.2f}: single control wells stand out)" if median > 0 else ")")
            for plate, z_prime, median in zip(rows["plate"], rows["z_prime"], rows["z_prime_robust"], strict=True)}


def withhold(curves: pd.DataFrame, wells: pd.DataFrame, words: Mapping[str, str]) -> pd.DataFrame:
    """The curves; those with wells on such plates have the status "failed", the reason, and neither IC50, EC50 nor scores.

    words: of `overlapping`. wells: WellScores. Curves of raw read-outs rest on no control and stay.
    """
    if not words or curves.empty or (curves["scale"] == "raw").all():
        return curves
    said = words_of_plates(curves, wells[on_curves(wells)], words)
    spoiled = said.ne("") & (curves["n"] > 0)
    numbers = {name: curves[name].mask(spoiled) for name in _WITHHELD if name in curves}
    relations = {name: curves[name].mask(spoiled, "") for name in ("ec50_relation", "ic50_relation")}
    return curves.assign(**numbers, **relations, status=curves["status"].mask(spoiled, "failed"),
                         reason=curves["reason"].mask(spoiled, said))


def overlap_findings(words: Mapping[str, str]) -> list[Finding]:
    """A warning for each such plate."""
    return [Finding(rule=RULE, severity="warning", plate=plate, column="role", message=(
        f"{said}, so that treatments on it get neither IC50 nor score; look at its control wells, leave out those that went wrong, or "
        "the plate")) for plate, said in words.items()]
