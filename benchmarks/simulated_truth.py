"""Scored viabilities and curves of the simulated screens against their truth, which no stage reads.

    python -m benchmarks.simulated_truth            after `make demo`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.truth import held, true_dss
from models.errors import DosewellError
from pipelines.command import run_command

SCORES = {"a549": Path("artifacts/scores/a549"), "hek293": Path("artifacts/scores/hek293"), "nci-h1975": Path("artifacts/scores/nci-h1975"),
          "patient-1": Path("artifacts/scores/patient-1"), "heldout-a549": Path("var/demo")}


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{name}.parquet") if (folder / f"{name}.parquet").is_file() else pd.read_csv(folder / f"{name}.csv")


def wells_against_truth(screen: str, wells: pd.DataFrame) -> dict[str, object]:
    truth = pd.read_csv(Path("data") / screen / "truth" / "wells.csv")
    joined = wells.merge(truth[["plate", "well", "viability"]], on=["plate", "well"], suffixes=("", "_true"))
    joined = joined[joined["role"].isin(["treated", "reference"]) & joined["viability"].notna() & joined["viability_true"].notna()]
    difference = joined["viability"] - joined["viability_true"]
    return {"screen": screen, "wells": len(joined), "R": stats.pearsonr(joined["viability_true"], joined["viability"]).statistic,
            "bias": difference.mean(), "sd": difference.std(), "rmse": np.sqrt((difference**2).mean())}


def curves_against_truth(screen: str, curves: pd.DataFrame) -> pd.DataFrame:
    truth = pd.read_csv(Path("data") / screen / "truth" / "curves.csv")
    joined = truth.merge(curves, on="treatment", suffixes=("_true", ""))
    both = (joined["ic50_relation_true"] == "=") & (joined["ic50_relation"] == "=")
    inside = held(joined["ic50_low"], joined["ic50_true"], joined["ic50_high"])
    return pd.DataFrame({
        "screen": screen, "treatment": joined["treatment"], "true": censored(joined["ic50_relation_true"], joined["ic50_true"]),
        "scored": censored(joined["ic50_relation"], joined["ic50"]),
        "low": joined["ic50_low"].round(2), "high": joined["ic50_high"].round(2),
        "log10_ratio": (joined["ic50"] / joined["ic50_true"]).apply(np.log10).where(both).round(3),
        "covered": inside.where(both), "true_dss": joined["treatment"].map(true_dss(truth)).round(2),
        "dss": joined["dss_asym"].round(2), "status": joined["status"]})


def censored(relation: pd.Series, value: pd.Series) -> pd.Series:
    return relation.fillna("") + " " + value.round(2).astype(str)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    there = {screen: folder for screen, folder in SCORES.items() if folder.is_dir()}
    if not there:
        raise DosewellError(f"no scores lie at {', '.join(map(str, SCORES.values()))}; `make demo` makes them")
    wells = pd.DataFrame([wells_against_truth(screen, read(folder, "wells")) for screen, folder in there.items()])
    print(wells.round(3).to_string(index=False))
    curves = pd.concat([curves_against_truth(screen, read(folder, "curves")) for screen, folder in there.items()], ignore_index=True)
    print(curves.to_string(index=False))
    for screen, rows in curves.groupby("screen", sort=False):
        if len(rows) > 2:
            found = stats.pearsonr(rows["true_dss"], rows["dss"])
            print(f"{screen}: DSS_asym of {len(rows)} treatments, scored against true: R {found.statistic:.3f}, "
                  f"mean difference {(rows['dss'] - rows['true_dss']).mean():.1f}")
    known = curves["log10_ratio"].dropna()
    print(f"\nIC50 inside the tested doses: {len(known)}; |log10 ratio| median {known.abs().median():.3f}, largest "
          f"{known.abs().max():.3f}; 95 % interval holds the truth in {curves['covered'].sum()} of {curves['covered'].notna().sum()}")


if __name__ == "__main__":
    run_command(main)
