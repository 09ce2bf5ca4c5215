"""From an upload and a loaded model to the answer of POST /score. Runs in a worker thread, away from the event loop."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from models.errors import Finding
from models.networks.bundle import Card
from models.plates.images import PlateArchive, WellImages
from models.plates.prepare import InputSpec, join_images, prepare_plate
from models.plates.screen import Screen
from models.records import from_record, to_record
from models.registry import RegisteredVersion
from models.scoring import ScoredScreen, score_images
from serving import metrics
from serving.promotion import Served
from serving.uploads import Upload
from validation.rules import Thresholds, judge_screen, take_inventory


def score_upload(upload: Upload, served: Served, *, service_version: str) -> bytes:
    """The answer as JSON. Raises InputError (ScreenError, ImageError, SampleMismatch ...) with findings for unusable uploads."""
    started = time.monotonic()
    verdict = judge_screen(upload.layout, upload.screen, inventory=take_inventory(upload.plates),
                           thresholds=thresholds_of(served.predictor.card))
    verdict.require()
    version = served.version
    scored = score_images(_prepared(upload, served.predictor.card.recipe.input), upload.layout.layout, screen=upload.screen,
                          predictor=served.predictor, model=version.name, version=str(version.version), options=upload.options)
    answer = to_json(answer_of(scored, screen=upload.screen, card=served.predictor.card, findings=verdict.findings,
                               lineage=lineage_of(version, service_version=service_version)))
    metrics.note_score(version.name, wells=len(scored.wells), seconds=time.monotonic() - started)
    return answer


def thresholds_of(card: Card) -> Thresholds:
    """The limits of the data checks under which the model was made. Raises ParamsError for a card with one that no rule knows."""
    return from_record(Thresholds, card.validation, path=f"model {card.name}: card.json: validation")


def _prepared(upload: Upload, spec: InputSpec) -> WellImages:
    """All plates as the stage `prepare` makes them, in the stage's order, because batches of another make-up differ in the last bits."""
    plates = []
    for path in sorted(upload.plates):
        with PlateArchive(path) as archive:
            plates.append(prepare_plate(archive, spec, channels=[channel.name for channel in upload.screen.channels]))
    return join_images(plates)


def answer_of(scored: ScoredScreen, *, screen: Screen, card: Card, findings: Iterable[Finding],
              lineage: Mapping[str, str]) -> dict[str, Any]:
    """Scores as plain records, with the screen as it was understood and the checks that the model passed."""
    return {"wells": records(scored.wells), "curves": records(scored.curves), "quality": records(scored.quality),
            "flags": [finding.record() for finding in (*findings, *scored.findings)], "screen": plain(screen.to_dict()),
            "gates": plain(to_record(card.gates)),
            "lineage": dict(lineage)}


def lineage_of(version: RegisteredVersion, *, service_version: str) -> dict[str, str]:
    """Which model answers, and where it comes from."""
    tags = version.tags
    return {"model": version.name, "version": str(version.version), "run_id": version.run_id,
            **{name: tags.get(name, "") for name in ("git_commit", "git_dirty", "data_md5", "params_hash", "bundle_sha256")},
            "service_version": service_version}


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as plain values, column order kept; numbers that are no number become None."""
    columns = {str(name): [plain(value) for value in table[name].tolist()] for name in table.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def plain(value: Any) -> Any:
    """A value that JSON has: None for NaN, infinity and missing ones; lists for arrays and tuples."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def to_json(value: Any) -> bytes:
    """JSON in UTF-8; raises ValueError rather than write NaN."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
