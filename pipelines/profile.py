"""Drug profiles of screened samples (system S2): all read-outs of all screens side by side, and what images say beyond viability.

    python -m pipelines.profile [SCREEN ...] [--out artifacts/profile]

Read-outs of a screen: each model of system `profile` that was trained on it (phase II, phase III), the mean of the image stack, and,
where its layout has a column `readout`, the metabolic assay. Writes tables (CSV) and figures (PNG): Z' of all plates, uniformity,
reproducibility of duplicates (viability and DSS), image against metabolic DSS with mismatches, the heat map of DSS, expected hits where
treatments.csv has a column `expected_hit`; and for each screen a waterfall, the map of phenotypes at the top dose by drug class, and
hits whose phenotypes complement each other.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from models.dose_response import assay_quality
from models.dose_response import readout_plots as plots
from models.dose_response.plots import plot_waterfall
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
from models.errors import InputError
from models.networks.bundle import CARD, trunk_finder
from models.networks.embed import complementary_hits, penultimate_features, principal_components, t_sne, top_dose_wells
from models.networks.predict import Predictor, load_predictor
from models.plates.images import PlateArchive
from models.plates.prepare import find_channel
from models.plates.projections import parse_plane
from models.plates.readers.platemaps import TREATMENTS_FILE
from models.plates.spreadsheets import read_table
from models.wells import site_medians
from pipelines.command import add_places, run_command
from pipelines.figures import colour_pictures, save_figure
from pipelines.params import Params, asked_for
from pipelines.prepared import PreparedScreen, read_prepared
from pipelines.profile_figures import plot_phenotype_map
from pipelines.screens import plate_archives

METABOLIC, MEAN_OF_STACK = "metabolic", "mean of stack"
PHASES = {"control_class": "phase II", "controls_and_duplicates": "phase III"}
_THREADS = 4    # reading an archive waits for the disk


@dataclass(frozen=True)
class ProfiledScreen:
    """A screen, its models by read-out name, its treatments' records, and the mean grey value of each well's stack: plate, well, value."""

    data: PreparedScreen
    predictors: dict[str, Predictor]
    treatments: pd.DataFrame
    stack_means: pd.DataFrame


def screen_readouts(profiled: ProfiledScreen) -> pd.DataFrame:
    """All read-outs of a screen in the long form of models.dose_response.readouts."""
    data, name = profiled.data, profiled.data.screen.name
    kill = dict(data.screen.positive_control)
    parts = [readout_of(_with_values(data.layout, profiled.stack_means), value="value", name=MEAN_OF_STACK, screen=name,
                        positive=kill.get("image", ""))]
    for label, predictor in profiled.predictors.items():
        raw = site_medians(predictor.predict(data.images), ["probability"]).rename(columns={"probability": "value"})
        parts.append(readout_of(_with_values(data.layout, raw), value="value", name=label, screen=name, positive=kill.get("image", "")))
    if "readout" in data.layout and data.layout["readout"].notna().any():
        parts.insert(0, readout_of(data.layout, value="readout", name=METABOLIC, screen=name, positive=kill.get("metabolic", "")))
    return pd.concat(parts, ignore_index=True)


def _with_values(layout: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    return layout.drop(columns="value", errors="ignore").merge(values, on=["plate", "well"], how="left", validate="one_to_one")


def mean_of_stack(folder: Path, data: PreparedScreen) -> pd.DataFrame:
    """plate, well, value: mean grey value over planes and sites of the first channel that the models read (Berker et al. 2022, MoS); of
    its mean of the stack where the screen came projected, or what stands for it.
    """
    names, first = [channel.name for channel in data.screen.channels], data.images.channels[0]
    found = find_channel(f"{parse_plane(first).channel}:mos", names) or find_channel(first, names)
    assert found is not None    # the screen was prepared from it
    channel = names.index(found[0])

    def of_well(archive: PlateArchive, well: str, sites: pd.Series) -> dict[str, object]:
        values = [archive.read_stack(well, site=site, channel=channel).mean() for site in sites]
        return {"plate": archive.plate, "well": well, "value": float(np.mean(values))}

    rows: list[dict[str, object]] = []
    for path in plate_archives(folder):
        with PlateArchive(path) as archive, ThreadPoolExecutor(_THREADS) as pool:
            sites = pd.DataFrame(archive.wells_and_sites(), columns=["well", "site"]).groupby("well", sort=False)["site"]
            rows += pool.map(lambda item, archive=archive: of_well(archive, *item), sites)
    return pd.DataFrame(rows, columns=["plate", "well", "value"])


def readout_tables(readouts: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables by file name: what the figures show, all screens together and each by itself."""
    wells, scores, scored = duplicate_wells(readouts), duplicate_scores(readouts), score_readouts(readouts)
    both = ("screen", "readout")
    tables = {"quality": assay_quality(readouts, value="value", by=("screen", "readout", "plate")),
              "uniformity": uniformity(readouts, by=both), "scores": scored, "duplicate_wells": wells, "duplicate_scores": scores,
              "reproducibility_wells": reproducibility(wells), "reproducibility_wells_by_screen": reproducibility(wells, by=both),
              "reproducibility_scores": reproducibility(scores), "reproducibility_scores_by_screen": reproducibility(scores, by=both)}
    if METABOLIC in set(readouts["readout"]):
        compared = compare_scores(scored, reference=METABOLIC)
        tables |= {"image_against_metabolic": compared, "agreement": score_agreement(compared),
                   "agreement_by_screen": score_agreement(compared, by=both)}
    return tables


def readout_figures(readouts: pd.DataFrame, tables: dict[str, pd.DataFrame], treatments: pd.DataFrame) -> dict[str, Figure]:
    """Figures by file name; treatments: records with `expected_hit` where a table of the screens has it."""
    figures = {"quality": plots.plot_quality(tables["quality"]), "uniformity": plots.plot_uniformity(readouts),
               "scores": plots.plot_score_map(tables["scores"])}
    for name, what in (("wells", "viability"), ("scores", "DSS")):
        figures[f"duplicates_{name}"] = plots.plot_pairs(
            tables[f"duplicate_{name}"], tables[f"reproducibility_{name}"], tables[f"reproducibility_{name}_by_screen"],
            labels=(f"{what}, duplicate 1", f"{what}, duplicate 2"))
    if "agreement" in tables:
        figures["image_against_metabolic"] = plots.plot_pairs(
            tables["image_against_metabolic"], tables["agreement"], tables["agreement_by_screen"], first="reference_score", second="score",
            labels=("metabolic DSS", "image-based DSS"), threshold=10.0)
    expected = treatments.loc[treatments["expected_hit"].eq(True), "treatment"].tolist() if "expected_hit" in treatments else []
    if expected:
        figures["expected_hits"] = plots.plot_expected_hits(tables["scores"], expected)
    return figures


def phenotypes(profiled: ProfiledScreen, label: str, scored: pd.DataFrame) -> tuple[Figure, pd.DataFrame, pd.DataFrame]:
    """(map, its places, complementary hits) by the features of one read-out's model. scored: curves of that screen and read-out."""
    data, predictor = profiled.data, profiled.predictors[label]
    wells = data.images.wells.merge(data.layout, on=["plate", "well"], how="left", validate="many_to_one")
    rows = top_dose_wells(wells)
    images, wells = data.images.take(rows), wells.iloc[rows].reset_index(drop=True)
    wells = _named(wells, profiled.treatments)
    components = principal_components(penultimate_features(predictor, images))
    places = t_sne(components)
    title = f"{data.screen.name}, {label}: t-SNE of {components.shape[1]} principal components (95 % of the variance), top doses"
    figure = plot_phenotype_map(places, wells, colour_by="class", title=title, thumbnails=colour_pictures(np.asarray(images.pixels)))
    table = wells[["plate", "well", "role", "treatment", "class", "dose"]].assign(t_sne_1=places[:, 0], t_sne_2=places[:, 1])
    return figure, table, complementary_hits(components, wells, scored)


def _named(wells: pd.DataFrame, treatments: pd.DataFrame) -> pd.DataFrame:
    """With class ("" = unknown) and label (abbreviation, else treatment; the role of control wells)."""
    short, group = (_looked_up(treatments, name, wells["treatment"]) for name in ("abbreviation", "class"))
    label = short.where(short != "", wells["treatment"]).where(wells["role"] == "treated", wells["role"])
    return wells.assign(**{"class": group, "label": label})


def _looked_up(treatments: pd.DataFrame, column: str, names: pd.Series) -> pd.Series:
    """What the records say of each treatment, "" where they say nothing."""
    if column not in treatments:
        return pd.Series("", index=names.index, dtype="str")
    return names.map(treatments.set_index("treatment")[column]).fillna("").astype("str")


def write_profiles(screens: Iterable[ProfiledScreen], out: Path) -> dict[str, pd.DataFrame]:
    """Tables and figures of all screens into `out`, those of single screens into `out`/<screen>; returns the tables."""
    screens = list(screens)
    if not screens:
        raise InputError("no screen has a trained model of system profile and treated wells; run `dvc repro`, or list one in params.yaml")
    out.mkdir(parents=True, exist_ok=True)
    readouts = pd.concat([screen_readouts(profiled) for profiled in screens], ignore_index=True)
    tables = readout_tables(readouts)
    treatments = pd.concat([profiled.treatments for profiled in screens], ignore_index=True)
    for name, table in tables.items():
        table.round(6).to_csv(out / f"{name}.csv", index=False)
    for name, figure in readout_figures(readouts, tables, treatments).items():
        save_figure(figure, out / f"{name}.png")
    for profiled in screens:
        _write_screen(profiled, tables["scores"], out / profiled.data.screen.name)
    (out / "metrics.json").write_text(json.dumps(summary(tables), indent=1, sort_keys=True) + "\n")
    return tables


def _write_screen(profiled: ProfiledScreen, scores: pd.DataFrame, folder: Path) -> None:
    """Waterfall, phenotype map and complementary hits of the screen's last model (phase III where there is one)."""
    folder.mkdir(exist_ok=True)
    label = list(profiled.predictors)[-1]
    own = scores[(scores["screen"] == profiled.data.screen.name) & (scores["readout"] == label)].reset_index(drop=True)
    own = own.assign(**{"class": _looked_up(profiled.treatments, "class", own["treatment"])})
    save_figure(plot_waterfall(own, colour_by="class" if own["class"].ne("").any() else ""), folder / "waterfall.png")
    figure, places, pairs = phenotypes(profiled, label, own)
    save_figure(figure, folder / "phenotypes.png")
    places.round(4).to_csv(folder / "phenotypes.csv", index=False)
    pairs.round(4).to_csv(folder / "complementary_hits.csv", index=False)
    columns = ["treatment", "class", "dss_asym", "hit", "hit_reason", "ic50", "ic50_relation", "status"]
    own.sort_values("dss_asym", ascending=False)[columns].round(4).to_csv(folder / "hits.csv", index=False)


def summary(tables: dict[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    """Headline figures by read-out, for `dvc metrics`."""
    found: dict[str, dict[str, float]] = {}
    for name, group in tables["quality"].groupby("readout", sort=False):
        found[str(name)] = {"z_prime_mad_mean_median": float(group["z_prime_mad_mean"].median())}
    for table, prefix in (("reproducibility_wells", "viability_r"), ("reproducibility_scores", "dss_r"), ("agreement", "metabolic_dss_r")):
        for row in tables.get(table, pd.DataFrame()).to_dict("records"):
            found[str(row["readout"])][prefix] = float(row["pearson"])
            if "mismatch_share" in row:
                found[str(row["readout"])]["mismatch_share"] = float(row["mismatch_share"])
    return {name: {key: round(value, 4) for key, value in values.items() if np.isfinite(value)} for name, values in found.items()}


def read_profiled(name: str, params: Params, *, data: Path, artifacts: Path) -> ProfiledScreen | None:
    """A screen with its models of system profile, or None where it has none or no treated well."""
    prepared = artifacts / "prepared" / name
    models = [model for model, entry in params.models.items() if entry.screen == name and params.recipes[entry.recipe].system == "profile"
              and (artifacts / "models" / model / CARD).is_file()]
    if not models or not (prepared / "source.json").is_file():
        return None
    screen = read_prepared(data / name, prepared)
    if not screen.layout["role"].eq("treated").any():
        return None
    find = trunk_finder([artifacts / "models", artifacts / "trunks"])
    loaded = [load_predictor(artifacts / "models" / model, find_trunk=find, device=params.score.device) for model in models]
    loaded.sort(key=lambda predictor: predictor.card.recipe.target != "control_class")
    targets = [predictor.card.recipe.target for predictor in loaded]
    labels = [PHASES[target] if targets.count(target) == 1 and target in PHASES else predictor.card.name
              for target, predictor in zip(targets, loaded, strict=True)]
    table = data / name / TREATMENTS_FILE
    treatments = read_table(table) if table.is_file() else pd.DataFrame(columns=["treatment"])
    if "expected_hit" in treatments:
        treatments["expected_hit"] = treatments["expected_hit"].astype(str).str.lower().isin(["true", "yes", "1"])
    return ProfiledScreen(screen, dict(zip(labels, loaded, strict=True)), treatments, mean_of_stack(data / name, screen))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("screens", nargs="*", help="screens of params.yaml; default: all that have a model of system profile")
    add_places(parser)
    parser.add_argument("--out", type=Path, default=Path("artifacts/profile"),
                        help="folder for the tables and figures (default: %(default)s)")
    arguments = parser.parse_args()
    params = Params.read(arguments.params)
    for name in arguments.screens:
        asked_for(params.screens, name, "screen")
    names = arguments.screens or list(params.screens)
    found = (read_profiled(name, params, data=arguments.data, artifacts=arguments.artifacts)
             for name in tqdm(names, unit="screen", desc="profile"))
    tables = write_profiles((profiled for profiled in found if profiled), arguments.out)
    for name in ("reproducibility_wells", "reproducibility_scores", "agreement"):
        if name in tables:
            print(f"\n{name.replace('_', ' ')}\n{tables[name].round(3).to_string(index=False)}")
    print(f"\ntables and figures: {arguments.out}")


if __name__ == "__main__":
    run_command(main)
