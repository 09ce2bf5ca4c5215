"""Image sets are judged: what cannot be read, what says nothing, and above all what would leak between the parts of a split."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.errors import InputError
from models.plates.images import encode_tiff
from models.plates.imageset import ImageSet
from validation.imageset_rules import RULES, gather_imageset, imageset_verdict, take_contents
from validation.verdicts import Verdict, file_of, refused

SET = ImageSet(name="s", sample="HepG2", classes=("treated", "untreated"))


def images(count: int = 12) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {f"{number}.tif": rng.integers(0, 255, (6, 7), np.uint8) for number in range(count)}


def table(count: int = 12) -> pd.DataFrame:
    return pd.DataFrame({"image_id": [str(n) for n in range(count)], "path": [f"{n}.tif" for n in range(count)],
                         "label": ["treated", "untreated"] * (count // 2), "group": [f"g{n}" for n in range(count)]})


def verdict_on(rows: pd.DataFrame, archive: Path) -> Verdict:
    try:
        evidence = gather_imageset(SET, rows, take_contents(archive))
    except InputError as error:     # as the stage `validate` does
        return refused(SET.name, error.findings)
    return imageset_verdict(evidence, {rule.name: tuple(rule.findings(evidence)) for rule in RULES})


@pytest.fixture
def judge(tmp_path: Path) -> Callable[..., Verdict]:
    def judged(rows: pd.DataFrame, pixels: dict[str, np.ndarray], raw: dict[str, bytes] | None = None) -> Verdict:
        with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
            for name, data in ({name: encode_tiff(image) for name, image in pixels.items()} | (raw or {})).items():
                archive.writestr(name, data)
        return verdict_on(rows, tmp_path / "images.zip")
    return judged


def rules(verdict: Verdict) -> dict[str, str]:
    return {finding.rule: finding.severity for finding in verdict.findings}


def test_a_sound_set_is_accepted_and_counted(judge: Callable[..., Verdict]) -> None:
    verdict = judge(table(), images())
    assert verdict.accepted
    assert not verdict.findings
    assert verdict.counts == {"images": 12, "unlabelled": 0, "groups": 12, "images of class treated": 6, "images of class untreated": 6}


def test_copies_in_two_groups_would_leak(judge: Callable[..., Verdict]) -> None:
    pixels = images()
    pixels["4.tif"] = pixels["0.tif"]  # both treated
    verdict = judge(table(), pixels)
    assert rules(verdict) == {"imageset_duplicate": "error"}
    assert "images 0, 4 have the same pixels in different groups" in verdict.errors[0].message
    assert judge(table().assign(group=["g0" if n in (0, 4) else f"g{n}" for n in range(12)]), pixels).accepted


def test_copies_with_different_labels_contradict(judge: Callable[..., Verdict]) -> None:
    pixels = images()
    pixels["1.tif"] = pixels["0.tif"]
    assert rules(judge(table(), pixels)) == {"imageset_contradiction": "error"}


def test_a_copy_without_a_label_leaks_and_contradicts_nothing(judge: Callable[..., Verdict]) -> None:
    """Co-training learns from unlabelled images."""
    pixels = images(14)
    pixels["12.tif"] = pixels["0.tif"]
    rows = table(14).assign(label=[*["treated", "untreated"] * 6, "", ""])
    assert rules(judge(rows, pixels)) == {"imageset_duplicate": "error"}


def test_what_is_no_fault_is_not_told(judge: Callable[..., Verdict]) -> None:
    """Four groups of each class, images of two grey values, masks, and shares of the labelled images alone."""
    pixels = images()
    pixels["2.tif"] = np.full((6, 7), 9, np.uint8)
    pixels["2.tif"][0, 0] = 10
    pixels["mask.tif"] = images(1)["0.tif"] // 2
    four = table().assign(group=[f"{label}{number // 2 % 4}" for number, label in enumerate(table()["label"])],
                          mask_path=["mask.tif", *[""] * 11])
    assert rules(judge(four, pixels)) == {}
    for labels in ((5, 45, 10), (6, 52, 2)):
        named = [name for name, count in zip(("treated", "untreated", ""), labels, strict=True) for _ in range(count)]
        assert rules(judge(table(60).assign(label=named), images(60))) == {}, labels


def test_errors_come_first(judge: Callable[..., Verdict]) -> None:
    pixels = images()
    pixels["2.tif"] = np.full((6, 7), 9, np.uint8)
    del pixels["4.tif"]
    verdict = judge(table(), pixels)
    assert [(finding.rule, finding.severity) for finding in verdict.findings] == [("imageset_path", "error"), ("imageset_flat", "warning")]


@pytest.mark.parametrize(("change", "expected"), [
    (lambda rows: rows.assign(label="treated"), {"imageset_class": "error"}),
    (lambda rows: rows.assign(label=["treated", "odd"] * 6), {"imageset_label": "error"}),
    (lambda rows: rows.drop(columns="path"), {"column_missing": "error"}),
    (lambda rows: rows.assign(group=rows["label"]), {"imageset_groups": "error"}),
    (lambda rows: rows.assign(group=[f"{label}{n % 4 // 2}" for n, label in enumerate(rows["label"])]), {"imageset_groups": "warning"}),
    (lambda rows: rows.assign(path=["gone.tif", *rows["path"][1:]]), {"imageset_path": "error", "imageset_unlisted": "warning"}),
    (lambda rows: rows.iloc[:-1], {"imageset_unlisted": "warning"})])
def test_tables_that_cannot_be_learnt_from(judge: Callable[..., Verdict], change: Callable[[pd.DataFrame], pd.DataFrame],
                                           expected: dict[str, str]) -> None:
    assert rules(judge(change(table()), images())) == expected


def test_images_that_cannot_be_read_or_say_nothing(judge: Callable[..., Verdict]) -> None:
    pixels = images()
    pixels["2.tif"] = np.full((6, 7), 9, np.uint8)
    pixels["3.tif"] = np.random.default_rng(1).integers(0, 65_535, (6, 7, 3), np.uint16)
    del pixels["5.tif"]
    verdict = judge(table(), pixels, {"5.tif": b"II*\0broken"})
    assert rules(verdict) == {"image_unreadable": "error", "imageset_flat": "warning", "imageset_mixed": "warning"}
    assert sum(finding.rule == "imageset_mixed" for finding in verdict.findings) == 2  # colour and depth


def test_a_rare_class_is_said(judge: Callable[..., Verdict]) -> None:
    rows = table(60).assign(label=["treated"] * 5 + ["untreated"] * 55)
    assert rules(judge(rows, images(60))) == {"imageset_balance": "warning"}


def test_no_archive_is_a_finding_too(tmp_path: Path) -> None:
    verdict = verdict_on(table(), tmp_path / "images.zip")
    assert not verdict.accepted
    assert verdict.errors[0].rule == "archive_unreadable"


def test_findings_name_their_file(judge: Callable[..., Verdict]) -> None:
    verdict = judge(table().assign(label="treated"), images())
    assert [file_of(finding) for finding in verdict.findings] == ["images.csv"]
