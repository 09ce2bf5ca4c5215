"""The reactivity grade of ISO 10993-5: how toxic an extract is to a cell layer, by the share of cells that it hurt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.errors import InputError

TOXIC_ABOVE = 2     # "a numerical grade greater than 2 is considered a cytotoxic effect" (ISO 10993-5:2009, 8.5.1)
_LEVELS = ((0.0, "none"), (0.2, "slight"), (0.5, "mild"), (0.7, "moderate"), (1.0, "severe"))     # affected at most; Table 1


@dataclass(frozen=True)
class Grade:
    """grade 0-4, its word in the standard, the share of dead cells that it comes from, and whether it counts as toxic.

    low, high: 95 % interval of the dead share in the culture, of which the counted cells are a sample; lowest, highest: the grades there.
    """

    grade: int
    word: str
    dead_share: float
    toxic: bool
    low: float
    high: float
    lowest: int
    highest: int

    @property
    def verdict(self) -> Literal["toxic", "not toxic", "cannot say"]:
        """Toxic or not where the whole interval says the same."""
        if (self.lowest > TOXIC_ABOVE) != (self.highest > TOXIC_ABOVE):
            return "cannot say"
        return "toxic" if self.toxic else "not toxic"


def reactivity_grade(dead: int, living: int) -> Grade:
    """Grade 0 without dead cells, 1 up to 20 % of them, 2 up to 50 %, 3 up to 70 %, 4 above; toxic above 2.

    The standard grades what a person sees (rounding, lysis, growth); counting dead cells stands in for that, as in Saini et al. 2020.
    The interval is Wilson's for a binomial share: it knows of chance alone, not of cells that the count missed or made up.
    Raises InputError when there is no cell to judge by.
    """
    from scipy.stats import binomtest

    if min(dead, living) < 0 or dead + living == 0:
        raise InputError(f"a reactivity grade needs counted cells, got {dead} dead and {living} living")
    share = dead / (dead + living)
    grade = _grade_of(share)
    interval = binomtest(dead, dead + living).proportion_ci(0.95, method="wilson")
    low, high = min(float(interval.low), share), max(float(interval.high), share)     # rounding may put an end of 0 or 1 inside
    return Grade(grade, _LEVELS[grade][1], share, grade > TOXIC_ABOVE, low, high, _grade_of(low), _grade_of(high))


def _grade_of(share: float) -> int:
    return next(number for number, (most, _) in enumerate(_LEVELS) if share <= most)
