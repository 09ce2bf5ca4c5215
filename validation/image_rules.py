"""Rules about images: each well of the layout has its images and the reverse, all readable and alike."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from models.errors import Finding, Severity
from validation.evidence import Evidence, Rule, some
from validation.inventory import Inventory

_SHAPE = ["height", "width", "bits", "colour"]
BRIGHT_FIELD = ("brightfield", "bright-field", "bright field", "bf", "phase", "phase contrast", "transmitted", "h&e", "rgb", "colour")


def _inventory(evidence: Evidence) -> Inventory:
    assert evidence.inventory is not None  # Rule.findings asks image rules only with an inventory
    return evidence.inventory


def _image(row: pd.Series, *, rule: str, message: str, severity: Severity = "error", column: str = "") -> Finding:
    return Finding(rule=rule, severity=severity, plate=str(row["plate"]), well=str(row["well"]),
                   column=column, value=str(row["member"]), message=f"{row['plate']}.zip: {row['member']} {message}")


def plates_have_archives(evidence: Evidence) -> Iterator[Finding]:
    """Each plate of the layout has an archive of images, and the reverse."""
    named, given = set(evidence.layout["plate"]), set(_inventory(evidence).plates)
    for plate in sorted(named - given):
        yield Finding(rule="plate_images", severity="error", plate=plate, column="plate", value=plate, message=(
            f"plate {plate} of the layout has no images/{plate}.zip; archives found: {some(sorted(given)) or 'none'}. "
            "Name the archive like the plate, or add the images"))
    for plate in sorted(given - named):
        yield Finding(rule="plate_images", severity="error", plate=plate, column="plate", value=plate, message=(
            f"images/{plate}.zip belongs to no plate of the layout (plates: {some(sorted(named)) or 'none'}); "
            "name the plate in the layout, or take the archive away"))


def wells_have_images(evidence: Evidence) -> Iterator[Finding]:
    """Each well that holds cells has an image."""
    inventory = _inventory(evidence)
    seen = set(zip(inventory.images["plate"], inventory.images["well"], strict=True))
    broken = {finding.plate for finding in inventory.findings if finding.rule.startswith("archive_")}
    for _, row in evidence.wells[evidence.wells["role"] != "empty"].iterrows():
        plate, well = str(row["plate"]), str(row["well"])
        if plate in inventory.plates and plate not in broken and (plate, well) not in seen:
            yield Finding(rule="image_missing", severity="error", plate=plate, well=well, message=(
                f"well {well} of plate {plate} has no image in images/{plate}.zip; add it, or remove the well from the layout"))


def images_have_wells(evidence: Evidence) -> Iterator[Finding]:
    """Each image belongs to a well of the layout."""
    inventory = _inventory(evidence)
    named = set(zip(evidence.layout["plate"], evidence.layout["well"], strict=True))
    for key, images in inventory.images.groupby(["plate", "well"], sort=True):
        plate, well = map(str, key)
        if (plate, well) not in named and plate in set(evidence.layout["plate"]):
            yield _image(images.iloc[0], rule="image_extra", message=(
                f"is an image of well {well}, which the layout does not name ({len(images)} image(s)); "
                "add the well with its role (empty or untreated if nothing was given), or take the image away"))


def images_readable(evidence: Evidence) -> Iterator[Finding]:
    """Each archive and each image can be read."""
    yield from _inventory(evidence).findings


def images_alike(evidence: Evidence) -> Iterator[Finding]:
    """All images of the screen have one size, one depth, and are all grey or all colour."""
    images = _inventory(evidence).readable
    kinds = images.groupby(_SHAPE, sort=True).size().sort_values(ascending=False, kind="stable")
    for shape in kinds.index[1:]:
        for plate, group in images[(images[_SHAPE] == list(shape)).all(axis=1)].groupby("plate", sort=True):
            yield _image(group.iloc[0], rule="image_alike", message=(
                f"and {len(group) - 1} more image(s) of plate {plate} are {_shape(shape)}, where {kinds.iloc[0]} images are "
                f"{_shape(kinds.index[0])} (wells {some(group['well'])}); export all with the same settings"))


def _shape(shape: tuple[int, int, int, bool]) -> str:
    height, width, bits, colour = shape
    return f"{height}x{width} pixels, {bits} bit, {'colour' if colour else 'grey'}"


def images_complete(evidence: Evidence) -> Iterator[Finding]:
    """Each well has all channels of the screen, and as many sites and planes as the others, each image once."""
    images = _inventory(evidence).images
    if images.empty:
        return
    wells = images.groupby(["plate", "well"], sort=True).agg(
        member=("member", "first"), images=("member", "size"), channels=("channel", lambda values: tuple(sorted(set(values)))),
        sites=("site", "nunique"), planes=("plane", "nunique")).reset_index()
    usual = wells[["sites", "planes"]].value_counts().index[0]
    again = images[images.duplicated(["plate", "well", "site", "channel", "plane"])]
    repeated = dict(zip(zip(again["plate"], again["well"], strict=True), again["member"], strict=True))
    for _, row in wells.iterrows():
        message = _lacks(row, set(range(len(evidence.screen.channels))), usual, repeated.get((row["plate"], row["well"]), ""))
        if message:
            yield _image(row, rule="image_complete", message=(
                f"is there, {message} (well {row['well']}); export the well again, or correct channels in screen.yaml"))


def _lacks(row: pd.Series, channels: set[int], usual: tuple[int, int], repeated: str) -> str:
    """What a well's images lack, or "". row: sites, planes, channels, images of the well; usual: (sites, planes) of most wells."""
    found = set(row["channels"])
    if repeated:
        return f"and {repeated} is there too; the archive holds one image twice"
    if channels - found:
        return f"but no image of channel(s) {some(sorted(channels - found))}; screen.yaml names {len(channels)} channel(s)"
    if found - channels:
        return f"and images of channel(s) {some(sorted(found - channels))}; screen.yaml names {len(channels)} channel(s)"
    if (row["sites"], row["planes"]) != usual:
        return f"and {row['sites']} site(s) of {row['planes']} plane(s), where most wells have {usual[0]} of {usual[1]}"
    expected = row["sites"] * row["planes"] * len(found)
    return f"but {expected - row['images']} of its {expected} images are missing" if row["images"] != expected else ""


def images_fit_screen(evidence: Evidence) -> Iterator[Finding]:
    """Depth and colour are what screen.yaml says."""
    images, screen = _inventory(evidence).readable, evidence.screen
    too_bright = images[images["brightest"] >= 2 ** screen.bit_depth]
    for plate, group in too_bright.groupby("plate", sort=True):
        yield _image(group.iloc[0], rule="image_depth", column="bit_depth", message=(
            f"has grey values up to {group['brightest'].max()}, beyond the {screen.bit_depth} bit that screen.yaml states "
            f"({len(group)} image(s) of plate {plate}); correct bit_depth"))
    fluorescent = [place for place, channel in enumerate(screen.channels)
                   if not any(word in (channel.name.casefold(), channel.stain.casefold()) for word in BRIGHT_FIELD)]
    for _, group in images[images["colour"] & images["channel"].isin(fluorescent)].groupby("plate", sort=True):
        channel = screen.channels[int(group.iloc[0]["channel"])].name
        yield _image(group.iloc[0], rule="image_colour", message=(
            f"is a colour (RGB) image, but channel {channel} is expected in grey ({len(group)} image(s) alike); "
            "export single channels, not a rendered picture"))


def images_named_as_they_are(evidence: Evidence) -> Iterator[Finding]:
    """Each image is the TIFF that its name says."""
    images = _inventory(evidence).readable
    for plate, group in images[images["kind"] != "tiff"].groupby("plate", sort=True):
        yield _image(group.iloc[0], rule="image_kind", severity="warning", message=(
            f"is a {group.iloc[0]['kind'].upper()} image named .tif ({len(group)} image(s) of plate {plate}); "
            "it was read as what it is, JPEG would have lost detail"))


def images_show_something(evidence: Evidence) -> Iterator[Finding]:
    """No image is uniform (black) or saturated."""
    limits, images = evidence.thresholds, _inventory(evidence).readable
    filled = images.merge(evidence.wells.loc[evidence.wells["role"] != "empty", ["plate", "well"]], on=["plate", "well"])
    flat = (filled["brightest"] - filled["darkest"]) <= limits.uniform_range
    clipped = filled["at_limit"] >= limits.saturated_share
    for _, group in filled.assign(flat=flat, unusable=flat | clipped).groupby("plate", sort=True):
        bad = group[group["unusable"]].drop_duplicates("well")
        refused = len(bad) > limits.max_unusable_images * group["well"].nunique()
        for _, row in bad.iterrows():
            saturated = row["at_limit"] >= limits.saturated_share
            what = f"is saturated ({row['at_limit']:.0%} of its pixels)" if saturated else f"is uniform (all pixels {row['darkest']})"
            yield _image(row, rule="image_saturated" if saturated else "image_uniform", severity="error" if refused else "warning",
                         message=f"{what}; check shutter, exposure and export" + (
                             f" ({len(bad)} of {group['well'].nunique()} wells of the plate)" if refused else ", or exclude the well"))


def images_differ(evidence: Evidence) -> Iterator[Finding]:
    """No two wells hold byte-identical images, which would be a copy error."""
    images = _inventory(evidence).readable
    images = images[images["brightest"] > images["darkest"]]
    for _, group in images[images.duplicated("checksum", keep=False)].groupby("checksum", sort=False):
        if group[["plate", "well", "site", "channel"]].drop_duplicates().shape[0] > 1:
            places = (group["plate"] + " " + group["member"]).tolist()
            yield _image(group.iloc[1], rule="image_duplicate", severity="warning", message=(
                f"is byte for byte the same as {some(places[:1])} ({len(group)} alike: {some(places)}); "
                "one was copied over the other, export the well again or exclude it"))


RULES = (
    Rule("plate_images", "images", "Each plate has its archive of images", plates_have_archives),
    Rule("image_missing", "images", "Each well with cells has its images", wells_have_images),
    Rule("image_extra", "images", "Each image belongs to a well of the layout", images_have_wells),
    Rule("image_readable", "images", "Each image can be read", images_readable),
    Rule("image_alike", "images", "All images have one size and depth", images_alike),
    Rule("image_complete", "images", "Each well has all channels, sites and planes", images_complete),
    Rule("image_fit", "images", "Images are as screen.yaml says", images_fit_screen),
    Rule("image_kind", "images", "Each image is the TIFF that its name says", images_named_as_they_are),
    Rule("image_shows", "images", "No image is black or saturated", images_show_something),
    Rule("image_differ", "images", "No image is a copy of another", images_differ),
)
