"""What can go wrong, as one tree.

    DosewellError
    |-- InputError            what a user gave cannot be used; carries findings
    |   |-- TableError        a table breaks its column contract
    |   |-- ImageError        an image or plate archive cannot be read
    |   |-- ScreenError       screen.yaml, or a whole screen, cannot be used
    |   |-- ParamsError       params.yaml has a value out of range; message starts with the YAML path
    |   `-- SampleMismatch    images of another cell line or patient than the model's
    |-- WeightsError          starting weights cannot be had, or have another hash than stated
    |-- BundleError           a model bundle is incomplete, altered or of an unknown version
    `-- RegistryError         the registry cannot be reached, or has no such model
        |-- UnknownModelError no such model, version or alias (models/registered.py)
        `-- RefusedError      the model is there but must not serve (gates failed, wrong hash, foreign content)

A message says what was expected, what was found, where, and the way out. A `Finding` is the same as a record, so that
pages, reports and HTTP answers can show many at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Literal

Severity = Literal["error", "warning"]
MAX_WELLS_SAID = 8  # by the text of a finding; its record holds all


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong (error) or worth knowing (warning) about a user's data. well: one, or several as "A01, B02"."""

    rule: str
    severity: Severity
    message: str
    plate: str = ""
    well: str = ""
    column: str = ""
    value: str = ""

    @property
    def wells(self) -> tuple[str, ...]:
        """The names of the wells that it is about."""
        return tuple(filter(None, self.well.split(", ")))

    def record(self) -> dict[str, str]:
        """The finding as a flat dict of strings, in the order of its fields."""
        return asdict(self)

    def __str__(self) -> str:
        many = len(self.wells) - MAX_WELLS_SAID
        wells = ", ".join(self.wells[:MAX_WELLS_SAID]) + (f" and {many} more" if many > 0 else "")
        place = ", ".join(f"{name} {text}" for name, text in (
            ("plate", self.plate), ("wells" if len(self.wells) > 1 else "well", wells), ("column", self.column)) if text)
        return f"{self.severity}: {self.message}" + (f" ({place})" if place else "")


def told_once(findings: Iterable[Finding]) -> list[str]:
    """The findings in words; what is said alike of several wells is said once, where it stands first, with all of them."""
    alike: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.severity, finding.message, finding.column), []).append(finding)
    return [str(same[0] if len(same) == 1 else _of_all_wells(same)) for same in alike.values()]


def _of_all_wells(same: list[Finding]) -> Finding:
    """One finding in place of several that differ in plate and well only."""
    plates = list(dict.fromkeys(finding.plate for finding in same))
    names = [well if len(plates) == 1 else f"{finding.plate} {well}".strip() for finding in same for well in finding.wells or ("",)]
    return replace(same[0], plate=plates[0] if len(plates) == 1 else "", well=", ".join(filter(None, dict.fromkeys(names))))


class DosewellError(Exception):
    """Base of everything that Dosewell raises on purpose."""


class InputError(DosewellError):
    """What a user gave cannot be used; `findings` says what, where, and what to do."""

    def __init__(self, message: str, findings: Iterable[Finding] = ()) -> None:
        self.findings = tuple(findings)
        said = told_once(self.findings)
        super().__init__("\n  ".join([message, *(said if said != [f"error: {message}"] else ())]))   # not the same twice
        self.summary = message


class TableError(InputError):
    """A table breaks its column contract."""


class ImageError(InputError):
    """An image file or plate archive cannot be read."""


class ScreenError(InputError):
    """screen.yaml, or a whole screen, cannot be used."""


class ParamsError(InputError):
    """A value of params.yaml is missing or out of range."""


class SampleMismatch(InputError):  # noqa: N818  # reads as what happened
    """Images of another cell line or patient sample than the model was trained for."""


class WeightsError(DosewellError):
    """Starting weights cannot be had, or have another hash than stated."""


class BundleError(DosewellError):
    """A model bundle is incomplete, altered, or of an unknown version."""


class RegistryError(DosewellError):
    """The model registry cannot be reached, or has no such model."""


class RefusedError(RegistryError):
    """The model version exists but must not serve."""
