"""params.yaml: whatever is wrong or dangling is named by its path; the file that ships parses."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.special import expit

from models.errors import InputError, ParamsError
from models.networks.evaluate import judge_gates, model_metrics
from models.networks.recipe import Recipe
from pipelines.params import Params, listed
from pipelines.params_entries import add_entries
from tests.pipelines.chain import call, tiny_params
from tests.test_architecture import imported_names, layer_of
from validation.verdicts import Verdict, write_verdict

ROOT = Path(__file__).parents[2]


LABELLED = [name for name, recipe in yaml.safe_load((ROOT / "params.yaml").read_text())["recipes"].items() if recipe["target"] == "label"]


@pytest.mark.parametrize("recipe", LABELLED)
@pytest.mark.parametrize("found", [0, 1])
def test_a_model_that_misses_a_rare_class_passes_no_gates(recipe: str, found: int) -> None:
    """Three toxic images of 39, none or one of them found: its accuracy is 0.92 or more."""
    target = np.repeat([1.0, 0.0], [3, 36])
    logit = np.where(np.arange(39) < found, 2.0, -2.0)
    predictions = pd.DataFrame({"part": ["test", "train", "train", *["test"] * 9, *["train"] * 27], "target": target, "label": "",
                                "logit": logit, "logit_cv": logit, "prediction": expit(logit), "prediction_cv": expit(logit)})
    gates = Params.read(ROOT / "params.yaml").recipes[recipe].gates
    judged = judge_gates(model_metrics(predictions, regression=False), gates)
    assert all(gate.passed for gate in judged if gate.metric == "accuracy_cv")
    assert not all(gate.passed for gate in judged)


def test_the_file_that_ships_parses_and_means_what_it_says() -> None:
    params = Params.read(ROOT / "params.yaml")
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section in ("screens", "inputs", "recipes", "trunks", "models", "scores"):
        assert list(getattr(params, section)) == list(raw[section])
    for name, recipe in params.recipes.items():
        assert isinstance(recipe, Recipe)
        assert recipe.input == params.inputs[raw["recipes"][name]["input"]]
        assert recipe.gates  # an unjudged model must not serve


def test_dvc_sees_every_part_of_a_recipe_but_its_gates() -> None:
    """`train` depends on the parts that it reads; one left out of dvc.yaml would leave a stale model."""
    from dataclasses import fields

    listed = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["train"]["do"]["params"]
    parts = {text.rpartition(".")[2] for text in listed if text.startswith("recipes.")}
    assert parts == {field.name for field in fields(Recipe)} - {"gates"}


def reached(module: str) -> set[str]:
    """The file of a module of `plates`, those of that room that it leads to by imports, and models/wells.py."""
    found, waiting = {"models/wells.py"}, [module]
    while waiting:
        path = f"{waiting.pop().replace('.', '/')}.py"
        if path not in found and (ROOT / path).is_file():
            found.add(path)
            waiting += [name for name, _ in imported_names(ROOT / path) if name.startswith("models.plates.")]
    return found


CARRIERS = {f"models/plates/{name}.py" for name in ("images", "imageset", "prepare", "projections", "screen")}    # of what others decided
READS_LAYOUTS, NAMES_IMAGES = reached("models.plates.layout"), reached("models.plates.member_names")


@pytest.mark.parametrize(("stage", "modules", "beside"), [
    ("validate", [], READS_LAYOUTS | NAMES_IMAGES), ("prepare", [], NAMES_IMAGES), ("train", [], READS_LAYOUTS),
    ("score", ["models/scoring.py", "models/classifying.py"], READS_LAYOUTS | {"models/scoring.py", "models/classifying.py"}),
    ("compare", ["pipelines/compare.py", "pipelines/compare_networks.py", "pipelines/cross_validation.py"],
     READS_LAYOUTS | {"pipelines/figures.py"}),
    ("report", ["pipelines/report.py", "pipelines/class_report.py", *(f"models/report/{path.name}" for path in
                                                                     (ROOT / "models" / "report").glob("*.py"))], set())])
def test_a_stage_depends_on_every_room_that_it_uses(stage: str, modules: list[str], beside: set[str]) -> None:
    """A file left out of dvc.yaml would leave stale results after a change of it. The lowest rooms decide nothing, but for which well a
    name means; of `plates` the files that decide are named one by one, and of `networks` some where a stage needs no more.
    """
    found = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    listed = set(found.get("do", found)["deps"])
    seen: set[str] = set()
    waiting = [ROOT / module for module in modules]
    while waiting:
        names = [name for name, _ in imported_names(waiting.pop()) if name.startswith("models.")]
        if stage == "score":    # the others take of these rooms what decides nothing
            beside = beside | {path for name in names if (path := f"{'/'.join(name.split('.')[:3])}.py").startswith("models/plates/")
                               and (ROOT / path).is_file()} - CARRIERS
        used = {name.split(".")[1] for name in names}
        new = {room for room in used - seen - {"plates"} if layer_of(room)}
        seen |= new
        waiting += [path for room in new if (path := ROOT / "models" / f"{room}.py").is_file()]
    listed |= {dep.rsplit("/", 1)[0] for dep in listed if dep.startswith("models/networks/")}
    wanted = {f"models/{room}" if (ROOT / "models" / room).is_dir() else f"models/{room}.py" for room in seen} | beside
    assert wanted <= listed, f"stage {stage} lacks {sorted(wanted - listed)}"


def changed(*path: str, to: Any) -> dict[str, Any]:
    values = copy.deepcopy(tiny_params())
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return values


@pytest.mark.parametrize(("path", "value", "message"), [
    (("models", "viability-A549", "screen"), "a594",
     "models.viability-A549.screen: 'a594' is not in screens and imagesets; known: a549, hek293"),
    (("models", "viability-A549", "recipe"), "x", "models.viability-A549.recipe: 'x' is not in recipes; known: base, head, controls"),
    (("models", "viability-A549", "parent"), "trunks/x", "models.viability-A549.parent: 'x' is not in trunks; known: small"),
    (("models", "viability-A549", "parent"), "models/x", "models.viability-A549.parent: 'x' is not in models"),
    (("models", "viability-A549", "parent"), "small", "models.viability-A549.parent must read trunks/<name> or models/<name>"),
    (("models", "viability-A549", "parent"), "trunks/", "models.viability-A549.parent must read"),
    (("models", "viability-A549", "parent"), "models/viability-HEK293", "models.viability-A549.parent: models may not descend in a circle"),
    (("models", "viability-A549", "parent"), "models/viability-A549", "models.viability-A549.parent: models may not descend in a circle"),
    (("models", "viability-A549"), None, "models.viability-A549: expected a mapping, got None"),
    (("scores", "hek239"), "viability-HEK293", "scores.hek239: 'hek239' is not in screens and imagesets"),
    (("scores", "hek293"), 3, "scores.hek293: '3' is not in models"),
    (("scores", "hek293"), "viability-X", "scores.hek293: 'viability-X' is not in models"),
    (("screens", "a549", "input"), "x", "screens.a549.input: 'x' is not in inputs; known: brightfield, spheroid"),
    (("screens", "a549", "input"), "spheroid",
     "models.viability-A549: recipe base reads input 'brightfield', but screens.a549.input is 'spheroid'"),
    (("scores", "patient-1"), "viability-A549", "scores.patient-1: recipe base reads input 'brightfield', but screens.patient-1.input"),
    (("recipes", "base", "input"), "x", "recipes.base.input: 'x' is not in inputs"),
    (("recipes", "base", "input"), None, "recipes.base.input: 'None' is not in inputs"),
    (("recipes", "base", "input"), ["brightfield"], "recipes.base.input: '['brightfield']' is not in inputs"),
    (("recipes", "base", "optimizer", "learning_rate"), -1, "recipes.base.optimizer.learning_rate must be > 0, got -1"),
    (("recipes", "base", "optimizer", "learnin_rate"), 1,
     "recipes.base.optimizer.learnin_rate: unknown key, did you mean 'learning_rate'?"),
    (("recipes", "base", "label_smoothing"), 0.1, "recipes.base.label_smoothing must be 0 for target readout, got 0.1: a measured"),
    (("recipes", "controls", "gates"), [{"metric": "r2_cv", "minimum": 0}],
     "recipes.controls.gates[0].metric: 'r2_cv' is no metric of a model with target control_class and this split"),
    (("recipes", "base", "gates"), [{"metric": "r2_test", "minimum": 0}, {"metric": "r2_tset", "minimum": 0}],
     "recipes.base.gates[1].metric: 'r2_tset' is no metric of a model with target readout and this split, did you mean 'r2_test'?"),
    (("recipes", "base", "gates"), [{"metric": "r2_cv", "minimum": 0}], "recipes.base.gates[0].metric: 'r2_cv' is no metric"),
    (("recipes", "base", "head", "outputs"), 2, "recipes.base.head.outputs must be 1 to predict a read-out"),
    (("recipes", "base", "trunk", "name"), "vgg19",
     "models.viability-A549.parent: trunks/small has the trunk small_cnn, but recipe base has vgg19"),
    (("recipes", "base"), 3, "recipes.base: expected a mapping, got 3"),
    (("recipes",), ["base"], "recipes: expected a mapping, got ['base']"),
    (("inputs",), "brightfield", "inputs: expected a mapping"),
    (("inputs", "brightfield", "size"), 4, "inputs.brightfield.size must lie between 8 and 4096"),
    (("inputs", "brightfield", "planes"), ["x:max"], "inputs.brightfield.planes must read channel:projection"),
    (("models",), 7, "models: expected a mapping, got 7"),
    (("model",), {}, "model: unknown section, did you mean 'models'?"),
    (("colour",), {}, "colour: unknown section; known: screens, inputs"),
    (("score", "fit"), {"model": "6pl"}, "score.fit.model: must be one of"),
    (("validate",), {"min_controls": 0}, "validate.min_controls"),
    (("trunks", "small", "seed"), "x", "trunks.small.seed: expected a whole number, got 'x'"),
    (("trunks", "small", "seed"), -1, "trunks.small.seed must be 0 or more, got -1"),
    (("recipes", "base", "seed"), -1, "recipes.base.seed must be 0 or more, got -1"),
    (("recipes", "base", "optimizer", "learning_rate"), float("inf"), "recipes.base.optimizer.learning_rate must be > 0, got inf"),
    (("train", "device"), "gpu", "train.device: must be one of auto, cpu, cuda, mps, got 'gpu'"),
    (("score", "device"), "gpu", "score.device: must be one of auto, cpu, cuda, mps, got 'gpu'"),
    (("models", "../viability"), {}, "models.../viability: a name is text of at most 100 letters, digits, _ and -"),
    (("models", "viability-A549@champion"), {}, "models.viability-A549@champion: a name is text of at most 100 letters"),
    (("recipes", "base.long"), {}, "recipes.base.long: a name is text of at most 100 letters"),
    (("screens", 384), {"input": "spheroid"}, "screens.384: a name is text of at most 100 letters, digits, _ and -, and does not begin "
                                              "with -; got 384 (quotes make it text)"),
    (("screens", False), {"input": "spheroid"}, "screens.False: a name is text"),
])
def test_what_is_wrong_is_named_by_its_path(path: tuple[str, ...], value: Any, message: str) -> None:
    with pytest.raises(ParamsError) as caught:
        Params.parse(changed(*path, to=value))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("screen", "head", "parent"), [
    ("patient-2", None, "models/profile-PAT_1"), ("patient-1", {"hidden": [3]}, "models/profile-PAT_1"),
    ("patient-1", None, "trunks/small"), ("patient-1", None, "models/profile-3")])
def test_phase_three_goes_on_from_a_phase_two_of_its_own_screen(screen: str, head: dict[str, Any] | None, parent: str) -> None:
    """It takes labels of drug wells from its parent, which must know these very wells."""
    def values(screen: str, head: dict[str, Any] | None, parent: str) -> dict[str, Any]:
        found = copy.deepcopy(tiny_params())
        alike = found["recipes"]["controls"] | {"target": "controls_and_duplicates"}
        found["recipes"] |= {"alike": alike, "third": alike | {"head": alike["head"] | (head or {})}}
        found["screens"]["patient-2"] = found["screens"]["patient-1"]
        found["models"] |= {"profile-3": {"screen": "patient-1", "recipe": "alike", "parent": "models/profile-PAT_1"},
                            "profile-4": {"screen": screen, "recipe": "third", "parent": parent}}
        return found

    Params.parse(values("patient-1", None, "models/profile-PAT_1"))
    with pytest.raises(ParamsError, match=r"^models.profile-4.parent: recipe third \(phase III\) goes on from a model of screen"):
        Params.parse(values(screen, head, parent))


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """A section that is pasted below would replace the one that is there, and with it all screens, without a word."""
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text() + "\nscores:\n  mine: profile-mine\n")
    with pytest.raises(ParamsError, match=r"'scores' stands twice, in lines \d+ and \d+; keep one"):
        Params.read(path)
    with pytest.raises(ParamsError, match="stands twice"):
        add_entries(path, {"scores": {"patient-1": "profile-PAT_1"}})
    entry = "  a549: viability-A549\n"
    path.write_text((ROOT / "params.yaml").read_text().replace(entry, f"{entry}  a549: viability-HEK293\n"))
    with pytest.raises(ParamsError, match="'a549' stands twice"):
        Params.read(path)


@pytest.mark.parametrize(("text", "message"), [
    ("a: [", "cannot be read"), ("- 1", "expected a mapping of sections"), ("", "expected a mapping"), (None, "cannot be read"),
    ("models:\n<<<<<<< HEAD\n  a: {}\n=======\n  b: {}\n>>>>>>> anna\n", r"merge is unfinished \(line 2")])
def test_a_file_that_is_no_params_file(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=message):
        Params.read(tmp_path / "params.yaml")


@pytest.mark.parametrize(("words", "message"), [
    ("trunk nobody --out o", "params.yaml has no trunk 'nobody'; it has small"),
    ("prepare nobody --data d --verdict {verdict} --out o --kept k", "params.yaml has no screen or image set 'nobody'; it has a549, hek"),
    ("prepare_imageset nobody --data d --verdict {verdict} --out o", "params.yaml has no screen or image set 'nobody'"),
    ("train nobody --data d --prepared p --parent artifacts/trunks/small --checkpoint c --out o", "params.yaml has no model 'nobody'"),
    ("evaluate nobody --trained t --bundle b --out o", "params.yaml has no model 'nobody'; it has viability-A549"),
    ("sample_size nobody", "params.yaml has no model 'nobody'"), ("explain nobody", "params.yaml has no model 'nobody'"),
    ("profile nobody", "params.yaml has no screen 'nobody'; it has a549")])
def test_a_name_that_is_not_listed_is_told_with_those_that_are(in_folder: Callable[[str], Path], words: str, message: str) -> None:
    verdict = in_folder("work") / "verdict.json"
    write_verdict(Verdict(screen="nobody"), verdict)
    Path("params.yaml").write_text(yaml.safe_dump(tiny_params(), sort_keys=False))
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        call(shlex.split(f"python -m pipelines.{words.format(verdict=verdict)}"))


@pytest.mark.parametrize("text", ["models: 3", "models: [a]", "models: {a.b: {}}"])
def test_names_of_a_section_that_is_none_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=r"^models"):
        listed(tmp_path / "params.yaml", "models")


def test_empty_sections_are_empty() -> None:
    params = Params.parse({"screens": None, "inputs": {}})
    assert (dict(params.models), dict(params.scores), params.train.device) == ({}, {}, "auto")


def hashed(change: Callable[[dict[str, Any]], None] = lambda values: None) -> str:
    values = copy.deepcopy(tiny_params())
    change(values)
    return Params.parse(values).model_hash("viability-HEK293")


def test_the_hash_of_a_model_is_that_of_what_it_is_trained_with() -> None:
    first = hashed()
    assert hashed() == first
    assert hashed(lambda values: values["recipes"]["head"].update(gates=[])) == first
    assert hashed(lambda values: values["recipes"]["controls"].update(seed=5)) == first  # another recipe
    assert hashed(lambda values: values["score"].update(fit={"model": "5pl"})) == first
    others = {hashed(change) for change in (
        lambda values: values["recipes"]["head"].update(seed=5),
        lambda values: values["recipes"]["head"]["optimizer"].update(epochs=41),
        lambda values: values["inputs"]["brightfield"].update(size=40),
        lambda values: values.update(image_quality={"focus": 0.6}),
        lambda values: values["models"]["viability-HEK293"].update(parent="trunks/small"))}
    assert len(others | {first}) == 6
