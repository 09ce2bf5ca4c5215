"""From images on disk to model-ready arrays: which channels and projections, at which size, on which intensity scale.

The stage `prepare` and the service call the same `prepare_plate`, so both see the same numbers. Pixels are kept as
float16 (11 significant bits): half the disk, and finer than the noise of a 16-bit camera.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from models.errors import Finding, ImageError
from models.plates.images import Pixels, PlateArchive, WellImages
from models.plates.joined import JoinedPixels
from models.plates.measures import measure_stack, with_gradients
from models.plates.projections import PROJECTIONS, Projection, parse_plane, project, resize_area
from models.tables import IMAGE_QUALITY, check_table
from models.whole_file import whole_file

Intensity = Literal["depth", "plate", "well"]
QUALITY_SUFFIX = ".quality.csv"
_COLOURS = {"red": 0, "green": 1, "blue": 2}


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a network is fed.

    planes: one "channel:projection" per network channel; "hoechst:mip", "hoechst:mid"; a colour image's parts are
    "brightfield.red:mid". Projections: mip = maximum over planes, mid = middle plane, mos = mean of the stack (projections.py).
    size: pixels; images are area-averaged to size x size.
    intensity: "depth" divides by the full scale of the bit depth; "plate" maps the plate's 0.1 and 99.9 percentiles to
    0 and 1 per channel; "well" does so per image (as seeds of system S2, where staining varies from well to well).
    """

    planes: tuple[str, ...] = ("brightfield:mid",) * 3
    size: int = 224
    intensity: Intensity = "depth"

    def __post_init__(self) -> None:
        for plane in self.planes:
            source, _, projection = plane.rpartition(":")
            if projection not in PROJECTIONS or not source:
                raise ValueError(f"planes must read channel:projection with a projection of {PROJECTIONS}, got {plane!r}")
            if "." in source and parse_plane(plane).colour not in _COLOURS:
                raise ValueError(f"planes may name the colours {', '.join(_COLOURS)} after a channel and a point, got {plane!r}")
        if not 8 <= self.size <= 4096:
            raise ValueError(f"size must lie between 8 and 4096 pixels, got {self.size}")
        if self.intensity not in get_args(Intensity):
            raise ValueError(f"intensity must be one of {get_args(Intensity)}, got {self.intensity!r}")

    @cached_property
    def distinct(self) -> tuple[str, ...]:
        """Its planes, each once: grey images are fed to all three channels of a network of photographs, and prepared once."""
        return tuple(dict.fromkeys(self.planes))


@dataclass(frozen=True)
class PreparedPlace:
    """One well and site: planes (D, size, size), the spec's distinct ones, on 0-1 as float16; or in grey values of a camera whose highest
    is full_scale, float32 or, where none had to be averaged, uint8, where the scale is that of the whole plate. quality: the measures of
    each channel that was looked at, by its name, as `measure_stack` gives them.
    """

    planes: np.ndarray
    full_scale: float
    quality: Mapping[str, Mapping[str, Any]]


def prepare_place(stacks: Mapping[str, np.ndarray], spec: InputSpec, *, channels: Sequence[str]) -> PreparedPlace:
    """The planes that a network reads, and their quality, from the stacks (Z, H, W) or (Z, H, W, 3) of the channels that it needs."""
    looked_at = dict(reversed([found for plane in spec.distinct if (found := find_channel(plane, channels))]))     # a channel's first
    planes = np.stack([_plane(stacks, plane, spec.size, channels) for plane in spec.distinct])
    full_scale = 255.0 if all(stack.dtype == np.uint8 for stack in stacks.values()) else 65535.0
    if spec.intensity != "plate" and planes.dtype != np.uint8:      # a plate of these is held in memory: at half the size
        planes = next(scaled([planes], spec.intensity, [full_scale])).astype(np.float16)
    return PreparedPlace(planes, full_scale, {
        name: measure_stack(stack, project(one_colour(stack), looked_at[name])) for name, stack in stacks.items()})


def prepare_plate(archive: PlateArchive, spec: InputSpec, *, channels: Iterable[str], on_well: Callable[[str], None] = lambda well: None,
                  ready: MutableMapping[tuple[str, int], PreparedPlace] | None = None) -> WellImages:
    """Model-ready images of every well and site of a plate, and the measures of their quality, for which they need not be read again.

    channels: the screen's channel names, in the order of the archive's channel numbers; see `find_channel` for projected ones.
    ready: wells and sites that somebody prepared already, while he read them for another reason; they are taken out of it.
    Raises ImageError when the screen lacks a channel that the spec names, or an image cannot be read.
    """
    channels, ready = tuple(channels), {} if ready is None else ready
    numbers = channel_numbers(spec, channels, archive)
    places = list(archive.wells_and_sites())
    pixels = np.empty((len(places), len(spec.distinct), spec.size, spec.size), np.float16)
    waiting: list[PreparedPlace] = []       # for the others, whose brightness makes the scale
    measured = []
    for number, (well, site) in enumerate(places):
        place = ready.pop((well, site), None) or prepare_place(
            {name: archive.read_stack(well, site=site, channel=number) for name, number in numbers.items()}, spec, channels=channels)
        if spec.intensity == "plate":
            waiting.append(place)
        else:
            pixels[number] = place.planes if place.planes.dtype == np.float16 else next(
                scaled([place.planes], spec.intensity, [place.full_scale]))
        measured += [{"plate": archive.plate, "well": well, "site": site, "channel": name, **measures}
                     for name, measures in place.quality.items()]
        on_well(well)
    for number, image in enumerate(scaled([place.planes for place in waiting], "plate", [place.full_scale for place in waiting])):
        pixels[number] = image
    rows = [(archive.plate, well, site) for well, site in places]
    return WellImages(pd.DataFrame(rows, columns=["plate", "well", "site"]), _for_network(pixels, spec), spec.planes,
                      quality=check_table(pd.DataFrame(with_gradients(measured), columns=IMAGE_QUALITY.names()), IMAGE_QUALITY))


def find_channel(plane: str, channels: Sequence[str]) -> tuple[str, Projection] | None:
    """(channel, projection) that a plane of an InputSpec is made of, None where no channel fits.

    A channel may come projected (`python -m pipelines.project`): "hoechst_mip" is hoechst:mip as it stands.
    """
    channel, _, projection = parse_plane(plane)
    if channel in channels:
        return channel, projection
    projected = f"{channel}_{projection}"
    return (projected, "mid") if projected in channels else None


def missing_channels(spec: InputSpec, channels: Sequence[str]) -> list[str]:
    """The channels that the spec names and a screen of these channels lacks, each once."""
    return list(dict.fromkeys(parse_plane(plane).channel for plane in spec.planes if find_channel(plane, channels) is None))


def channel_numbers(spec: InputSpec, channels: tuple[str, ...], archive: PlateArchive) -> dict[str, int]:
    """The channels that the spec needs, with their numbers in the archive. Raises ImageError naming those that the screen lacks."""
    missing = missing_channels(spec, channels)
    if missing:
        raise ImageError(f"{archive.path.name}: the model needs channel(s) {', '.join(missing)}", [
            Finding(rule="channel_missing", severity="error", plate=archive.plate, column="channels", value=name,
                    message=f"the model needs channel '{name}', the screen has {', '.join(channels)}; "
                            "name the channels in screen.yaml as the model does, or choose another model")
            for name in missing])
    found = (find_channel(plane, channels) for plane in spec.distinct)
    return {channel: channels.index(channel) for channel, _ in filter(None, found)}


def _plane(stacks: Mapping[str, np.ndarray], plane: str, size: int, channels: Sequence[str]) -> np.ndarray:
    found = find_channel(plane, channels)
    assert found is not None    # channel_numbers saw to it
    image = project(one_colour(stacks[found[0]], parse_plane(plane).colour), found[1])
    return image if image.shape == (size, size) and image.dtype == np.uint8 else resize_area(image, size)


def one_colour(stack: np.ndarray, colour: str = "") -> np.ndarray:
    """(Z, H, W) of a stack (Z, H, W, 3): one of its colours, or the mean of all; a grey stack (Z, H, W) as it is."""
    if stack.ndim < 4:
        return stack
    return np.asarray(stack[..., _COLOURS[colour]] if colour else stack.mean(axis=-1))


def scaled(images: Sequence[np.ndarray], intensity: Intensity, full_scales: Sequence[float]) -> Iterator[np.ndarray]:
    """Images (C, H, W) of grey values up to full_scales, one each, on 0-1 and one at a time; percentiles are taken per channel, over all
    images (intensity "plate") or each ("well").
    """
    if intensity == "depth" or not images:
        levels = {scale: (np.arange(256, dtype=np.float32) / np.float32(scale)).astype(np.float16) for scale in set(full_scales)}
        yield from (levels[scale].take(image) if image.dtype == np.uint8 else image / np.float32(scale)     # looked up: no pixel is rounded
                    for image, scale in zip(images, full_scales, strict=True))
        return
    share = [0.1, 99.9]
    if intensity == "well":
        for image in images:
            yield _between(image.astype(np.float32), *np.percentile(image.astype(np.float32), share, axis=(1, 2), keepdims=True))
        return
    limits = np.array([np.percentile(np.stack([image[channel] for image in images], dtype=np.float32), share, overwrite_input=True)
                       for channel in range(len(images[0]))])       # a channel at a time, for a plate is large
    low, high = (limits[:, end, None, None] for end in (0, 1))
    yield from (_between(image.astype(np.float32), low, high) for image in images)


def _between(image: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """An image (C, H, W) on 0-1, where `low` and `high` (C, 1, 1) are 0 and 1, and no farther."""
    low, high = low.astype(np.float32), high.astype(np.float32)
    return np.asarray(np.clip((image - low) / np.maximum(high - low, np.float32(1e-6)), 0, 1))


def _for_network(pixels: np.ndarray, spec: InputSpec) -> np.ndarray:
    """The distinct planes (N, D, H, W) as the channels of a network (N, C, H, W)."""
    if len(spec.distinct) == 1:
        return _in_all_channels(pixels, len(spec.planes))
    return pixels if spec.distinct == spec.planes else pixels[:, [spec.distinct.index(plane) for plane in spec.planes]]


def _in_all_channels(plane: np.ndarray, channels: int) -> np.ndarray:
    """(N, 1, H, W) -> (N, channels, H, W), each image in memory once: they are not to be written to."""
    return np.lib.stride_tricks.as_strided(plane, (len(plane), channels, *plane.shape[2:]), (plane.strides[0], 0, *plane.strides[2:]))


def _alike_channels(pixels: Pixels) -> bool:
    """Whether one plane fills all channels of (N, C, H, W), in memory once."""
    return isinstance(pixels, np.ndarray) and pixels.strides[1] == 0


def save_prepared(images: WellImages, path: Path) -> None:
    """One plate's images as safetensors, with the wells in its metadata, and their quality as <plate>.quality.csv beside it.

    A plane that fills all channels is written once. Same images, same bytes. Where the first file is, both are there, and whole.
    """
    with whole_file(path.with_suffix(QUALITY_SUFFIX)) as making:
        images.quality.to_csv(making, index=False, lineterminator="\n")
    record = {"channels": images.channels, "wells": json.loads(images.wells.to_json(orient="split", index=False))}
    pixels = images.pixels[:, :1] if _alike_channels(images.pixels) else images.pixels
    with whole_file(path) as making:
        save_file({"pixels": np.ascontiguousarray(pixels)}, making,
                  metadata={"images": json.dumps(record)})  # one entry: safetensors writes several in a random order


def load_prepared(path: Path) -> WellImages:
    """What `save_prepared` wrote. Pixels stay on disk until they are asked for: a screen of many plates is larger than memory."""
    with path.open("rb") as file:       # of the format: its length, a header, the numbers
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    record, place = json.loads(header["__metadata__"]["images"]), header["pixels"]
    pixels = np.asarray(np.memmap(path, np.float16, "c", offset=8 + length + place["data_offsets"][0], shape=tuple(place["shape"])))
    wells = pd.DataFrame(record["wells"]["data"], columns=record["wells"]["columns"])
    texts = {column.name: "str" for column in IMAGE_QUALITY.columns if column.kind == "str"}
    quality = pd.read_csv(path.with_suffix(QUALITY_SUFFIX), dtype=texts, keep_default_na=False, na_values={
        column.name: [""] for column in IMAGE_QUALITY.columns if column.kind == "float"})
    channels = tuple(record["channels"])
    pixels = pixels if pixels.shape[1] == len(channels) else _in_all_channels(pixels, len(channels))
    return WellImages(wells.astype({"plate": "str", "well": "str"}), pixels, channels,
                      quality=check_table(quality, IMAGE_QUALITY))


def join_images(parts: Iterable[WellImages]) -> WellImages:
    """Several plates' images as one, in order, each where it lies. Raises ImageError if there is none or their channels differ."""
    parts = list(parts)
    if not parts or len({part.channels for part in parts}) != 1:
        raise ImageError(f"expected plates of one set of channels, got {sorted({part.channels for part in parts})}")
    if len(parts) == 1:
        return parts[0]
    return WellImages(pd.concat([part.wells for part in parts], ignore_index=True),
                      JoinedPixels([np.asarray(part.pixels) for part in parts]), parts[0].channels,
                      quality=pd.concat([part.quality for part in parts], ignore_index=True))
