"""The outcome of judging a screen, on disk and in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import Finding, ScreenError

MAX_TOLD = 20   # findings that a command prints; its page shows more


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a screen may go on. accepted: no finding is an error. counts: plates, wells, images, wells per role ..."""

    screen: str
    findings: tuple[Finding, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """No finding is an error."""
        return not self.errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings for which the screen is refused."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that are worth knowing."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    def record(self) -> dict[str, Any]:
        """Plain values for JSON; `read_verdict` reads them back."""
        return {"screen": self.screen, "accepted": self.accepted, "counts": dict(self.counts),
                "findings": [finding.record() | {"file": file_of(finding)} for finding in self.findings]}

    def require(self) -> None:
        """Raises ScreenError with the findings if the screen is refused."""
        if not self.accepted:
            raise ScreenError(self.refusal, self.errors)

    @property
    def refusal(self) -> str:
        """For how many reasons the screen is refused and which files they are in, in one line."""
        files = ", ".join(dict.fromkeys(file_of(finding) for finding in self.errors))
        reasons = "1 reason" if len(self.errors) == 1 else f"{len(self.errors)} reasons"
        return f"screen '{self.screen}' is refused for {reasons}, in {files}"


def file_of(finding: Finding) -> str:
    """The file of a screen's folder that a finding is about."""
    if finding.rule.startswith("imageset"):
        return "imageset.yaml" if finding.rule in ("imageset_file", "imageset_field") else "images.csv"
    if finding.rule.startswith(("image_", "archive_", "plate_images")):
        return f"images/{finding.plate}.zip" if finding.plate else "images"
    return "screen.yaml" if finding.rule.startswith("screen") else "layout.csv"


def refused(screen: str, findings: Iterable[Finding], *, message: str = "") -> Verdict:
    """A verdict for a screen of which no layout or images can be looked at. message: said if there are no findings."""
    found = tuple(findings) or (Finding(rule="screen", severity="error", message=message or "the screen cannot be read"),)
    return Verdict(screen=screen, findings=found)


def write_verdict(verdict: Verdict, path: Path) -> None:
    """Write as JSON; the same verdict gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(verdict.record(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_verdict(path: Path) -> Verdict:
    """Read what `write_verdict` wrote. Raises ScreenError if it is not there or not a verdict."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return Verdict(screen=record["screen"], counts=record["counts"],
                       findings=tuple(_finding(finding) for finding in record["findings"]))
    except OSError:
        raise ScreenError(f"{path} is not there; run `dvc repro validate` first") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ScreenError(f"{path} is no verdict ({error}); run `dvc repro validate` again") from None


def _finding(record: Mapping[str, Any]) -> Finding:
    return Finding(**{name: value for name, value in record.items() if name != "file"})


def require_accepted(path: Path) -> None:
    """Raises ScreenError, with the (first) findings and where to see them drawn, unless the verdict in `path` accepts its screen."""
    verdict = read_verdict(path)
    if not verdict.accepted:
        raise ScreenError(f"{verdict.refusal}; see {path.with_suffix('.html')}", verdict.errors[:MAX_TOLD])
