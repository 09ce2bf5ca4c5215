"""The example is made once, whole or not at all, with the same bytes each time, and readable by everything downstream."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.errors import InputError
from models.plates.images import PlateArchive
from models.plates.layout import read_layout
from models.plates.simulate.examples import Example, example_screens
from pipelines.make_example import is_complete, main, make_example
from pipelines.screens import read_screen, whole_folder
from tests.pipelines.lab import content


@pytest.fixture(scope="module")
def small() -> list[Example]:
    return [replace(screen, size=24, planes=min(screen.planes, 2)) for screen in example_screens()]


@pytest.fixture(scope="module")
def made(small: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("example") / "data"
    make_example(out, small, progress=False)
    return out


def test_every_screen_is_whole_and_in_the_forms_of_the_product(made: Path, small: list[Example]) -> None:
    assert sorted(path.name for path in made.iterdir()) == sorted(screen.name for screen in small)
    for example in small:
        folder = made / example.name
        screen = read_screen(folder)
        assert (screen.name, screen.sample) == (example.name, example.sample)
        layout = read_layout(folder / "layout.csv", plate_format=screen.plate_format)
        assert set(layout["plate"]) == {path.stem for path in (folder / "images").iterdir()}
        for plate, wells in layout.groupby("plate"):
            with PlateArchive(folder / "images" / f"{plate}.zip") as archive:
                assert set(archive.members["well"]) == set(wells["well"])
                stack = archive.read_stack(wells["well"].iloc[0], site=1, channel=0)
            assert stack.shape == (example.planes, 24, 24)
            assert stack.dtype == (np.uint8 if screen.bit_depth == 8 else np.uint16)
        truth = pd.read_csv(folder / "truth" / "wells.csv")
        assert truth[["plate", "well"]].equals(layout[["plate", "well"]])
    assert (made / "patient-1" / "treatments.csv").is_file()


def test_screens_say_what_they_are(made: Path) -> None:
    assert read_screen(made / "a549").controls == "negative"
    assert read_screen(made / "patient-1").kind == "patient"
    assert read_screen(made / "patient-1").positive_control == {"image": "staurosporine"}
    assert read_screen(made / "heldout-a549").sample == read_screen(made / "a549").sample == "A549"


def test_made_again_elsewhere_it_has_the_same_bytes(made: Path, small: list[Example], tmp_path: Path) -> None:
    some = [screen for screen in small if screen.name in ("a549", "patient-1")]
    make_example(tmp_path, some, progress=False)
    for screen in some:
        assert content(tmp_path / screen.name) == content(made / screen.name)


def test_what_is_there_is_left_alone_and_said(made: Path, small: list[Example]) -> None:
    layout = made / "a549" / "layout.csv"
    before, times = content(made), layout.stat().st_mtime_ns
    said = make_example(made, small, progress=False)
    assert all(line.endswith("already there") for line in said)
    assert (content(made), layout.stat().st_mtime_ns) == (before, times)


def test_an_incomplete_screen_is_made_anew_and_another_version_is_told(small: list[Example], tmp_path: Path) -> None:
    screen = next(screen for screen in small if screen.name == "hek293")
    make_example(tmp_path, [screen], progress=False)
    whole = content(tmp_path)
    (tmp_path / "hek293" / "images" / "HEK293-plate-1.zip").unlink()
    assert not is_complete(tmp_path / "hek293", screen)
    assert "made, 96 wells" in make_example(tmp_path, [screen], progress=False)[0]
    assert content(tmp_path) == whole
    assert "another version" in make_example(tmp_path, [replace(screen, seed=9)], progress=False)[0]
    assert content(tmp_path) == whole
    make_example(tmp_path, [replace(screen, seed=9)], force=True, progress=False)
    assert content(tmp_path) != whole


def test_a_crash_leaves_nothing_behind(tmp_path: Path) -> None:
    def crash(target: Path) -> None:
        with whole_folder(target) as folder:
            (folder / "half").write_text("half", encoding="utf-8")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        crash(tmp_path / "screen")
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "screen") as folder:
        (folder / "all").write_text("all", encoding="utf-8")
    with pytest.raises(RuntimeError):
        crash(tmp_path / "screen")
    assert [path.name for path in (tmp_path / "screen").iterdir()] == ["all"]


def test_the_command_makes_one_screen_of_any_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--out", str(tmp_path), "--only", "inf-r-153-ce", "--size", "16", "--planes", "1"]
    main(options)
    assert "inf-r-153-ce: made, 96 wells on 1 plate(s)" in capsys.readouterr().out
    main(options)
    assert "already there" in capsys.readouterr().out


def test_the_command_simulates_a_users_layout(tmp_path: Path) -> None:
    layout = tmp_path / "mine.csv"
    layout.write_text("plate,well,role,treatment,dose,unit\nX,A1,neg,DMSO,,\nX,A2,pos,sts,250,nM\n"
                      "X,A3,drug,abc,1,uM\nX,A4,drug,abc,10,uM\nX,A5,empty,,,\n", encoding="utf-8")
    options = ["--out", str(tmp_path / "data"), "--layout", str(layout), "--size", "24", "--plate-format", "96"]
    main([*options, "--name", "mine"])
    assert read_screen(tmp_path / "data" / "mine").positive_control == {"image": "sts"}
    curves = pd.read_csv(tmp_path / "data" / "mine" / "truth" / "curves.csv")
    assert curves[["treatment", "dose_min", "dose_max"]].values.tolist() == [["abc", 1000, 10_000]]
    with pytest.raises(InputError, match="--layout needs --name"):
        main(options)


def test_an_unknown_screen_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no example screen 'a594'; known: pretrain-brightfield, a549"):
        main(["--out", str(tmp_path), "--only", "a594"])
