"""List a model in params.yaml, with its screen, its starting weights and what it scores; comments and order stay.

    python -m pipelines.add_model profile-my-screen --screen my-screen --recipe controls_mobilenet --parent trunks/mobilenet_v2
        [--weights IMAGENET1K_V2 | --weights mobilenet_v2_imagenet.safetensors] [--planes dapi:mip,dapi:mid,dapi:mip] [--no-score]

--planes derives a recipe that reads other channels: the named one with an input of the screen's own. The same command again
changes nothing. A name that leads nowhere, or stands there with other values, is refused.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import ParamsError, ScreenError
from models.networks.backbones import weights_file
from models.networks.bundle import file_sha256
from models.plates.prepare import InputSpec
from pipelines.command import run_command
from pipelines.imagesets import is_imageset
from pipelines.params import Params, entry_of
from pipelines.params_entries import add_entries


@dataclass(frozen=True, kw_only=True)
class NewModel:
    """What a person asks for. parent: trunks/<name> or models/<name>; weights: of a trunk that is not listed yet, a torchvision name
    or a .safetensors file; scores: whether it is to score its screen. planes: "channel:projection" of each network channel, where the
    recipe's own input does not fit the screen.
    """

    name: str
    screen: str
    recipe: str
    parent: str
    weights: str = ""
    scores: bool = True
    planes: tuple[str, ...] = ()


def entries_of(model: NewModel, params_file: Path, *, section: str) -> dict[str, dict[str, Any]]:
    """section -> name -> value, as they stand in params.yaml. section: of what the model learns from, screens or imagesets.

    Raises ParamsError for an unknown recipe or misplaced weights.
    """
    recipe = entry_of(params_file, "recipes", model.recipe)
    recipe_name, entries = model.recipe, dict[str, dict[str, Any]]()
    if model.planes:
        usual = entry_of(params_file, "inputs", recipe["input"])
        recipe_name = f"{model.recipe}-{model.screen}"
        recipe = {**recipe, "input": f"{model.screen}_{usual.get('size', InputSpec.size)}"}
        entries |= {"inputs": {recipe["input"]: {**usual, "planes": list(model.planes)}}, "recipes": {recipe_name: recipe}}
    entries |= {section: {model.screen: {"input": recipe["input"]}},
                "models": {model.name: {"screen": model.screen, "recipe": recipe_name, "parent": model.parent}}}
    if model.scores:
        entries["scores"] = {model.screen: model.name}
    if model.weights:
        kind, _, trunk = model.parent.partition("/")
        if kind != "trunks":
            raise ParamsError(f"--weights {model.weights}: a model that descends from {model.parent} takes over its weights; leave it out")
        entries["trunks"] = {trunk: trunk_entry(Params.read(params_file).recipes[model.recipe].trunk.name, model.weights)}
    return entries


def trunk_entry(trunk: str, weights: str) -> dict[str, Any]:
    """Starting weights as params.yaml lists them; a file carries its sha256. Raises WeightsError when the file is not found."""
    if not weights.endswith(".safetensors"):
        return {"name": trunk, "weights": weights}
    return {"name": trunk, "weights": weights, "sha256": file_sha256(weights_file(weights))}


def add_model(model: NewModel, *, params_file: Path, data: Path) -> list[str]:
    """List the model; returns what was added, as YAML paths. Raises ScreenError when the screen is not in `data`, ParamsError."""
    if not (data / model.screen).is_dir():
        raise ScreenError(f"{data / model.screen} is not there; `python -m pipelines.add_screen` makes a screen from a folder, "
                          "`python -m pipelines.add_imageset` an image set")
    section = "imagesets" if is_imageset(data / model.screen) else "screens"
    return add_entries(params_file, entries_of(model, params_file, section=section))


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.add_model", description="List a model in params.yaml.")
    parser.add_argument("name", help="name to register it by, e.g. profile-<screen> or viability-<cell line>")
    parser.add_argument("--screen", required=True, help="data/<screen>, or data/<image set>")
    parser.add_argument("--recipe", required=True, help="a section of `recipes`")
    parser.add_argument("--parent", required=True, help="trunks/<starting weights> or models/<model to fine-tune>")
    parser.add_argument("--weights", default="", help="of a trunk that is not listed yet: none (random), torchvision name, or "
                                                      ".safetensors file (a path, or a name in the folder DOSEWELL_WEIGHTS)")
    parser.add_argument("--planes", default="", help="channel:projection (mip, mid, mos) of each network channel, e.g. "
                                                     "dapi:mip,dapi:mid,dapi:mip: derives a recipe that reads them")
    parser.add_argument("--no-score", action="store_true", help="do not score the screen with this model")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"),
                        help="the file that the model is added to (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the screens (default: data)")
    arguments = parser.parse_args(argv)
    model = NewModel(name=arguments.name, screen=arguments.screen, recipe=arguments.recipe, parent=arguments.parent,
                     weights=arguments.weights, scores=not arguments.no_score,
                     planes=tuple(filter(None, arguments.planes.replace(" ", "").split(","))))
    added = add_model(model, params_file=arguments.params, data=arguments.data)
    print(f"{arguments.params}: {'added ' + ', '.join(added) if added else 'lists all of this already'}")


if __name__ == "__main__":
    run_command(main)
