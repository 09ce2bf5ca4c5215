"""The page of a classified image set says how right the model is on images that it had not seen, and shows the wrong ones."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

from models.networks.bundle import GateResult
from models.plates.imageset import ImageSet
from models.report import ClassTables, class_index_entry, render_classes, render_index, wrong_images

SET = ImageSet(name="hepg2", sample="HepG2", classes=("treated", "untreated"))
LINEAGE = {"model": "treatment-HepG2", "version": "abc"}
HOSTILE = "<script>alert(1)</script>"


def tables(name: str = "i0") -> ClassTables:
    """Ten images, eight of them judged; two of these wrong, the second more surely; one unsure, one that taught and has no label."""
    probability = [0.9, 0.8, 0.7, 0.95, 0.1, 0.2, 0.97, 0.4, 0.5001, 0.9]
    classes = pd.DataFrame({
        "image_id": [name, *(f"i{n}" for n in range(1, 10))], "label": ["treated"] * 4 + ["untreated"] * 3 + ["treated", "", ""],
        "class": ["treated" if one > 0.5 else "untreated" for one in probability], "probability": probability,
        "logit": [4 * one - 2 for one in probability], "unlikeness": 0.5,
        "flags": pd.Series([[]] * 8 + [["unsure"], ["training_image"]], dtype=object), "model": "treatment-HepG2", "version": "abc"})
    held = classes.iloc[:8][["image_id", "label", "class", "probability", "logit"]]
    return ClassTables(classes=classes, held_out=held, pictures={"i6": b"\x89PNG six"}, figures={"ROC": b"\x89PNG roc"})


def render(shown: ClassTables, **changes: object) -> str:
    return render_classes(shown, **({"imageset": SET, "lineage": LINEAGE} | changes))


def test_wrong_images_come_with_the_surest_error_first() -> None:
    assert wrong_images(tables().held_out)["image_id"].tolist() == ["i6", "i7"]


def test_the_page_tells_how_right_with_an_interval_and_what_is_wrong() -> None:
    page = render(tables())
    assert "75.0% right (40.9% to 92.9%) of 8 images that it had not seen" in page    # Wilson's interval of 6 of 8
    assert "always saying treated would be 62.5%" in page
    assert "7 treated, 3 untreated" in page
    assert re.search(r'<th scope="row">treated</th><td class="n">4</td><td class="n">1</td>', page)
    assert re.search(r'<th scope="row">untreated</th><td class="n">1</td><td class="n">2</td>', page)
    assert page.count("data:image/png;base64,") == 2
    assert "untreated, called treated (0.97)" in page
    assert page.count('<span class="chip unsure">') == 1
    assert "the model was trained on this image" in page
    assert page == render(tables())


def test_images_that_the_model_does_not_know_are_counted_as_such() -> None:
    shown = tables()
    flags = pd.Series([["out_of_distribution"], ["flat_image"], *shown.classes["flags"][2:]], dtype=object)
    assert "5 treated, 3 untreated, 2 that the model does not know" in render(replace(shown, classes=shown.classes.assign(flags=flags)))


def test_failed_gates_stand_at_the_top() -> None:
    gates = [GateResult(metric="accuracy_cv", value=0.6, minimum=0.9, maximum=None, passed=False,
                        reason="accuracy_cv is 0.6, asked at least 0.9")]
    page = render(tables(), gates=gates)
    assert "did not pass its own checks" in page
    entry = class_index_entry(tables(), file="hepg2.html", imageset=SET, lineage=LINEAGE, gates=gates)
    assert entry.failed_gates
    index = render_index([entry])
    assert "model gates failed" in index
    assert "1 image set scored" in index


def test_without_a_judged_image_nothing_is_claimed() -> None:
    shown = replace(tables(), held_out=tables().held_out.iloc[:0])
    page = render(shown)
    assert "no labelled image to judge the model by" in page
    assert "% right" not in page


@pytest.mark.parametrize("field", ["sample", "assay", "source"])
def test_nothing_given_becomes_markup(field: str) -> None:
    page = render(tables(HOSTILE), imageset=replace(SET, **{field: HOSTILE}), lineage={**LINEAGE, HOSTILE: HOSTILE})
    assert HOSTILE not in page
    assert page.count("<script") == 1
