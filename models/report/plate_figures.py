"""Figures of plates: the heat map of every plate, and the strips of its control wells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup

from models.report.colours import hex_of, is_dark, mixed
from models.report.inputs import Row, doubtful_flags, flag_list, number, raw_measure, text
from models.report.svg import Frame, drawing, join, label, line, nice_ticks, short, tag
from models.report.verdicts import GRADE_WORDS, PlateQuality
from models.report.words import FLAG_LETTERS, dose_text, fixed, flag_words, limit_words, plain, reason_words
from models.wells import PLATE_FORMATS, parse_well, row_letters

# cividis, dark to light: readable with every kind of colour blindness and in grey print
_COLOURS = np.array([(0, 34, 78), (53, 69, 108), (102, 105, 112), (148, 142, 119), (199, 182, 106), (254, 232, 56)], dtype=float)
STRIP_WIDTH = 156.0
_STEPS = 20     # of the legend


def shades(values: npt.ArrayLike, limits: tuple[float, float]) -> list[tuple[str, bool] | None]:
    """(colour, whether light ink stands out better on it) of each value; limits: the darkest (dead) and the lightest (alive); None without
    a value.
    """
    parts = (np.asarray(values, dtype=float) - limits[0]) / (limits[1] - limits[0])
    return [(hex_of(rgb), is_dark(rgb)) if known else None
            for rgb, known in zip(mixed(_COLOURS, np.nan_to_num(parts)), np.isfinite(parts), strict=True)]


def heat_values(wells: pd.DataFrame) -> tuple[pd.Series, str, tuple[float, float]]:
    """(values, what they are, (darkest, lightest)): viability in percent, or the raw read-out where there is none."""
    if wells["viability"].notna().any():
        return 100.0 * wells["viability"].astype(float), "viability, %", (0.0, 100.0)
    column, called = raw_measure(wells)
    values = wells[column].astype(float) if column in wells.columns else pd.Series(np.nan, index=wells.index)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    return values, called, (low, high if high > low else low + 1.0)


def plate_map(wells: pd.DataFrame, *, plate_format: int, limits: tuple[float, float], values: pd.Series) -> Markup:
    """One plate: colour = value; cross = excluded, triangle = flagged, letter = why, minus and plus = controls, hatching = no value."""
    places = [parse_well(well) for well in wells["well"]]
    rows, columns = _size(places, plate_format)
    cell = 34.0 if columns <= 12 else 22.0 if columns <= 24 else 14.0
    left, top = 22.0, 18.0
    parts = [label(left + cell * (index + 0.5), top - 5, index + 1, anchor="middle") for index in range(columns)]
    parts += [label(left - 5, top + cell * (index + 0.5) + 4, row_letters(index), anchor="end") for index in range(rows)]
    parts.append(tag("rect", x=left, y=top, width=cell * columns, height=cell * rows, class_="box"))
    for well, (row, column), value, shade in zip(wells.to_dict("records"), places, values, shades(values, limits), strict=True):
        parts.append(_cell(well, value, shade=shade, limits=limits, corner=(left + cell * column, top + cell * row), cell=cell))
    plate = text(wells.iloc[0], "plate") if len(wells) else ""
    flagged = sum(bool(doubtful_flags(flags)) or bool(excluded) for flags, excluded in zip(wells["flags"], wells["excluded"], strict=True))
    return drawing(left + cell * columns + 2, top + cell * rows + 2, *parts, class_="wide",
                   label=f"Heat map of plate {plate}: {len(wells)} wells, {flagged} flagged or left out; they are listed below")


def _size(places: Sequence[tuple[int, int]], plate_format: int) -> tuple[int, int]:
    rows, columns = PLATE_FORMATS[plate_format]
    return max([row + 1 for row, _ in places] + [rows]), max([column + 1 for _, column in places] + [columns])


def _cell(well: Row, value: float, *, shade: tuple[str, bool] | None, limits: tuple[float, float], corner: tuple[float, float],
          cell: float) -> Markup:
    x, y = corner
    fill, ink = ("url(#hatch)", "ink") if shade is None else (shade[0], "ink light" if shade[1] else "ink dark")
    box = tag("rect", tag("title", _cell_words(well, value, limits)), x=x + 0.5, y=y + 0.5, width=cell - 1, height=cell - 1,
              rx=2, fill=fill, class_="w empty" if text(well, "role") == "empty" else "w")
    mark = _mark(well, x=x + cell / 2, y=y + cell / 2, size=cell * 0.27)
    shape = tag("path", d=mark, class_=ink) if mark else Markup("")
    wanted = cell > 30 and math.isfinite(value) and not mark
    words = label(x + cell / 2, y + cell / 2 + 4, _short_value(value, limits), class_=f"v {ink}", anchor="middle") if wanted else Markup("")
    letters = flag_letters(well.get("flags"))
    why = label(x + cell - 3, y + cell - 4, letters, class_=f"v code {ink}", anchor="end") if letters and cell > 20 else Markup("")
    return join([box, shape, words, why])


def flag_letters(flags: Any) -> str:
    """The letters of a well's doubtful flags, one each."""
    return "".join(dict.fromkeys(FLAG_LETTERS.get(flag, "") for flag in doubtful_flags(flags)))


def letter_key(wells: pd.DataFrame) -> list[tuple[str, str]]:
    """(letter, words) of the flags that wells of this table have."""
    used = {flag for flags in wells["flags"] for flag in doubtful_flags(flags)}
    return [(letter, flag_words(flag)) for flag, letter in FLAG_LETTERS.items() if flag in used]


def _short_value(value: float, limits: tuple[float, float]) -> str:
    return fixed(value, 0) if limits == (0.0, 100.0) else fixed(value, 2)


def _mark(well: Row, *, x: float, y: float, size: float) -> str:
    """The path of a well's mark: what to distrust goes before what the well is for."""
    a, b, c = short(x - size), short(x + size), short(2 * size)
    up, down = short(y - size), short(y + size)
    if well.get("excluded"):
        return f"M{a} {up}L{b} {down}M{b} {up}L{a} {down}"
    if doubtful_flags(well.get("flags")):
        return f"M{short(x)} {up}L{b} {down}H{a}Z"
    role = text(well, "role")
    bar = f"M{a} {short(y)}h{c}"
    if role == "positive":
        return f"{bar}M{short(x)} {up}v{c}"
    return bar if role == "negative" else ""


def content_words(well: Row) -> str:
    """What is in a well: "doxorubicin 5 µM", "A 5 µM + B 1 nM"; empty for wells without a treatment."""
    ends = ("", "_2") if number(well, "dose_2") > 0 else ("",)
    parts = [(text(well, f"treatment{end}"), number(well, f"dose{end}"), text(well, f"dose_unit{end}")) for end in ends]
    return " + ".join(f"{name} {dose_text(dose, unit) if dose > 0 else ''}".strip() for name, dose, unit in parts if name)


def raw_words(well: Row) -> list[str]:
    """The model's own outputs for a well: ["probability 0.42", "logit −0.31"]."""
    return [f"{called} {plain(number(well, column))}" for column, called in
            (("probability", "probability"), ("logit", "logit"), ("od", "OD")) if not math.isnan(number(well, column))]


def _cell_words(well: Row, value: float, limits: tuple[float, float]) -> str:
    what = content_words(well)
    words = f"viability {fixed(value, 0)} %{limit_words(well)}" if math.isfinite(value) else "no viability"
    viability = [words] if limits == (0.0, 100.0) else []
    flags = [flag_words(flag) for flag in flag_list(well.get("flags"))]
    excluded = bool(well.get("excluded"))
    reason = reason_words(text(well, "exclusion_reason"), excluded=excluded)
    left_out = [f"left out{': ' + reason if reason else ''}"] if excluded else [reason] if reason else []
    return "; ".join([f"{text(well, 'well')} {text(well, 'role')}", *filter(None, [what]), *viability, *raw_words(well), *flags, *left_out])


def legend_shades() -> list[str]:
    """The colours of the scale, dead to alive."""
    return [shade[0] for shade in shades(np.linspace(0.0, 1.0, _STEPS), (0.0, 1.0)) if shade]


def colour_bar(called: str, limits: tuple[float, float]) -> Markup:
    """The legend of the heat map's colours."""
    steps = [tag("rect", x=4.0 + 8 * index, y=2.0, width=8.5, height=12, fill=shade) for index, shade in enumerate(legend_shades())]
    low, high = ("0 (dead)", "100 (alive)") if limits == (0.0, 100.0) else (plain(limits[0]), plain(limits[1]))
    return drawing(172, 30, *steps, label(4, 27, low), label(164, 27, high, anchor="end"),
                   label=f"Colour scale of {called}: dark {low} to light {high}", class_="legend")


def control_strips(wells: pd.DataFrame, plates: Sequence[PlateQuality]) -> Markup:
    """Every control well of every plate, by role, with medians and the plate's Z'."""
    controls = wells[wells["role"].isin(["negative", "positive"])]
    values, called, _ = heat_values(wells)
    values = values.loc[controls.index]
    finite = values[np.isfinite(values)]
    if finite.empty:
        return Markup("")
    low, high = min(0.0, float(finite.min())), max(float(finite.max()), 1e-9)
    room = 0.06 * (high - low)
    width = 46.0 + STRIP_WIDTH * len(plates)
    frame = Frame(x_low=0, x_high=max(len(plates), 1), y_low=low - room, y_high=high + room, left=40, right=width - 6, top=18, bottom=170)
    parts: list[Markup] = []
    for tick in nice_ticks(frame.y_low, frame.y_high):
        parts += [line(40, frame.y(tick), width - 6, frame.y(tick), class_="grid"),
                  label(35, frame.y(tick) + 3.5, plain(tick), anchor="end")]
    for index, plate in enumerate(plates):
        own = controls[controls["plate"] == plate.plate]
        parts.append(_strip(own, values.loc[own.index], frame, plate=plate, left=40 + STRIP_WIDTH * index))
    return drawing(width, 238, *parts, label(40, 11, called, class_="t dim"), class_="wide",
                   label="Control wells by plate: " + "; ".join(f"{plate.plate}, {plate.words}" for plate in plates))


def _strip(wells: pd.DataFrame, values: pd.Series, frame: Frame, *, plate: PlateQuality, left: float) -> Markup:
    parts = [line(left + STRIP_WIDTH, frame.top, left + STRIP_WIDTH, frame.bottom, class_="grid")]
    for role, place in (("negative", 0.3), ("positive", 0.7)):
        rows = wells[wells["role"] == role]
        middle = left + STRIP_WIDTH * place
        own = values.loc[rows.index].to_numpy()
        parts += [_control(well, own[order], frame, x=middle + ((order * 37) % 11 - 5) * 2.6)
                  for order, well in enumerate(rows.to_dict("records")) if math.isfinite(own[order])]
        used = values.loc[rows.index][~rows["excluded"].astype(bool)].dropna()
        if len(used):
            parts.append(line(middle - 20, frame.y(float(used.median())), middle + 20, frame.y(float(used.median())), class_="median"))
        parts.append(label(middle, frame.bottom + 15, role if len(rows) else f"no {role}", class_="t dim", anchor="middle"))
    z_words = f"Z′ {fixed(plate.z_prime, 2)}" if not math.isnan(plate.z_prime) else "no Z′"
    middle = left + STRIP_WIDTH / 2
    return join([*parts, label(middle, frame.bottom + 35, plate.plate[:20], class_="t strong", anchor="middle"),
                 label(middle, frame.bottom + 50, z_words, anchor="middle"),
                 label(middle, frame.bottom + 64, GRADE_WORDS[plate.grade], class_="t dim", anchor="middle")])


def _control(well: Row, value: float, frame: Frame, *, x: float) -> Markup:
    words = f"{text(well, 'plate')} {text(well, 'well')}: {plain(value)}" + ("; left out" if well.get("excluded") else "")
    shape = "hollow" if well.get("excluded") else "neg" if text(well, "role") == "negative" else "pos"
    if shape == "pos":
        return tag("rect", tag("title", words), x=x - 2.8, y=frame.y(value) - 2.8, width=5.6, height=5.6, class_="pos")
    return tag("circle", tag("title", words), cx=x, cy=frame.y(value), r=3.0, class_=shape)
