"""How far a challenger's scores agree with the champion's on the same plates: evidence for the person who promotes.

Every comparison is a line of `agreement.jsonl` in the state folder, written by whichever process scored; sums are kept rather than wells,
and give the exact correlation over all plates.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from array import array
from collections.abc import Mapping
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


class Agreement:
    """Comparisons of one pair of versions, summed up as they come, so that years of them take little memory."""

    _SUMMED = ("plates", "n", "sum_x", "sum_y", "sum_xx", "sum_yy", "sum_xy", "one_sided", "curves")

    def __init__(self) -> None:
        self._sums: dict[str, float] = dict.fromkeys(self._SUMMED, 0)
        self._uploads, self._largest, self._since, self._latest = 0, 0.0, "", ""
        self._log10_ratios = array("d")

    def add(self, item: Comparison) -> None:
        """One upload more."""
        for name in self._SUMMED:
            self._sums[name] += getattr(item, name)
        self._uploads += 1
        self._largest = max(self._largest, item.largest)
        self._since, self._latest = min(self._since or item.at, item.at), max(self._latest, item.at)
        self._log10_ratios.extend(item.log10_ratios)

    def record(self) -> dict[str, Any]:
        """uploads, plates, wells, viability_r (Pearson), viability_bias (mean of challenger minus champion), viability_largest; curves,
        ic50_both_stated, ic50_ratio (challenger over champion: median) and the range that holds 9 of 10 of them; ic50_one_sided; since,
        latest. None where there is nothing to say.
        """
        sums, ratios = self._sums, np.array(self._log10_ratios)
        low, middle, high = (float(10**value) for value in np.quantile(ratios, (0.05, 0.5, 0.95))) if len(ratios) else (None, None, None)
        return {"uploads": self._uploads, "plates": sums["plates"], "wells": sums["n"], "viability_r": self._pearson(),
                "viability_bias": (sums["sum_y"] - sums["sum_x"]) / sums["n"] if sums["n"] else None,
                "viability_largest": self._largest if self._uploads else None,
                "curves": sums["curves"], "ic50_both_stated": len(ratios), "ic50_ratio": middle, "ic50_ratio_low": low,
                "ic50_ratio_high": high, "ic50_one_sided": sums["one_sided"], "since": self._since, "latest": self._latest}

    def _pearson(self) -> float | None:
        n, x, y, xx, yy, xy = (self._sums[name] for name in ("n", "sum_x", "sum_y", "sum_xx", "sum_yy", "sum_xy"))
        if n < 3:
            return None
        spread = (xx - x * x / n) * (yy - y * y / n)
        return (xy - x * y / n) / math.sqrt(spread) if spread > 1e-18 else None


Pair = tuple[str, int, int]
"""Model, version of its champion, version of its challenger."""


class AgreementLog:
    """An append-only file of comparisons, which several processes may write. What is new in it is read when somebody asks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_to, self._found = 0, dict[Pair, Agreement]()
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

    def of(self, model: str, *, champion: int, challenger: int) -> dict[str, Any] | None:
        """How far this pair of versions agrees, as `Agreement.record` has it; None where the two were never compared."""
        with self._lock:
            self._read_on()
            found = self._found.get((model, champion, challenger))
            return found.record() if found is not None else None

    def _read_on(self) -> None:
        size = self.path.stat().st_size if self.path.is_file() else 0
        if size < self._read_to:    # somebody began it anew
            self._read_to, self._found = 0, {}
        if size == self._read_to:
            return
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):    # it is being written, and read next time
                    break
                self._read_to += len(line)
                if line.strip() and (found := _parsed(line)) is not None:
                    self._found.setdefault((found.model, found.champion, found.challenger), Agreement()).add(found)


def _parsed(line: bytes) -> Comparison | None:
    try:
        record: Mapping[str, Any] = json.loads(line)
        return Comparison(**{**record, "log10_ratios": tuple(record["log10_ratios"])})
    except (ValueError, TypeError, KeyError):
        logger.warning("a line of the agreement log cannot be read and is left out: %.80r", line)
        return None
