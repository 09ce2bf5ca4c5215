"""The command `exclude`: what a person decides of a well stands in the layout, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from models.errors import InputError, ScreenError
from models.plates.layout import read_layout, write_layout
from models.plates.screen import Screen
from pipelines.exclude import main
from pipelines.screens import write_screen
from tests.serving.tiny import SCREEN, tiny_layout


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """The layout of a screen "one" of plate P1, and one of a screen "two" of plates P1 and P2."""
    for name, plates in (("one", ["P1"]), ("two", ["P1", "P2"])):
        (tmp_path / name).mkdir()
        write_screen(tmp_path / name, Screen.from_dict(SCREEN))
        write_layout(pd.concat([tiny_layout(plate) for plate in plates], ignore_index=True), tmp_path / name / "layout.csv")
    return tmp_path / "one" / "layout.csv"


def exclude(layout: Path, *words: str, screen: str = "one") -> pd.DataFrame:
    """The layout after the command, a row per well."""
    main([screen, *words, "--data", str(layout.parents[1])])
    return read_layout(layout.parents[1] / screen / "layout.csv", plate_format=96).set_index(["plate", "well"])


def test_a_well_is_left_out_kept_and_forgotten(layout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = layout.read_bytes()
    found = exclude(layout, "b3", "B03", "C05", "--reason", "a  bubble")
    gone = found[found["excluded"]]
    assert set(gone.index) == {("P1", "B03"), ("P1", "C05")}
    assert gone["exclusion_reason"].tolist() == ["a bubble"] * 2
    assert "P1 B03: left out (a bubble)\nP1 C05: left out (a bubble)\nnext: " in capsys.readouterr().out
    once = layout.read_bytes()
    exclude(layout, "B03", "--reason", "a bubble")
    assert capsys.readouterr().out == "P1 B03: already left out (a bubble)\n"
    assert layout.read_bytes() == once
    kept = exclude(layout, "C05", "--restore")
    assert kept.loc[("P1", "C05"), ["excluded", "exclusion_reason"]].tolist() == [False, "a person looked at it"]
    exclude(layout, "B03", "C05", "--forget")
    assert layout.read_bytes() == before


def test_what_comes_next_is_said_whatever_the_reason_says(layout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A reason with the word "already" in it was taken for a command that changed nothing."""
    exclude(layout, "B03", "--reason", "the well was already dry")
    assert "next: `dvc add data`" in capsys.readouterr().out
    exclude(layout, "B03", "--reason", "the well was already dry")
    assert "next: " not in capsys.readouterr().out


def test_of_several_plates_one_is_named(layout: Path) -> None:
    with pytest.raises(InputError, match="the screen has 2 plates; say which with --plate, or PLATE:WELL: P1, P2"):
        exclude(layout, "B03", "--reason", "a bubble", screen="two")
    found = exclude(layout, "B03", "--plate", "P2", "--reason", "a bubble", screen="two")
    assert found.index[found["excluded"]].tolist() == [("P2", "B03")]


@pytest.mark.parametrize(("words", "told"), [
    (("B03",), "not left out without a reason"), (("B03", "--reason", " "), "not left out without a reason"),
    (("B33", "--reason", "x"), "the layout has no well 'B33'"), (("bubble", "--reason", "x"), "the layout has no well 'bubble'"),
    (("B03", "--plate", "P9", "--reason", "x"), "the layout has no plate 'P9'")])
def test_what_cannot_be_done_changes_nothing(words: tuple[str, ...], told: str, layout: Path) -> None:
    before = layout.read_bytes()
    with pytest.raises(InputError, match=told):
        exclude(layout, *words)
    assert layout.read_bytes() == before


def test_an_unknown_screen_is_told_with_those_that_there_are(layout: Path) -> None:
    """And not with image sets, or with what a command is making."""
    for other in (".two.making-1", "an-imageset"):
        (layout.parents[1] / other).mkdir()
    with pytest.raises(ScreenError, match=r"there is no screen 'three' in .*; it has one, two"):
        exclude(layout, "B03", "--forget", screen="three")


def test_wells_of_several_plates_go_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder := tmp_path / "mine").mkdir()
    write_screen(folder, Screen.from_dict({"name": "mine", "sample": "X"}))
    rows = "".join(f"{plate},A0{column},treated,a,1,nM,{column}\n" for plate in ("P 1", "P 2") for column in (1, 2))
    (folder / "layout.csv").write_text(f"plate,well,role,treatment,dose,dose_unit,replicate\n{rows}")
    main(["mine", "P 1:a1", "P 2:A02", "--reason", "bubble", "--data", str(tmp_path)])
    layout = read_layout(folder / "layout.csv", plate_format=96)
    assert layout.loc[layout["excluded"], ["plate", "well"]].to_numpy().tolist() == [["P 1", "A01"], ["P 2", "A02"]]
    assert "P 2 A02: left out (bubble)" in capsys.readouterr().out
    before = (folder / "layout.csv").read_bytes()
    for name, words in (("A01", "PLATE:WELL: P 1, P 2"), ("P 3:A01", "no plate 'P 3'"), ("P 1:C01", "no well 'C01'")):
        with pytest.raises(InputError, match=words):
            main(["mine", "P 1:A02", name, "--reason", "bubble", "--data", str(tmp_path)])
    assert (folder / "layout.csv").read_bytes() == before


def test_what_another_decides_at_the_same_moment_is_not_written_over(layout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both read the layout, and the later to write put the earlier one's well back in."""
    def meanwhile(path: Path, *, plate_format: int) -> pd.DataFrame:
        monkeypatch.setattr("pipelines.exclude.read_layout", read_layout)
        exclude(layout, "C05", "--reason", "dust")
        return read_layout(path, plate_format=plate_format)
    monkeypatch.setattr("pipelines.exclude.read_layout", meanwhile)
    with pytest.raises(InputError, match="was changed by somebody else while this was at it; run the same command again"):
        exclude(layout, "B03", "--reason", "bubble")
    found = exclude(layout, "B03", "--reason", "bubble")
    assert set(found[found["excluded"]].index) == {("P1", "B03"), ("P1", "C05")}
    assert sorted(path.name for path in layout.parent.iterdir()) == ["layout.csv", "screen.yaml"]
