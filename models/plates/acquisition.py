"""Were these images taken as those that a model was trained on? Another magnification, field of view or stain changes what a network sees.

Images are shrunk to the network's size as a whole, so how large a cell looks depends on the field of view, not on a pixel's size alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import pandas as pd

from models.errors import Finding
from models.plates.projections import PROJECTIONS
from models.plates.screen import Channel

NUMBERS = {     # field -> what it is, how its value is said, and what another one does to the images
    "magnification": ("magnification", "{:g}x", "cells look {ratio:.2g} times as large to it"),
    "pixel_size_um": ("pixel size", "{:g} um", "cells look {inverse:.2g} times as large to it"),
    "bit_depth": ("bit depth", "{:g} bit", "a grey value stands for another brightness"),
}
WAY_OUT = "take images as the model's were taken, train a model on images like these, or trust its numbers no further than its controls"
TOLERANCE = 0.01    # relative; two microscopes' calibrations differ by as much
FIELD_TOLERANCE = 0.05      # of a field's height or width: a few pixels cut off at the border change nothing


class Imaged(Protocol):
    """A screen or an image set: what says how it was imaged."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What was imaged, by name."""

    def to_dict(self) -> dict[str, Any]:
        """Its fields."""


def acquisition_findings(screen: Imaged, trained: Mapping[str, Any], *, channels: tuple[str, ...] = (),
                         size: tuple[int, int] | None = None) -> list[Finding]:
    """Warnings where a screen was imaged otherwise than what a model was trained on.

    trained: a card's `acquisition`, fields of screen.yaml and image_size; channels: names of those that the model looks at; size: (height,
    width) of the screen's images in pixels, see `image_size`. What the card does not know is not compared; what the screen does not state
    is told once.
    """
    stated, known = (_numbers(fields) for fields in (screen.to_dict(), trained))
    field = None
    if size is not None and trained.get("image_size"):
        field = _other_field(size, tuple(trained["image_size"]), stated.get("pixel_size_um"), known.get("pixel_size_um"))
        if "pixel_size_um" in stated:
            known.pop("pixel_size_um", None)    # the field says what it does
    found = [_other_number(name, stated[name], value) for name, value in known.items()
             if name in stated and abs(stated[name] - value) > TOLERANCE * value]
    unknown = [name for name in known if name not in stated]
    if unknown:
        said = ", ".join(f"{NUMBERS[name][0]} ({NUMBERS[name][1].format(known[name])} of the model's images)" for name in unknown)
        found.append(_warning("acquisition_unknown", unknown[0], "", (
            f"nobody said of these images their {said}, so that nobody would notice if they were taken otherwise; fill in "
            f"{', '.join(unknown)}")))
    return [*filter(None, [field]), *found, *_other_stains(screen, trained.get("channels") or (), channels)]


def image_size(quality: pd.DataFrame) -> tuple[int, int] | None:
    """(height, width) in pixels of most images of an ImageQuality table; None where it is empty."""
    if quality.empty:
        return None
    [((height, width), _)] = Counter(zip(quality["height"].tolist(), quality["width"].tolist(), strict=True)).most_common(1)
    return int(height), int(width)


def _other_field(given: tuple[int, ...], trained: tuple[int, ...], given_um: float | None, trained_um: float | None) -> Finding | None:
    """A warning where images show another field than the model's, or may: their size differs, and what a pixel measures is not known."""
    value = f"{given[0]} x {given[1]} px"
    if given_um and trained_um:
        ratios = [before * trained_um / (now * given_um) for now, before in zip(given, trained, strict=True)]
        if all(abs(ratio - 1) <= FIELD_TOLERANCE for ratio in ratios):
            return None
        fields = [" x ".join(f"{side * pixel:.4g}" for side in sides) for sides, pixel in ((given, given_um), (trained, trained_um))]
        ratio = max(ratios, key=lambda ratio: abs(ratio - 1))
        return _warning("acquisition_mismatch", "pixel_size_um", value, (
            f"an image shows {fields[0]} um, those that the model learned from {fields[1]} um: cells look {ratio:.2g} times as large "
            f"to it; {WAY_OUT}"))
    if given == trained:
        return None
    return _warning("acquisition_unknown", "pixel_size_um", value, (
        f"an image has {value}, those that the model learned from {trained[0]} x {trained[1]} px: whether cells look as large to it as "
        "those did depends on the size of a pixel, which is not known of both; state pixel_size_um, here and where it was trained"))


def _numbers(fields: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(fields[name]) for name in NUMBERS if isinstance(fields.get(name), int | float) and fields[name] > 0}


def _other_number(name: str, given: float, trained: float) -> Finding:
    what, words, consequence = NUMBERS[name]
    effect = consequence.format(ratio=given / trained, inverse=trained / given)
    return _warning("acquisition_mismatch", name, f"{given:g}", (
        f"the {what} is {words.format(given)}, the model learned from images of {words.format(trained)}: {effect}; {WAY_OUT}"))


def _other_stains(screen: Imaged, trained: Any, channels: tuple[str, ...]) -> Iterator[Finding]:
    stains = {channel["name"]: channel.get("stain", "") for channel in trained}
    for channel in screen.channels:
        name = _unprojected(channel.name)
        own = stains.get(name, "")
        if name in channels and channel.stain and own and channel.stain.casefold() != own.casefold():
            yield _warning("acquisition_mismatch", "channels", channel.stain, (
                f"channel {name} shows {channel.stain}, the model learned from {own}: another stain shows other parts of a cell; "
                f"{WAY_OUT}"))


def _unprojected(channel: str) -> str:
    """ "hoechst_mip" is a projection of hoechst, and shows the same stain."""
    name, _, projection = channel.rpartition("_")
    return name if name and projection in PROJECTIONS else channel


def _warning(rule: str, column: str, value: str, message: str) -> Finding:
    return Finding(rule=rule, severity="warning", column=column, value=value, message=message)
