"""Stage `prepare_imageset`: an image set's archive -> model-ready arrays, in the form that plates are prepared in.

Refuses, with the findings, a set that `validate` did not accept.
"""

from __future__ import annotations

import json
from pathlib import Path

from models.plates.data_hash import data_md5
from models.plates.imageset import ImageArchive, prepare_images
from models.plates.prepare import InputSpec, save_prepared
from pipelines.command import run_command
from pipelines.imagesets import FILES, IMAGES_ARCHIVE, read_images, read_imageset
from pipelines.params import Params
from pipelines.prepare import progress, stage_parser
from validation.verdicts import require_accepted


def run(folder: Path, spec: InputSpec, out: Path) -> int:
    """Prepare the set in `folder` into `out`: <name>.safetensors and source.json; returns the number of images."""
    imageset = read_imageset(folder)
    table = read_images(folder, imageset)
    with ImageArchive(folder / IMAGES_ARCHIVE) as archive, progress(len(table), unit="image", name=imageset.name) as on_image:
        images = prepare_images(archive, table, spec, name=imageset.name, on_image=on_image)
    save_prepared(images, out / f"{imageset.name}.safetensors")
    (out / "source.json").write_text(json.dumps({"data_md5": data_md5(folder, FILES)}) + "\n")
    return len(images)


def main() -> None:
    """Command line of the stage."""
    arguments = stage_parser(__doc__, what="image set").parse_args()
    require_accepted(arguments.verdict)
    count = run(arguments.data, Params.read(arguments.params).input_of(arguments.name), arguments.out)
    print(f"{arguments.name}: {count} images ready in {arguments.out}")


if __name__ == "__main__":
    run_command(main)
