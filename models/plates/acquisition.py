"""Were these images taken as those that a model was trained on? Another magnification or stain changes what a network sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from models.errors import Finding
from models.plates.projections import PROJECTIONS
from models.plates.screen import Channel

NUMBERS = {     # field -> how its value is said, and what another one does to the images
    "magnification": ("{:g}x", "cells look {ratio:.2g} times as large to the model"),
    "pixel_size_um": ("{:g} um a pixel", "cells look {inverse:.2g} times as large to the model"),
    "bit_depth": ("{:g} bit", "grey values mean other brightnesses"),
}
TOLERANCE = 0.01    # relative; two microscopes' calibrations differ by as much


class Imaged(Protocol):
    """A screen or an image set: what says how it was imaged."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What was imaged, by name."""

    def to_dict(self) -> dict[str, Any]:
        """Its fields."""


def acquisition_findings(screen: Imaged, trained: Mapping[str, Any], *, channels: tuple[str, ...] = ()) -> list[Finding]:
    """Warnings where a screen was imaged otherwise than what a model was trained on.

    trained: a card's `acquisition`, fields of screen.yaml; channels: names of those that the model looks at. What the card does not
    know is not compared; what the screen does not state is told once.
    """
    stated, known = (_numbers(fields) for fields in (screen.to_dict(), trained))
    found = [_other_number(name, stated[name], value) for name, value in known.items()
             if name in stated and abs(stated[name] - value) > TOLERANCE * value]
    unknown = [name for name in known if name not in stated]
    if unknown:
        said = ", ".join(f"{name} ({NUMBERS[name][0].format(known[name])})" for name in unknown)
        found.append(_warning("acquisition_unknown", unknown[0], "", (
            f"the images' description does not state {said}: the model's own is in brackets; fill it in, so that images taken otherwise "
            "are noticed")))
    return [*found, *_other_stains(screen, trained.get("channels") or (), channels)]


def _numbers(fields: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(fields[name]) for name in NUMBERS if isinstance(fields.get(name), int | float) and fields[name] > 0}


def _other_number(name: str, given: float, trained: float) -> Finding:
    words, consequence = NUMBERS[name]
    effect = consequence.format(ratio=given / trained, inverse=trained / given)
    return _warning("acquisition_mismatch", name, f"{given:g}", (
        f"{name} is {words.format(given)}, the model was trained at {words.format(trained)}: {effect}; image as the model's plates were, "
        "train a model on plates like these, or treat its answers with care"))


def _other_stains(screen: Imaged, trained: Any, channels: tuple[str, ...]) -> Iterator[Finding]:
    stains = {channel["name"]: channel.get("stain", "") for channel in trained}
    for channel in screen.channels:
        name = _unprojected(channel.name)
        own = stains.get(name, "")
        if name in channels and channel.stain and own and channel.stain.casefold() != own.casefold():
            yield _warning("acquisition_mismatch", "channels", channel.stain, (
                f"channel {name} shows {channel.stain}, the model was trained on {own}; another stain shows other parts of a cell: "
                "treat its answers with care, or train a model on plates stained like these"))


def _unprojected(channel: str) -> str:
    """ "hoechst_mip" is a projection of hoechst, and shows the same stain."""
    name, _, projection = channel.rpartition("_")
    return name if name and projection in PROJECTIONS else channel


def _warning(rule: str, column: str, value: str, message: str) -> Finding:
    return Finding(rule=rule, severity="warning", column=column, value=value, message=message)
