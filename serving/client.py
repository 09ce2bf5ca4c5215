"""A client in Python: plates in, tables out.

    with Client("http://127.0.0.1:3000") as client:
        scores = client.score(read_plates(Path("plates/")), layout=Path("layout.csv"), model="viability-A549", screen=text)
    scores.curves[["treatment", "ic50_relation", "ic50", "dss3"]]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

from models.errors import DosewellError, Finding, InputError
from models.plates.pixels import TIFF_SUFFIXES
from models.plates.screen import Screen
from models.report import render_report, render_text
from models.tables import CURVES, WELL_SCORES, Contract, check_table


class ServiceError(DosewellError):
    """The service cannot be reached or failed. status: HTTP status, 0 when there was no answer."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class RejectedError(InputError):
    """The service refused the upload; `findings` say why. status: HTTP status."""

    def __init__(self, message: str, findings: Sequence[Finding], *, status: int) -> None:
        super().__init__(message, findings)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Scores:
    """An answer as tables: wells (WellScores), curves (Curves), quality (a row per plate), flags as `findings`; the screen as it was
    understood; lineage as a mapping.
    """

    wells: pd.DataFrame
    curves: pd.DataFrame
    quality: pd.DataFrame
    findings: tuple[Finding, ...]
    screen: Screen
    lineage: Mapping[str, str]
    answer: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """wells.csv, curves.csv, quality.csv, answer.json, and report.html: one page that works offline."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("wells", "curves", "quality"):
            getattr(self, name).to_csv(folder / f"{name}.csv", index=False)
        (folder / "answer.json").write_text(json.dumps(self.answer, indent=1) + "\n", encoding="utf-8")
        page = render_report(self, screen=self.screen, lineage=self.lineage, gates=self.answer["gates"])
        (folder / "report.html").write_text(page, encoding="utf-8")

    def summary(self) -> str:
        """Plate quality and curves in words, and the first warnings."""
        lines = [f"{self.lineage['model']} version {self.lineage['version']}: {len(self.wells)} wells, {len(self.curves)} treatments",
                 render_text(self, screen=self.screen), *(["", *map(str, self.findings[:20])] if self.findings else [])]
        return "\n".join(lines + ([f"... and {len(self.findings) - 20} more"] if len(self.findings) > 20 else []))


class Client:
    """Talks to one service. timeout: seconds to wait for an answer."""

    def __init__(self, url: str, *, timeout: float = 3600.0) -> None:
        self._http = httpx.Client(base_url=url, timeout=httpx.Timeout(timeout, connect=10.0), trust_env=False)

    def score(self, plates: Sequence[Path], *, layout: Path, model: str, screen: str | Mapping[str, Any],
              options: Mapping[str, Any] | None = None) -> Scores:
        """Score plates (zips, or the images of one plate). Raises RejectedError for 4xx, ServiceError otherwise."""
        data = {"model": model, "screen": screen if isinstance(screen, str) else json.dumps(screen), "options": json.dumps(options or {})}
        with ExitStack() as stack:
            files = [("images", (path.name, stack.enter_context(path.open("rb")))) for path in plates]
            files.append(("layout", (layout.name, stack.enter_context(layout.open("rb")))))
            answer = self._request("POST", "/score", data=data, files=files)
        return Scores(wells=_table(answer["wells"], WELL_SCORES), curves=_table(answer["curves"], CURVES),
                      quality=pd.DataFrame(answer["quality"]), findings=tuple(Finding(**flag) for flag in answer["flags"]),
                      screen=Screen.from_dict(answer["screen"]), lineage=answer["lineage"], answer=answer)

    def models(self) -> dict[str, Any]:
        """GET /models."""
        return self._request("GET", "/models")

    def promotions(self) -> list[dict[str, Any]]:
        """GET /promotions."""
        return list(self._request("GET", "/promotions")["promotions"])

    def _request(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **content)
            answer: dict[str, Any] = response.json()
        except httpx.HTTPError as error:
            raise ServiceError(f"no answer from {self._http.base_url} ({type(error).__name__}: {error}); is the service up?") from error
        except ValueError:
            raise ServiceError(f"{self._http.base_url} answered {response.status_code} without JSON", status=response.status_code) from None
        if response.is_client_error:
            raise RejectedError(answer["error"], [Finding(**item) for item in answer["findings"]], status=response.status_code)
        if not response.is_success:
            raise ServiceError(f"{self._http.base_url} answered {response.status_code}: {answer.get('error', '')}",
                               status=response.status_code)
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _table(records: list[dict[str, Any]], contract: Contract) -> pd.DataFrame:
    """Records as a checked table; none at all is a table without rows, as for a plate of controls only."""
    return check_table(pd.DataFrame(records, columns=None if records else contract.names()), contract)


def read_plates(path: Path) -> list[Path]:
    """The files to send: a zip itself, the zips in a folder, or the TIFFs of one plate in a folder. Raises InputError for neither."""
    if path.is_file():
        return [path]
    zips = sorted(path.glob("*.zip"))
    images = sorted(item for item in path.glob("*") if item.suffix.lower() in TIFF_SUFFIXES)
    if not zips and not images:
        raise InputError(f"{path} holds neither plate zips nor TIFF images")
    return zips or images
