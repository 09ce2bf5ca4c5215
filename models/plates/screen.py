"""A screen: what was screened and how it was imaged. Parsed from screen.yaml by the pipelines, from a form by the service."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from models.errors import Finding, InputError, ScreenError
from models.plates.wells import PLATE_FORMATS, in_format, parse_wells

Controls = Literal["both", "negative", "none"]
SampleKind = Literal["cell_line", "patient"]
PATTERN_ROLES = ("negative", "positive", "reference", "untreated", "empty")


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One imaged channel."""

    name: str
    stain: str = ""


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The fields of screen.yaml.

    sample: cell line or patient sample; a model serves only the sample that it was trained for.
    controls: which controls every plate must hold. positive_control: read-out -> compound (kill control).
    control_pattern: role -> its wells on every plate, such as {negative: "A1-H1", positive: "A12-D12, H12"}; empty: any wells.
    magnification x; pixel_size_um micrometre per pixel; bit_depth bits per sample; plate_format wells.
    """

    name: str
    sample: str
    kind: SampleKind = "cell_line"
    assay: str = ""
    organism: str = "human"
    channels: tuple[Channel, ...] = (Channel(name="brightfield"),)
    magnification: float | None = None
    pixel_size_um: float | None = None
    camera: str = ""
    bit_depth: int = 8
    plate_format: int = 96
    controls: Controls = "both"
    positive_control: Mapping[str, str] = field(default_factory=dict)
    control_pattern: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        problems = [(name, message) for name, wrong, message in (
            ("name", not self.name, "must not be empty"),
            ("sample", not self.sample, "must name the cell line or patient sample"),
            ("kind", self.kind not in get_args(SampleKind), f"must be one of {get_args(SampleKind)}, got {self.kind!r}"),
            ("channels", not self.channels, "must name at least one channel"),
            ("bit_depth", self.bit_depth not in (8, 10, 12, 14, 16), f"must be 8, 10, 12, 14 or 16, got {self.bit_depth!r}"),
            *((name, value is not None and not (isinstance(value, int | float) and 0 < value < math.inf), f"must be above 0, got {value!r}")
              for name, value in (("magnification", self.magnification), ("pixel_size_um", self.pixel_size_um))),
            ("plate_format", self.plate_format not in PLATE_FORMATS,
             f"must be one of {sorted(PLATE_FORMATS)}, got {self.plate_format!r}"),
            ("controls", self.controls not in get_args(Controls),
             f"must be one of {get_args(Controls)}, got {self.controls!r}"),
            *(("control_pattern", True, problem) for problem in self._pattern_problems()),
        ) if wrong]
        if problems:
            raise ScreenError(f"screen '{self.name}' cannot be used", [
                Finding(rule="screen_field", severity="error", column=name, message=f"screen.yaml: {name} {message}")
                for name, message in problems])

    def _pattern_problems(self) -> Iterator[str]:
        pattern: Any = self.control_pattern     # a file may hold anything
        if not isinstance(pattern, Mapping):
            yield f"must be a mapping like {{negative: 'A1-H1'}}, got {pattern!r}"
            return
        for role, text in pattern.items():
            if role not in PATTERN_ROLES:
                yield f"may name the roles {', '.join(PATTERN_ROLES)}, got {role!r}"
            try:
                outside = [well for well in parse_wells(str(text)) if not in_format(well, self.plate_format)]
            except (InputError, KeyError):      # KeyError: of a plate format that is no format, which is told apart
                yield f"of {role} must be wells like 'A1-H1, C12', got {text!r}"
                continue
            if outside:
                yield f"of {role} names wells outside of a {self.plate_format}-well plate: {', '.join(outside[:6])}"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Screen:
        """A screen from the mapping in screen.yaml. Raises ScreenError naming unknown, missing or wrong fields."""
        known = {item.name for item in fields(cls)}
        unknown = [f"'{key}'" + (f" (did you mean '{near[0]}'?)" if (near := difflib.get_close_matches(str(key), known, 1)) else "")
                   for key in values if key not in known]
        missing = [f"'{key}'" for key in ("name", "sample") if key not in values]
        if unknown or missing:
            raise ScreenError("screen.yaml: " + "; ".join(
                text for text, given in ((f"unknown field {', '.join(unknown)}", unknown),
                                         (f"missing field {', '.join(missing)}", missing)) if given))
        try:
            channels = tuple(Channel(**({"name": item} if isinstance(item, str) else item))
                             for item in values.get("channels", ["brightfield"]))
        except TypeError as error:
            raise ScreenError(f"screen.yaml: channels must be names or {{name, stain}} pairs ({error})") from None
        return cls(**{**values, "channels": channels})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for YAML or JSON; `from_dict` reads them back."""
        values = asdict(self)
        return values | {"channels": list(values["channels"]), "positive_control": dict(self.positive_control),
                         "control_pattern": dict(self.control_pattern)}
