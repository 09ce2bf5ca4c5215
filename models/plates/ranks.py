"""Order statistics of pixels: NumPy's own numbers, in a fraction of its time where there are millions of values or thousands of rows."""

from __future__ import annotations

import numpy as np

_SAMPLED = 16       # every so-manyth value tells roughly where the largest begin


def median(values: np.ndarray) -> float:
    """np.median of some dozens of values (N,), many times quicker; NaN of none."""
    ordered = np.sort(values)
    return float((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2) if len(ordered) else float("nan")


def median_of_rows(values: np.ndarray) -> np.ndarray:
    """np.median(values, axis=-1, keepdims=True), quicker for short rows."""
    ordered, size = np.sort(values, axis=-1), values.shape[-1]
    return np.asarray((ordered[..., [(size - 1) // 2]] + ordered[..., [size // 2]]) / 2)


def lower_decile_of_rows(values: np.ndarray) -> np.ndarray:
    """np.percentile(values, 10, axis=-1) of values (rows, N), in float64.

    Bytes are sorted by counting them, longer whole numbers partitioned as 32 bits, of which processors take many at a time: but AMD's with
    AVX-512 only few, three times as slowly as bytes are counted.
    """
    place = 0.1 * (values.shape[-1] - 1)
    rank = int(np.ceil(place))
    if values.dtype == np.uint8:
        ordered = np.sort(values, axis=-1, kind="stable")
    else:
        ordered = np.partition(values.astype(np.int32) if values.dtype.kind == "u" else values, rank, axis=-1)
    above = ordered[:, rank].astype(np.float64)
    below = ordered[:, :rank].max(axis=-1).astype(np.float64) if rank > place else above
    return np.asarray(below + (above - below) * (place % 1))


def mean_square_of_smaller_half(values: np.ndarray) -> float:
    """Mean square of the half of the values (..., N) that is nearest to 0; whole numbers are counted instead of ranked."""
    sizes, half = np.abs(values).ravel(), max(1, values.size // 2)
    if sizes.dtype.kind != "i":     # summed as they lie: processors leave the smaller half in an order of their own
        limit = np.partition(sizes, half - 1)[half - 1]
        smaller = np.square(sizes[sizes < limit], dtype=np.float64)
        return float((smaller.sum() + (half - smaller.size) * float(limit) ** 2) / half)
    until = np.minimum(np.cumsum(np.bincount(sizes)), half)     # taken so far, at each size; how many are 0 counts for nothing
    return float(np.diff(until) @ np.arange(1, len(until), dtype=np.float64) ** 2 / half)


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """The `count` largest of values (N,), in any order; a sample rules most of the others out before they are ranked."""
    sample = values[::_SAMPLED]
    likely = min(len(sample), 2 * count // _SAMPLED + 2)
    kept = values[values >= np.partition(sample, len(sample) - likely)[len(sample) - likely]]
    kept = kept if len(kept) >= count else values
    return np.partition(kept, len(kept) - count)[-count:]
