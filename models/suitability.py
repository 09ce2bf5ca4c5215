"""May this model judge these images? Of which sample it is, what it gives, and how the images that it learned from were taken."""

from __future__ import annotations

import pandas as pd

from models.errors import Finding, InputError, SampleMismatch
from models.networks.bundle import Card
from models.plates.acquisition import acquisition_findings, image_size
from models.plates.projections import parse_plane
from models.plates.screen import Screen


def check_model(screen: Screen, card: Card, *, force: bool) -> None:
    """Raises InputError, SampleMismatch where the model cannot score the screen: before any image is looked at."""
    require_plates(card)
    sample_findings(screen.sample, card, force=force)


def same_sample(one: str, other: str) -> bool:
    """Whether two names are of one cell line or patient: "a549" is A549, and blanks more or less make no other."""
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


def sample_findings(sample: str, card: Card, *, force: bool) -> list[Finding]:
    """A warning where images are of another sample than the model's and scoring is forced. Raises SampleMismatch where it is not."""
    if same_sample(sample, card.sample):
        return []
    finding = Finding(rule="sample_mismatch", severity="warning" if force else "error", column="sample", value=sample,
                      message=f"model {card.name} was trained on sample {card.sample}, these images are of {sample}; "
                              f"its {'classes' if card.classes else 'viabilities'} are not valid for another sample. Choose that sample's "
                              "model, train one, or force")
    if force:
        return [finding]
    raise SampleMismatch(f"model {card.name} is for {card.sample}, not {sample}", [finding])


def require_plates(card: Card) -> None:
    """Raises InputError for a model that classifies single images."""
    if card.classes:
        raise InputError(f"model {card.name} does not score plates: it tells {' from '.join(card.classes)} images", [Finding(
            rule="model_kind", severity="error", column="model", value=card.name,
            message=f"model {card.name} of system {card.system} gives the class of single images and no viability; choose a model of "
                    "system viability or profile, or classify the images without a layout")])


def imaging_findings(screen: Screen, card: Card, quality: pd.DataFrame) -> list[Finding]:
    """Warnings where a screen was imaged otherwise than what the model was trained on. quality: ImageQuality of its images."""
    used = tuple(parse_plane(plane).channel for plane in card.recipe.input.planes)
    return acquisition_findings(screen, card.acquisition, channels=used, size=image_size(quality))
