"""Stage `prepare_imageset`: an image set's archive -> model-ready arrays, in the form that plates are prepared in.

Refuses, with the findings, a set that `validate` did not accept.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from models.plates.imageset import ImageArchive, prepare_images
from models.plates.prepare import InputSpec, save_prepared
from pipelines.command import run_command
from pipelines.imagesets import FILES, IMAGES_ARCHIVE, read_images, read_imageset
from pipelines.lineage import data_md5
from pipelines.params import Params
from validation.verdicts import require_accepted


def run(folder: Path, spec: InputSpec, out: Path) -> int:
    """Prepare the set in `folder` into `out`: <name>.safetensors and source.json; returns the number of images."""
    imageset = read_imageset(folder)
    table = read_images(folder, imageset)
    with ImageArchive(folder / IMAGES_ARCHIVE) as archive, tqdm(total=len(table), unit="image", desc=f"prepare {imageset.name}") as bar:
        images = prepare_images(archive, table, spec, name=imageset.name, on_image=partial(_tick, bar))
    save_prepared(images, out / f"{imageset.name}.safetensors")
    (out / "source.json").write_text(json.dumps({"data_md5": data_md5(folder, FILES)}) + "\n")
    return len(images)


def _tick(bar: tqdm[NoReturn], _image: str) -> None:
    bar.update()


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("imageset", help="name of the image set, as in params.yaml")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--data", type=Path, required=True, help="the set's folder")
    parser.add_argument("--verdict", type=Path, required=True, help="what `validate` said of it")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    require_accepted(arguments.verdict)
    params = Params.read(arguments.params)
    count = run(arguments.data, params.inputs[params.imagesets[arguments.imageset].input], arguments.out)
    print(f"{arguments.imageset}: {count} images ready in {arguments.out}")


if __name__ == "__main__":
    run_command(main)
