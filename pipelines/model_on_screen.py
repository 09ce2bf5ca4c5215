"""What the commands share that look at a trained model on one screen or image set: their options, and how both are read."""

from __future__ import annotations

import argparse

from models.networks.bundle import trunk_finder
from models.networks.predict import Predictor, load_predictor
from pipelines.command import add_places
from pipelines.params import Params
from pipelines.prepared import PreparedImageSet, PreparedScreen, read_source


def add_model_on_screen(parser: argparse.ArgumentParser) -> None:
    """Which model, on which screen, and where they lie."""
    parser.add_argument("model", help="name in the section `models` of params.yaml")
    parser.add_argument("--screen", default="", help="screen or image set; default: the one that the model was trained on")
    add_places(parser)


def read_model_on_screen(arguments: argparse.Namespace) -> tuple[Predictor, PreparedScreen | PreparedImageSet, str]:
    """The model, the data, and what a file on both is called: MODEL_SCREEN. Raises DosewellError for what is not there."""
    params, root = Params.read(arguments.params), arguments.artifacts
    screen = arguments.screen or params.model(arguments.model).screen
    predictor = load_predictor(root / "models" / arguments.model, find_trunk=trunk_finder([root / "models", root / "trunks"]),
                               device=params.score.device)
    return predictor, read_source(arguments.data / screen, root / "prepared" / screen), f"{arguments.model}_{screen}"
