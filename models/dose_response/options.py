"""What a fit is asked to do: one frozen object, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from models.errors import InputError

Model = Literal["2pl", "3pl", "4pl", "5pl", "brain_cousens", "weibull1", "weibull2", "gompertz", "auto"]
Loss = Literal["squares", "cauchy", "tukey", "power1.5"]
Mode = Literal["clean", "fimm", "itrex"]
Interval = Literal["asymmetric", "profile", "wald", "none"]
Weights = Literal["equal", "interval"]
Scale = Literal["percent_inhibition", "fraction_viability", "raw"]
Range = tuple[float, float]
Bounds = Literal["percent", "free"] | tuple[Range, Range]


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How curves are fitted.

    model       curve model; "auto" takes the lowest AICc among 2PL-5PL (4PL and 5PL on scale raw)
    loss        "squares" (default), or a robust one that also flags outliers: "cauchy", "tukey", "power1.5" (sum |r|^1.5)
    mode        "clean": this package's rules; "fimm": bottom 0, top min(100, max observed), slope 0.1-2.5 (Breeze);
                "itrex": nplr's optimizer imitated. The two imitate a published pipeline and choose model and bounds themselves
    bounds      plateaus: "percent" = control plateau within 25 % of the negative control, the other within -50..125 %
                inhibition (means "free" on scale raw); "free" = within 10 response ranges; or numbers on the response's
                scale, ((bottom low, high), (top low, high)), where low = high fixes a plateau
    interval    confidence interval of EC50 and IC50: "asymmetric" = profile likelihood of a 2PL to 4PL and of all such curves whose
                asymmetry (the 5PL's exponent) is 1/3 to 3, for few doses do not tell it; "profile" = of the fitted model alone; "wald" on
                log dose; or "none"
    level       its confidence, 0.5 to 1
    ic_level    level of the absolute IC in percent inhibition, 0 to 100
    flat_level  a curve whose flat test gives p above this is called flat
    weights     of scored wells: "equal", or "interval": by the inverse square of the width of their viability's interval, where the
                model gives one (least squares in mode clean only)
    Raises InputError naming the field that is out of range.
    """

    model: Model = "4pl"
    loss: Loss = "squares"
    mode: Mode = "clean"
    bounds: Bounds = "percent"
    interval: Interval = "asymmetric"
    level: float = 0.95
    ic_level: float = 50.0
    flat_level: float = 0.05
    weights: Weights = "equal"

    def __post_init__(self) -> None:
        _one_of("model", self.model, get_args(Model))
        _one_of("loss", self.loss, get_args(Loss))
        _one_of("mode", self.mode, get_args(Mode))
        _one_of("interval", self.interval, get_args(Interval))
        _between("level", self.level, low=0.5, high=1.0)
        _between("ic_level", self.ic_level, low=0.0, high=100.0)
        _between("flat_level", self.flat_level, low=0.0, high=1.0)
        _check_bounds(self.bounds)
        _one_of("weights", self.weights, get_args(Weights))
        if self.weights != "equal" and (self.loss != "squares" or self.mode != "clean"):
            raise InputError(f"weights {self.weights} go with loss squares and mode clean, got {self.loss} and {self.mode}")


def check_scale(scale: str) -> None:
    """Raise InputError unless `scale` is one that curves can be fitted on."""
    _one_of("scale", scale, get_args(Scale))


def _one_of(field: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{field} must be one of {', '.join(allowed)}, got {value!r}")


def _between(field: str, value: float, *, low: float, high: float) -> None:
    if not low < value < high:
        raise InputError(f"{field} must lie between {low} and {high}, got {value!r}")


def _check_bounds(bounds: Bounds) -> None:
    if isinstance(bounds, str):
        _one_of("bounds", bounds, ("percent", "free"))
        return
    try:
        good = len(bounds) == 2 and all(float(low) <= float(high) for low, high in bounds)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise InputError(f"bounds must be 'percent', 'free' or ((bottom low, high), (top low, high)), got {bounds!r}")


DEFAULT_OPTIONS = FitOptions()
