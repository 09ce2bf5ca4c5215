"""The stage judges every screen, refuses bad ones without failing, and writes the same bytes for the same data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml

from models.errors import ScreenError
from models.plates.images import member_name, write_plate
from models.plates.layout import parse_layout
from models.plates.spreadsheets import read_table
from pipelines import validate
from pipelines.screens import read_screen
from validation.rules import Thresholds, judge_screen, take_inventory
from validation.verdicts import read_verdict, require_accepted

SHARED = Path(os.environ.get("DOSEWELL_SHARED", Path(__file__).parents[2].parent / "shared")) / "data" / "bbbc013"


def make_screen(folder: Path) -> Path:
    rng = np.random.default_rng(5)
    roles = ["negative"] * 4 + ["positive"] * 4 + ["treated"] * 8
    wells = [f"{row}{column:02d}" for row in "ABCD" for column in (1, 4, 7, 10)]
    pd.DataFrame({"plate": "P1", "well": rng.permutation(wells), "role": roles, "treatment": [""] * 8 + ["x"] * 8,
                  "dose": [""] * 8 + ["1", "10", "100", "1000"] * 2, "dose_unit": "nM"}
                 ).to_csv(folder / "layout.csv", index=False)
    write_plate(folder / "images" / "P1.zip", ((member_name(well), rng.integers(0, 255, (8, 8)).astype(np.uint8)) for well in wells))
    (folder / "screen.yaml").write_text(yaml.safe_dump({"name": folder.name, "sample": "A549", "controls": "both"}))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("good", "broken", "unreadable"):
        (tmp_path / "data" / name).mkdir(parents=True)
        make_screen(tmp_path / "data" / name)
    layout = tmp_path / "data" / "broken" / "layout.csv"
    lines = layout.read_text().splitlines()
    spoiled = [line for line in lines if ",positive," not in line] + [lines[-1]]  # no positive control, a well twice
    treated = next(place for place, line in enumerate(spoiled) if ",treated," in line)
    spoiled[treated] = ",".join(["ten" if place == 4 else cell for place, cell in enumerate(spoiled[treated].split(","))])
    layout.write_text("\n".join(spoiled) + "\n")
    (tmp_path / "data" / "unreadable" / "screen.yaml").write_text("name: [")
    return tmp_path / "data"


def run(data: Path, out: Path) -> dict[str, bool]:
    names = ("good", "broken", "unreadable", "gone")
    verdicts = validate.run(names, data=data, thresholds=Thresholds(), out=out / "validate", docs=out / "data_docs",
                            kept=data.parent / "kept")     # what is kept of an archive says the same as its images
    return {verdict.screen: verdict.accepted for verdict in verdicts}


def test_each_screen_gets_a_verdict_a_page_and_data_docs(data: Path, tmp_path: Path) -> None:
    assert run(data, tmp_path / "out") == {"good": True, "broken": False, "unreadable": False, "gone": False}
    for name in ("good", "broken", "unreadable", "gone"):
        for path in (f"validate/{name}.json", f"validate/{name}.html", f"data_docs/{name}.html"):
            text = (tmp_path / "out" / path).read_text(encoding="utf-8")
            assert str(tmp_path) not in text
            assert "http" not in text
    require_accepted(tmp_path / "out" / "validate" / "good.json")
    for name, reason in (("broken", "'ten' in column dose"), ("unreadable", "screen.yaml"), ("gone", "pipelines.add_screen")):
        with pytest.raises(ScreenError, match=reason):
            require_accepted(tmp_path / "out" / "validate" / f"{name}.json")


def test_the_same_data_gives_the_same_bytes(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "first")
    run(data, tmp_path / "second")
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*"))
    assert len(files) == 13
    for path in files:
        assert (tmp_path / "first" / path).read_bytes() == (tmp_path / "second" / path).read_bytes(), path


def test_pipeline_and_service_say_the_same_about_the_three_classic_mistakes(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out")
    by_pipeline = read_verdict(tmp_path / "out" / "validate" / "broken.json")
    folder = data / "broken"
    screen = read_screen(folder)
    by_service = judge_screen(parse_layout(read_table(folder / "layout.csv"), plate_format=screen.plate_format), screen,
                              inventory=take_inventory([folder / "images" / "P1.zip"]))
    assert by_service == by_pipeline
    assert {"well_unique", "controls_present", "number"} <= {finding.rule for finding in by_service.errors}


def test_the_command_exits_well_although_a_screen_is_refused(
        data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "params.yaml").write_text("inputs: {i: {}}\nscreens: {good: {input: i}, broken: {input: i}}\nvalidate: {min_controls: 4}\n")
    monkeypatch.setattr("sys.argv", ["validate", "--params", str(tmp_path / "params.yaml"), "--data", str(data), "--out",
                                     str(tmp_path / "out"), "--docs", str(tmp_path / "docs"), "--kept", str(tmp_path / "kept")])
    validate.main()
    said = capsys.readouterr().out
    assert "good: accepted" in said
    assert "broken: REFUSED" in said
    assert "'ten' in column dose" in said
    assert "no positive control well, where 4 are needed" in said       # as params.yaml has it


def test_a_layout_without_plates_means_the_only_archive(data: Path) -> None:
    layout = data / "good" / "layout.csv"
    layout.write_text("\n".join(line.partition(",")[2] for line in layout.read_text().splitlines()) + "\n")
    evidence = validate.gather(data / "good", Thresholds(), kept=data / "kept")
    assert set(evidence.layout["plate"]) == {"P1"}
    assert validate.judge_folder(data / "good", Thresholds(), kept=data / "kept").verdict.accepted


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared reference data is not here")
@pytest.mark.parametrize("rows", ["ABCD", "EFGH"])
def test_the_real_plate_is_accepted(tmp_path: Path, rows: str) -> None:
    platemap = pd.read_csv(SHARED / "platemap.csv", dtype="str")
    platemap = platemap[platemap["well"].str[0].isin(list(rows))].assign(plate="P1")
    folder = tmp_path / "data" / "bbbc013"
    folder.mkdir(parents=True)
    platemap.to_csv(folder / "layout.csv", index=False)
    write_plate(folder / "images" / "P1.zip", (
        (member_name(str(row["well"]), channel=channel), tifffile.imread(SHARED / "images" / str(row[name])))
        for _, row in platemap.iterrows() for channel, name in enumerate(("file_gfp", "file_dna"))))
    (folder / "screen.yaml").write_text(yaml.safe_dump({"name": "bbbc013", "sample": "U2OS", "channels": ["gfp", "dna"]}))
    judged = validate.judge_folder(folder, Thresholds(), kept=tmp_path / "kept")
    assert judged.verdict.accepted, judged.verdict.errors
    assert {finding.rule for finding in judged.verdict.warnings} <= {"column_unused", "controls_spread", "dose_of_control"}
