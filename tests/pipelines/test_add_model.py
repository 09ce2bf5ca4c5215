"""A model is listed by a command: one line per entry, all else of params.yaml as it was; nothing dangling gets in."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from models.errors import ParamsError, ScreenError, WeightsError
from pipelines.add_model import NewModel, add_model, main
from pipelines.params import Params
from pipelines.params_entries import add_entries

PARAMS = Path(__file__).parents[2] / "params.yaml"
WANTED = {"name": "profile-mine", "screen": "mine", "recipe": "controls_mobilenet", "parent": "trunks/imagenet"}


@pytest.fixture
def params(tmp_path: Path) -> Path:
    (tmp_path / "data" / "mine").mkdir(parents=True)
    shutil.copyfile(PARAMS, tmp_path / "params.yaml")
    return tmp_path / "params.yaml"


def listed(params: Path, **changes: object) -> list[str]:
    return add_model(NewModel(**{**WANTED, **changes}), params_file=params, data=params.parent / "data")


def test_four_lines_are_added_and_every_other_line_stays(params: Path) -> None:
    assert listed(params, weights="IMAGENET1K_V2") == ["screens.mine", "models.profile-mine", "scores.mine", "trunks.imagenet"]
    before, after = PARAMS.read_text().splitlines(), params.read_text().splitlines()
    new = [line for line in after if line not in before]
    assert [line for line in after if line not in new] == before
    assert new == ["  mine: {input: gfp_224}", "  imagenet: {name: mobilenet_v2, weights: IMAGENET1K_V2}",
                   "  profile-mine: {screen: mine, recipe: controls_mobilenet, parent: trunks/imagenet}", "  mine: profile-mine"]
    assert Params.read(params).models["profile-mine"].parent == "trunks/imagenet"


def test_the_same_command_again_changes_nothing(params: Path) -> None:
    listed(params, weights="IMAGENET1K_V2")
    text = params.read_bytes()
    assert listed(params, weights="IMAGENET1K_V2") == []
    assert listed(params) == []
    assert params.read_bytes() == text


def test_a_weights_file_is_listed_with_its_hash(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="DOSEWELL_WEIGHTS"):
        listed(params, weights="mine.safetensors")
    (params.parent / "mine.safetensors").write_bytes(b"weights")
    monkeypatch.setenv("DOSEWELL_WEIGHTS", str(params.parent))
    listed(params, weights="mine.safetensors")
    trunk = Params.read(params).trunks["imagenet"]
    assert (trunk.weights, trunk.sha256) == ("mine.safetensors", hashlib.sha256(b"weights").hexdigest())


@pytest.mark.parametrize(("changes", "words"), [
    ({}, "models.profile-mine.parent: 'imagenet' is not in trunks; known: small_cnn; list starting weights there .* none for random"),
    ({"recipe": "control"}, "recipe: 'control' is not in recipes"),
    ({"parent": "small_cnn"}, "parent must read trunks/<name> or models/<name>"),
    ({"parent": "trunks/small_cnn"}, "has the trunk small_cnn, but recipe controls_mobilenet has mobilenet_v2"),
    ({"parent": "models/viability-A549", "weights": "IMAGENET1K_V2"}, "leave it out"),
    ({"name": "viability-A549", "weights": "IMAGENET1K_V2"}, "models.viability-A549: is"),
    ({"name": "yes", "weights": "IMAGENET1K_V1", "parent": "trunks/small_cnn"}, "trunks.small_cnn: is")])
def test_what_leads_nowhere_or_stands_there_otherwise_is_refused(params: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ParamsError, match=words):
        listed(params, **changes)
    assert params.read_bytes() == PARAMS.read_bytes()


def test_a_screen_must_be_in_data(params: Path) -> None:
    with pytest.raises(ScreenError, match=r"pipelines\.add_screen"):
        listed(params, screen="other")


@pytest.mark.parametrize("text", ["", "scores:\n", "scores: {}   # none yet\n", "scores:\n# a line at its margin\n\n"])
def test_a_missing_or_empty_section_is_begun(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("inputs: {i: {}}\nscreens:\n    s:\n        input: i   # block style, four spaces\n\n" + text)
    assert add_entries(path, {"screens": {"no": {"input": "i"}}}) == ["screens.no"]
    assert "\n        input: i   # block style, four spaces\n    'no': {input: i}\n" in path.read_text()
    assert list(Params.read(path).screens) == ["s", "no"]


@pytest.mark.parametrize("text", ["screens: {s: {input: i}}\n", "screens:\n  {s: {input: i}}\n", "screens:\n  {}\n",
                                  "trunks: &none {}\nscreens: *none\n"])
def test_a_form_that_a_program_cannot_extend_is_said_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text := "inputs: {i: {}}\n" + text)
    with pytest.raises(ParamsError, match="by hand"):
        add_entries(path, {"trunks": {"u": {"name": "small_cnn"}}, "screens": {"t": {"input": "i"}}})
    assert path.read_text() == text


def test_the_command_says_what_it_added(params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["profile-mine", "--screen", "mine", "--recipe", "controls_mobilenet", "--parent", "trunks/imagenet", "--weights",
               "IMAGENET1K_V2", "--no-score", "--params", str(params), "--data", str(params.parent / "data")]
    main(command)
    main(command)
    said = capsys.readouterr().out
    assert "added screens.mine, models.profile-mine, trunks.imagenet" in said
    assert "lists all of this already" in said
    assert "mine" not in Params.read(params).scores
