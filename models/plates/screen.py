"""A screen: what was screened and how it was imaged. Parsed from screen.yaml by the pipelines, from a form by the service."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from models.errors import Finding, InputError, ScreenError
from models.wells import PLATE_FORMATS, in_format, parse_wells

Controls = Literal["both", "negative", "none"]
SampleKind = Literal["cell_line", "patient"]
PATTERN_ROLES = ("negative", "positive", "reference", "untreated", "empty")


def refuse_names(file: str, values: Mapping[str, Any], *, known: Sequence[str], required: Sequence[str]) -> None:
    """Raise ScreenError for fields of a file that are unknown, each with the nearest known one, and for required ones that are missing."""
    near = {key: difflib.get_close_matches(str(key), known, 1) for key in values if key not in known}
    unknown = [f"'{key}'" + (f" (did you mean '{found[0]}'?)" if found else "") for key, found in near.items()]
    missing = [f"'{key}'" for key in required if key not in values]
    if unknown or missing:
        raise ScreenError(f"{file}: " + "; ".join(
            f"{fault} field {', '.join(names)}" for fault, names in (("unknown", unknown), ("missing", missing)) if names))


def refuse_values(file: str, what: str, checks: Iterable[tuple[str, bool, str]]) -> None:
    """Raise ScreenError with a finding for each check (field, whether it is wrong, what it must be) that finds something wrong."""
    findings = [Finding(rule=f"{file.removesuffix('.yaml')}_field", severity="error", column=name, message=f"{file}: {name} {message}")
                for name, wrong, message in checks if wrong]
    if findings:
        raise ScreenError(f"{what} cannot be used", findings)


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
    expected_ic50: compound -> (lowest, highest) IC50 that it is known to have, in nM or, of doses that are not molar, the layout's unit.
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
    expected_ic50: Mapping[str, Sequence[float]] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        refuse_values("screen.yaml", f"screen '{self.name}'", (
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
            *(("expected_ic50", True, problem) for problem in self._potency_problems())))

    def _potency_problems(self) -> Iterator[str]:
        known: Any = self.expected_ic50         # a file may hold anything
        if not isinstance(known, Mapping):
            yield f"must be a mapping like {{staurosporine: [5, 40]}}, got {known!r}"
            return
        for name, limits in known.items():
            numbers = isinstance(limits, list | tuple) and len(limits) == 2 and all(type(one) in (int, float) for one in limits)
            if not (isinstance(name, str) and numbers and 0 < limits[0] < limits[1] < math.inf):
                yield f"of {name} must be two doses above 0, the lower one first, like [5, 40], got {str(limits)[:100]}"

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
                yield f"of {role} must be wells like 'A1-H1, C12', got {str(text)[:100]!r}"
                continue
            if outside:
                yield f"of {role} names wells outside of a {self.plate_format}-well plate: {', '.join(outside[:6])}"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Screen:
        """A screen from the mapping in screen.yaml. Raises ScreenError naming unknown, missing or wrong fields."""
        refuse_names("screen.yaml", values, known=[item.name for item in fields(cls)], required=("name", "sample"))
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
                         "control_pattern": dict(self.control_pattern),
                         "expected_ic50": {name: list(limits) for name, limits in self.expected_ic50.items()}}
