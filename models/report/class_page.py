"""The page of a classified image set (systems S3-S5): how often the model is right on images that it had not seen, which ones it gets
wrong, and what it says of every image. One self-contained HTML text, the same text for the same input.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from models.classifying import is_judged
from models.networks.bundle import GateResult
from models.networks.evaluate import class_metrics, confusion
from models.plates.imageset import ImageSet
from models.report.inputs import flag_list
from models.report.page import IndexEntry, lineage_rows, model_name, page_assets, page_template, safe_links
from models.report.sections import metric_rows
from models.report.words import count, fixed, flag_words

MAX_ROWS, MAX_WRONG = 1000, 48
_METRICS = {
    "accuracy": "share of images called right", "sensitivity": "share of {0} that is found",
    "specificity": "share of {1} that is not called {0}", "precision": "share right of what is called {0}",
    "f_score": "harmonic mean of sensitivity and precision", "mcc": "Matthews' correlation: 0 = chance, whatever the shares of the classes",
    "kappa": "Cohen's kappa: agreement beyond chance", "auroc": "area under the ROC curve: chance that a {0} image outranks a {1} one"}


@dataclass(frozen=True, kw_only=True)
class ClassTables:
    """classes: ImageClasses; held_out: image_id, label, class, probability, logit of the labelled images as said by a model that had not
    seen them (rows of `classes`, or cross-fitted); pictures: image_id -> PNG, of the wrong ones; figures: title -> PNG.
    """

    classes: pd.DataFrame
    held_out: pd.DataFrame
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    figures: Mapping[str, bytes] = field(default_factory=dict)


def wrong_images(held_out: pd.DataFrame) -> pd.DataFrame:
    """Rows of held-out images whose class is not their label, the surest errors first."""
    wrong = held_out[held_out["class"] != held_out["label"]]
    return wrong.iloc[np.argsort(-np.abs(wrong["logit"].to_numpy(float)), kind="stable")]


def render_classes(tables: ClassTables, *, imageset: ImageSet, lineage: Mapping[str, str], metrics: Mapping[str, Any] | None = None,
                   gates: Sequence[GateResult] = (), links: Mapping[str, str] | None = None) -> str:
    """One HTML page. Arguments as in `render_report`."""
    wrong = wrong_images(tables.held_out)
    return page_template("classes.html").render(
        imageset=imageset, model=model_name(lineage), headline=headline(tables), called=called_words(tables, imageset),
        failed_gates=[gate.reason for gate in gates if not gate.passed], scores=_scores(tables.held_out, imageset.classes),
        counts=_counts(tables.held_out, imageset.classes), wrong=_wrong(wrong.head(MAX_WRONG), tables.pictures), wrong_count=len(wrong),
        judged=len(tables.held_out), rows=_rows(tables.classes.head(MAX_ROWS)),
        total=len(tables.classes), figures=[(title, _data(png)) for title, png in tables.figures.items()], gates=gates,
        metrics=metric_rows(metrics or {}), lineage=lineage_rows(lineage), links=safe_links(links or {}), **page_assets())


def class_index_entry(tables: ClassTables, *, file: str, imageset: ImageSet, lineage: Mapping[str, str],
                      gates: Sequence[GateResult] = ()) -> IndexEntry:
    """The index line of a classified image set whose page is `file`."""
    return IndexEntry(file=file, name=imageset.name, sample=imageset.sample, model=model_name(lineage), headline=headline(tables),
                      failed_gates=any(not gate.passed for gate in gates), details=called_words(tables, imageset),
                      kind="image set")


def headline(tables: ClassTables) -> str:
    """How often the model is right, in one line, with its 95 % interval (Wilson), and how often who always says the larger class is."""
    n = len(tables.held_out)
    if not n:
        return "no labelled image to judge the model by"
    right = int((tables.held_out["class"] == tables.held_out["label"]).sum())
    low, high = stats.binomtest(right, n).proportion_ci(method="wilson")
    larger, most = next(iter(tables.held_out["label"].value_counts(sort=True).items()))
    return (f"{right / n:.1%} right ({low:.1%} to {high:.1%}) of {count(n, 'image')} that it had not seen; "
            f"always saying {larger} would be {most / n:.1%}")


def called_words(tables: ClassTables, imageset: ImageSet) -> str:
    """How many images are called which class, and how many do not look like those that the model knows."""
    judged = tables.classes["flags"].map(lambda flags: is_judged(flag_list(flags))).astype(bool)
    called = tables.classes.loc[judged, "class"].value_counts()
    return ", ".join([f"{int(called.get(name, 0))} {name}" for name in imageset.classes]
                     + ([f"{int((~judged).sum())} that the model does not know"] if not judged.all() else []))


def _scores(held_out: pd.DataFrame, classes: tuple[str, str]) -> list[tuple[str, str, str]]:
    """(metric, value, meaning)."""
    if held_out.empty:
        return []
    found = class_metrics((held_out["label"] == classes[0]).to_numpy(float), held_out["probability"].to_numpy(float),
                          held_out["logit"].to_numpy(float))
    called = {"f_score": "F score", "mcc": "MCC", "kappa": "kappa", "auroc": "AUC"}
    return [(called.get(name, name), fixed(found[name], 3), words.format(*classes)) for name, words in _METRICS.items()]


def _counts(held_out: pd.DataFrame, classes: tuple[str, str]) -> list[tuple[str, list[int]]]:
    """(true class, [called first, called second])."""
    table = confusion((held_out["label"] == classes[0]).to_numpy(float), held_out["probability"].to_numpy(float))
    return [(name, [int(value) for value in row]) for name, row in zip(classes, table, strict=True)]


def _wrong(rows: pd.DataFrame, pictures: Mapping[str, bytes]) -> list[dict[str, str]]:
    return [{"name": str(name), "label": str(label), "called": str(called), "probability": fixed(float(probability), 2),
             "picture": _data(pictures[name]) if name in pictures else ""}
            for name, label, called, probability in rows[["image_id", "label", "class", "probability"]].itertuples(index=False)]


def _rows(classes: pd.DataFrame) -> list[dict[str, Any]]:
    columns = classes[["image_id", "label", "class", "probability", "flags"]]
    return [{"name": name, "label": label, "called": called, "probability": fixed(probability, 3), "sort": f"{probability:.6g}",
             "unsure": "unsure" in flag_list(flags),
             "flags": "; ".join(flag_words(flag) for flag in flag_list(flags) if flag != "unsure")}
            for name, label, called, probability, flags in columns.itertuples(index=False)]


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
