"""Stage `prepare`: a screen's plate archives -> model-ready arrays, one file a plate.

The first cell of a screen: it refuses, with the findings, a screen that `validate` did not accept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

import models
from models.errors import ScreenError
from models.kept import kept_files, link_file, maker
from models.plates.data_hash import data_md5, file_md5
from models.plates.images import PlateArchive
from models.plates.prepare import QUALITY_SUFFIX, InputSpec, load_prepared, prepare_plate, save_prepared
from models.whole_file import whole_file
from pipelines.command import add_params, run_command
from pipelines.params import Params
from pipelines.screens import read_screen, require_archives
from validation.verdicts import require_accepted

CODE = (Path(models.__path__[0]), Path(models.__path__[0]) / "plates")      # what decides on the content of a prepared plate


def run(folder: Path, spec: InputSpec, out: Path, *, kept: Path) -> tuple[int, list[str]]:
    """Prepare every plate of the screen in `folder` into `out`; returns the number of wells and sites, and the plates that were new.

    Writes <plate>.safetensors and <plate>.quality.csv per plate and source.json (data_md5 of what it was made from). kept: folder of the
    same files by what they are made from, which become those of `out` by hard links.
    """
    screen = read_screen(folder)
    archives = require_archives(folder)
    channels = [channel.name for channel in screen.channels]
    count, made = 0, []
    with kept_files(kept) as keep:
        states = {path.name: _state(path) for path in archives}
        known = archive_md5s(folder / "images", states, keep.place("md5 of archives").with_suffix(".json"))
        for path in archives:
            piece = keep.place(path.name, known[path.name], spec, channels, maker(*CODE)).with_suffix(".safetensors")
            if not piece.is_file():
                _prepare(path, piece, spec, channels, state=states[path.name])
                made.append(path.stem)
            for suffix in (".safetensors", QUALITY_SUFFIX):
                piece.with_suffix(suffix).chmod(0o444)      # one file by two names: whoever changes one would change the other
                link_file(piece.with_suffix(suffix), out / f"{path.stem}{suffix}")
            count += len(load_prepared(piece))
    md5 = data_md5(folder, known={f"images/{name}": value for name, value in known.items()})
    (out / "source.json").write_text(json.dumps({"data_md5": md5}) + "\n")
    return count, made


def _prepare(path: Path, piece: Path, spec: InputSpec, channels: list[str], *, state: list[int]) -> None:
    """Prepare the archive at `path`, which had this state when its md5 was taken, into `piece`."""
    with PlateArchive(path) as archive, progress(archive.members["well"].nunique(), unit="well", name=path.stem) as on_well:
        images = prepare_plate(archive, spec, channels=channels, on_well=on_well)
    if _state(path) != state:
        raise ScreenError(f"{path} was changed while it was read; run the stage again when it is whole")
    save_prepared(images, piece)


def archive_md5s(images: Path, states: Mapping[str, list[int]], notes: Path) -> dict[str, str]:
    """Archive -> md5, as DVC has it; read again only where its state is another one than in `notes`."""
    before = json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() else {}
    found = {name: before[name][1] if before.get(name, [None])[0] == state else file_md5(images / name) for name, state in states.items()}
    with whole_file(notes) as making:
        making.write_text(json.dumps({name: (state, found[name]) for name, state in states.items()}) + "\n", encoding="utf-8")
    return found


def _state(path: Path) -> list[int]:
    """What the system says of a file; DVC, too, takes one for the same that is the same in these."""
    about = path.stat()
    return [about.st_ino, about.st_size, about.st_mtime_ns]


@contextmanager
def progress(total: int, *, unit: str, name: str) -> Iterator[Callable[[str], None]]:
    """A bar, and what to call with each of the wells or images that is done."""
    with tqdm(total=total, unit=unit, desc=f"prepare {name}") as bar:
        def tick(_: str) -> None:
            bar.update()

        yield tick


def stage_parser(description: str | None, *, what: str) -> argparse.ArgumentParser:
    """The command line of a stage that prepares `what`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("name", help=f"name of the {what}, as in params.yaml")
    add_params(parser)
    parser.add_argument("--data", type=Path, required=True, help=f"the folder of the {what}")
    parser.add_argument("--verdict", type=Path, required=True, help="what `validate` said of it")
    parser.add_argument("--out", type=Path, required=True, help="folder for the prepared plates")
    return parser


def main() -> None:
    """Command line of the stage."""
    parser = stage_parser(__doc__, what="screen")
    parser.add_argument("--kept", type=Path, required=True, help="folder for plates that are prepared already")
    arguments = parser.parse_args()
    require_accepted(arguments.verdict)
    count, made = run(arguments.data, Params.read(arguments.params).input_of(arguments.name), arguments.out, kept=arguments.kept)
    print(f"{arguments.name}: {count} wells and sites ready in {arguments.out}, {len(made)} plate(s) of them prepared now")


if __name__ == "__main__":
    run_command(main)
