"""A scored screen with all that its answer says: tables, findings, the screen as it was understood, gates and lineage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.networks.bundle import Card, GateResult
from models.plates.images import WellImages
from models.plates.screen import Screen
from models.records import to_record
from models.registered import RegisteredVersion
from models.report.inputs import ALWAYS, tables_of
from models.scoring import ScoredScreen
from models.tables import MEASURED
from serving.plain import plain, records
from serving.uploads import Upload

_TAGS = ("git_commit", "git_dirty", "data_md5", "params_hash", "bundle_sha256")


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What POST /score answers. tables: its findings are all flags; gates: those of the model's card; lineage: as text."""

    tables: ScoredScreen
    screen: Screen
    gates: tuple[GateResult, ...]
    lineage: Mapping[str, str]

    def record(self) -> dict[str, Any]:
        """Plain records, as JSON has them."""
        tables = self.tables
        return {"wells": records(tables.wells), "curves": records(tables.curves), "quality": records(tables.quality),
                "drift": records(tables.drift),
                "flags": [finding.record() for finding in tables.findings], "screen": plain(self.screen.to_dict()),
                "gates": self.record_of_gates(), "lineage": dict(self.lineage), **self._further()}

    def _further(self) -> dict[str, Any]:
        """The tables that only some screens have: of single doses, and of pairs of treatments."""
        return {name: records(table) for name, table in tables_of(self.tables).items() if name not in ALWAYS}

    def record_of_gates(self) -> list[dict[str, Any]]:
        """The gates as plain records."""
        return list(plain(to_record(self.gates)))


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What the champion answered, and from what. images: as it read them, by its card."""

    version: RegisteredVersion
    card: Card
    images: WellImages
    upload: Upload
    scored: Scored


def lineage_of(version: RegisteredVersion, *, precision: str, service_version: str) -> dict[str, str]:
    """Which model answers, and where it comes from."""
    tags = {name: version.tags.get(name, "") for name in _TAGS}
    return {"model": version.name, "version": str(version.version), "run_id": version.run_id, **tags,
            "precision": precision, "service_version": service_version}


def measured_lineage(*, service_version: str) -> dict[str, str]:
    """The lineage of measured read-outs: no model answered."""
    return {"model": MEASURED, "version": "measured", "run_id": "", **dict.fromkeys(_TAGS, ""),
            "precision": "", "service_version": service_version}
