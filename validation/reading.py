"""A screen's plates read once, for the rules and for the network: what the service does with an upload, and the scoring of an archive."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from models.plates.images import PlateArchive, WellImages, stack_of
from models.plates.prepare import InputSpec, PreparedPlace, channel_numbers, join_images, prepare_place, prepare_plate
from models.plates.screen import Screen
from validation.inventory import Inventory, PlacePixels, take_inventory


class PlateReader:
    """Prepares the wells of plate archives while the inventory reads them; those that it did not hand on are read when all are joined.

    spec: what the network is fed. Ask for the inventory first: the rules have their say before what cannot be prepared is an error.
    """

    def __init__(self, plates: Iterable[Path], screen: Screen, spec: InputSpec) -> None:
        self.plates, self.spec = sorted(plates), spec
        self.channels = tuple(channel.name for channel in screen.channels)
        self.places: dict[Path, dict[tuple[str, int], PreparedPlace]] = {path: {} for path in self.plates}
        self.numbers: dict[str, int] = {}   # of the channels that are read

    def inventory(self) -> Inventory:
        """What images there are. Never raises for content."""
        return take_inventory(self.plates, on_place=self._prepare)

    def _prepare(self, archive: PlateArchive, well: str, site: int, pixels: PlacePixels) -> None:
        """One well and site. What cannot be prepared is met again, and told, when all are joined."""
        with contextlib.suppress(Exception):
            self.numbers = self.numbers or channel_numbers(self.spec, self.channels, archive)
            by_plane = sorted(pixels.items(), key=lambda item: item[0])
            found = {name: [image for (channel, _), image in by_plane if channel == number] for name, number in self.numbers.items()}
            stacks = {name: stack_of(planes) for name, planes in found.items()}
            self.places[archive.path][well, site] = prepare_place(stacks, self.spec, channels=self.channels)

    def images(self, *, on_well: Callable[[str], None] = lambda well: None) -> WellImages:
        """All plates as the stage `prepare` makes them, in its order. Raises ImageError."""
        plates = []
        for path in self.plates:
            with PlateArchive(path) as archive:
                plates.append(prepare_plate(archive, self.spec, channels=self.channels, on_well=on_well, ready=self.places.pop(path)))
        return join_images(plates)
