"""A predictor that looks at a plate once: what its trunk saw there stays on disk, for heads that change and plates that do not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

import models.networks
from models.kept import KeptFiles, maker
from models.networks.forward import PASS
from models.networks.predict import Predictor
from models.plates.images import Pixels, WellImages
from models.whole_file import whole_file


@dataclass(frozen=True, kw_only=True)
class KeepingPredictor(Predictor):
    """keep: where the features of plates are looked up and put; the predictor answers as it would without."""

    keep: KeptFiles

    @classmethod
    def of(cls, predictor: Predictor, keep: KeptFiles) -> KeepingPredictor:
        """The predictor, with a place to keep its features in."""
        return cls(**{item.name: getattr(predictor, item.name) for item in fields(predictor)}, keep=keep)

    def features(self, images: WellImages, *, on_images: Callable[[int], object] = lambda count: None) -> Iterator[np.ndarray]:
        """As `Predictor.features`, of the images of one plate after the other."""
        for rows in _plates(images):
            part = WellImages(images.wells.iloc[rows], images.pixels[rows], images.channels)
            piece = self.keep.place(self.trunk_state, maker(Path(models.networks.__path__[0])), self.card.recipe.input.planes,
                                    images.channels, _digest(part.pixels)).with_suffix(".npy")
            if piece.is_file():
                on_images(len(part))
            else:
                found = list(super().features(part, on_images=on_images))
                with whole_file(piece) as making, making.open("wb") as file:
                    np.save(file, np.concatenate(found))
            features = np.load(piece, mmap_mode="r")
            yield from (np.array(features[start:start + self.trunk.images]) for start in range(0, len(part), self.trunk.images))


def _plates(images: WellImages) -> Iterator[slice]:
    """The rows of each plate, which lie together."""
    plates = images.wells["plate"].to_numpy()
    borders = [0, *(np.flatnonzero(plates[1:] != plates[:-1]) + 1).tolist(), len(plates)] if len(plates) else []
    yield from map(slice, borders[:-1], borders[1:])


def _digest(pixels: Pixels) -> str:
    """sha256 of the images (N, C, H, W); a plane that fills all channels counts once, its number of channels is the caller's to name."""
    digest = hashlib.sha256(repr((pixels.shape, pixels.dtype)).encode())
    for start in range(0, len(pixels), PASS):
        block = pixels[start:start + PASS]
        digest.update(np.ascontiguousarray(block[:, :1] if block.strides[1] == 0 else block).data)
    return digest.hexdigest()
