"""The dose-response panel of a curve, and what a screen reader says of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup

from models.dose_response.curves import Array, well_values
from models.report.inputs import (
    Places,
    Row,
    doubtful_flags,
    effect_level,
    flag_list,
    half_name,
    half_title,
    number,
    raw_measure,
    response,
    response_limits,
    text,
    wells_by_curve,
)
from models.report.svg import Frame, drawing, join, label, line, nice_ticks, polyline, short, tag
from models.report.words import NO_VALUE, dose_text, dose_unit, fixed, flag_words, limit_words, plain

WIDTH, HEIGHT, STEPS = 280.0, 186.0, 80
MARGIN = 0.18  # decades left and right of the tested doses


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What the panel of a curve shows, in the units of the data.

    row: the curve. frame: the limits, x in log10 dose, y in `scale`'s drawn unit (viability in %, or the raw read-out, called `measure`).
    grid: doses of the drawn line; fitted: its values, NaN where the fit means nothing. wells: rows in the table of wells; of each its dose,
    response, limits (wells, 2; NaN where the model gives none), and whether it is left out.
    """

    row: Row
    scale: str
    measure: str
    frame: Frame
    grid: Array
    fitted: Array
    wells: Places
    doses: Array
    responses: Array
    limits: Array
    excluded: npt.NDArray[np.bool_]


def panels_of(curves: pd.DataFrame, wells: pd.DataFrame) -> list[Panel | None]:
    """The panel of every curve; None where nothing was dosed. All lines are computed at once: one by one they took most of the time of a
    page.
    """
    rows, groups = curves.to_dict("records"), wells_by_curve(curves, wells)
    doses, excluded, measure = wells["dose"].to_numpy(dtype=float), wells["excluded"].to_numpy(dtype=bool), raw_measure(wells)[1]
    ranges = np.array([_dose_range(row, doses[own]) for row, own in zip(rows, groups, strict=True)]).reshape(-1, 2)
    grid = np.logspace(ranges[:, 0] + MARGIN, ranges[:, 1] - MARGIN, STEPS, axis=1)     # no curve is drawn where nothing was tested
    drawn = np.array([place for place, row in enumerate(rows) if text(row, "status") not in NO_VALUE and np.isfinite(ranges[place, 0])],
                     dtype=np.intp)
    fitted = np.full(grid.shape, np.nan)
    fitted[drawn] = well_values(curves, np.repeat(drawn, STEPS), grid[drawn].ravel()).reshape(-1, STEPS)
    by_scale = {scale: (response(wells, scale).to_numpy(dtype=float), response_limits(wells, scale))
                for scale in {text(row, "scale") for row in rows}}

    def panel(index: int) -> Panel | None:
        row, own, (low, high) = rows[index], groups[index], ranges[index]
        if math.isnan(low):
            return None
        scale = text(row, "scale")
        responses, limits = (values[own] for values in by_scale[scale])
        shown = _shown(fitted[index], scale)
        return Panel(row=row, scale=scale, measure=measure, frame=_frame(low, high, np.concatenate([responses, shown]), scale),
                     grid=grid[index], fitted=shown, wells=own, doses=doses[own], responses=responses, limits=limits,
                     excluded=excluded[own])

    return [panel(index) for index in range(len(rows))]


def curve_panel(panel: Panel | None, wells: Sequence[Row], *, name: str) -> Markup:
    """The drawing of a panel. wells: records of the table of wells."""
    if panel is None:
        return drawing(WIDTH, 40.0, label(WIDTH / 2, 24, "no dosed well to draw", anchor="middle"), label=f"{name}: nothing to draw")
    row, frame, scale = panel.row, panel.frame, panel.scale
    return drawing(
        WIDTH, HEIGHT, _axes(frame, scale=scale, unit=text(row, "dose_unit"), measure=panel.measure, level=effect_level(row)),
        _half_dose_marks(row, frame, half=half_name(row), scale=scale),
        _fitted_line(frame, panel.grid, panel.fitted, status=text(row, "status")),
        _bars(frame, panel), _points(panel, wells), _nothing(frame, panel.responses),
        label=panel_words(name, panel), class_="curve")


def _dose_range(row: Row, doses: Array) -> tuple[float, float]:
    """log10 of the range to draw: the doses of the curve and of all wells, excluded ones too."""
    known = [value for value in (number(row, "dose_min"), number(row, "dose_max"), *doses) if value > 0 and math.isfinite(value)]
    return (math.log10(min(known)) - MARGIN, math.log10(max(known)) + MARGIN) if known else (math.nan, math.nan)


def _shown(fitted: Array, scale: str) -> Array:
    """Fitted values as they are drawn: viability in percent, or the raw read-out."""
    if scale == "percent_inhibition":
        return 100.0 - fitted
    return 100.0 * fitted if scale == "fraction_viability" else fitted


def _frame(low: float, high: float, values: Array, scale: str) -> Frame:
    finite = values[np.isfinite(values)]
    lowest, highest = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if scale == "raw":
        room = 0.08 * (highest - lowest) or 0.1 * abs(highest) or 1.0
        limits = min(0.0, lowest) if lowest < 0.5 * highest else lowest - room, highest + room
    else:
        limits = max(min(lowest - 4, -8.0), -60.0), min(max(highest + 4, 118.0), 200.0)
    return Frame(x_low=low, x_high=high, y_low=limits[0], y_high=limits[1], left=34, right=WIDTH - 8, top=18, bottom=HEIGHT - 28)


def response_ticks(frame: Frame, scale: str) -> list[float]:
    """Where the response axis is labelled."""
    return [0.0, 50.0, 100.0] if scale != "raw" else nice_ticks(frame.y_low, frame.y_high)


def dose_ticks(frame: Frame, unit: str) -> list[tuple[int, str]]:
    """(log10 dose, words) of the decades on the dose axis; the words are empty where there is no room for them."""
    decades = range(math.ceil(frame.x_low), math.floor(frame.x_high) + 1)
    named = set(decades[::max(1, math.ceil(len(decades) / 4))])
    return [(decade, dose_text(10.0 ** decade, unit) if decade in named else "") for decade in decades]


def response_title(scale: str, measure: str) -> str:
    """What the response axis shows."""
    return "viability, %" if scale != "raw" else measure


def _axes(frame: Frame, *, scale: str, unit: str, measure: str, level: float) -> Markup:
    parts = [tag("rect", x=frame.left, y=frame.top, width=frame.right - frame.left, height=frame.bottom - frame.top, class_="box")]
    for value in response_ticks(frame, scale):
        parts += [line(frame.left, frame.y(value), frame.right, frame.y(value), class_="half" if value == 100 - level else "grid"),
                  label(frame.left - 4, frame.y(value) + 3.5, plain(value), anchor="end")]
    if not math.isnan(level) and 100 - level not in response_ticks(frame, scale):
        parts.append(line(frame.left, frame.y(100 - level), frame.right, frame.y(100 - level), class_="half"))
    for decade, words in dose_ticks(frame, unit):
        x = frame.x(decade)
        parts.append(line(x, frame.bottom, x, frame.bottom + (4 if words else 2), class_="axis"))
        if words:
            parts.append(label(min(max(x, frame.left), WIDTH - 20), frame.bottom + 16, words, anchor="middle"))
    return join([*parts, label(frame.left, frame.top - 6, response_title(scale, measure), class_="t dim")])


def drawn_half(row: Row, half: str) -> tuple[float, str] | None:
    """(dose, relation) of the half-effect dose to mark; None where the curve gives none."""
    value, relation = number(row, half), text(row, f"{half}_relation")
    if text(row, "status") in NO_VALUE or math.isnan(value) or value <= 0 or relation not in ("=", ">", "<"):
        return None
    return value, relation


def _half_dose_marks(row: Row, frame: Frame, *, half: str, scale: str) -> Markup:
    """The interval as a band, the half-effect dose as a line; a censored one as an arrow out of the tested range."""
    marked = drawn_half(row, half)
    if marked is None:
        return Markup("")
    value, relation = marked
    x, y = frame.x(math.log10(value)), frame.y(100.0 - effect_level(row)) if scale != "raw" else (frame.top + frame.bottom) / 2
    shown = dose_text(value, text(row, "dose_unit"))
    if relation == "=":
        kind = "mid" if text(row, "status") == "ok" else "mid weak"
        return join([_band(row, frame, half), line(x, frame.top, x, frame.bottom, class_=kind)])
    out = 1.0 if relation == ">" else -1.0
    start = x - out * 14
    words = label(start - out * 4, y - 5, f"{half_title(effect_level(row))} {relation} {shown}", class_="t strong halo",
                  anchor="end" if out > 0 else "start")
    return join([_band(row, frame, half), line(x, frame.top, x, frame.bottom, class_="limit"), _arrow(start, x + out * 12, y), words])


def _arrow(start: float, tip: float, y: float) -> Markup:
    back = short(tip - math.copysign(6.0, tip - start))
    head = f"M{back} {short(y - 5)}L{short(tip)} {short(y)}L{back} {short(y + 5)}"
    return tag("path", d=f"M{short(start)} {short(y)}H{short(tip)}{head}", class_="arrow")


def half_limits(row: Row, half: str) -> tuple[float, float]:
    """The interval to go by, with the model's error where the row has that; NaN for a limit that is open."""
    kind = f"{half}_model" if f"{half}_model_low" in row else half
    return number(row, f"{kind}_low"), number(row, f"{kind}_high")


def _band(row: Row, frame: Frame, half: str) -> Markup:
    """A limit that is open runs to the edge of the plot; of a dose beyond the tested ones the arrow says it."""
    low, high = half_limits(row, half)
    if math.isnan(low) and math.isnan(high) and text(row, f"{half}_relation") != "=":
        return Markup("")
    left = frame.x(math.log10(low)) if low > 0 else frame.left
    right = frame.x(math.log10(high)) if high > 0 else frame.right
    return tag("rect", x=left, y=frame.top, width=max(right - left, 1.0), height=frame.bottom - frame.top, class_="band")


def _nothing(frame: Frame, responses: Array) -> Markup:
    if np.isfinite(responses).any():
        return Markup("")
    return label((frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2 - 10, "no value to draw", class_="t dim", anchor="middle")


def _fitted_line(frame: Frame, grid: Array, fitted: Array, *, status: str) -> Markup:
    finite = np.isfinite(fitted)
    if not finite.any():
        return Markup("")
    return polyline([(frame.x(math.log10(dose)), frame.y(value)) for dose, value in zip(grid[finite], fitted[finite], strict=True)],
                    class_="fit" if status == "ok" else "fit weak")


def _bars(frame: Frame, panel: Panel) -> Markup:
    """The interval of each well that takes part in the curve, as thin lines behind the points; wells without one have none."""
    parts = []
    for dose, (low, high), out in zip(panel.doses, panel.limits, panel.excluded, strict=True):
        if math.isfinite(low) and math.isfinite(high) and not out:
            x = frame.x(math.log10(dose))
            parts.append(line(x, frame.y(low), x, frame.y(high), class_="err"))
    return join(parts)


def _points(panel: Panel, wells: Sequence[Row]) -> Markup:
    """Wells: filled; hollow if excluded; a triangle if flagged but used; these two on top. Values off the plot sit at its edge."""
    parts: list[Markup] = []
    marked: list[Markup] = []
    frame = panel.frame
    for well, value in zip((wells[place] for place in panel.wells), panel.responses, strict=True):
        if math.isfinite(value):
            x, y = frame.x(math.log10(well["dose"])), frame.y(value)
            flags, excluded = doubtful_flags(well.get("flags")), bool(well.get("excluded"))
            (marked if flags or excluded else parts).append(_point(
                x, y, flags=flags, excluded=excluded, title=_point_words(well, value, scale=panel.scale, inside=frame.holds_y(value))))
    return join([*parts, *marked])


def _point(x: float, y: float, *, flags: list[str], excluded: bool, title: str) -> Markup:
    if flags and not excluded:
        return tag("path", tag("title", title), d=f"M{short(x)} {short(y - 4)}l4 7h-8z", class_="flagged")
    return tag("circle", tag("title", title), cx=x, cy=y, r=3.0, class_="hollow" if excluded else "pt")


def _point_words(well: Row, value: float, *, scale: str, inside: bool) -> str:
    shown = f"{fixed(value, 3)}" if scale == "raw" else f"viability {fixed(value, 0)} %{limit_words(well)}"
    parts = [f"{text(well, 'plate')} {text(well, 'well')}: {dose_text(number(well, 'dose'), text(well, 'dose_unit'))}, {shown}",
             *map(flag_words, flag_list(well.get("flags"))), "left out of the curve" if well.get("excluded") else "",
             "" if inside else "drawn at the edge of the plot"]
    return "; ".join(filter(None, parts))


def panel_words(name: str, panel: Panel) -> str:
    """What a screen reader says of a panel."""
    finite = panel.fitted[np.isfinite(panel.fitted)]
    if not len(finite):
        return f"Dose-response of {name}: points only, no curve"
    unit, decimals, what = (" %", 0, "viability") if panel.scale != "raw" else ("", 2, "read-out")
    return f"Dose-response of {name}: fitted {what} goes from {fixed(finite[0], decimals)}{unit} to {fixed(finite[-1], decimals)}{unit}"


def dose_span(row: Row) -> str:
    """The tested doses of a curve in words: "1 nM to 10 µM, 5 doses"."""
    low, high, unit = number(row, "dose_min"), number(row, "dose_max"), text(row, "dose_unit")
    if math.isnan(low) or math.isnan(high):
        return ""
    name, factor = dose_unit(unit, low)
    same = dose_unit(unit, high)[0] == name
    first = plain(low * factor) if same else dose_text(low, unit)
    doses = number(row, "n_doses")
    return f"{first} to {dose_text(high, unit)}" + ("" if math.isnan(doses) else f", {doses:.0f} doses, {number(row, 'n'):.0f} wells")
