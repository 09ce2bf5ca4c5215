"""Heat maps of wells: by the model that scored them, without disturbing what serves, and refused with a reason."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from models.errors import InputError
from models.networks.bundle import trunk_finder
from models.networks.heat import QUICK, heat_of
from models.networks.predict import Predictor, load_predictor
from models.plates.images import PlateArchive
from models.plates.prepare import InputSpec, Intensity, prepare_plate
from serving.heat import prepared_well, words_of
from tests.serving.tiny import MODEL, SCREEN, TinyPlate, tiny_bundle, tiny_plate, wait

CHANNELS = ["brightfield"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Predictor, TinyPlate]:
    folder = tmp_path_factory.mktemp("heat")
    return load_predictor(tiny_bundle(folder / "m"), find_trunk=trunk_finder([folder])), tiny_plate(folder)


def test_both_ways_are_explained_and_the_model_is_left_as_it_was(tiny: tuple[Predictor, TinyPlate]) -> None:
    predictor, plate = tiny
    images = prepared_well(plate.archive, "C05", predictor, channels=CHANNELS)
    before = predictor.predict(images)
    heat = heat_of(predictor, images)
    assert heat.raises.shape == heat.lowers.shape == heat.seen.shape == (1, 32, 32)
    assert heat.raises.any() or heat.lowers.any()
    assert words_of(heat).endswith("not why cells died.")
    assert before.equals(predictor.predict(images))
    assert not any(module._forward_hooks or module._backward_hooks for module in predictor.network.modules())
    assert all(parameter.grad is None for parameter in predictor.network.parameters())


def test_methods_that_take_minutes_are_refused(tiny: tuple[Predictor, TinyPlate]) -> None:
    predictor, plate = tiny
    images = prepared_well(plate.archive, "C05", predictor, channels=CHANNELS)
    with pytest.raises(InputError, match=r"'xrai' is too slow to wait for: by command, python -m pipelines\.explain MODEL --method xrai"):
        heat_of(predictor, images, method="xrai")
    with pytest.raises(InputError, match="'guess' is not known"):
        heat_of(predictor, images, method="guess")


@pytest.mark.parametrize("intensity", ["depth", "plate", "well"])
def test_a_well_is_read_as_it_was_when_its_plate_was_scored(tiny: tuple[Predictor, TinyPlate], intensity: Intensity) -> None:
    predictor, plate = tiny
    spec = InputSpec(size=32, intensity=intensity)
    other = replace(predictor, card=replace(predictor.card, recipe=replace(predictor.card.recipe, input=spec)))
    with PlateArchive(plate.archive) as archive:
        whole = prepare_plate(archive, spec, channels=CHANNELS)
    row = int(np.flatnonzero((whole.wells["well"] == "C05").to_numpy())[0])
    assert np.array_equal(prepared_well(plate.archive, "C05", other, channels=CHANNELS).pixels[0], whole.pixels[row])


def test_the_endpoint_explains_by_the_version_that_scored(http: httpx.Client, plate: TinyPlate) -> None:
    files = {"images": ("P1.zip", plate.archive.read_bytes()), "layout": ("layout.csv", plate.layout.read_bytes())}
    job = wait(http, http.post("/jobs", data={"model": f"{MODEL}/2", "screen": json.dumps({**SCREEN, "name": "heat"})},
                               files=files).json()["id"])["id"]
    answer = http.get(f"/jobs/{job}/wells/P1/a1/heat").json()
    assert (answer["plate"], answer["well"], answer["model"], answer["version"]) == ("P1", "A01", MODEL, "2")
    for name in ("seen", "raises", "lowers"):
        if answer[name] is not None:
            data = base64.b64decode(answer[name].removeprefix("data:image/png;base64,"))
            assert Image.open(io.BytesIO(data)).mode == ("L" if name == "seen" else "RGBA")
    paths = {"P9/A01/heat": 404, "P1/nothing/heat": 400, "P1/A01/heat?method=xrai": 400, "P1/P24/heat": 404}
    assert {path: http.get(f"/jobs/{job}/wells/{path}").status_code for path in paths} == paths
    document = http.get("/openapi.json").json()["paths"]["/jobs/{job}/wells/{plate}/{well}/heat"]["get"]["parameters"]
    assert {item["description"] for item in document if item["name"] == "method"} == {" or ".join(QUICK)}
    http.delete(f"/jobs/{job}")
    assert http.get(f"/jobs/{job}/wells/P1/A01/heat").status_code == 404


def test_a_folder_is_no_plate(tiny: tuple[Predictor, TinyPlate], tmp_path: Path) -> None:
    with pytest.raises(InputError):
        prepared_well(tmp_path / "gone.zip", "A01", tiny[0], channels=CHANNELS)
