"""What was read of an archive is kept: of a campaign of thousands of plates, a new one alone is read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.plates.images import member_name, write_plate
from validation import kept
from validation.inventory import Inventory, take_inventory


def add_plate(folder: Path, name: str, *, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    write_plate(folder / f"{name}.zip", ((member_name(well, channel=channel), rng.integers(0, 255, (8, 8)).astype(np.uint8))
                                         for well in ("A01", "A02") for channel in (0, 1)))
    return folder / f"{name}.zip"


def test_only_what_is_new_or_changed_is_read_also_after_a_run_that_was_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(archives: Iterable[Path]) -> Inventory:
        archives = list(archives)
        read.extend(path.stem for path in archives)
        if "P3" in read and not cut_off:
            cut_off.append(True)
            raise KeyboardInterrupt
        return take_inventory(archives)

    def look() -> tuple[list[str], Inventory]:
        read.clear()
        found = kept.kept_inventory(tmp_path.glob("*.zip"), tmp_path / "kept")
        return list(read), found

    cut_off: list[bool] = []
    monkeypatch.setattr(kept, "take_inventory", counted)
    for number in (1, 2, 3):
        add_plate(tmp_path, f"P{number}", seed=number)
    with pytest.raises(KeyboardInterrupt):
        look()
    assert look()[0] == ["P3"]
    names, found = look()
    fresh = take_inventory(tmp_path.glob("*.zip"))
    assert names == []
    pd.testing.assert_frame_equal(found.images, fresh.images)
    assert (found.findings, found.plates) == (fresh.findings, fresh.plates)
    changed = add_plate(tmp_path, "P2", seed=9)     # another content of the same size
    os.utime(changed, (1, 1))
    assert look()[0] == ["P2"]
    (tmp_path / "P1.zip").write_bytes(b"not a zip")
    (tmp_path / "P3.zip").unlink()
    names, found = look()
    assert (names, len(found.findings), found.plates) == (["P1"], 1, ("P1", "P2"))
    assert look()[0] == ["P1"]                      # what is damaged is looked at each time
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_plates_of_one_size_and_time_keep_their_own_images(tmp_path: Path) -> None:
    """As those unpacked together often are: times of zip archives and of some shares are whole seconds."""
    plates = [add_plate(tmp_path, name, seed=seed) for seed, name in enumerate(("P1", "P2"))]
    for plate in plates:
        os.utime(plate, (1, 1))
    assert len({plate.stat().st_size for plate in plates}) == 1
    found = [kept.kept_inventory(plates, tmp_path / "kept") for _ in range(2)]
    for one in found:
        pd.testing.assert_frame_equal(one.images, take_inventory(plates).images)


def test_another_version_of_the_code_reads_the_images_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plate, read = add_plate(tmp_path, "P1", seed=1), list[Path]()
    monkeypatch.setattr(kept, "take_inventory", lambda archives: (read.extend(archives := list(archives)), take_inventory(archives))[1])
    for version in ("1", "1", "2"):
        monkeypatch.setattr(kept, "maker", lambda *code, version=version: version)
        kept.kept_inventory([plate], tmp_path / "kept")
    assert read == [plate, plate]


def test_a_screen_without_archives_has_an_empty_inventory(tmp_path: Path) -> None:
    found = kept.kept_inventory([], tmp_path / "kept")
    assert (len(found.images), found.findings, found.plates) == (0, (), ())
