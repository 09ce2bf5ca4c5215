"""Rules about images: each well of the layout has its images and the reverse, all readable and alike."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from models.errors import Finding, Severity
from models.wells import well_keys
from models.words import are, have, listed, number, some
from validation.evidence import Evidence, Rule
from validation.inventory import Inventory

_SHAPE = ["height", "width", "bits", "colour"]
BRIGHT_FIELD = ("brightfield", "bright-field", "bright field", "bf", "phase", "phase contrast", "transmitted", "h&e", "rgb", "colour")


def _inventory(evidence: Evidence) -> Inventory:
    assert evidence.inventory is not None  # Rule.findings asks image rules only with an inventory
    return evidence.inventory


def _images(images: pd.DataFrame, *, rule: str, message: str, severity: Severity = "error", column: str = "") -> Finding:
    """A finding about images of one plate (rows of the inventory); `value` is the first of them."""
    return Finding(rule=rule, severity=severity, plate=str(images["plate"].iloc[0]), well=listed(images["well"]), column=column,
                   value=str(images["member"].iloc[0]), message=message)


def plates_have_archives(evidence: Evidence) -> Iterator[Finding]:
    """Each plate of the layout has an archive of images, and the reverse."""
    named, given = set(evidence.layout["plate"]), set(_inventory(evidence).plates)
    for plate in sorted(named - given):
        yield Finding(rule="plate_images", severity="error", plate=plate, column="plate", value=plate, message=(
            f"plate {plate} of the layout has no images/{plate}.zip; {_nearest(plate, given - named)}archives found: "
            f"{some(sorted(given)) or 'none'}. Name archive and plate alike, or add the images"))
    for plate in sorted(given - named):
        yield Finding(rule="plate_images", severity="error", plate=plate, column="plate", value=plate, message=(
            f"images/{plate}.zip belongs to no plate of the layout; {_nearest(plate, named - given)}plates of the layout: "
            f"{some(sorted(named)) or 'none'}. Name archive and plate alike, or take the archive away"))


def _nearest(name: str, others: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.casefold(), {other.casefold(): other for other in others}, 1)
    return f"is it '{next(other for other in others if other.casefold() == near[0])}'? " if near else ""


def _by_plate(table: pd.DataFrame, chosen: pd.Series | None = None) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows, or those chosen, by plate; of none, as of most rules that all keep, no table is made."""
    if chosen is not None and not chosen.any():
        return iter(())
    table = table if chosen is None else table[chosen]
    return ((str(plate), group) for plate, group in table.groupby("plate", sort=False))


def wells_have_images(evidence: Evidence) -> Iterator[Finding]:
    """Each well that holds cells has an image."""
    inventory = _inventory(evidence)
    seen = set(well_keys(inventory.images))
    broken = {finding.plate for finding in inventory.findings if finding.rule.startswith("archive_")}
    for plate, wells in evidence.by_plate.items():
        wells = wells[wells["role"] != "empty"]
        lacking = [well for well in wells["well"].tolist() if (plate, well) not in seen]
        if lacking and plate in inventory.plates and plate not in broken:
            yield Finding(rule="image_missing", severity="error", plate=plate, well=listed(lacking), value=str(len(lacking)), message=(
                f"{number(len(lacking), 'well')} of plate {plate} {have(len(lacking))} no image in images/{plate}.zip; add the images, "
                "or remove the wells from the layout"))


def images_have_wells(evidence: Evidence) -> Iterator[Finding]:
    """Each image belongs to a well of the layout."""
    images, layout = _inventory(evidence).images, evidence.layout
    if not layout["well"].any():    # a table without wells, of which `columns` tells
        return
    named = set(well_keys(layout))
    known = images["plate"].isin(layout["plate"])
    there = pd.Series([key in named for key in well_keys(images)], index=images.index, dtype=bool)
    for plate, group in _by_plate(images, known & ~there):
        wells = group["well"].nunique()
        yield _images(group, rule="image_extra", message=(
            f"images/{plate}.zip has {number(len(group), 'image')} of {number(wells, 'well')} that the layout does not name; add "
            f"{'it' if wells == 1 else 'them'} with a role (empty or untreated if nothing was given), or take the images away"))


def images_readable(evidence: Evidence) -> Iterator[Finding]:
    """Each archive and each image can be read. What is said of several images of a plate is said once."""
    alike: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in _inventory(evidence).findings:
        alike.setdefault((finding.plate, finding.rule, finding.message.removeprefix(f"image {finding.value} ")), []).append(finding)
    for (plate, _, said), same in alike.items():
        named = f"{number(len(same), 'image')} of plate {plate} ({some((one.value for one in same), 2)}): each "
        yield same[0] if len(same) == 1 else replace(same[0], well=listed(one.well for one in same), message=named + said)


def images_alike(evidence: Evidence) -> Iterator[Finding]:
    """All images of the screen have one size, one depth, and are all grey or all colour."""
    images = _inventory(evidence).readable
    if all(images[name].nunique() <= 1 for name in _SHAPE):
        return
    kinds = images.groupby(_SHAPE, sort=True).size().sort_values(ascending=False, kind="stable")
    for shape in kinds.index[1:]:
        for plate, group in _by_plate(images, (images[_SHAPE] == list(shape)).all(axis=1)):
            yield _images(group, rule="image_alike", message=(
                f"{number(len(group), 'image')} of plate {plate} ({some(group['member'], 2)}) {are(len(group))} {_shape(shape)}, where "
                f"{kinds.iloc[0]} of the screen's are {_shape(kinds.index[0])}; export all with the same settings"))


def _shape(shape: tuple[int, int, int, bool]) -> str:
    height, width, bits, colour = shape
    return f"{height}x{width} pixels, {bits} bit, {'colour' if colour else 'grey'}"


def images_complete(evidence: Evidence) -> Iterator[Finding]:
    """Each well has all channels of the screen, and as many sites and planes as the others, each image once."""
    images = _inventory(evidence).images
    if images.empty:
        return
    wells: dict[tuple[str, str], _WellImages] = {}
    for plate, well, *place, member in images[["plate", "well", "site", "channel", "plane", "member"]].itertuples(index=False, name=None):
        wells.setdefault((plate, well), _WellImages(plate, well, member)).add((place[0], place[1], place[2]), member)
    usual = Counter(one.usual for one in wells.values()).most_common(1)[0][0]
    expected = set(range(len(evidence.screen.channels)))
    lacking: dict[tuple[str, str], list[_WellImages]] = {}
    for _, one in sorted(wells.items()):
        if message := _lacks(one, expected, usual):
            lacking.setdefault((one.plate, message), []).append(one)
    for (plate, message), group in lacking.items():
        table = pd.DataFrame([(one.plate, one.well, one.member) for one in group], columns=["plate", "well", "member"])
        yield _images(table, rule="image_complete", message=(
            f"{number(len(group), 'well')} of plate {plate} {have(len(group))} {message}"))


@dataclass
class _WellImages:
    """The images of a well. member: the first of them; places: (site, channel, plane) of each, once; repeated: a member whose place was
    taken already.
    """

    plate: str
    well: str
    member: str
    places: set[tuple[int, int, int]] = field(default_factory=set)
    count: int = 0
    repeated: str = ""

    def add(self, place: tuple[int, int, int], member: str) -> None:
        """One more image."""
        self.repeated = member if place in self.places else self.repeated
        self.places.add(place)
        self.count += 1

    @property
    def usual(self) -> tuple[int, int]:
        """How many sites and planes it has."""
        return len({site for site, _, _ in self.places}), len({plane for _, _, plane in self.places})


def _lacks(well: _WellImages, channels: set[int], usual: tuple[int, int]) -> str:
    """What a well's images lack, and what to do, or "". usual: (sites, planes) of most wells."""
    found, named = {channel for _, channel, _ in well.places}, f"screen.yaml names {number(len(channels), 'channel')}"
    sites, planes = well.usual
    if well.repeated:
        return f"one image twice in the archive ({well.repeated} and another of the same site, channel and plane); zip the images again"
    if channels - found:
        return (f"no image of channel {some(sorted(channels - found))} (counted from 0; {named}); export the missing channel, "
                "or correct channels in screen.yaml")
    if found - channels:
        return (f"images of channel {some(sorted(found - channels))} (counted from 0; {named}); add it to channels in screen.yaml, "
                "or leave those images out")
    if (sites, planes) != usual:
        return (f"{number(sites, 'site')} of {number(planes, 'plane')}, where most wells have {usual[0]} of {usual[1]}; "
                "export those wells again")
    due = sites * planes * len(found)
    return "" if well.count == due else f"{well.count} of its {due} images (sites x planes x channels); export those wells again"


def images_fit_screen(evidence: Evidence) -> Iterator[Finding]:
    """Depth and colour are what screen.yaml says."""
    images, screen = _inventory(evidence).readable, evidence.screen
    for plate, group in _by_plate(images, images["brightest"] >= 2 ** screen.bit_depth):
        yield _images(group, rule="image_depth", column="bit_depth", message=(
            f"{number(len(group), 'image')} of plate {plate} {have(len(group))} grey values up to {group['brightest'].max()}, beyond the "
            f"{screen.bit_depth} bit that screen.yaml states; correct bit_depth"))
    deeper = images[(images["bits"] > 8) & (images["brightest"] < 2 ** screen.bit_depth)] if screen.bit_depth <= 8 else images[:0]
    for plate, group in _by_plate(deeper):
        yield _images(group, rule="image_depth", column="bit_depth", message=(
            f"{number(len(group), 'image')} of plate {plate} {are(len(group))} stored with 16 bit, of whose range they would fill a 256th, "
            f"where screen.yaml states {screen.bit_depth} bit; export them with 8 bit, or correct bit_depth"))
    fluorescent = [place for place, channel in enumerate(screen.channels)
                   if not any(word in (channel.name.casefold(), channel.stain.casefold()) for word in BRIGHT_FIELD)]
    for plate, group in _by_plate(images, images["colour"] & images["channel"].isin(fluorescent)):
        channel = screen.channels[int(group.iloc[0]["channel"])].name
        yield _images(group, rule="image_colour", message=(
            f"{number(len(group), 'image')} of plate {plate} {are(len(group))} in colour (RGB), but channel {channel} is expected in grey; "
            "export single channels, not a rendered picture"))


def images_named_as_they_are(evidence: Evidence) -> Iterator[Finding]:
    """Each image is the TIFF that its name says."""
    images = _inventory(evidence).readable
    for plate, group in _by_plate(images, images["kind"] != "tiff"):
        lost = ("JPEG loses detail, export TIFF or PNG" if "jpeg" in set(group["kind"]) else
                "nothing is lost, but other programs may refuse it")
        yield _images(group, rule="image_kind", severity="warning", message=(
            f"{number(len(group), 'image')} of plate {plate} {are(len(group))} {some(group['kind'].str.upper())} named .tif; "
            f"read as what {'it is' if len(group) == 1 else 'they are'}; {lost}"))


def images_show_something(evidence: Evidence) -> Iterator[Finding]:
    """No image is uniform (black) or saturated."""
    limits, images = evidence.thresholds, _inventory(evidence).readable
    with_cells = evidence.wells[evidence.wells["role"] != "empty"]
    places = set(well_keys(with_cells))
    filled = images[np.array([place in places for place in well_keys(images)], dtype=bool)]
    saturated = filled["at_limit"] >= limits.saturated_share
    uniform = ~saturated & ((filled["brightest"] - filled["darkest"]) <= limits.uniform_range)
    if not (saturated | uniform).any():
        return
    for plate, images_of_plate in _by_plate(filled):
        wells, unusable = images_of_plate["well"].nunique(), images_of_plate[(saturated | uniform)[images_of_plate.index]]["well"].nunique()
        refused = unusable > limits.max_unusable_images * wells
        for rule, bad, what in (
            ("image_saturated", images_of_plate[saturated[images_of_plate.index]], "mostly white (pixels at the camera's highest value)"),
            ("image_uniform", images_of_plate[uniform[images_of_plate.index]], "black or of one grey throughout"),
        ):
            if len(bad):
                way_out = "check shutter, lamp, exposure and export" + ("" if refused else ", or exclude the wells")
                yield _images(bad, rule=rule, severity="error" if refused else "warning", message=(
                    f"{bad['well'].nunique()} of {number(wells, 'well')} of plate {plate} {are(bad['well'].nunique())} {what}; {way_out}"))


def images_differ(evidence: Evidence) -> Iterator[Finding]:
    """No two wells hold byte-identical images, which would be a copy error."""
    images = _inventory(evidence).readable
    copies = images["checksum"].duplicated(keep=False) & (images["brightest"] > images["darkest"])
    for _, group in images[copies].groupby("checksum", sort=False) if copies.any() else ():
        if group[["plate", "well", "site", "channel"]].drop_duplicates().shape[0] == 1:
            continue
        places = (group["plate"] + " " + group["member"]).tolist()
        for _, here in _by_plate(group):
            yield _images(here, rule="image_duplicate", severity="warning", message=(
                f"{len(group)} images are the same byte for byte ({some(places)}); one was copied over the other: export the wells "
                "again, or exclude them"))


RULES = (
    Rule("plate_images", "images", "Each plate has its archive of images", plates_have_archives),
    Rule("image_missing", "images", "Each well with cells has its images", wells_have_images),
    Rule("image_extra", "images", "Each image belongs to a well of the layout", images_have_wells),
    Rule("image_readable", "images", "Each image can be read", images_readable,
         ("archive_unreadable", "image_unreadable", "archive_too_many")),
    Rule("image_alike", "images", "All images have one size and depth", images_alike),
    Rule("image_complete", "images", "Each well has all channels, sites and planes", images_complete),
    Rule("image_fit", "images", "Images are as screen.yaml says", images_fit_screen, ("image_depth", "image_colour")),
    Rule("image_kind", "images", "Each image is the TIFF that its name says", images_named_as_they_are),
    Rule("image_shows", "images", "No image is black or saturated", images_show_something, ("image_saturated", "image_uniform")),
    Rule("image_differ", "images", "No image is a copy of another", images_differ, ("image_duplicate",)),
)
