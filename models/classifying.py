"""Labelled-image systems (S3-S5): images + model -> a class and its probability; what the stage `score` and POST /classify share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.errors import Finding, InputError
from models.networks.bundle import Card
from models.networks.looks import fingerprint
from models.plates.acquisition import acquisition_findings
from models.plates.images import WellImages
from models.plates.imageset import CHANNEL, ImageSet
from models.suitability import sample_findings
from models.tables import IMAGE_CLASSES, check_table
from models.words import some

if TYPE_CHECKING:
    from models.networks.predict import Predictor

SURE = 0.75     # probability of the likelier class below which a row is flagged: less than three to one
_WORDS = {
    "training_image": "{count} image(s) are images that the model learned from ({names}): that it knows these says nothing of how well it "
                      "does on others",
    "out_of_distribution": "{count} image(s) do not look like those that the model learned from ({names}), and it gives anything a class, "
                           "however sure: do not use theirs before you have looked (another kind of picture, stain, magnification or "
                           "exposure, an empty field, black and white exchanged?)",
    "wrong_depth": "{count} image(s) have another bit depth than the others ({names}): the same grey value means another brightness there, "
                   "and 8 bits saved as 16 look black; export all in one way before comparing their classes",
    "flat_image": "{count} image(s) have one grey value everywhere ({names}); their class means nothing",
    "unsure": "{count} image(s) are undecided: neither class has a probability of {sure:.0%} ({names})"}
_TOLD = 5


def require_classes(card: Card) -> None:
    """Raises InputError for a model that scores plates."""
    if not card.classes:
        raise InputError(f"model {card.name} does not classify images: it gives {card.output}", [Finding(
            rule="model_kind", severity="error", column="model", value=card.name,
            message=f"model {card.name} of system {card.system} scores plates; choose a model of system treatment, toxicity or tumour, or "
                    "send these images with their layout to be scored")])


def classify_images(images: WellImages, labels: pd.DataFrame, *, predictor: Predictor, model: str, version: str,
                    on_images: Callable[[int], object] = lambda count: None) -> pd.DataFrame:
    """ImageClasses of an image set (systems S3-S5), a row per row of `labels`, in their order.

    images: as the model's card asks, plate = the set, well = the image; labels: columns plate, well and label ("" where not known).
    Raises InputError when the model answers something else than the classes of images.
    """
    card = predictor.card
    require_classes(card)
    known = set(card.training_images)
    raw = predictor.predict(images, on_images=on_images)[["plate", "well", "logit", "probability"]].assign(
        unlikeness=card.looks.unlikeness(np.asarray(images.pixels)) if card.looks else np.nan,
        flat=[np.ptp(pixels) == 0 for pixels in images.pixels],
        known=[fingerprint(pixels) in known for pixels in images.pixels])
    rows = labels[["plate", "well", "label"]].merge(raw, on=["plate", "well"], how="left", validate="one_to_one")
    found = rows.rename(columns={"well": "image_id"}).drop(columns=["plate", "flat", "known"]).assign(
        **{"class": np.where(rows["probability"] > 0.5, *card.classes)}, model=model, version=version, flags=_flags(rows, card))
    return check_table(found, IMAGE_CLASSES, keys=("image_id",))


def is_judged(flags: Iterable[str]) -> bool:
    """Whether an image's class is one to count: it shows something, and the model knows such images."""
    return not {"flat_image", "out_of_distribution"} & set(flags)


def _flags(rows: pd.DataFrame, card: Card) -> pd.Series:
    """Why to distrust each row: a list of words."""
    low, high = card.thresholds.get("logit_low", -np.inf), card.thresholds.get("logit_high", np.inf)
    strange = ~rows["logit"].between(low, high) | (rows["unlikeness"] > 1)
    unsure = rows["probability"].between(1 - SURE, SURE, inclusive="neither")
    given = {"training_image": rows["known"], "flat_image": rows["flat"], "out_of_distribution": strange & ~rows["flat"], "unsure": unsure}
    flags = [[word for word, wrong in zip(given, row, strict=True) if wrong] for row in zip(*given.values(), strict=True)]
    return pd.Series(flags, index=rows.index, dtype=object)


def with_depths(classes: pd.DataFrame, depths: Mapping[str, int]) -> pd.DataFrame:
    """The ImageClasses with the flag "wrong_depth" on images of fewer or more bits than most.

    depths: image_id -> bits; where both are as many, those of more bits are flagged.
    """
    counted = Counter(depths[image] for image in classes["image_id"])
    if len(counted) < 2:
        return classes
    usual = max(sorted(counted), key=lambda bits: counted[bits])
    flags = [[*own, *(["wrong_depth"] if depths[image] != usual else [])]
             for own, image in zip(classes["flags"], classes["image_id"], strict=True)]
    return classes.assign(flags=pd.Series(flags, index=classes.index, dtype=object))


def imageset_findings(imageset: ImageSet, card: Card, *, force: bool) -> list[Finding]:
    """What a sender should know before the images are looked at. Raises SampleMismatch for another sample unless forced."""
    return [*sample_findings(imageset.sample, card, force=force),
            *acquisition_findings(imageset, card.acquisition, channels=(CHANNEL,))]


def class_findings(classes: pd.DataFrame, card: Card) -> Iterator[Finding]:
    """What ImageClasses, all that were sent, say as a whole; then their flags in words, one finding a flag."""
    if card.looks is not None and card.looks.is_other_kind(classes["unlikeness"]):
        far = (classes["unlikeness"] > card.looks.usual).mean()
        yield Finding(rule="other_images", severity="warning", column="images", value=card.name, message=(
            f"these images as a whole do not look like those that {card.name} learned from: {far:.0%} of them lie farther out "
            "than nine of ten of those did, flagged one by one or not. Was another microscope, magnification, stain, exposure or export "
            "used, or are black and white exchanged? Its classes may then be wrong, however sure: take images as those were, or train a "
            "model on some like these"))
    for flag, words in _WORDS.items():
        named = classes.loc[[flag in flags for flags in classes["flags"]], "image_id"]
        if len(named):
            message = words.format(count=len(named), names=some(named, _TOLD), sure=SURE)
            yield Finding(rule=flag, severity="warning", well=", ".join(named), message=message)
