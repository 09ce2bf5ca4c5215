"""What the report of a classified image set is made of, read from the pipeline's folders. A part of the stage `report`."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from PIL import Image
from scipy.special import expit

from models.errors import InputError
from models.networks.bundle import Card, GateResult, read_card
from models.plates.imageset import ImageArchive, ImageSet
from models.report import ClassTables, wrong_images
from models.report.inputs import flag_list
from models.tables import IMAGE_CLASSES, check_table
from pipelines.imagesets import CLASSES, IMAGES_ARCHIVE, read_images, read_imageset

FIGURES = {"learning_curve": "Learning curves", "roc": "ROC curve, held out", "confusion": "Confusion matrix, held out",
           "reliability": "Do the probabilities mean what they say?", "gan_losses": "Losses of the GAN",
           "gan_sheets": "What the GAN drew, by epoch"}
SIDE = 192      # pixels of a picture's longer side
MOST = 48       # pictures on a page


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the page of a screen and that of an image set both show. `name` becomes the file name; links: words -> address."""

    name: str
    lineage: Mapping[str, str]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    gates: tuple[GateResult, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ClassEntry(Entry):
    """A classified image set with all that its page shows."""

    imageset: ImageSet
    tables: ClassTables


def read_class_entry(folder: Path, *, data: Path, evaluations: Path, bundles: Path, links: Mapping[str, str]) -> ClassEntry:
    """An image set's classes, with metrics, figures and gates of the model that gave them. links: words -> folder of pages by name.

    Raises InputError naming the file if one is missing, TableError if a table breaks its contract.
    """
    raw = pd.read_parquet(folder / CLASSES)
    flags = pd.Series([flag_list(flags) for flags in raw["flags"]], index=raw.index, dtype=object)    # Parquet gives arrays
    classes = check_table(raw.assign(flags=flags), IMAGE_CLASSES, keys=("image_id",))
    lineage = json.loads((folder / "lineage.json").read_text(encoding="utf-8"))
    metrics, card = read_evaluation(lineage["model"], evaluations=evaluations, bundles=bundles)
    evaluation = evaluations / lineage["model"]
    held_out = held_out_images(classes, own_predictions(evaluation, card, folder.name), card)
    figures = {title: path.read_bytes() for name, title in FIGURES.items() if (path := evaluation / "figures" / f"{name}.png").is_file()}
    return ClassEntry(
        name=folder.name, imageset=read_imageset(data / folder.name), lineage=lineage, metrics=metrics, gates=card.gates,
        links=own_pages(links, folder.name),
        tables=ClassTables(classes=classes, held_out=held_out, figures=figures,
                           pictures=pictures(data / folder.name, wrong_images(held_out)["image_id"].head(MOST))))


def read_evaluation(model: str, *, evaluations: Path, bundles: Path) -> tuple[dict[str, Any], Card]:
    """(metrics, card) of a model by name. Raises InputError where the stage `evaluate` has not judged it."""
    path = evaluations / model / "metrics.json"
    if not model or not path.is_file():
        raise InputError(f"{path} is missing, so the report cannot say how good the model is; run the stage `evaluate`")
    return json.loads(path.read_text(encoding="utf-8")), read_card(bundles / model)


def own_pages(folders: Mapping[str, str], name: str) -> dict[str, str]:
    """Words -> address of the page of this name in each of the folders."""
    return {words: f"{folder}/{quote(name)}.html" for words, folder in folders.items()}


def own_predictions(evaluation: Path, card: Card, imageset: str) -> pd.DataFrame | None:
    """The model's predictions of the stage `train`, if this is the image set that it learnt."""
    if card.lineage.get("screen") != imageset:
        return None
    return pd.read_csv(evaluation / "predictions.csv", keep_default_na=False, na_values=[""],
                       dtype={"plate": str, "well": str, "label": str})     # a class may be called "None"


def held_out_images(classes: pd.DataFrame, own: pd.DataFrame | None, card: Card) -> pd.DataFrame:
    """image_id, label, class, probability, logit of every labelled image as said by a model that had not seen it.

    Cross-fitted where the model learnt this set (own: its predictions), calibrated as its answers are; else the answers themselves, of
    images that it did not learn from.
    """
    if own is not None and own["logit_cv"].notna().any():
        logit = own["logit_cv"].to_numpy(float)
        probability = card.calibration.probability(logit) if card.calibration else expit(logit)
        found = pd.DataFrame({"image_id": own["well"], "label": own["label"], "class": np.where(probability > 0.5, *card.classes),
                              "probability": probability, "logit": logit})
    else:
        unseen = ~classes["flags"].map(lambda flags: "training_image" in flags)
        found = classes.loc[unseen, ["image_id", "label", "class", "probability", "logit"]]
    return found[found["label"].isin(card.classes)].reset_index(drop=True)


def pictures(folder: Path, image_ids: Iterable[str]) -> dict[str, bytes]:
    """image_id -> small PNG, from the set's archive; each stretched to its own range."""
    paths = read_images(folder, read_imageset(folder)).set_index("image_id")["path"]
    with ImageArchive(folder / IMAGES_ARCHIVE) as archive:
        return {image_id: _png(archive.read(str(paths[image_id]))) for image_id in image_ids if image_id in paths.index}


def _png(pixels: np.ndarray) -> bytes:
    plane = pixels if pixels.ndim == 2 or pixels.shape[-1] == 3 else pixels[len(pixels) // 2]
    low, high = np.percentile(plane, [0.5, 99.5])
    image = Image.fromarray(np.clip(255 * (plane - low) / max(high - low, 1e-6), 0, 255).astype(np.uint8))
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
