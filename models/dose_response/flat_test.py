"""The test of "no effect at all", calibrated by simulation for the very design.

Statistic: the largest share of the total sum of squares that one shape of the starting grid explains (starts.py), plateaus
free. It is scale-free and the grid scales with the design, so under Gaussian noise its distribution depends only on the
relative positions of the doses and how often each was measured, and 40,000 noise curves give it. F tests with any degrees
of freedom are off by design here (0.01 to 0.17 at 0.05).

Nulls of evenly spaced designs of 4-16 doses with 1-4 replicates come with the package (`flat_nulls.npz`; made anew by
`ship_nulls`); others are simulated once, in well under a second each, and kept under
$DOSEWELL_CACHE (default ~/.cache/dosewell).
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.dose_response.curves import NO_DOSE, Array
from models.dose_response.starts import explained_sum, grid_shapes, same_designs

Design = tuple[tuple[float, ...], tuple[int, ...]]       # relative log10 doses (0 to 1, NO_DOSE for none), replicates
SIMULATIONS = 40_000
EXCEEDANCES = np.unique(np.round(np.geomspace(1, SIMULATIONS, 420))).astype(int)     # ranks from the top that are kept
SHIPPED = Path(__file__).with_name("flat_nulls.npz")
SHIPPED_DOSES, SHIPPED_REPLICATES = range(4, 17), range(1, 5)
_SEED = 20_240_501
_CHUNK = 4_000
_MOST_LEVELS = 60       # more dose levels are pooled with their neighbours in the null (not in the statistic)
_SHOW_FROM = 20         # nulls to simulate in one go before a progress bar is worth it


def flat_p(x: Array, weight: Array, *, explained: Array) -> Array:
    """p (N,) of the share `explained` (N,) for designs x, weight (D, N); 1 where nothing varies."""
    p = np.ones(len(explained))
    groups = same_designs(x, weight)
    designs = [design_of(x[:, group[0]], weight[:, group[0]]) for group in groups]
    for group, null in zip(groups, _nulls(designs), strict=True):
        p[group] = p_of(explained[group], null)
    return np.where(explained > 0, p, 1.0)


def p_of(share: Array, null: Array) -> Array:
    """(1 + simulations that explain at least the share) / (1 + simulations), interpolated between kept ranks."""
    ranks = np.interp(-share, -null, np.log(EXCEEDANCES), left=-np.inf)
    return np.asarray((1.0 + np.exp(ranks)) / (1.0 + SIMULATIONS))


def design_of(x: Array, weight: Array) -> Design:
    """The design of log10 doses x (D,) with replicates weight (D,), relative doses rounded to 0.005."""
    real = x[x > NO_DOSE]
    position = np.where(x > NO_DOSE, np.round((x - real.min()) / (real.max() - real.min()) * 200.0) / 200.0, NO_DOSE)
    level, where = np.unique(position, return_inverse=True)
    if len(level) > _MOST_LEVELS:
        level, where = np.unique(np.where(x > NO_DOSE, np.round(position * 50.0) / 50.0, NO_DOSE), return_inverse=True)
    counts = np.bincount(where, weights=weight)
    return tuple(level.tolist()), tuple(np.round(counts).astype(int).tolist())


def _nulls(designs: Sequence[Design]) -> Iterator[Array]:
    missing = sum(not _is_known(design) for design in designs) if len(designs) >= _SHOW_FROM else 0
    steps: Iterable[Design] = _with_bar(designs) if missing >= _SHOW_FROM else designs
    for design in steps:
        yield null_shares(design)


def _with_bar(designs: Sequence[Design]) -> Iterable[Design]:
    try:
        from tqdm import tqdm
    except ImportError:
        return designs
    return tqdm(designs, desc="flat test: simulating designs", unit="design", disable=not sys.stderr.isatty())


def _is_known(design: Design) -> bool:
    path = _cache_file(design)
    return _name(design) in _shipped() or (path is not None and os.access(path, os.R_OK))     # never raises


@lru_cache(maxsize=20_000)
def null_shares(design: Design) -> Array:
    """Shares explained in noise curves of this design, at the ranks EXCEEDANCES from the top (descending)."""
    shipped = _shipped().get(_name(design))
    if shipped is not None:
        return shipped
    path = _cache_file(design)
    if path is None:
        return simulate_null(design)
    try:
        return np.asarray(np.load(path), dtype=float)
    except (OSError, ValueError, EOFError):     # EOFError: an empty file, as a machine that lost power leaves it
        null = simulate_null(design)
    _keep(path, null)
    return null


def simulate_null(design: Design) -> Array:
    """SIMULATIONS curves of pure noise, their explained shares at the ranks EXCEEDANCES. Deterministic."""
    x, weight = np.array(design[0]), np.array(design[1], dtype=float)
    shapes = grid_shapes(x)
    rng = np.random.default_rng(_SEED)
    extra = weight.sum() - len(weight)
    shares = np.empty(SIMULATIONS)
    for first in range(0, SIMULATIONS, _CHUNK):
        y = rng.standard_normal((len(x), _CHUNK)) / np.sqrt(weight)[:, None]
        within = rng.chisquare(extra, _CHUNK) if extra else 0.0
        mean = weight @ y / weight.sum()
        total = weight @ (y - mean) ** 2 + within
        shares[first:first + _CHUNK] = explained_sum(shapes, weight, y) / total
    kept: npt.NDArray[np.float32] = np.sort(shares)[::-1][EXCEEDANCES - 1].astype(np.float32)
    return np.asarray(kept, dtype=float)


def _name(design: Design) -> str:
    """A design's name: relative doses in 1/200, replicates."""
    doses = "_".join("none" if level == NO_DOSE else f"{level * 200:.0f}" for level in design[0])
    return f"{doses}x{'_'.join(map(str, design[1]))}"


@lru_cache(maxsize=1)
def _shipped() -> dict[str, Array]:
    with np.load(SHIPPED) as archive:
        return dict(zip(archive["names"].tolist(), archive["shares"].astype(float), strict=True))


def _cache_file(design: Design) -> Path | None:
    """Where the design's null is kept; None for a user without a home, as in a container, whom no folder was named for."""
    try:
        folder = Path(os.environ.get("DOSEWELL_CACHE") or Path.home() / ".cache" / "dosewell")
    except RuntimeError:
        return None
    return folder / "flat_nulls" / f"{hashlib.sha256(_name(design).encode()).hexdigest()[:24]}.npy"


def _keep(path: Path, null: Array) -> None:
    """Writes the null for the next process; a folder that cannot be written only costs time."""
    part = path.with_name(f"{path.stem}.{os.getpid()}.npy")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(part, null.astype(np.float32))
        part.replace(path)
    except OSError:
        return


def ship_nulls() -> None:
    """Simulates the common designs into SHIPPED; for a developer who changed the grid or the statistic."""
    grids = [(np.linspace(0.0, 1.0, doses), np.full(doses, float(count)))
             for doses in SHIPPED_DOSES for count in SHIPPED_REPLICATES]
    designs = [design_of(x, weight) for x, weight in grids]
    shares = np.stack([simulate_null(design) for design in designs]).astype(np.float32)
    np.savez_compressed(SHIPPED, names=np.array([_name(design) for design in designs]), shares=shares)
