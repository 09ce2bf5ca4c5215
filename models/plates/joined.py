"""The pixels of several plates as one array, without a second copy of them: what a screen's plates take stays where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


class JoinedPixels:
    """Arrays (N, C, H, W) one after the other, read like one array. What is asked for by rows is copied, unless it lies in one part; parts
    that lie on disk (`load_prepared`) are read when asked for, and the system may let them go again.
    """

    ndim = 4

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self._parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in self._parts])
        self.shape = (int(self._ends[-1]), *self._parts[0].shape[1:])
        self.dtype = self._parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        for part in self._parts:
            yield from part

    def __getitem__(self, key: Any) -> np.ndarray:
        """Rows by number, slice, positions or a boolean mask; after them, in a tuple, the other axes."""
        rows, *others = key if isinstance(key, tuple) else (key,)
        if isinstance(rows, int | np.integer):
            number, place = self._place(range(len(self))[rows])
            return np.asarray(self._parts[number][(place, *others)])
        wanted = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else np.arange(len(self))[rows]
        numbers = np.searchsorted(self._ends, wanted, side="right")
        if len(wanted) and isinstance(rows, slice) and numbers[0] == numbers[-1] and rows.step in (None, 1):
            start = wanted[0] - self._start(numbers[0])
            return np.asarray(self._parts[numbers[0]][(slice(start, start + len(wanted)), *others)])
        found = np.empty((len(wanted), *self._parts[0][(slice(0, 0), *others)].shape[1:]), self.dtype)
        for number in np.unique(numbers):
            own = numbers == number
            found[own] = self._parts[number][wanted[own] - self._start(number)][(slice(None), *others)]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, in memory."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def _start(self, number: int) -> int:
        return int(self._ends[number - 1]) if number else 0

    def _place(self, row: int) -> tuple[int, int]:
        """(part, row of it)"""
        number = int(np.searchsorted(self._ends, row, side="right"))
        return number, row - self._start(number)
