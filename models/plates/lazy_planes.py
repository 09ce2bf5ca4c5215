"""Planes of an image that are read when they are asked for, and the memory that they are read into."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

import numpy as np

from models.errors import InputError
from models.plates.image_limits import unreadable


class Scratch:
    """Memory that is used again and again: fresh memory for every plane costs more time than reading it."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def take(self, size: int) -> np.ndarray:
        """`size` bytes; what was taken before is no longer yours."""
        if self._bytes.size < size:
            self._bytes = np.empty(size, np.uint8)
        return self._bytes[:size]


class Planes(Sequence[np.ndarray]):
    """Planes that are read when they are asked for, each lasting until the next is read; a slice is a list of copies.

    Raises ImageError for a plane that cannot be read.
    """

    _name: str

    @abstractmethod
    def _plane(self, index: int) -> np.ndarray:
        """The plane of that number, from 0; it may raise anything."""

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[place].copy() for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        try:
            return self._plane(index % len(self))
        except InputError:
            raise
        except Exception as error:  # decoders raise errors of their own; all of them mean: not readable
            raise unreadable(self._name, error) from None
