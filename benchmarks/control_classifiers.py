"""System S2 on simulated patients with known truth: viability, IC50 and DSS after phases II and III, duplicates, a metabolic assay beside.

    python -m benchmarks.control_classifiers [--patients 6] [--models artifacts/models]          after `make demo`

Each patient is another sample (look of nuclei and spheroids) on the example patient's layout, with curves drawn at random for all but the
first. Phase I is the demo's; phases II and III and all scoring are the product's own. Two designs are compared with it: phase II on the
controls of all patients pooled, and the metabolic assay, simulated as 1000 counts for a living well, 100 for a dead one, SD 30.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.simulated import KILL, another_patient, example_named, images_of
from benchmarks.truth import held, true_dss
from benchmarks.uncertainty import FIRST_SEED
from models.dose_response import score_limits
from models.dose_response.readouts import (
    compare_scores,
    duplicate_scores,
    duplicate_wells,
    readout_of,
    reproducibility,
    score_agreement,
    score_readouts,
)
from models.dose_response.selection import HIT_THRESHOLD
from models.dose_response.statistics import correlation, correlation_interval
from models.networks.evaluate import control_metrics
from models.networks.fitting import fit_model
from models.networks.predict import Predictor
from models.networks.recipe import Recipe
from models.networks.starts import Start, draft_card, read_start
from models.plates.images import WellImages
from models.plates.prepare import join_images
from models.plates.quality import QualityLimits
from models.plates.simulate.examples import Example
from models.scoring import score_images
from pipelines.command import run_command
from pipelines.params import Params

PHASE_2, PHASE_3 = "phase II", "phase III"


@dataclass(frozen=True)
class Patient:
    """A simulated patient and its prepared images."""

    example: Example
    images: WellImages


def patients(count: int) -> list[Example]:
    return [example_named("patient-1"), *(another_patient(f"PAT_{n}", seed=FIRST_SEED + n) for n in range(2, count + 1))]


def trained(start: Start, patient: Patient, recipe: Recipe) -> Predictor:
    """A phase of this patient from a start, without folds, as a predictor."""
    screen = patient.example.screen()
    recipe = replace(recipe, split=replace(recipe.split, folds=0))
    fitted = fit_model(start.network, patient.images, patient.example.full_layout(), recipe, device="cpu")
    card = draft_card("phase", recipe, screen, start, fitted, image_quality=QualityLimits(), lineage={"screen": screen.name})
    return Predictor(fitted.network, card, "0" * 64, torch.device("cpu"))


def scored(patient: Patient, predictor: Predictor) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(dosed wells with `true` viability, curves with true IC50 and DSS) as the product scores them."""
    found = score_images(patient.images, patient.example.full_layout(), screen=patient.example.screen(), predictor=predictor, model="m",
                         version="0")
    truth = patient.example.truth().rename(columns={"viability": "true"})[["plate", "well", "true"]]
    curves = patient.example.true_curves()
    joined = curves[["treatment", "ic50", "ic50_relation"]].merge(found.curves, on="treatment", suffixes=("_true", ""))
    return found.wells.merge(truth, on=["plate", "well"]), joined.assign(true_dss=joined["treatment"].map(true_dss(curves)))


def readouts(patient: Patient, wells: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """All read-outs of a patient, the metabolic one too, in the long form of `models.dose_response.readouts`."""
    first = next(iter(wells.values()))
    noise = np.random.default_rng(patient.example.seed).normal(0, 30, len(first))
    metabolic = first.assign(value=100 + 900 * first["true"] + noise)
    parts = [readout_of(metabolic, value="value", name="metabolic", screen=patient.example.name, positive=KILL)]
    parts += [readout_of(table, value="probability", name=name, screen=patient.example.name, positive=KILL)
              for name, table in wells.items()]
    return pd.concat(parts, ignore_index=True)


def well_row(wells: pd.DataFrame) -> pd.Series:
    treated = wells[wells["role"] == "treated"]
    error = treated["viability"] - treated["true"]
    half = treated[treated["true"].between(0.4, 0.6)]["viability"].median()
    return pd.Series({"wells": len(treated), "R": correlation(treated["true"], treated["viability"]).pearson, "bias": error.mean(),
                      "rmse": np.sqrt((error**2).mean()), "half-dead wells read": half})


def curve_row(curves: pd.DataFrame) -> pd.Series:
    """IC50s that the scoring names, against the truth: infinite where half of the cells never die."""
    named = curves[curves["ic50_relation"] == "="]
    truth = named["ic50_true"].where(named["ic50_relation_true"] != ">", np.inf)
    ratio = np.log10((named["ic50"] / truth)[np.isfinite(truth)])
    closed = named[["ic50_model_low", "ic50_model_high"]].notna().all(axis=1)
    censored = curves[curves["ic50_relation"] == ">"]
    return pd.Series({
        "IC50 named": len(named), "of these truly beyond": int(np.isinf(truth).sum()), "log10 ratio median": ratio.median(),
        "lowest": ratio.min(), "highest": ratio.max(), "replicate limits hold": held(named["ic50_low"], truth, named["ic50_high"]).mean(),
        "model limits hold": held(named["ic50_model_low"], truth, named["ic50_model_high"]).mean(), "closed": closed.mean(),
        "width, fold": (named["ic50_model_high"] / named["ic50_model_low"])[closed].median(), "> named": len(censored),
        "of these true": int((censored["ic50_relation_true"] == ">").sum())})


def score_row(curves: pd.DataFrame) -> pd.Series:
    found = correlation(curves["true_dss"], curves["dss_asym"])
    low, high = correlation_interval(found.pearson, found.n)
    limited = score_limits(curves)
    noise, true = score_limits(curves.drop(columns="uncalibrated")), curves["true_dss"]
    hit, bare, none = (table[f"dss_asym_{end}"] >= HIT_THRESHOLD for table, end in ((limited, "low"), (noise, "low"), (limited, "high")))
    return pd.Series({"treatments": found.n, "R": found.pearson, "low": low, "high": high,
                      "mean difference": (curves["dss_asym"] - true).mean(), "truly hits": (true >= HIT_THRESHOLD).sum(),
                      "limits hold": true.between(limited["dss_asym_low"], limited["dss_asym_high"]).mean(),
                      "surely hits": hit.sum(), "truly below": (hit & (true < HIT_THRESHOLD)).sum(),
                      "surely none": (~none).sum(), "truly above": (~none & (true >= HIT_THRESHOLD)).sum(),
                      "noise alone holds": true.between(noise["dss_asym_low"], noise["dss_asym_high"]).mean(),
                      "surely hits by noise alone": bare.sum(), "of these truly below": (bare & (true < HIT_THRESHOLD)).sum()})


def pooled_rows(group: list[Patient], start: Start, recipe: Recipe) -> pd.DataFrame:
    """Phase II on each patient's own controls and on all patients' together, cross-fitted: how well controls are told apart."""
    rows = {}
    for name, parts in (("own controls", [[patient] for patient in group]), ("pooled", [group])):
        found = []
        for part in parts:
            images = join_images([patient.images for patient in part])
            layout = pd.concat([patient.example.full_layout() for patient in part], ignore_index=True)
            found.append(fit_model(copy.deepcopy(start.network), images, layout, recipe, device="cpu").predictions)
        table = pd.concat(found)
        rows[name] = control_metrics(*(table[column].to_numpy(float) for column in ("target", "prediction_cv", "logit_cv")))
    return pd.DataFrame(rows).T[["accuracy", "auroc", "loss", "z_prime"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=6)
    parser.add_argument("--models", type=Path, default=Path("artifacts/models"))
    arguments = parser.parse_args()
    recipes = Params.read("params.yaml").recipes
    second, third = recipes["profile_phase2_small"], recipes["profile_phase3_small"]
    parent = arguments.models / "profile-INF_R_153_CE"
    wells, curves, all_readouts, group = [], [], [], []
    for example in tqdm(patients(arguments.patients), unit="patient"):
        start, patient = read_start(parent, second), Patient(example, images_of(example, second.input))
        group.append(patient)
        two = trained(start, patient, second)
        found = {PHASE_2: scored(patient, two)}
        three = trained(replace(start, network=copy.deepcopy(two.network)), patient, third)
        found[PHASE_3] = scored(patient, three)
        for phase, (own_wells, own_curves) in found.items():
            wells.append(own_wells.assign(phase=phase, patient=example.sample))
            curves.append(own_curves.assign(phase=phase, patient=example.sample))
        all_readouts.append(readouts(patient, {phase: own_wells for phase, (own_wells, _) in found.items()}))
    _say(pd.concat(wells), pd.concat(curves), pd.concat(all_readouts, ignore_index=True))
    print("\npooling\n" + pooled_rows(group, read_start(parent, second), second).round(3).to_string())


def _say(wells: pd.DataFrame, curves: pd.DataFrame, table: pd.DataFrame) -> None:
    dosed = curves[curves["treatment"] != KILL]
    for title, found in (
            ("wells against the truth", wells.groupby(["phase", "patient"]).apply(well_row)),
            ("all wells", wells.groupby("phase").apply(well_row)), ("IC50", dosed.groupby("phase").apply(curve_row)),
            ("DSS_asym against the truth", dosed.groupby("phase").apply(score_row)),
            ("duplicates, viability", reproducibility(duplicate_wells(table))),
            ("duplicates, DSS", reproducibility(duplicate_scores(table))),
            ("image against metabolic DSS", score_agreement(compare_scores(score_readouts(table), reference="metabolic")))):
        print(f"\n{title}\n{found.round(3).to_string()}")


if __name__ == "__main__":
    run_command(main)
