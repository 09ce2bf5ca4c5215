"""Small inline SVG: escaped elements, and a frame that maps data to the drawing. Colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape


def short(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0").replace("-0", "0") if abs(value) < 0.05 else f"{value:.1f}".removesuffix(".0")


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element; children and attribute values are escaped unless they are Markup. class_ -> class, stroke_width -> stroke-width."""
    shown = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(short(value) if isinstance(value, float) else value)}"'
                    for key, value in attributes.items() if value is not None)
    inner = "".join(str(escape(child)) for child in children)
    return Markup(f"<{name}{shown}>{inner}</{name}>" if inner else f"<{name}{shown}/>")  # noqa: S704  # every part is escaped above


def join(parts: Iterable[Markup]) -> Markup:
    """Elements one after the other."""
    return Markup("").join(parts)


def drawing(width: float, height: float, *children: object, label: str, class_: str = "") -> Markup:
    """An <svg> that scales with the page and that a screen reader announces with `label`."""
    return tag("svg", *children, viewBox=f"0 0 {short(width)} {short(height)}", role="img", aria_label=label,
               class_=class_ or None, width=short(width), height=short(height))


def label(x: float, y: float, words: object, *, class_: str = "t", anchor: str | None = None) -> Markup:
    """Text at a point."""
    return tag("text", words, x=x, y=y, class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, *, class_: str) -> Markup:
    """A straight line."""
    return tag("path", d=f"M{short(x1)} {short(y1)}L{short(x2)} {short(y2)}", class_=class_)


def polyline(points: Iterable[tuple[float, float]], *, class_: str) -> Markup:
    """A line through the points."""
    return tag("path", d="M" + "L".join(f"{short(x)} {short(y)}" for x, y in points), class_=class_)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A plot area: data limits, and the box they fill in drawing units."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    left: float
    right: float
    top: float
    bottom: float

    def x(self, value: float) -> float:
        """Drawing x of a data x, kept inside the box."""
        part = (value - self.x_low) / (self.x_high - self.x_low)
        return self.left + min(max(part, 0.0), 1.0) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Drawing y of a data y, kept inside the box."""
        part = (value - self.y_low) / (self.y_high - self.y_low)
        return self.bottom - min(max(part, 0.0), 1.0) * (self.bottom - self.top)

    def holds_y(self, value: float) -> bool:
        """Whether a data y lies inside the box."""
        return self.y_low <= value <= self.y_high


def nice_ticks(low: float, high: float, *, about: int = 4) -> list[float]:
    """Round numbers within [low, high]."""
    step = 10.0 ** math.floor(math.log10((high - low) / about))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= about)
    return [round(index * step, 10) for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
