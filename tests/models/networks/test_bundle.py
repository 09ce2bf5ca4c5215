"""Bundles: what is written comes back, and what is missing, altered or foreign is refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import BundleError, ImageError
from models.networks.backbones import state_bytes
from models.networks.bundle import (
    CARD,
    HEAD,
    TRUNK,
    Card,
    GateResult,
    Parent,
    TrunkReference,
    bundle_sha256,
    file_sha256,
    read_card,
    trunk_finder,
    write_bundle,
    write_card,
)
from models.networks.forward import PASS
from models.networks.heads import Network, build_network
from models.networks.predict import load_predictor, output_columns
from models.networks.recipe import Recipe
from tests.conftest import CONTROLS, READOUT, Tiny, tiny_images


def make_card(recipe: Recipe = READOUT, **changes: object) -> Card:
    values: dict[str, object] = {
        "name": "viability-X", "system": recipe.system, "recipe": recipe, "output": "od", "sample": "X",
        "trunk": TrunkReference(name="small_cnn", weights="none, seed 1", sha256="0" * 64), "weights_sha256": "",
        "acquisition": {"magnification": 10.0, "channels": [{"name": "brightfield", "stain": ""}]}, "metrics": {"r2_cv": 0.9},
        "gates": (GateResult(metric="r2_cv", value=0.9, minimum=0.5, maximum=None, passed=True, reason="r2_cv is 0.9"),),
        "parent": Parent(name="pretrain", sha256="1" * 64), "training_wells": (("P1", "A01", "train"), ("P1", "A02", "test")),
        "thresholds": {"raw_low": -0.2, "raw_high": 2.0}, "lineage": {"data_md5": "d.dir"}}
    return Card(**{**values, **changes})


def write(folder: Path, recipe: Recipe = READOUT, *, own_trunk: bool = True, **changes: object) -> Network:
    network = build_network(recipe)
    write_bundle(folder, make_card(recipe, **changes), head=state_bytes(network.head.state_dict()),
                 trunk=state_bytes(network.trunk.state_dict()) if own_trunk else None)
    return network.eval()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write(tmp_path / "m")
    return tmp_path / "m"


def test_a_card_comes_back_with_its_hashes(bundle: Path) -> None:
    card = read_card(bundle)
    expected = make_card(weights_sha256=file_sha256(bundle / HEAD),
                         trunk=TrunkReference(name="small_cnn", weights="none, seed 1", sha256=file_sha256(bundle / TRUNK)))
    assert card == expected
    assert bundle_sha256(bundle) == file_sha256(bundle / CARD)


def test_the_same_model_is_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    write(tmp_path / "again")
    for name in (CARD, HEAD, TRUNK):
        assert (tmp_path / "again" / name).read_bytes() == (bundle / name).read_bytes()


def test_metrics_that_are_no_number_survive(tmp_path: Path) -> None:
    write(tmp_path / "m", metrics={"r2_test": math.nan, "r2_cv": 0.5})
    assert json.loads((tmp_path / "m" / CARD).read_text())["metrics"] == {"r2_cv": 0.5, "r2_test": None}  # strict JSON
    metrics = read_card(tmp_path / "m").metrics
    assert math.isnan(metrics["r2_test"])
    assert metrics["r2_cv"] == 0.5


def alter_card(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        record = json.loads((folder / CARD).read_text()) | changes
        (folder / CARD).write_text(json.dumps({key: value for key, value in record.items() if value != "gone"}))
    return change


def flip_last_byte(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return change


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda folder: (folder / CARD).unlink(), "has no card.json; it is not a model bundle"),
    (lambda folder: (folder / HEAD).unlink(), "has no weights.safetensors"),
    (lambda folder: (folder / "model.pkl").write_bytes(b"x"), r"files that no bundle has: model\.pkl; refused"),
    (lambda folder: ((folder / "code").mkdir(), (folder / "code" / "run.py").touch()), r"files that no bundle has: code/run\.py"),
    (flip_last_byte(HEAD), r"weights\.safetensors has sha256 .* its card says .* altered or damaged"),
    (flip_last_byte(TRUNK), r"trunk\.safetensors has sha256 .* altered or damaged"),
    (lambda folder: (folder / CARD).write_text("{"), r"card\.json cannot be read"),
    (lambda folder: (folder / CARD).write_text("[]"), r"card\.json cannot be read"),
    (lambda folder: (folder / CARD).write_bytes(b"\xff\xfe"), r"card\.json cannot be read"),
    (alter_card(format_version=2), "has format version 2; this Dosewell reads 1"),
    (alter_card(format_version="gone"), "has format version None"),
    (alter_card(metrics="gone"), "cannot be read"),
    (alter_card(system="gone"), r"card\.json\.system: missing"),
    (alter_card(colour="red"), r"card\.json\.colour: unknown key"),
    (alter_card(gates=[{"metric": 3}]), r"card\.json\.gates\[0\]"),
    (alter_card(weights_sha256="0" * 64), "altered or damaged"),
])
def test_a_spoilt_bundle_is_refused_by_name(bundle: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(bundle)
    with pytest.raises(BundleError, match=message):
        read_card(bundle)


def test_gates_pass_only_if_judged_and_all_kept() -> None:
    passed = make_card().gates[0]
    failed = replace(passed, passed=False, reason="r2_cv is 0.1, asked at least 0.5")
    assert make_card().gates_passed
    assert make_card().gate_failures() == []
    assert not make_card(gates=(passed, failed)).gates_passed
    assert make_card(gates=(passed, failed)).gate_failures() == ["r2_cv is 0.1, asked at least 0.5"]
    assert not make_card(gates=()).gates_passed
    assert make_card(gates=()).gate_failures() == ["no gate was judged"]


def test_a_referenced_trunk_is_found_by_its_hash_or_said_to_be_missing(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "store" / "aaa").mkdir(parents=True)
    (tmp_path / "store" / "aaa" / TRUNK).write_bytes(b"another")
    card = read_card(bundle)
    assert trunk_finder([tmp_path / "store", tmp_path])(card.trunk) == bundle / TRUNK
    with pytest.raises(BundleError, match=r"trunk small_cnn \(none, seed 1, sha256 .*store; run `dvc pull`"):
        trunk_finder([tmp_path / "store"])(card.trunk)


def no_trunk(reference: TrunkReference) -> Path:
    raise AssertionError(f"asked for {reference}")


@pytest.mark.parametrize("recipe", [READOUT, CONTROLS], ids=["readout", "controls"])
def test_a_predictor_answers_as_its_network(recipe: Recipe, tiny: Tiny, tmp_path: Path) -> None:
    network = write(tmp_path / "m", recipe)
    predictor, told = load_predictor(tmp_path / "m", find_trunk=no_trunk, device="cpu"), []
    found = predictor.predict(tiny.images, on_images=told.append)
    assert list(found.columns) == ["plate", "well", "site", "logit", "probability", "od", "feature_distance"]
    assert found["well"].tolist() == tiny.images.wells["well"].tolist()
    assert told == [PASS, len(tiny.images) - PASS]
    with torch.no_grad():
        outputs = network(torch.from_numpy(tiny.images.pixels).float()).numpy()
    if recipe.is_regression:
        np.testing.assert_allclose(found["od"], outputs[:, 0], atol=1e-5)
        assert found[["logit", "probability"]].isna().all(axis=None)
    else:
        np.testing.assert_allclose(found["logit"], outputs[:, 0] - outputs[:, 1], atol=1e-5)
        np.testing.assert_allclose(found["probability"], np.exp(outputs[:, 0]) / np.exp(outputs).sum(axis=1), atol=1e-6)
        assert found["od"].isna().all()
    assert predictor.sha256 == bundle_sha256(tmp_path / "m")


def test_answers_do_not_depend_on_order_or_company(bundle: Path, tiny: Tiny) -> None:
    predictor = load_predictor(bundle, find_trunk=no_trunk, device="cpu")
    whole = predictor.predict(tiny.images)["od"].to_numpy()
    order = np.random.default_rng(0).permutation(len(tiny.images))
    np.testing.assert_array_equal(predictor.predict(tiny.images.take(order))["od"], whole[order])
    alone = [predictor.predict(tiny.images.take(np.array([row])))["od"].iloc[0] for row in range(0, len(whole), 9)]
    np.testing.assert_array_equal(alone, whole[::9])
    np.testing.assert_array_equal(predictor.predict(tiny.images)["od"], whole)
    assert predictor.predict(tiny.images.take(np.array([], int))).empty


def test_wrong_images_are_refused(bundle: Path, tiny: Tiny) -> None:
    predictor = load_predictor(bundle, find_trunk=no_trunk, device="cpu")
    with pytest.raises(ImageError, match=r"reads .*brightfield:mid.* at 16 pixels; got .* at \(24, 24\)"):
        predictor.predict(tiny_images(tiny.layout, size=24))
    with pytest.raises(ImageError, match=r"got \('hoechst:mip', 'hoechst:mid', 'hoechst:mip'\)"):
        predictor.predict(replace(tiny.images, channels=("hoechst:mip", "hoechst:mid", "hoechst:mip")))


def test_weights_that_do_not_fit_the_recipe_are_refused(tmp_path: Path) -> None:
    trunk = state_bytes(build_network(READOUT).trunk.state_dict())
    for name, head in (("other", state_bytes(build_network(CONTROLS).head.state_dict())), ("garbage", b"\x80\x04pickle")):
        write_bundle(tmp_path / name, make_card(), head=head, trunk=trunk)
        with pytest.raises(BundleError, match=r"weights\.safetensors does not fit the recipe of viability-X"):
            load_predictor(tmp_path / name, find_trunk=no_trunk, device="cpu")


def test_a_frozen_trunk_comes_from_where_it_is_stored(bundle: Path, tmp_path: Path, tiny: Tiny) -> None:
    trunk = read_card(bundle).trunk
    write(tmp_path / "heads" / "m2", own_trunk=False, trunk=trunk)
    predictor = load_predictor(tmp_path / "heads" / "m2", find_trunk=trunk_finder([tmp_path]), device="cpu")
    own = load_predictor(bundle, find_trunk=no_trunk, device="cpu")
    np.testing.assert_array_equal(predictor.predict(tiny.images)["od"], own.predict(tiny.images)["od"])


def test_extreme_logits_are_certain_without_a_warning() -> None:
    found = output_columns(np.array([[5000.0, -5000.0], [-5000.0, 5000.0], [0.0, 0.0]], np.float32), regression=False)
    assert found["probability"].tolist() == [1.0, 0.0, 0.5]


def test_a_card_may_be_rewritten(bundle: Path) -> None:
    before = bundle_sha256(bundle)
    write_card(bundle, replace(read_card(bundle), metrics={"r2_cv": 0.1}))
    assert read_card(bundle).metrics == {"r2_cv": 0.1}
    assert bundle_sha256(bundle) != before
