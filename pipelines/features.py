"""What a model sees in each well, as a profile for pycytominer, copairs or R: the features that enter its last layer.

    python -m pipelines.features MODEL [--screen SCREEN] [--out profiles.parquet] [--map map.png]

A row per well in the order of the layout, features as medians over its sites: columns Metadata_Plate, Metadata_Well, the layout's others as
Metadata_<name>, Metadata_model, Metadata_data_md5, and feature_0001 and so on. Nothing is normalised. The ending of the file tells the
form: .parquet, .csv or .csv.gz. With --map a picture too: their t-SNE (after PCA, 95 % of the variance) coloured by dose (Cho et al. 2022,
Figure 4A), with its places beside it as CSV.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from models.errors import InputError
from models.networks.embed import penultimate_features, principal_components, t_sne
from models.networks.predict import Predictor
from models.plates.vocabulary import METADATA
from models.wells import site_medians
from pipelines.command import run_command
from pipelines.figures import save_figure
from pipelines.model_on_screen import add_model_on_screen, read_model_on_screen
from pipelines.prepared import PreparedImageSet, PreparedScreen
from pipelines.profile_figures import plot_dose_map

FORMS = (".parquet", ".csv", ".csv.gz")
PLACED = ("plate", "well", "role", "treatment", "dose", "dose_unit")


def run(predictor: Predictor, data: PreparedScreen | PreparedImageSet) -> pd.DataFrame:
    """The profiles of all wells that have an image; see the module."""
    features = penultimate_features(predictor, data.images)
    names = [f"feature_{number + 1:04d}" for number in range(features.shape[1])]
    images = pd.concat([data.images.wells[["plate", "well"]].reset_index(drop=True), pd.DataFrame(features, columns=names)], axis=1)
    wells = data.layout.merge(site_medians(images, names), on=["plate", "well"], how="inner", validate="one_to_one")
    stated = wells.drop(columns=names).rename(columns={"plate": "Plate", "well": "Well"}).assign(
        model=predictor.card.name, data_md5=data.data_md5)
    return pd.concat([stated.add_prefix(METADATA), wells[names]], axis=1)


def dose_map(profiles: pd.DataFrame, *, title: str) -> tuple[Figure, pd.DataFrame]:
    """(map, places of its wells) of a screen's profiles, without empty wells. Raises InputError for image sets and without dosed wells."""
    wells = profiles.filter(like=METADATA).rename(columns=lambda name: name.removeprefix(METADATA)).rename(
        columns={"Plate": "plate", "Well": "well"})
    if "dose" not in wells or not wells["dose"].gt(0).any():
        raise InputError("--map: no well of it has a dose to be coloured by; it is for screens with treated wells")
    shown = wells["role"].ne("empty")
    places = t_sne(principal_components(profiles.loc[shown].filter(like="feature_").to_numpy(dtype=float)))
    wells = wells.loc[shown, list(PLACED)].reset_index(drop=True)
    return plot_dose_map(places, wells, title=title), wells.assign(t_sne_1=places[:, 0], t_sne_2=places[:, 1])


def write_profiles(profiles: pd.DataFrame, path: Path) -> None:
    """As the file's ending, one of FORMS, tells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".parquet":
        profiles.to_parquet(path, index=False)
    else:
        profiles.to_csv(path, index=False)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_on_screen(parser)
    parser.add_argument("--out", type=Path, help="the file; default artifacts/features/MODEL_SCREEN.parquet")
    parser.add_argument("--map", type=Path, metavar="PNG", help="also draw the wells' t-SNE, coloured by dose")
    arguments = parser.parse_args()
    if arguments.out and not arguments.out.name.lower().endswith(FORMS):
        raise InputError(f"--out {arguments.out}: expected a file that ends with one of {', '.join(FORMS)}")
    predictor, data, name = read_model_on_screen(arguments)
    out, profiles = arguments.out or arguments.artifacts / "features" / f"{name}.parquet", run(predictor, data)
    write_profiles(profiles, out)
    features = sum(name.startswith("feature_") for name in profiles.columns)
    print(f"{len(profiles)} wells, {features} features: {out}")
    if arguments.map:
        figure, places = dose_map(profiles, title=f"{name}: t-SNE of what the model sees in each well")
        arguments.map.parent.mkdir(parents=True, exist_ok=True)
        save_figure(figure, arguments.map)
        places.round(4).to_csv(arguments.map.with_suffix(".csv"), index=False)
        print(f"map by dose: {arguments.map}")


if __name__ == "__main__":
    run_command(main)
