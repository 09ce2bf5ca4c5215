"""Files that are there whole or not at all: nobody reads half of one, and a process that is killed leaves what was there before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write what shall be `path`: it takes that place when the block ends well, and vanishes when it raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f"{path.name}.partial")     # the next run writes over what a killed one left
    try:
        yield making
        making.replace(path)
    finally:
        making.unlink(missing_ok=True)


def write_whole(path: Path, data: str | bytes) -> Path:
    """Write a file, whole or not at all; text in UTF-8, with its line breaks as they are. Returns the path."""
    with whole_file(path) as making:
        making.write_bytes(data.encode() if isinstance(data, str) else data)
    return path
