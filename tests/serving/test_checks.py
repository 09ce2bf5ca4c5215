"""The endpoint judges plates by the limits in the model's card, with the pipeline's own rules and without Great Expectations."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import ParamsError, ScreenError
from models.networks.bundle import read_card, trunk_finder, write_card
from models.networks.predict import load_predictor
from models.plates.layout import parse_layout
from models.plates.screen import Screen
from models.plates.spreadsheets import read_table
from models.registered import RegisteredVersion
from models.scoring import ScoringOptions
from serving.scoring import score_upload
from serving.snapshot import Served
from serving.uploads import Upload
from tests.serving.tiny import MODEL, ROOT, SCREEN, tiny_bundle, tiny_plate
from validation.thresholds import Thresholds, thresholds_of

JUDGE = """
import sys
from pathlib import Path
import serving.app, serving.answers, serving.scoring, serving.uploads
from models.plates.layout import parse_layout
from models.plates.screen import Screen
from models.plates.spreadsheets import read_table
from validation.rules import judge_screen, take_inventory
verdict = judge_screen(parse_layout(read_table(Path("layout.csv")), plate_format=96), Screen(name="s", sample="x"),
                       inventory=take_inventory([Path("P1.zip")]))
print(verdict.accepted, len(verdict.warnings), "great_expectations" in sys.modules)
"""


def served(folder: Path, **validation: int | float) -> Served:
    tiny_bundle(folder)
    write_card(folder, replace(read_card(folder), validation=validation))
    version = RegisteredVersion(name=MODEL, version=1, run_id="r")
    predictor = load_predictor(folder, find_trunk=trunk_finder([folder.parent]))
    return Served(version=version, card=predictor.card, since="now", load=lambda: predictor)


def upload(folder: Path) -> Upload:
    plate = tiny_plate(folder)
    return Upload(plates=(plate.archive,), layout=parse_layout(read_table(plate.layout), plate_format=96),
                  screen=Screen.from_dict(SCREEN), options=ScoringOptions())


def test_a_plate_is_judged_by_the_limits_in_the_models_card(tmp_path: Path) -> None:
    plate = upload(tmp_path)
    assert json.loads(score_upload(plate, served(tmp_path / "models" / "usual"), service_version="1"))["wells"]
    with pytest.raises(ScreenError, match="16 negative control wells, where 17 are needed"):     # the plate has 16 of each kind
        score_upload(plate, served(tmp_path / "models" / "strict", min_controls=17), service_version="1")


def test_a_card_with_limits_that_no_rule_knows_says_so(tmp_path: Path) -> None:
    card = served(tmp_path / "models" / "odd", min_control=3).card
    with pytest.raises(ParamsError, match=r"model viability-TINY: card.json: validation.min_control: unknown key, did you mean"):
        thresholds_of(card)
    assert thresholds_of(replace(card, validation={})) == Thresholds()


def test_the_endpoint_judges_without_great_expectations(tmp_path: Path) -> None:
    tiny_plate(tmp_path)
    answer = subprocess.run([sys.executable, "-c", JUDGE], capture_output=True, text=True, check=True, cwd=tmp_path,
                            env={"PYTHONPATH": str(ROOT)})
    accepted, _, imported = answer.stdout.split()
    assert (accepted, imported) == ("True", "False")
