"""Doses in the reasons of curves."""

from __future__ import annotations

import numpy as np


def dose_words(value: float, unit: str) -> str:
    """ "1000 nM", "0.373 nM": three significant digits, no exponent between 0.0001 and a million."""
    plain = 1e-4 <= abs(value) < 1e6
    shown = np.format_float_positional(value, precision=3, fractional=False, trim="-") if plain else f"{value:.3g}"
    return f"{shown} {unit}".strip()


def ic_name(level: float) -> str:
    """What the dose of so many percent of inhibition is called: "IC50", "IC25"."""
    return f"IC{level:g}"


def stated(value: float, relation: str, unit: str) -> str:
    """A dose that is known or censored: "350 nM", "> 1000 nM"."""
    return f"{relation} {dose_words(value, unit)}".removeprefix("= ")
