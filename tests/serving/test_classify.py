"""POST /classify against a running service: the pipeline's numbers, the guards of POST /score, and what is no use."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from models.classifying import SURE, classify_images
from models.networks.bundle import trunk_finder
from models.networks.predict import load_predictor
from models.plates.images import encode_tiff
from models.plates.imageset import ImageArchive, prepare_images
from models.tables import IMAGE_CLASSES, check_table
from serving.classify import MAX_IMAGES, shown_size
from serving.client import Client, RejectedError, read_images
from serving.client_files import left_aside
from tests.serving.tiny import CLASSIFIER, MODEL, SCREEN, TinyPlate, known_image, noise

SET = {"sample": "TINY", "magnification": 10.0}


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind)
    return buffer.getvalue()


def pictures(count: int = 5) -> dict[str, bytes]:
    """Grey TIFFs, brighter from one to the next, and a colour PNG that the model learned from."""
    grey = {f"image-{number}.tif": encode_tiff(noise(number, 55 + 50 * number)) for number in range(count)}
    return grey | {"known.png": encoded(known_image(), "PNG")}


def zipped(images: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in images.items():
            archive.writestr(name, data)
    return buffer.getvalue()


Send = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def send(http: httpx.Client) -> Send:
    """POST /classify with a good form, some of whose fields are replaced; None leaves a field out."""
    def post(images: dict[str, bytes] | None = None, **changes: str | None) -> httpx.Response:
        fields: dict[str, Any] = {"model": CLASSIFIER, "imageset": json.dumps(SET), **changes}
        return http.post("/classify", data={name: text for name, text in fields.items() if text is not None},
                         files=[("images", item) for item in (pictures() if images is None else images).items()] or None)
    return post


@pytest.fixture(scope="module")
def answer(send: Send) -> dict:
    response = send()
    assert response.status_code == 200, response.text
    return response.json()


def test_images_of_8_bits_saved_with_16_are_refused_not_seen_as_black(send: Send) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (40, 48))
    refused = send({"a.tif": encode_tiff(grey.astype(np.uint16)), "b.tif": encode_tiff((grey // 2).astype(np.uint16))})
    assert refused.status_code == 400
    assert "the model would see black" in refused.json()["findings"][0]["message"]
    assert send({"a.tif": encode_tiff((257 * grey).astype(np.uint16))}).status_code == 200


def test_the_numbers_are_those_of_the_stage(answer: dict, folder: Path, tmp_path: Path) -> None:
    bundle = folder / "models" / "classifier"
    predictor = load_predictor(bundle, find_trunk=trunk_finder([folder / "models"]))
    (tmp_path / "images.zip").write_bytes(zipped(pictures()))
    with ImageArchive(tmp_path / "images.zip") as archive:
        table = pd.DataFrame({"path": sorted(archive.images())}).assign(image_id=lambda rows: rows["path"].str.rpartition(".")[0])
        images = prepare_images(archive, table, predictor.card.recipe.input, name="tiny-set")
    expected = classify_images(images, images.wells.assign(label=""), predictor=predictor, model=CLASSIFIER, version="1")
    found = check_table(pd.DataFrame(answer["images"]), IMAGE_CLASSES, keys=("image_id",))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_probabilities_are_calibrated(answer: dict) -> None:
    """The card's temperature is 4: probability = 1 / (1 + exp(-logit / 4))."""
    rows = pd.DataFrame(answer["images"])
    np.testing.assert_allclose(rows["probability"], 1 / (1 + np.exp(-rows["logit"] / 4)), rtol=1e-6)
    assert answer["calibration"]["temperature"] == 4.0
    assert answer["sure"] == SURE
    assert set(rows["class"]) <= set(answer["classes"])
    assert (rows["class"] == np.where(rows["probability"] > 0.5, "toxic", "nontoxic")).all()


def test_training_images_and_undecided_ones_are_flagged(answer: dict) -> None:
    flags = {row["image_id"]: row["flags"] for row in answer["images"]}
    assert [name for name, words in flags.items() if "training_image" in words] == ["known"]
    unsure = {row["image_id"] for row in answer["images"] if 0.25 < row["probability"] < 0.75}
    assert {name for name, words in flags.items() if "unsure" in words} == unsure
    assert [flag["well"] for flag in answer["flags"] if flag["rule"] == "training_image"] == ["known"]


def test_a_training_image_is_known_by_what_it_shows_and_not_by_its_name(send: Send) -> None:
    renamed = {"yesterday/new.png": encoded(known_image(), "PNG"), "known.tif": encode_tiff(noise(99, 200))}
    answer = send({"set.zip": zipped(renamed)}).json()
    assert [row["image_id"] for row in answer["images"] if "training_image" in row["flags"]] == ["new"]


def test_what_is_no_such_image_is_told_however_sure_its_class(send: Send, answer: dict) -> None:
    """A smooth slope among noise, as a photograph among cells."""
    assert not [row for row in answer["images"] if "out_of_distribution" in row["flags"]]
    slope = np.add.outer(np.arange(40), np.arange(48)).astype(np.uint8)
    found = send(pictures() | {"photo.png": encoded(slope, "PNG")}).json()
    assert [row["image_id"] for row in found["images"] if "out_of_distribution" in row["flags"]] == ["photo"]
    assert next(row["unlikeness"] for row in found["images"] if row["image_id"] == "photo") > 1
    assert "other_images" not in [flag["rule"] for flag in found["flags"]]
    (first, *_) = send({f"{number}.png": encoded(np.roll(slope, number, axis=0), "PNG") for number in range(8)}).json()["flags"]
    assert "these images as a whole do not look like those that toxicity-TINY learned from: 100% of them" in first["message"]


def test_an_image_without_anything_is_flagged(send: Send) -> None:
    answer = send(pictures(2) | {"flat.tif": encode_tiff(np.full((40, 40), 9, np.uint8))}).json()
    assert [row["image_id"] for row in answer["images"] if "flat_image" in row["flags"]] == ["flat"]


def test_images_of_another_bit_depth_than_the_rest_are_flagged(send: Send, answer: dict) -> None:
    assert not [row for row in answer["images"] if "wrong_depth" in row["flags"]]
    grey = np.random.default_rng(1).integers(0, 255, (40, 48))
    mixed = pictures() | {"deep.tif": encode_tiff((257 * grey).astype(np.uint16)), "black.tif": encode_tiff(grey.astype(np.uint16))}
    for images in (mixed, dict(reversed(mixed.items())), {"set.zip": zipped(mixed)}):
        found = send(images).json()
        assert {row["image_id"] for row in found["images"] if "wrong_depth" in row["flags"]} == {"deep", "black"}
        (told,) = [flag for flag in found["flags"] if flag["rule"] == "wrong_depth"]
        assert "2 image(s) have another bit depth than the others (black, deep)" in told["message"]
    one_each = send({"a.tif": encode_tiff(grey.astype(np.uint8)), "b.tif": encode_tiff((257 * grey).astype(np.uint16))}).json()
    assert [row["image_id"] for row in one_each["images"] if "wrong_depth" in row["flags"]] == ["b"]


def test_the_answer_says_what_answered(answer: dict) -> None:
    lineage = answer["lineage"]
    assert (lineage["model"], lineage["version"], lineage["data_md5"]) == (CLASSIFIER, "1", "d" * 32)
    assert len(lineage["bundle_sha256"]) == 64
    assert answer["gates"][0]["metric"] == "accuracy_cv"


def test_a_zip_gives_the_same_and_what_is_no_image_is_told(send: Send, answer: dict) -> None:
    found = send({"set.zip": zipped({**pictures(), "notes.txt": b"hello", "__MACOSX/._image-1.tif": b"x"})}).json()
    assert found["images"] == answer["images"]
    (aside,) = [flag for flag in found["flags"] if flag["rule"] == "left_aside"]
    assert "notes.txt" in aside["message"]


def test_images_of_one_name_in_two_folders_keep_apart(send: Send) -> None:
    images = pictures(2)
    folders = {"a/x.tif": images["image-0.tif"], "b/x.tif": images["image-1.tif"]}
    for sent in ({"set.zip": zipped(folders)}, folders):
        assert [row["image_id"] for row in send(sent).json()["images"]] == ["a/x.tif", "b/x.tif"]
    apart = send({"a/x.tif": images["image-0.tif"], "b/y.tif": images["image-1.tif"]}).json()["images"]
    assert [row["image_id"] for row in apart] == ["x", "y"]
    assert "no usable file name" in send({"../x.tif": b"x", "b/x.tif": b"x"}).text
    assert "is sent more than once" in send({"a/x.tif": images["image-0.tif"], "a//x.tif": images["image-1.tif"]}).text


def test_images_in_folders_of_a_folder_are_sent_too(client: Client, tmp_path: Path) -> None:
    for name, data in {"a/x.tif": "image-0.tif", "b/x.tif": "image-1.tif", "y.png": "known.png"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(pictures()[data])
    (tmp_path / "a" / "scan.bmp").write_bytes(b"BM")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "._x.tif").write_bytes(b"x")
    found = client.classify(read_images(tmp_path), model=CLASSIFIER, imageset=SET)
    assert found.images["image_id"].tolist() == ["a/x.tif", "b/x.tif", "y.png"]
    assert left_aside(tmp_path).endswith("images: a/scan.bmp")


def test_thumbnails_where_they_are_asked_for(send: Send, answer: dict) -> None:
    assert "thumbnail" not in answer["images"][0]
    rows = send(options='{"thumbnails": 32}').json()["images"]
    prefix, _, data = rows[0]["thumbnail"].partition(",")
    assert prefix == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (32, 27)


def test_thumbnails_of_many_images_are_smaller_so_that_the_answer_stays_small() -> None:
    assert shown_size(192, images=1_800) == 192
    assert shown_size(512, images=MAX_IMAGES) == 57
    assert shown_size(0, images=1) == 0


def test_another_sample_is_refused_unless_forced(send: Send) -> None:
    other = json.dumps({**SET, "sample": "HeLa"})
    response = send(imageset=other)
    assert response.status_code == 409
    assert "classes are not valid for another sample" in response.text
    forced = send(imageset=other, options='{"force": true}')
    assert forced.status_code == 200
    assert "sample_mismatch" in [flag["rule"] for flag in forced.json()["flags"]]


def test_another_acquisition_is_flagged(send: Send) -> None:
    flags = send(imageset=json.dumps({**SET, "magnification": 40})).json()["flags"]
    assert "the magnification is 40x, the model learned from images of 10x" in " ".join(flag["message"] for flag in flags)
    deep = send({"deep.tif": encode_tiff(np.arange(1600, dtype=np.uint16).reshape(40, 40))}).json()["flags"]
    assert "the bit depth is 16 bit" in " ".join(flag["message"] for flag in deep)


def test_the_wrong_kind_of_model_is_told_both_ways(send: Send, http: httpx.Client, post: Callable[..., httpx.Response],
                                                   plate: TinyPlate) -> None:
    response = send(model=MODEL)
    assert response.status_code == 400
    assert "scores plates; choose a model of system treatment, toxicity or tumour" in response.text
    response = post(model=CLASSIFIER)
    assert response.status_code == 400
    assert "gives the class of single images and no viability" in response.text
    files = {"images": ("P1.zip", plate.archive.read_bytes()), "layout": ("layout.csv", plate.layout.read_bytes())}
    for adapt in ("false", "true"):
        job = http.post("/jobs", data={"model": CLASSIFIER, "screen": json.dumps(SCREEN), "adapt": adapt}, files=files)
        assert (job.status_code, "gives the class of single images" in job.text) == (400, True)


@pytest.mark.parametrize(("changes", "status", "message"), [
    ({"model": "nobody"}, 404, "no model 'nobody'"), ({"imageset": None}, 400, "'imageset' is missing"),
    ({"imageset": "name: x"}, 400, "such as 'sample: TINY'"), ({"imageset": "sample: TINY\nclases: 1"}, 400, "did you mean 'classes'"),
    ({"imageset": "sample: TINY\nclasses: [a, b]"}, 400, "tells toxic from nontoxic images"),
    ({"images": {}}, 400, "'images' is missing"),
    ({"options": '{"thumbnails": 9999}'}, 400, "between 0 and 512"), ({"options": '{"forse": true}'}, 400, "did you mean 'force'"),
    ({"images": {"a.pdf": b"x"}}, 400, "'a.pdf' is no image"), ({"images": {"a.zip": b"no zip"}}, 400, "not a readable zip"),
    ({"images": {"a.zip": zipped({"notes.txt": b"x"})}}, 400, "holds no .tif"), ({"layout": "x"}, 400, "unknown field 'layout'"),
    ({"images": {"a.zip": zipped({"a.tif": b"x", "b.tif": b""})}}, 400, "2 of 2 image(s) cannot be read"),
    ({"images": {"a.zip": zipped({"../a.tif": b"x"})}}, 400, "leads outside"),
    ({"images": {"a.zip": zipped(pictures(1)), "b.tif": b"x"}}, 400, "one zip, or single images")])
def test_what_is_no_use_is_refused(send: Send, changes: dict, status: int, message: str) -> None:
    response = send(**changes)
    assert response.status_code == status, response.text
    assert message in response.text
    assert response.json()["findings"]


def test_models_say_which_classes_they_know(http: httpx.Client) -> None:
    served = {model["name"]: model["serving"] for model in http.get("/models").json()["models"]}
    assert served[CLASSIFIER]["classes"] == ["toxic", "nontoxic"]
    assert served[MODEL]["classes"] == []


def test_the_client_gives_tables(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, data in pictures().items():
        (folder / name).write_bytes(data)
    found = client.classify(read_images(folder), model=CLASSIFIER, imageset=SET)
    assert len(found.images) == 6
    assert f"{CLASSIFIER} version 1: 6 images" in found.summary()
    found.write(tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "classes.csv", keep_default_na=False)
    assert table["class"].tolist() == found.images["class"].tolist()
    assert table.loc[table["image_id"] == "known", "flags"].str.contains("training_image").all()
    with pytest.raises(RejectedError, match="scores plates"):
        client.classify(read_images(folder), model=MODEL, imageset=SET)
