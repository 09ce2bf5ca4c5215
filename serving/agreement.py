"""How far a challenger's scores agree with the champion's on the same plates: evidence for the person who promotes.

Every comparison is a line of `agreement.jsonl` in the state folder, written by whichever process scored; sums are kept rather than wells,
and give the exact correlation over all plates.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

logger = logging.getLogger("dosewell.shadow")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One upload, scored by both. n, sum_* over wells with a viability x by the champion and y by the challenger; largest |x - y|;
    log10_ratios: of the IC50s (challenger over champion) that both could state; one_sided: curves where one states a value and the other
    only a limit, or nothing.
    """

    at: str
    model: str
    champion: int
    challenger: int
    plates: int
    n: int
    sum_x: float
    sum_y: float
    sum_xx: float
    sum_yy: float
    sum_xy: float
    largest: float
    log10_ratios: tuple[float, ...]
    one_sided: int
    curves: int


def compare_scores(champion: tuple[int, pd.DataFrame, pd.DataFrame], challenger: tuple[int, pd.DataFrame, pd.DataFrame], *, model: str,
                   at: str) -> Comparison:
    """Both as (version, wells, curves), tables of ScoredScreen; wells that either leaves out do not count."""
    (old, wells, curves), (new, other_wells, other_curves) = champion, challenger
    both = wells[~wells["excluded"].astype(bool)].merge(other_wells[~other_wells["excluded"].astype(bool)], on=["plate", "well"])
    x, y = both["viability_x"].to_numpy(float), both["viability_y"].to_numpy(float)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    keys = [name for name in ("treatment", "treatment_2", "dose_unit") if name in curves and name in other_curves]
    pairs = curves.merge(other_curves, on=keys, suffixes=("_x", "_y"))
    stated = [(pairs[f"ic50_relation_{side}"] == "=").to_numpy() for side in "xy"]
    ratios = np.log10((pairs["ic50_y"] / pairs["ic50_x"])[stated[0] & stated[1]].to_numpy(float))
    return Comparison(
        at=at, model=model, champion=old, challenger=new, plates=int(both["plate"].nunique()), n=len(x), sum_x=float(x.sum()),
        sum_y=float(y.sum()), sum_xx=float(x @ x), sum_yy=float(y @ y), sum_xy=float(x @ y), largest=float(np.abs(x - y).max(initial=0.0)),
        log10_ratios=tuple(float(value) for value in ratios if math.isfinite(value)), one_sided=int((stated[0] ^ stated[1]).sum()),
        curves=len(pairs))


def summary(comparisons: Iterable[Comparison]) -> dict[str, Any]:
    """Over comparisons of one pair of versions: uploads, plates, wells, viability_r (Pearson), viability_bias (mean of challenger minus
    champion), viability_largest; curves, ic50_both_stated, ic50_ratio (challenger over champion: median) and the range that holds 9 of 10
    of them; ic50_one_sided; since, latest. None where there is nothing to say.
    """
    found = list(comparisons)
    ratios = np.array([value for item in found for value in item.log10_ratios])
    n, x, y = (sum(getattr(item, name) for item in found) for name in ("n", "sum_x", "sum_y"))
    low, middle, high = (float(10**value) for value in np.quantile(ratios, (0.05, 0.5, 0.95))) if len(ratios) else (None, None, None)
    return {"uploads": len(found), "plates": sum(item.plates for item in found), "wells": n, "viability_r": _pearson(found),
            "viability_bias": (y - x) / n if n else None, "viability_largest": max((item.largest for item in found), default=None),
            "curves": sum(item.curves for item in found), "ic50_both_stated": len(ratios), "ic50_ratio": middle, "ic50_ratio_low": low,
            "ic50_ratio_high": high, "ic50_one_sided": sum(item.one_sided for item in found),
            "since": min((item.at for item in found), default=""), "latest": max((item.at for item in found), default="")}


def _pearson(found: list[Comparison]) -> float | None:
    names = ("n", "sum_x", "sum_y", "sum_xx", "sum_yy", "sum_xy")
    n, x, y, xx, yy, xy = (math.fsum(getattr(item, name) for item in found) for name in names)
    if n < 3:
        return None
    spread = (xx - x * x / n) * (yy - y * y / n)
    return (xy - x * y / n) / math.sqrt(spread) if spread > 1e-18 else None


class AgreementLog:
    """An append-only file of comparisons, which several processes may write; read again only when it has grown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_to, self._found = 0, list[Comparison]()
        self._lock = threading.Lock()

    def append(self, comparison: Comparison) -> None:
        """One line, in one write that begins with a line break, since a full disk may have cut the line before. A full disk loses the
        comparison, which is logged, and nothing else.
        """
        line = b"\n" + json.dumps(asdict(comparison)).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                if file.write(line) != len(line):
                    raise OSError("only a part of the line was written")
        except OSError as error:
            logger.error("agreement log %s cannot be written (%s): %s", self.path, error, comparison)

    def of(self, model: str, *, champion: int, challenger: int) -> list[Comparison]:
        """What was compared of this pair of versions, the earliest first."""
        return [item for item in self._all() if (item.model, item.champion, item.challenger) == (model, champion, challenger)]

    def _all(self) -> list[Comparison]:
        with self._lock:
            size = self.path.stat().st_size if self.path.is_file() else 0
            if size < self._read_to:    # somebody began it anew
                self._read_to, self._found = 0, []
            if size > self._read_to:
                with self.path.open("rb") as file:
                    file.seek(self._read_to)
                    whole = file.read(size - self._read_to)
                whole = whole[:whole.rfind(b"\n") + 1]      # a line that is being written is read next time
                self._found += [found for line in filter(None, whole.splitlines()) if (found := _parsed(line)) is not None]
                self._read_to += len(whole)
            return list(self._found)


def _parsed(line: bytes) -> Comparison | None:
    try:
        record: Mapping[str, Any] = json.loads(line)
        return Comparison(**{**record, "log10_ratios": tuple(record["log10_ratios"])})
    except (ValueError, TypeError, KeyError):
        logger.warning("a line of the agreement log cannot be read and is left out: %.80r", line)
        return None
