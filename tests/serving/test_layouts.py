"""POST /layouts and GET /examples: what the page asks before a plate is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pandas as pd
import pytest

import serving.examples as examples
from models.plates.images import PlateArchive
from models.plates.layout import read_layout
from models.plates.screen import Screen
from tests.serving.tiny import MODEL, SCREEN, TinyPlate


def ask(http: httpx.Client, layout: bytes, **fields: str) -> httpx.Response:
    return http.post("/layouts", files={"layout": ("layout.csv", layout)}, data=fields)


def errors(answer: dict) -> list[dict]:
    return [finding for finding in answer["findings"] if finding["severity"] == "error"]


def test_a_layout_alone_tells_plate_controls_and_treatments(http: httpx.Client, plate: TinyPlate) -> None:
    answer = ask(http, plate.layout.read_bytes()).json()
    first = plate.table.iloc[0]
    assert answer["roles"] == {"negative": 16, "positive": 16, "treated": 64}
    assert sorted(answer["treatments"]) == ["alpha", "beta"]
    assert (answer["plates"], answer["rows"], answer["columns"], answer["given"]) == (["P1"], 8, 12, [])
    assert (answer["screen"]["controls"], answer["screen"]["sample"]) == ("both", "")
    assert answer["wells"][0]["well"] == first["well"]
    assert (answer["wells"][0]["row"], answer["wells"][0]["column"]) == (ord(first["well"][0]) - 65, int(first["well"][1:]) - 1)


def drawn(table: pd.DataFrame) -> bytes:
    """The layout as people draw it: a block of rows and columns for each quantity."""
    lines = []
    for name in ("role", "treatment", "dose"):
        texts = dict(zip(table["well"], table[name].astype(object).where(table[name].notna(), "").astype(str), strict=True))
        lines += [",".join([name, *map(str, range(1, 13))])]
        lines += [",".join([row, *(texts.get(f"{row}{column:02d}", "") for column in range(1, 13))]) for row in "ABCDEFGH"] + [""]
    return "\n".join(lines).encode()


def test_a_layout_drawn_as_a_plate_scores_as_the_list_does(http: httpx.Client, plate: TinyPlate) -> None:
    answer = ask(http, drawn(plate.table), plate="P1").json()
    assert errors(answer) == []
    assert (answer["plates"], answer["roles"]) == (["P1"], {"negative": 16, "positive": 16, "treated": 64})
    assert "3 plate grid(s) of role, treatment, dose" in answer["findings"][0]["message"]
    curves = [http.post("/score", files={"layout": ("layout.csv", layout), "images": ("P1.zip", plate.archive.read_bytes())},
                        data={"model": MODEL, "screen": json.dumps(SCREEN)}).json()["curves"]
              for layout in (plate.csv(plate.table), drawn(plate.table))]
    by_name = [{curve["treatment"]: curve["ic50"] for curve in found} for found in curves]
    assert by_name[0] == pytest.approx(by_name[1])


def test_a_table_without_wells_is_told_so_and_nothing_else_of_its_images(http: httpx.Client, plate: TinyPlate) -> None:
    files = {"layout": ("layout.csv", b"when,who\nmonday,me\n"), "images": ("P1.zip", plate.archive.read_bytes())}
    answer = http.post("/score", files=files, data={"model": MODEL, "screen": json.dumps(SCREEN)}).json()
    assert {finding["rule"] for finding in errors(answer)} == {"column_missing"}


def test_a_table_with_read_outs_says_of_how_many_wells(http: httpx.Client, plate: TinyPlate) -> None:
    table = plate.table.assign(readout="")
    table.loc[:4, "readout"] = "1.5"
    assert ask(http, plate.csv(table)).json()["readouts"] == 5
    assert ask(http, plate.csv(table.drop(columns="readout"))).json()["readouts"] == 0


def test_a_column_of_samples_and_the_only_kill_compound_are_told(http: httpx.Client, plate: TinyPlate) -> None:
    table = plate.table.assign(cell_line="A549")
    table.loc[table["role"] == "positive", "treatment"] = "staurosporine"
    screen = ask(http, plate.csv(table)).json()["screen"]
    assert (screen["sample"], screen["kind"], screen["positive_control"]) == ("A549", "cell_line", {"image": "staurosporine"})
    screen = ask(http, plate.csv(plate.table.assign(Patient="PAT_7"))).json()["screen"]
    assert (screen["sample"], screen["kind"]) == ("PAT_7", "patient")


@pytest.mark.parametrize(("well", "plate_format"), [("P24", 384), ("AF48", 1536), ("Z99", 96)])
def test_the_smallest_plate_holds_all_wells_and_one_slip_does_not_make_it_large(http: httpx.Client, plate: TinyPlate, well: str,
                                                                                plate_format: int) -> None:
    table = plate.table.copy()
    table.loc[0, "well"] = well
    answer = ask(http, plate.csv(table)).json()
    assert answer["screen"]["plate_format"] == plate_format
    assert [finding["rule"] for finding in errors(answer)] == (["well_format"] if well == "Z99" else [])


def test_findings_are_those_of_a_scoring(http: httpx.Client, plate: TinyPlate) -> None:
    table = plate.table.astype({"dose": "str"})
    table.loc[table["role"] == "treated", "dose"] = "much"
    answer = ask(http, plate.csv(table), screen=json.dumps(SCREEN)).json()
    scored = http.post("/score", files={"layout": ("layout.csv", plate.csv(table)), "images": ("P1.zip", plate.archive.read_bytes())},
                       data={"model": MODEL, "screen": json.dumps(SCREEN)}).json()
    assert answer["given"]
    assert errors(answer)
    assert errors(scored) == errors(answer)


@pytest.mark.parametrize(("layout", "fields"), [
    (b"", {}), (b"\x00\x01", {}), (b"just words", {}), (b"well\nA01\n", {"screen": "["}), (b"well\nA01\n", {"images": "http://127.0.0.1/"})])
def test_what_is_no_layout_is_refused_with_a_reason(http: httpx.Client, layout: bytes, fields: dict[str, str]) -> None:
    answer = ask(http, layout, **fields)
    assert answer.status_code == 400
    assert answer.json()["findings"]


def test_the_layout_to_fill_in_is_one(http: httpx.Client) -> None:
    assert errors(ask(http, http.get("/page/layout-template.csv").content).json()) == []


def served(sample: str, camera: str) -> SimpleNamespace:
    return SimpleNamespace(card=SimpleNamespace(sample=sample, acquisition={"camera": camera}))


def test_examples_are_offered_to_models_of_simulated_plates_only(http: httpx.Client) -> None:
    assert http.get("/examples").json() == {"examples": []}
    snapshot = SimpleNamespace(served={"simulated": served("A549", "simulated"), "real": served("PAT_1", "DFC3000G")})
    offered = examples.examples_answer(snapshot)["examples"]
    assert [(example["name"], example["model"], example["pairs"], example["single"]) for example in offered] == [
        ("heldout-a549", "simulated", 0, 0), ("primary-a549", "simulated", 0, 72), ("combinations-a549", "simulated", 2, 0)]
    assert offered[0]["files"] == ["layout.csv", "screen.json", "A549-heldout-1.zip"]


def test_an_example_is_a_plate_that_fits_its_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {name: replace(example, size=24) for name, example in examples._examples().items()}
    monkeypatch.setattr(examples, "_examples", lambda: small)
    paths = [examples.example_file("heldout-a549", name, folder=tmp_path) for name in ("layout.csv", "screen.json", "A549-heldout-1.zip")]
    screen = Screen.from_dict(json.loads(paths[1].read_text()))
    layout = read_layout(paths[0], plate_format=screen.plate_format)
    with PlateArchive(paths[2]) as archive:
        assert set(archive.members["well"]) == set(layout["well"])
        assert archive.read("A01_s1_c0_z0.tif").dtype == np.uint8
    stamp = paths[2].stat().st_mtime_ns
    assert examples.example_file("heldout-a549", "A549-heldout-1.zip", folder=tmp_path).stat().st_mtime_ns == stamp     # not made again


@pytest.mark.parametrize("path", ["nothing/layout.csv", "heldout-a549/other.csv", "heldout-a549/%2E%2E%2Fscreen.json", "..%2F..%2Fx/y"])
def test_no_other_file_comes_out(http: httpx.Client, path: str) -> None:
    assert http.get(f"/examples/{path}").status_code == 404
