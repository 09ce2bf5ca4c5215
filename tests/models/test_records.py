"""Records become dataclasses or a message that starts with the path of the value at fault."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.dose_response import FitOptions
from models.errors import ParamsError
from models.networks.recipe import Augmentation, Gate, HeadSpec, OptimizerSpec, Recipe, SplitSpec, TrunkSpec
from models.plates.prepare import InputSpec
from models.records import from_record, to_record


@dataclass(frozen=True, kw_only=True)
class Inner:
    width: int
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.width < 0:
            raise ValueError(f"width must be >= 0, got {self.width}")


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner
    kind: Literal["a", "b"] = "a"
    pair: tuple[float, float] = (0.0, 1.0)
    many: tuple[int, ...] = ()
    inners: tuple[Inner, ...] = ()
    named: Mapping[str, Inner] = field(default_factory=dict)
    maybe: float | None = None
    either: str | tuple[float, float] = "none"
    on: bool = False
    text: str = ""
    free: Mapping[str, Any] = field(default_factory=dict)


GOOD: dict[str, Any] = {"inner": {"width": 1}}


def test_nested_values_take_the_types_that_the_class_states() -> None:
    found = from_record(Outer, {"inner": {"width": 2, "share": 1}, "pair": [1, "1e-7"], "many": [1, 2], "inners": [{"width": 3}],
                                "named": {"x": {"width": 4}}, "maybe": None, "either": [0, 1], "on": True, "free": {"a": [1]}}, path="x")
    assert found == Outer(inner=Inner(width=2, share=1.0), pair=(1.0, 1e-7), many=(1, 2), inners=(Inner(width=3),),
                          named={"x": Inner(width=4)}, either=(0.0, 1.0), on=True, free={"a": [1]})
    assert isinstance(found.inner.share, float)  # YAML's 1 is a float where a float is asked for
    assert from_record(Outer, {**GOOD, "either": "free"}, path="x").either == "free"


@pytest.mark.parametrize(("values", "message"), [
    (None, "recipes.r: expected a mapping, got None"),
    ([1], "recipes.r: expected a mapping, got [1]"),
    ({}, "recipes.r.inner: missing; it has no default"),
    ({"inner": 3}, "recipes.r.inner: expected a mapping, got 3"),
    ({"inner": {}}, "recipes.r.inner.width: missing"),
    ({"inner": {"widht": 1}}, "recipes.r.inner.widht: unknown key, did you mean 'width'?"),
    ({"inner": {"zzz": 1}}, "recipes.r.inner.zzz: unknown key; known: width, share"),
    ({7: 1}, "recipes.r.7: unknown key"),
    ({"inner": {"width": "2"}}, "recipes.r.inner.width: expected a whole number, got '2'"),
    ({"inner": {"width": 2.0}}, "recipes.r.inner.width: expected a whole number, got 2.0"),
    ({"inner": {"width": True}}, "recipes.r.inner.width: expected a whole number, got True"),
    ({"inner": {"width": None}}, "recipes.r.inner.width: expected a whole number, got None"),
    ({"inner": {"width": 1, "share": "half"}}, "recipes.r.inner.share: expected a number, got 'half'"),
    ({"inner": {"width": 1, "share": 10 ** 400}}, "recipes.r.inner.share: expected a number, got 1000"),
    ({"inner": {"width": 1, "share": True}}, "recipes.r.inner.share: expected a number, got True"),
    ({"inner": {"width": 1, "share": [1]}}, "recipes.r.inner.share: expected a number, got [1]"),
    ({"inner": {"width": -1}}, "recipes.r.inner.width must be >= 0, got -1"),
    (GOOD | {"kind": "c"}, "recipes.r.kind: must be one of a, b, got 'c'"),
    (GOOD | {"pair": [1]}, "recipes.r.pair: expected 2 values, got 1"),
    (GOOD | {"pair": 1}, "recipes.r.pair: expected a list, got 1"),
    (GOOD | {"pair": "ab"}, "recipes.r.pair: expected a list, got 'ab'"),
    (GOOD | {"pair": [0, "x"]}, "recipes.r.pair[1]: expected a number, got 'x'"),
    (GOOD | {"many": [1, "x"]}, "recipes.r.many[1]: expected a whole number, got 'x'"),
    (GOOD | {"inners": [{"width": 1}, {"width": -1}]}, "recipes.r.inners[1].width must be >= 0"),
    (GOOD | {"named": {"x": {"width": "a"}}}, "recipes.r.named.x.width: expected a whole number"),
    (GOOD | {"named": [1]}, "recipes.r.named: expected a mapping, got [1]"),
    (GOOD | {"maybe": "x"}, "recipes.r.maybe: expected a number, got 'x'"),
    (GOOD | {"either": 3}, "recipes.r.either: expected a text, got 3"),
    (GOOD | {"on": 1}, "recipes.r.on: expected true or false, got 1"),
    (GOOD | {"text": 5}, "recipes.r.text: expected a text, got 5"),
])
def test_every_mistake_names_its_path(values: object, message: str) -> None:
    with pytest.raises(ParamsError) as caught:
        from_record(Outer, values, path="recipes.r")
    assert str(caught.value).startswith(message)


def test_what_an_options_class_refuses_keeps_the_path() -> None:
    with pytest.raises(ParamsError, match=r"^score\.fit\.level must lie between 0\.5 and 1\.0, got 2"):
        from_record(FitOptions, {"level": 2}, path="score.fit")
    assert from_record(FitOptions, {"bounds": [[0, 0], [50, 100]]}, path="x").bounds == ((0.0, 0.0), (50.0, 100.0))


recipes = st.builds(
    Recipe, system=st.just("profile"), target=st.sampled_from(["control_class", "label"]), seed=st.integers(0, 99),
    label_smoothing=st.floats(0, 0.99), input=st.builds(InputSpec, size=st.integers(8, 512)),
    trunk=st.builds(TrunkSpec, trained=st.sampled_from(["head", "all"]), offset=st.floats(-1, 1)),
    head=st.builds(HeadSpec, hidden=st.lists(st.integers(1, 50), max_size=3).map(tuple), outputs=st.integers(1, 2)),
    augmentation=st.builds(Augmentation, flip=st.booleans(), shift=st.floats(0, 0.5)),
    optimizer=st.builds(OptimizerSpec, learning_rate=st.floats(1e-9, 1), name=st.sampled_from(["adam", "sgd"])),
    split=st.builds(SplitSpec, folds=st.sampled_from([0, 4, 9]), unit=st.sampled_from(["well", "row", "plate"])),
    gates=st.lists(st.builds(Gate, metric=st.text(min_size=1), minimum=st.floats(-1, 1)), max_size=2).map(tuple))


@given(recipes)
def test_any_recipe_survives_json(recipe: Recipe) -> None:
    assert from_record(Recipe, json.loads(json.dumps(to_record(recipe))), path="recipe") == recipe
