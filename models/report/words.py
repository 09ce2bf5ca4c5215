"""Numbers and codes in words that a bench scientist and a doctor read the same way."""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.dose_response.doubts import LOOSE, STEEP
from models.plates.quality import RULE
from models.report.inputs import Row, number, text

NONE = "–"
_MOLAR = (("pM", 1e-3), ("nM", 1.0), ("µM", 1e3), ("mM", 1e6))  # in nM

BAD_CONTROLS = "bad_controls"   # a status of the report alone: of curves on plates whose controls overlap
STATUS_WORDS = {"ok": "ok", "flat": "flat", "too_few_doses": "too few doses", "weakly_identified": "weakly determined",
                "failed": "fit failed", BAD_CONTROLS: "not judged"}
NO_VALUE = {    # statuses whose numbers mean nothing
    "too_few_doses": "too few doses", "failed": "the fit failed", BAD_CONTROLS: "controls overlap (Z′ below 0)"}

FLAG_WORDS = {
    "out_of_focus": "image out of focus", "empty_well": "well looks empty, its like do not",
    "saturated": "image overexposed (saturated pixels)", "background": "unusual background brightness",
    "debris": "dirt in the image (large bright or dark objects)", "uneven_light": "image lit unevenly",
    "wrong_size": "image has another size than the others", "wrong_depth": "image has another bit depth than the others",
    "duplicate_image": "the same image as another well's (a copy)",
    "out_of_distribution": "does not look like what the model learned from (contamination, emptiness, artefact?)",
    "no_image": "no image, so not scored", "no_readout": "no read-out", "training_well": "the model was trained on this well",
    "training_image": "the model was trained on this image", "flat_image": "one grey value everywhere",
}
FLAG_LETTERS = {    # on the plate map
    "out_of_focus": "F", "empty_well": "E", "saturated": "S", "background": "B", "debris": "D", "uneven_light": "L", "wrong_size": "Z",
    "wrong_depth": "Z", "duplicate_image": "C", "out_of_distribution": "O", "no_image": "N", "no_readout": "N"}


def plain(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits, no exponent between 0.0001 and a million, a real minus sign."""
    if math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    shown = f"{value:.{digits}g}"
    if "e" in shown and 1e-4 <= abs(value) < 1e6:
        shown = f"{float(shown):.0f}"
    return shown.replace("-", "−") if shown != "-0" else "0"


def fixed(value: float, decimals: int) -> str:
    """A number with fixed decimals and a real minus sign; never "−0.00"."""
    if math.isnan(value):
        return NONE
    shown = f"{value:.{decimals}f}"
    return shown.replace("-", "−") if float(shown) != 0 else shown.lstrip("-")


def dose_unit(unit: str, value: float) -> tuple[str, float]:
    """(unit to print, factor) that keeps a dose readable: 2500 nM -> µM. Units that are not molar stay."""
    if unit != "nM" or not math.isfinite(value) or value <= 0:
        return unit.replace("ug/", "µg/"), 1.0
    name, size = next((pair for pair in reversed(_MOLAR) if float(f"{value:.3g}") >= pair[1]), _MOLAR[0])
    return name, 1.0 / size


def dose_text(value: float, unit: str) -> str:
    """A dose with its unit: "350 nM", "1.2 µM", "5 µg/mL"."""
    if math.isnan(value):
        return NONE
    name, factor = dose_unit(unit, value)
    return f"{plain(value * factor)} {name}".strip()


@dataclass(frozen=True)
class Estimate:
    """A half-effect dose in words. sort: its place in an order (NaN = last); certain: a plain number may be shown."""

    text: str
    interval: str = ""
    sort: float = float("nan")
    certain: bool = False

    def named(self, half: str) -> str:
        """ "IC50 0.35 µM", "IC50: cannot say, too few doses"."""
        return f"{half}: {self.text.replace(': ', ', ')}" if self.text[0].isalpha() else f"{half} {self.text}"

    def sentence(self, half: str) -> str:
        """The value with its interval: "IC50 0.35 µM (0.2 to 0.6 µM)"."""
        return self.named(half) + (f" ({self.interval})" if self.interval else "")


def why_no_value(row: Row) -> str:
    """Why a curve's numbers mean nothing, "" where they do: that it has no well at all is told with its reason."""
    status = text(row, "status")
    if status == "too_few_doses" and number(row, "n") == 0 and (reason := text(row, "reason")):
        return reason
    return NO_VALUE.get(status, "")


def status_words(row: Row) -> str:
    """How the fit ended."""
    status = text(row, "status")
    return "no curve" if status == "too_few_doses" and number(row, "n") == 0 else STATUS_WORDS.get(status, status)


def half_dose(row: Row, name: str) -> Estimate:
    """IC50 or EC50 (`name`) of a curve with its interval, its censoring, or why there is none."""
    value, relation, status = number(row, name), text(row, f"{name}_relation"), text(row, "status")
    if why := why_no_value(row):
        return Estimate(f"cannot say: {why}")
    if math.isnan(value) or relation not in ("=", ">", "<"):
        return Estimate("cannot say")
    unit = text(row, "dose_unit")
    if relation != "=":
        nudge = 1 + 1e-6 if relation == ">" else 1 - 1e-6
        return Estimate(f"{relation} {dose_text(value, unit)}", _one_limit(row, name, relation), value * nudge)
    if status == "ok" and _is_narrow(row, name):
        return Estimate(dose_text(value, unit), _interval(row, name, value), value, certain=True)
    return Estimate(f"≈ {dose_text(value, unit)}", _interval(row, name, value), value)


def _is_narrow(row: Row, name: str) -> bool:
    """Whether the interval is closed and not above the tenfold, and the one with the model's error too, where the row has that."""
    kinds = [name, *([f"{name}_model"] if f"{name}_model_low" in row else [])]
    return all(number(row, f"{kind}_high") <= LOOSE * number(row, f"{kind}_low") for kind in kinds)


def _interval(row: Row, name: str, value: float) -> str:
    """The confidence interval; first the wider one with the model's own error where the row has that, which is the one to go by."""
    own = _range_words(row, number(row, f"{name}_low"), number(row, f"{name}_high"), value)
    if f"{name}_model_low" not in row:
        return own
    wide = _range_words(row, number(row, f"{name}_model_low"), number(row, f"{name}_model_high"), value)
    return f"{wide} with the model’s error; {own} without"


def _range_words(row: Row, low: float, high: float, value: float) -> str:
    if math.isnan(low) and math.isnan(high):
        return "no interval" if "level" in row and math.isnan(number(row, "level")) else "interval open on both sides"
    given = text(row, "dose_unit")
    if math.isnan(high):
        return f"{dose_text(low, given)} or more, no upper limit"
    if math.isnan(low):
        return f"{dose_text(high, given)} or less, no lower limit"
    unit, factor = dose_unit(given, value)
    if low * factor >= 0.1 and high * factor < 1000:
        return f"{plain(low * factor)} to {plain(high * factor)} {unit}"
    return f"{dose_text(low, given)} to {dose_text(high, given)}"


def _one_limit(row: Row, name: str, relation: str) -> str:
    value, end = number(row, name), "low" if relation == ">" else "high"
    limit = number(row, f"{name}_model_{end}" if not math.isnan(number(row, f"{name}_model_{end}")) else f"{name}_{end}")
    if math.isnan(limit) or (limit > value if relation == ">" else limit < value):
        return "beyond the tested doses"    # how far is the model's guess: no well was there
    return f"confidence limit {'from' if relation == '>' else 'to'} {dose_text(limit, text(row, 'dose_unit'))}"


def trusted(row: Row, name: str, *, decimals: int, unless: tuple[str, ...] = ()) -> str:
    """A number of a curve as far as its status allows: plain, "≈" if weakly determined, a dash if it means nothing."""
    status, value = text(row, "status"), number(row, name)
    if status in NO_VALUE or status in unless or math.isnan(value):
        return NONE
    return ("≈ " if status == "weakly_identified" else "") + fixed(value, decimals)


def slope_text(row: Row) -> str:
    """The Hill slope; none for a flat curve, and a limit where the doses lie too far apart to tell how steep it is."""
    value, status = number(row, "slope"), text(row, "status")
    if status not in (*NO_VALUE, "flat") and value >= STEEP:
        return f"> {STEEP:g}"
    return trusted(row, "slope", decimals=2, unless=("flat",))


def limit_words(well: Row) -> str:
    """The interval of a well's viability: " (25 to 61 %)"; empty where the model gives none."""
    low, high = number(well, "viability_low"), number(well, "viability_high")
    return "" if math.isnan(low) or math.isnan(high) else f" ({fixed(100 * low, 0)} to {fixed(100 * high, 0)} %)"


def flag_words(flag: str) -> str:
    """A well flag in words; an unknown one with its underscores removed."""
    return FLAG_WORDS.get(flag, flag.replace("_", " "))


def reason_words(reason: str, *, excluded: bool, by_rule: str = "") -> str:
    """Why a person left a well out or keeps it; `by_rule` where a rule decided, because its flags say why."""
    if not reason or reason.startswith(RULE):
        return by_rule if reason else ""
    return reason if excluded else f"a person keeps it: {reason}"


def count(n: int, word: str, plural: str = "") -> str:
    """"1 plate", "3 plates"."""
    return f"{n} {word if n == 1 else plural or word + 's'}"
