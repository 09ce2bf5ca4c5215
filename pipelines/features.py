"""What a model sees in each well, as a profile for pycytominer, copairs or R: the features that enter its last layer.

    python -m pipelines.features MODEL [--screen SCREEN] [--out profiles.parquet]

A row per well in the order of the layout, features as medians over its sites: columns Metadata_Plate, Metadata_Well, the layout's others as
Metadata_<name>, Metadata_model, Metadata_data_md5, and feature_0001 and so on. Nothing is normalised. The ending of the file tells the
form: .parquet, .csv or .csv.gz.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from models.errors import InputError
from models.networks.embed import penultimate_features
from models.networks.predict import Predictor
from models.plates.vocabulary import METADATA
from models.wells import site_medians
from pipelines.command import run_command
from pipelines.model_on_screen import add_model_on_screen, read_model_on_screen
from pipelines.prepared import PreparedImageSet, PreparedScreen

FORMS = (".parquet", ".csv", ".csv.gz")


def run(predictor: Predictor, data: PreparedScreen | PreparedImageSet) -> pd.DataFrame:
    """The profiles of all wells that have an image; see the module."""
    features = penultimate_features(predictor, data.images)
    names = [f"feature_{number + 1:04d}" for number in range(features.shape[1])]
    images = pd.concat([data.images.wells[["plate", "well"]].reset_index(drop=True), pd.DataFrame(features, columns=names)], axis=1)
    wells = data.layout.merge(site_medians(images, names), on=["plate", "well"], how="inner", validate="one_to_one")
    stated = wells.drop(columns=names).rename(columns={"plate": "Plate", "well": "Well"}).assign(
        model=predictor.card.name, data_md5=data.data_md5)
    return pd.concat([stated.add_prefix(METADATA), wells[names]], axis=1)


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
    arguments = parser.parse_args()
    if arguments.out and not arguments.out.name.lower().endswith(FORMS):
        raise InputError(f"--out {arguments.out}: expected a file that ends with one of {', '.join(FORMS)}")
    predictor, data, name = read_model_on_screen(arguments)
    out, profiles = arguments.out or arguments.artifacts / "features" / f"{name}.parquet", run(predictor, data)
    write_profiles(profiles, out)
    features = sum(name.startswith("feature_") for name in profiles.columns)
    print(f"{len(profiles)} wells, {features} features: {out}")


if __name__ == "__main__":
    run_command(main)
