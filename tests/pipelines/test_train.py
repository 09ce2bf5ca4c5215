"""The stages `trunk` and `train`: where a model starts, what its draft card says, and that the same input gives the same bytes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file

from models.errors import WeightsError
from models.networks import starts
from models.networks.backbones import starting_state, state_sha256
from models.networks.bundle import CARD, HEAD, TRUNK, bundle_sha256, file_sha256, read_card
from models.networks.recipe import Recipe
from models.plates.data_hash import data_md5
from models.plates.quality import QualityLimits
from models.tables import left_out
from pipelines import train, trunk
from pipelines.params import Params, TrunkEntry
from pipelines.prepared import sound_wells
from tests.conftest import CONTROLS, READOUT
from tests.pipelines.chain import call, commands, prepared_screen, tiny_params


@pytest.fixture(scope="module")
def params(chain: Path) -> Params:
    return Params.read(chain / "params.yaml")


def test_starting_weights_are_stored_once_with_their_hash(tmp_path: Path) -> None:
    sha256 = trunk.run(TrunkEntry(name="small_cnn", seed=4), tmp_path)
    assert sha256 == file_sha256(tmp_path / TRUNK) == state_sha256(starting_state("small_cnn", "none", seed=4))
    assert '"none, seed 4"' in (tmp_path / "trunk.json").read_text()
    again = trunk.run(TrunkEntry(name="small_cnn", weights=str(tmp_path / TRUNK), sha256=sha256), tmp_path / "copy")
    assert again == sha256
    assert '"trunk.safetensors"' in (tmp_path / "copy" / "trunk.json").read_text()  # no path of this machine


def test_a_model_that_trained_its_trunk_holds_it_and_others_refer_to_it(chain: Path) -> None:
    models = chain / "artifacts" / "models"
    base, head, controls = (read_card(models / name) for name in ("viability-A549", "viability-HEK293", "profile-PAT_1"))
    assert base.trunk.sha256 == file_sha256(models / "viability-A549" / TRUNK)
    assert (base.trunk.weights, base.parent) == ("viability-A549", None)
    assert not (models / "viability-HEK293" / TRUNK).exists()
    assert head.trunk == base.trunk
    assert head.parent is not None
    assert (head.parent.name, head.parent.sha256) == ("viability-A549", bundle_sha256(models / "viability-A549"))
    assert controls.trunk.sha256 == file_sha256(chain / "artifacts" / "trunks" / "small" / TRUNK)


def test_the_card_says_where_the_model_comes_from(chain: Path, params: Params) -> None:
    card = read_card(chain / "artifacts" / "models" / "viability-HEK293")
    assert (card.name, card.system, card.sample, card.kind) == ("viability-HEK293", "viability", "HEK293", "cell_line")
    assert card.recipe == params.recipes["head"]
    assert dict(card.lineage) == {"data_md5": data_md5(chain / "data" / "hek293"), "screen": "hek293",
                                  "params_hash": params.model_hash("viability-HEK293")}
    assert (card.acquisition["magnification"], card.acquisition["pixel_size_um"]) == (10.0, 1.3)
    predictions = pd.read_parquet(chain / "artifacts" / "trained" / "viability-HEK293" / "predictions.parquet")
    assert set(card.training_wells) == set(predictions[["plate", "well", "part"]].itertuples(index=False, name=None))
    low, high = predictions["target"].min(), predictions["target"].max()
    assert card.thresholds["raw_low"] == pytest.approx(low - (high - low) / 4)
    assert card.thresholds["raw_high"] == pytest.approx(high + (high - low) / 4)
    assert card.output.startswith("od:")


def test_limits_of_a_classifier_lie_between_its_labels_and_certainty() -> None:
    predictions = pd.DataFrame({"target": [0.0, 1.0]})
    assert starts.raw_limits(predictions, CONTROLS) == {"raw_low": pytest.approx(0.1), "raw_high": pytest.approx(0.9)}
    assert starts.raw_limits(predictions, replace(CONTROLS, label_smoothing=0.0)) == {"raw_low": 0, "raw_high": 1}


def head_of(start: train.Start) -> str:
    return state_sha256(start.network.head.state_dict())


def test_a_start_takes_over_the_trunk_and_a_like_head(chain: Path, params: Params) -> None:
    folder = chain / "artifacts" / "models" / "viability-HEK293"
    stored, own_trunk = load_file(folder / HEAD), load_file(chain / "artifacts" / "models" / "viability-A549" / TRUNK)
    recipe = params.recipes["head"]
    same = starts.read_start(folder, recipe)
    assert head_of(same) == state_sha256(stored)
    assert state_sha256(same.network.trunk.state_dict()) == state_sha256(own_trunk)  # found by hash beside the model
    assert same.parent is not None
    assert same.parent.sha256 == bundle_sha256(folder)
    for other in (replace(recipe, head=replace(recipe.head, hidden=(9,))), replace(recipe, target="control_class")):
        start = starts.read_start(folder, other)
        assert head_of(start) == state_sha256(fresh_head(other))
        assert state_sha256(start.network.trunk.state_dict()) == state_sha256(own_trunk)


def fresh_head(recipe: Recipe) -> dict[str, object]:
    from models.networks.heads import build_network

    return build_network(recipe).head.state_dict()


def test_no_start_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds neither a model nor starting weights"):
        starts.read_start(tmp_path, READOUT)


def test_training_again_gives_the_same_bytes(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another folder, from another process state: card, weights, predictions and curves."""
    for name in ("data", "params.yaml"):
        (tmp_path / name).symlink_to(chain / name)
    shutil.copytree(chain / "artifacts", tmp_path / "artifacts", ignore=shutil.ignore_patterns("trained", "data_docs"))
    monkeypatch.chdir(tmp_path)
    for model, files in (("viability-HEK293", (CARD, HEAD)), ("profile-PAT_1", (CARD, HEAD))):
        call(commands(tiny_params())["train"][model])
        again, first = (folder / "artifacts" / "trained" / model for folder in (tmp_path, chain))
        for name in (*(f"bundle/{file}" for file in files), "epochs.csv", "predictions.parquet"):
            assert (again / name).read_bytes() == (first / name).read_bytes(), name
    assert not list((tmp_path / "artifacts").rglob("checkpoint*.safetensors"))


def test_wells_that_params_yaml_does_not_call_sound_teach_nothing(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of its own, of which the card keeps a copy: the service judges wells by them."""
    asked = {"focus": 1e-6, "empty": 1e-6, "scatter": 1.0}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tiny_params() | {"image_quality": asked}))
    (tmp_path / "data").symlink_to(chain / "data")
    shutil.copytree(chain / "artifacts", tmp_path / "artifacts", ignore=shutil.ignore_patterns("trained", "data_docs"))
    monkeypatch.chdir(tmp_path)
    call(commands(tiny_params())["train"]["viability-HEK293"])
    strict, trained = QualityLimits(**asked), tmp_path / "artifacts" / "trained" / "viability-HEK293"
    layout = sound_wells(prepared_screen(chain, "hek293"), strict).layout
    taught = pd.read_parquet(trained / "predictions.parquet")
    assert 8 < len(taught) < len(layout)
    assert set(taught["well"]) == set(layout.loc[~left_out(layout) & layout["readout"].notna(), "well"])
    assert read_card(trained / "bundle").image_quality == strict


def test_folds_of_phase_three_start_where_phase_two_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Phase II itself has seen all controls: from it, every fold would answer for wells that had taught it."""
    raw = tiny_params()
    second = raw["recipes"]["controls"] | {"gates": []}
    raw["recipes"] |= {"third": second | {"target": "controls_and_duplicates", "seed": 3},
                       "third_alone": second | {"target": "controls_and_duplicates", "split": {"unit": "well", "folds": 0}}}
    raw["models"] |= {"phase-1": {"screen": "patient-1", "recipe": "controls", "parent": "trunks/small"},
                      "phase-2": {"screen": "patient-1", "recipe": "controls", "parent": "models/phase-1"},
                      "phase-3": {"screen": "patient-1", "recipe": "third", "parent": "models/phase-2"},
                      "alone": {"screen": "patient-1", "recipe": "third_alone", "parent": "models/phase-2"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
    params = Params.read(tmp_path / "params.yaml")
    monkeypatch.setattr(train, "read_start", lambda folder, recipe: SimpleNamespace(network=(folder, recipe)))
    before = train.read_before(params, "phase-3", tmp_path)
    assert before is not None
    assert (before.network, before.recipe) == ((tmp_path / "models" / "phase-1", params.recipes["controls"]), params.recipes["controls"])
    assert train.read_before(params, "phase-2", tmp_path) is None
    assert train.read_before(params, "alone", tmp_path) is None
