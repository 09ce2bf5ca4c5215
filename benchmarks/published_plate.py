"""A published plate, from the network's raw outputs to the paper's figures: reproducibility, Z', image against metabolic scores.

    python -m benchmarks.published_plate [--figures docs/images]        needs the demonstration files of iTReX (DOSEWELL_SHARED)

Berker et al., IEEE Trans. Med. Imaging 41 (2022): iTReX ships the raw CNN viabilities (x 1000) of screen BT-40_V3_DS1, plate 1, with its
layout, and metabolic readings of BT-40 on the same three-plate layout. Their paper gives for image against metabolic DSS, all cell lines
together, R about 0.7, and after phase II 20 % mismatches at DSS 10.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.at_hand import shared
from models.dose_response import FitOptions, assay_quality
from models.dose_response.readout_plots import plot_pairs, plot_score_bars
from models.dose_response.readouts import (
    compare_scores,
    duplicate_scores,
    duplicate_wells,
    readout_of,
    reproducibility,
    score_agreement,
    score_readouts,
    uniformity,
)
from models.plates.layout import read_layout
from models.plates.readers.readouts import read_readouts
from pipelines.command import run_command

SCREEN, IMAGE, METABOLIC = "BT-40_V3_DS1", "image (CNN)", "metabolic"
EXPECTED_HITS = ["Trametinib", "Selumetinib", "Vemurafenib"]    # of the paper's Table II, those on plate 1
LAYOUT, RAW, READINGS = ("iTReX-Demo_MRA_Layout-Imaging-1Plate_ST06.xlsx", "iTReX-Demo_MRA_Readout-Imaging_BT-40-V3-DS1_ST05.xlsx",
                         "iTReX-Demo_MRA_LayoutAndReadouts_BT-40_ST04.xlsx")


def read_plate(folder: Path) -> pd.DataFrame:
    """Both read-outs of plate 1 in one table (see models.dose_response.readouts), each with its own positive control."""
    raw = read_readouts(folder / RAW)[["well", "value"]]
    raw = raw.assign(value=pd.to_numeric(raw["value"]) / 1000)
    image = read_layout(folder / LAYOUT, plate_format=384).merge(raw, on="well", validate="one_to_one")
    readings = read_layout(folder / READINGS, plate_format=384)
    return pd.concat([
        readout_of(image[image["role"] != "empty"], value="value", name=IMAGE, screen=SCREEN, positive="Staurosporine"),
        readout_of(readings[(readings["plate"] == "1") & (readings["role"] != "empty")], value="readout", name=METABOLIC, screen=SCREEN,
                   positive="BzCl")], ignore_index=True)


@dataclass(frozen=True)
class PublishedPlate:
    """What is computed: see the functions of models.dose_response.readouts for the columns."""

    readouts: pd.DataFrame
    quality: pd.DataFrame
    wells: pd.DataFrame
    scores: pd.DataFrame
    filled: pd.DataFrame
    scored: pd.DataFrame
    compared: pd.DataFrame
    agreement: pd.DataFrame


def evaluate(readouts: pd.DataFrame, options: FitOptions) -> PublishedPlate:
    """All figures of the plate. options.mode: "itrex" fits the compared scores as the paper did, "clean" as Dosewell does."""
    scored = score_readouts(readouts, options=options)
    compared = compare_scores(scored, reference=METABOLIC)
    return PublishedPlate(readouts, assay_quality(readouts, value="value", by=("readout", "plate")),
                          reproducibility(duplicate_wells(readouts)), reproducibility(duplicate_scores(readouts)),
                          uniformity(readouts), scored, compared, score_agreement(compared))


def draw(found: PublishedPlate) -> dict[str, Figure]:
    """Figures by file name."""
    labels = ("viability, duplicate 1", "viability, duplicate 2")
    pairs = duplicate_wells(found.readouts)
    return {"bt40_image_and_metabolic.png": plot_score_bars(found.compared, reference=METABOLIC),
            "bt40_duplicates.png": plot_pairs(pairs, found.wells, reproducibility(pairs, by=("screen", "readout")), labels=labels)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, help="folder for the figures")
    arguments = parser.parse_args()
    readouts = read_plate(shared("vendor_layouts") / "itrex")
    for mode in ("itrex", "clean"):
        found = evaluate(readouts, FitOptions(mode=mode, interval="none"))
        if mode == "clean":
            shown = ["readout", "z_prime_mad_mean", "z_prime_robust", "z_prime", "n_negative", "n_positive"]
            print(found.quality[shown].round(3).to_string())
            print("\nduplicates, viability\n", found.wells.round(3).to_string(), "\n\nrange\n", found.filled.round(3).to_string())
            print("\nduplicates, DSS\n", found.scores.round(3).to_string())
        print(f"\nmode {mode}: image against metabolic DSS\n", found.agreement.round(3).to_string())
        print(found.compared[found.compared["mismatch"] != ""].drop(columns=["screen", "readout"]).round(1).to_string())
    if arguments.figures:
        arguments.figures.mkdir(parents=True, exist_ok=True)
        for name, figure in draw(found).items():
            figure.savefig(arguments.figures / name, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    run_command(main)
