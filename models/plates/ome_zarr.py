"""OME-Zarr images and high-content plates, versions 0.4 and 0.5: their metadata, and their planes one at a time.

Metadata are read here, from the JSON files themselves; pixels are read by zarr, which is imported when the first plane is asked for.
A Zarr may name any codec of the reader's, and one of them unpickles what it is given: only plain compressors are let through.
Specification: https://ngff.openmicroscopy.org/0.4/ and /0.5/ (sections "plate", "well", "multiscales").
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import Finding, InputError
from models.plates.image_limits import check_depth, image_error, refuse_large
from models.plates.lazy_planes import Planes
from models.plates.tiff import parse_part

MAX_JSON = 50 * 2**20       # consolidated metadata of a 1536-well plate have 10 MB
BLOCK_BYTES = 64 * 2**20    # planes that are unpacked together because a chunk holds several
CODECS = {"blosc", "gzip", "zlib", "zstd", "lz4", "lzma", "bz2", "shuffle", "delta", "crc32c", "crc32", "bytes", "transpose",
          "sharding_indexed"}
METADATA_FILES = ("zarr.json", ".zattrs", ".zgroup", ".zarray", ".zmetadata")
_MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "meter": 1e6, "angstrom": 1e-4}


@dataclass(frozen=True, kw_only=True)
class ZarrImage:
    """An image at full size. array: its folder; axes: their names, such as "tczyx"; labels: names of channels, "" where unknown.

    pixel_size_um: micrometre per pixel along x, None where the metadata do not say.
    """

    array: Path
    axes: str
    shape: tuple[int, ...]
    labels: tuple[str, ...]
    pixel_size_um: float | None

    def length(self, axis: str) -> int:
        """Length of an axis, 1 where the image has none of that name."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1


def ome_attributes(group: Path) -> dict[str, Any]:
    """The OME metadata of a Zarr group of either version, {} for a folder that is none. Raises InputError for unreadable JSON."""
    if (group / "zarr.json").is_file():
        attributes = _json(group / "zarr.json").get("attributes", {})
        found = attributes.get("ome", {}) if isinstance(attributes, dict) else {}
    else:
        found = _json(group / ".zattrs") if (group / ".zattrs").is_file() else {}
    return found if isinstance(found, dict) else {}


def is_plate(group: Path) -> bool:
    """Whether the folder is an OME-Zarr plate."""
    try:
        return "plate" in ome_attributes(group)
    except InputError:
        return False


def plate_images(plate: Path) -> Iterator[tuple[str, int, int, Path]]:
    """(row and column such as "B3", site from 1, acquisition, the image's folder) of every image of a plate, in the plate's order.

    Raises InputError for metadata that do not follow the specification, or lead out of the plate.
    """
    try:
        stated = ome_attributes(plate)["plate"]
        for well in stated["wells"]:
            name = _well_name(stated, well)
            folder = _below(plate, plate / well["path"])
            sites: dict[int, int] = {}
            for image in ome_attributes(folder)["well"]["images"]:
                acquisition = int(image.get("acquisition", 0))
                sites[acquisition] = sites.get(acquisition, 0) + 1
                yield name, sites[acquisition], acquisition, _below(plate, folder / image["path"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _refusal(plate, f"is no OME-Zarr plate of version 0.4 or 0.5: {_fault(error)}") from None


def _fault(error: Exception) -> str:
    """What is wrong with metadata, by the error that reading them gave."""
    if isinstance(error, KeyError):
        return f"its metadata lack {error}"
    return str(error) if isinstance(error, ValueError) else "its metadata are not built as the specification has them"


def _well_name(stated: Mapping[str, Any], well: Mapping[str, Any]) -> str:
    if "rowIndex" in well and "columnIndex" in well:
        return f"{stated['rows'][well['rowIndex']]['name']}{stated['columns'][well['columnIndex']]['name']}"
    row, column = well["path"].split("/")
    return f"{row}{column}"


def read_image(group: Path) -> ZarrImage:
    """What the image in this folder holds. Raises InputError for metadata that do not follow the specification."""
    try:
        attributes = ome_attributes(group)
        scales = attributes["multiscales"][0]
        largest = scales["datasets"][0]
        array = _below(group, group / largest["path"])
        shape = tuple(int(length) for length in _array_metadata(array)["shape"])
        axes = [axis if isinstance(axis, str) else axis["name"] for axis in scales.get("axes", "tczyx"[-len(shape):])]
        if len(axes) != len(shape) or axes[-2:] != ["y", "x"] or set(axes) - set("tczyx"):
            raise ValueError(f"axes {axes} of shape {shape}; expected some of t, c, z before y, x")  # told below
        channels = attributes.get("omero", {}).get("channels", [])
        count = shape[axes.index("c")] if "c" in axes else 1
        labels = [str(channel.get("label", "")) for channel in channels][:count]
        return ZarrImage(array=array, axes="".join(axes), shape=shape, labels=tuple(labels + [""] * (count - len(labels))),
                         pixel_size_um=_pixel_size(scales, largest))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _refusal(group, f"is no OME-Zarr image of version 0.4 or 0.5: {_fault(error)}") from None


def _pixel_size(scales: Mapping[str, Any], dataset: Mapping[str, Any]) -> float | None:
    last = scales.get("axes", [""])[-1]
    unit = _MICROMETRES.get(last.get("unit", "")) if isinstance(last, dict) else None
    scale = next((step["scale"][-1] for step in dataset.get("coordinateTransformations", []) if step.get("type") == "scale"), None)
    return None if unit is None or scale is None else float(f"{float(scale) * unit:.6g}")


class ZarrStack(Planes):
    """The planes (H, W) of one channel and time of an OME-Zarr image, unpacked as they are asked for.

    Raises ImageError for pixels that are no 8- or 16-bit numbers, too large, missing, or packed by a codec that is not let through.
    """

    def __init__(self, group: Path, part: str = "") -> None:
        self._image = read_image(group)
        self._name = "/".join(group.parts[-4:])
        self._place = dict(zip("tc", parse_part(part), strict=True))
        metadata = _array_metadata(self._image.array)
        _check_codecs(metadata, self._name)
        check_depth(_dtype(metadata), self._name)
        refuse_large(int(np.prod(self._image.shape[-2:])), self._name)
        if not any(path.is_file() and path.name not in METADATA_FILES for path in self._image.array.rglob("*")):
            raise image_error("image_missing", self._name, "has metadata, but no pixels; copy the plate again")
        self._array: Any = None
        self._first, self._planes = 0, np.empty((0, 0, 0), np.uint8)

    def __len__(self) -> int:
        return self._image.length("z")

    def _plane(self, index: int) -> np.ndarray:
        if not self._first <= index < self._first + len(self._planes):
            self._first, self._planes = self._block(index)
        return self._planes[index - self._first]

    def _block(self, index: int) -> tuple[int, np.ndarray]:
        """(number of the first plane, planes) of the chunk that holds the plane, or of as much of it as may be unpacked at once."""
        import zarr  # a second, and only OME-Zarr needs it

        if self._array is None:
            self._array = zarr.open_array(str(self._image.array), mode="r")
        deep = self._array.chunks[self._image.axes.index("z")] if "z" in self._image.axes else 1
        plane = int(np.prod(self._image.shape[-2:])) * self._array.dtype.itemsize
        deep = max(1, min(deep, BLOCK_BYTES // plane))
        first = index - index % deep
        where = tuple(slice(first, first + deep) if axis == "z" else self._place.get(axis, slice(None)) for axis in self._image.axes)
        planes = np.asarray(self._array[where])
        return first, planes if "z" in self._image.axes else planes[None]


def _array_metadata(array: Path) -> dict[str, Any]:
    for name in ("zarr.json", ".zarray"):
        if (array / name).is_file():
            return _json(array / name)
    raise _refusal(array, "has neither zarr.json nor .zarray; copy the plate again")


def _check_codecs(metadata: Mapping[str, Any], name: str) -> None:
    """Raise ImageError for a codec that is not among the plain ones."""
    wrong = sorted({codec for codec in _codecs(metadata) if codec.removeprefix("numcodecs.") not in CODECS})
    if wrong or metadata.get("storage_transformers"):
        raise image_error("image_codec", name, f"is packed by {', '.join(wrong) or 'a storage transformer'}; only these are read: "
                          f"{', '.join(sorted(CODECS))}")


def _codecs(metadata: Mapping[str, Any]) -> Iterator[str]:
    stated = [metadata.get("compressor"), *(metadata.get("filters") or []), *(metadata.get("codecs") or [])]
    for codec in filter(None, stated):
        yield str(codec.get("id") or codec.get("name", ""))
        inner = codec.get("configuration") or {}
        yield from _codecs({"codecs": [*inner.get("codecs", []), *inner.get("index_codecs", [])]})


def _dtype(metadata: Mapping[str, Any]) -> np.dtype | None:
    try:
        return np.dtype(metadata.get("data_type") or metadata.get("dtype"))     # "uint16" of version 3, "<u2" of version 2
    except TypeError:
        return None


def _below(root: Path, path: Path) -> Path:
    """The path, if it leads nowhere but below the root. Raises ValueError."""
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"'{path.name}' lies outside of {root.name}/")
    return path


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError(f"{path.stat().st_size:,} bytes; at most {MAX_JSON:,} are read")  # told below
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _refusal(path, f"cannot be read ({error}); copy the plate again") from None
    if not isinstance(found, dict):
        raise _refusal(path, "must hold a mapping of names to values")
    return found


def _refusal(path: Path, message: str) -> InputError:
    name = "/".join(path.parts[-4:])
    return InputError(f"{name} cannot be used", [
        Finding(rule="ome_zarr", severity="error", value=name, message=f"{name} {message}")])
