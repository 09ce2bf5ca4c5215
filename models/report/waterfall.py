"""The waterfall of a screen: a bar of each treatment's score, highest first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from models.report.svg import Frame, drawing, join, label, line, nice_ticks, short, tag
from models.report.verdicts import KIND_WORDS, Kind
from models.report.words import fixed, plain


@dataclass(frozen=True)
class Bar:
    """One bar of the waterfall."""

    name: str
    score: float
    kind: Kind


def waterfall(bars: Sequence[Bar], *, score: str, threshold: float) -> Markup:
    """Scores, highest first, with the hit threshold; hits solid, doubtful ones hatched, a score that is missing as "?"."""
    ordered = sorted(bars, key=lambda bar: (math.isnan(bar.score), -bar.score if not math.isnan(bar.score) else 0, bar.name))
    step, left, top, bottom = 15.0, 40.0, 14.0, 190.0
    right = left + max(step * len(ordered), 220.0)
    highest = max([bar.score for bar in ordered if not math.isnan(bar.score)] + [threshold * 1.5, 1.0])
    frame = Frame(x_low=0, x_high=max(len(ordered), 1), y_low=0, y_high=highest * 1.05, left=left, right=right, top=top, bottom=bottom)
    parts: list[Markup] = []
    for value in nice_ticks(0, frame.y_high):
        parts += [line(left, frame.y(value), right, frame.y(value), class_="grid"),
                  label(left - 5, frame.y(value) + 3.5, plain(value), anchor="end")]
    parts += [_bar(bar, frame, x=left + step * index + 2, width=step - 4) for index, bar in enumerate(ordered)]
    y = frame.y(threshold)
    parts += [line(left, y, right, y, class_="limit"), label(right + 4, y + 4, f"hit from {threshold:g}")]     # beside the bars, not on one
    hits = sum(bar.kind == "hit" for bar in ordered)
    return drawing(right + 72, bottom + 112, *parts, class_="wide",
                   label=f"Waterfall of {score} of {len(ordered)} treatments, highest first; {hits} are hits. The table has every value.")


def _bar(bar: Bar, frame: Frame, *, x: float, width: float) -> Markup:
    middle, known = x + width / 2, not math.isnan(bar.score)
    title = tag("title", f"{bar.name}: {fixed(bar.score, 1) if known else 'no score'}, {KIND_WORDS[bar.kind]}")
    y = frame.y(max(bar.score, 0.0)) if known else frame.bottom
    body = (tag("rect", title, x=x, y=min(y, frame.bottom - 1), width=width, height=max(frame.bottom - y, 1.0), class_=f"bar {bar.kind}")
            if known else tag("text", "?", title, x=middle, y=frame.bottom - 3, class_="t strong", text_anchor="middle"))
    shown = bar.name if len(bar.name) <= 18 else bar.name[:17] + "…"
    name = tag("text", shown, class_="t", text_anchor="end",
               transform=f"translate({short(middle + 3)} {short(frame.bottom + 7)}) rotate(-60)")
    return join([body, name])
