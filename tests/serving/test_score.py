"""POST /score against a running service: the answer, its lineage, and the same numbers as the pipeline's functions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from models.networks.bundle import trunk_finder
from models.networks.predict import load_predictor
from models.plates.images import PlateArchive
from models.plates.layout import read_layout
from models.plates.prepare import load_prepared, prepare_plate, save_prepared
from models.plates.screen import Screen
from models.registry import Registry
from models.scoring import ScoredScreen, score_images
from models.tables import CURVES, WELL_SCORES, check_table
from serving.client import Client, read_plates
from tests.serving.conftest import Post
from tests.serving.tiny import MODEL, SCREEN, TinyPlate

YAML = "name: tiny\nsample: TINY\nchannels: [brightfield]\nmagnification: 10.0\npositive_control: {image: kill}\n"


@pytest.fixture(scope="module")
def answer(post: Post) -> dict:
    response = post()
    assert response.status_code == 200, response.text
    return response.json()


def by_the_pipeline(folder: Path, plate: TinyPlate) -> ScoredScreen:
    """What the stages prepare and score compute, through the files that lie between them."""
    predictor = load_predictor(folder / "models" / "m1", find_trunk=trunk_finder([folder / "models"]))
    with PlateArchive(plate.archive) as archive:
        save_prepared(prepare_plate(archive, predictor.card.recipe.input, channels=["brightfield"]), folder / "P1.safetensors")
    screen = Screen.from_dict(SCREEN)
    return score_images(load_prepared(folder / "P1.safetensors"), read_layout(plate.layout, plate_format=96), screen=screen,
                        predictor=predictor, model=MODEL, version="1")


def test_the_numbers_are_those_of_the_pipeline(answer: dict, folder: Path, plate: TinyPlate) -> None:
    expected = by_the_pipeline(folder, plate)
    for name, table in (("wells", expected.wells), ("curves", expected.curves), ("quality", expected.quality)):
        found = pd.DataFrame(answer[name])
        assert list(found.columns) == list(table.columns)
        for column in table.select_dtypes("number"):
            np.testing.assert_array_equal(found[column].to_numpy(float), table[column].to_numpy(float), err_msg=f"{name}.{column}")


def test_the_tables_keep_their_contracts(answer: dict, plate: TinyPlate) -> None:
    wells = check_table(pd.DataFrame(answer["wells"]), WELL_SCORES, keys=("plate", "well"))
    assert list(wells["well"]) == list(plate.table["well"])
    check_table(pd.DataFrame(answer["curves"]), CURVES, keys=("treatment",))


def test_numbers_that_do_not_exist_are_null(post: Post) -> None:
    text = post().text
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text)["wells"][0]["logit"] is None


def test_the_answer_says_what_answered(answer: dict, registry: Registry) -> None:
    version = registry.resolve(f"{MODEL}/1")
    assert answer["lineage"]["model"] == MODEL
    assert answer["lineage"]["version"] == "1"
    assert answer["lineage"]["run_id"] == version.run_id
    assert answer["lineage"]["bundle_sha256"] == version.bundle_sha256
    assert answer["lineage"]["data_md5"] == "d" * 32
    assert set(pd.DataFrame(answer["wells"])["version"]) == {"1"}


@pytest.mark.parametrize("change", ["xlsx", "loose images", "an image a well", "yaml", "folders in names", "no plate column",
                                    "a folder, no plate column"])
def test_other_forms_of_the_same_plate_give_the_same_numbers(post: Post, plate: TinyPlate, answer: dict, tmp_path: Path,
                                                             change: str) -> None:
    if change == "xlsx":
        plate.table.to_excel(tmp_path / "layout.xlsx", index=False)
        response = post(layout=("layout.xlsx", (tmp_path / "layout.xlsx").read_bytes()))
    elif change == "loose images":
        response = post(images=[(name, data) for name, data in plate.images.items()])
    elif change == "an image a well":
        response = post(images=[(name.replace("_s1_c0_z0.tif", ".tiff"), data) for name, data in plate.images.items()])
    elif change == "a folder, no plate column":
        response = post(images=[(f"screens/P1/{name}", data) for name, data in plate.images.items()],
                        layout=("layout.csv", plate.csv(plate.table.drop(columns="plate"))))
    elif change == "folders in names":
        response = post(images=("C:\\plates\\P1.zip", plate.archive.read_bytes()))
    elif change == "no plate column":
        response = post(layout=("layout.csv", plate.csv(plate.table.drop(columns="plate"))))
    else:
        response = post(screen=YAML)
    assert response.status_code == 200, response.text
    assert response.json()["wells"] == answer["wells"]
    assert response.json()["curves"] == answer["curves"]


def test_curve_options_and_exclusions(post: Post, answer: dict) -> None:
    well = next(row["well"] for row in answer["wells"] if row["treatment"] == "alpha")
    options = {"fit": {"ic_level": 30}, "exclusions": [{"plate": "P1", "well": well, "reason": "bubble"}]}
    found = post(options=json.dumps(options)).json()
    row = next(row for row in found["wells"] if row["well"] == well)
    assert (row["excluded"], row["exclusion_reason"]) == (True, "bubble")
    curve = next(row for row in found["curves"] if row["treatment"] == "alpha")
    assert (curve["ic_level"], curve["n"]) == (30, 31)


@pytest.mark.parametrize("reference", [f"{MODEL}/2", f"{MODEL}@challenger", f"{MODEL}@champion"])
def test_a_version_by_number_and_by_alias(post: Post, registry: Registry, reference: str) -> None:
    assert post(model=reference).json()["lineage"]["version"] == str(registry.resolve(reference).version)


def test_another_sample_is_refused_unless_forced(post: Post) -> None:
    other = json.dumps({**SCREEN, "sample": "HEK293"})
    refused = post(screen=other)
    assert refused.status_code == 409
    assert refused.json()["findings"][0]["rule"] == "sample_mismatch"
    forced = post(screen=other, options='{"force": true}')
    assert forced.status_code == 200
    assert "sample_mismatch" in [flag["rule"] for flag in forced.json()["flags"]]


def test_another_acquisition_is_flagged(post: Post) -> None:
    flags = post(screen=json.dumps({**SCREEN, "magnification": 20.0})).json()["flags"]
    assert "acquisition_mismatch" in [flag["rule"] for flag in flags]


def test_two_plates_in_one_request(post: Post, plate: TinyPlate) -> None:
    both = pd.concat([plate.table, plate.table.assign(plate="P0")])
    response = post(images=[("P1.zip", plate.archive.read_bytes()), ("P0.zip", plate.archive.read_bytes())],
                    layout=("layout.csv", plate.csv(both)))
    assert response.status_code == 200, response.text
    wells = pd.DataFrame(response.json()["wells"])
    assert wells.groupby("plate").size().to_dict() == {"P0": 96, "P1": 96}
    assert wells["excluded"].all()      # the same images twice are a copy error: which plate they belong to cannot be told


def test_the_client_gives_tables(client: Client, plate: TinyPlate, tmp_path: Path) -> None:
    scores = client.score(read_plates(plate.archive), layout=plate.layout, model=MODEL, screen=SCREEN)
    assert (len(scores.wells), set(scores.curves["treatment"])) == (96, {"alpha", "beta"})
    assert math.isfinite(scores.quality["z_prime"].iloc[0])
    assert "alpha" in scores.summary()
    scores.write(tmp_path / "out")
    assert len(pd.read_csv(tmp_path / "out" / "wells.csv")) == 96


def test_a_plate_of_controls_only(client: Client, plate: TinyPlate, tmp_path: Path) -> None:
    """No treatment, no curve, and still an answer."""
    table = plate.table[plate.table["treatment"] == ""]
    (tmp_path / "layout.csv").write_bytes(plate.csv(table))
    for well in table["well"]:
        name = f"{well}_s1_c0_z0.tif"
        (tmp_path / name).write_bytes(plate.images[name])
    scores = client.score(read_plates(tmp_path), layout=tmp_path / "layout.csv", model=MODEL, screen=SCREEN)
    assert (len(scores.wells), len(scores.curves)) == (32, 0)
    scores.write(tmp_path / "out")
    assert scores.summary()


def test_models_metrics_health_and_openapi(http: httpx.Client, client: Client) -> None:
    (record,) = [model for model in client.models()["models"] if model["name"] == MODEL]
    assert record["name"] == MODEL
    assert record["serving"]["sample"] == "TINY"
    assert record["serving"]["planes"] == ["brightfield:mid"] * 3
    for path in ("livez", "healthz", "readyz", "models", "promotions", ""):
        assert http.get(f"/{path}").status_code == 200, path
    assert 'dosewell_scored_wells_total{model="viability-TINY"}' in http.get("/metrics").text
    document = http.get("/openapi.json").json()
    assert document == http.get("/docs.json").json()
    assert {"/score", "/curves", "/models", "/promotions"} <= set(document["paths"])
    columns = document["components"]["schemas"]["WellRecord"]["properties"]
    assert columns["viability"]["description"].startswith("1 = negative control")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/jobs/", 404), ("PUT", "/jobs", 405)])
def test_a_wrong_address_is_answered_in_the_services_words(http: httpx.Client, method: str, path: str, status: int) -> None:
    """BentoML answered a text, or led to an address that a gateway's users cannot reach."""
    answer = http.request(method, path)
    assert (answer.status_code, set(answer.json())) == (status, {"error", "findings"})


def test_the_page_loads_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/").text
    assert "http://" not in page
    assert "https://" not in page
    for path in ("static_content/swagger-ui-bundle.js", "static_content/swagger-ui.css"):
        assert http.get(f"/{path}").status_code == 200
