"""From an upload and a loaded model to scores. Runs in a worker thread or a job's process, away from the event loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from models.networks.bundle import Card
from models.networks.predict import Predictor
from models.plates.images import PlateArchive, WellImages
from models.plates.prepare import InputSpec, join_images, prepare_plate
from models.records import from_record
from models.registered import RegisteredVersion
from models.scoring import require_plates, score_images
from serving import metrics
from serving.forms import Form
from serving.plain import plain, to_json
from serving.promotion import Served
from serving.scored import Scored, lineage_of, measured_lineage
from serving.uploads import Upload, read_readout_form
from validation.rules import Thresholds, Verdict, judge_screen, take_inventory

__all__ = ["OnProgress", "judge_upload", "plain", "prepare_upload", "score_prepared", "score_readout_form", "score_upload", "thresholds_of"]

OnProgress = Callable[[str, int, int], object]
"""Called with what is being done, how much of it is done, and how much there is."""


def _quietly(stage: str, done: int, total: int) -> None:
    """Nobody watches."""


def score_upload(upload: Upload, served: Served, *, service_version: str) -> bytes:
    """The answer of POST /score. Raises InputError (ScreenError, ImageError, SampleMismatch ...) with findings for unusable uploads."""
    started = time.monotonic()
    verdict = judge_upload(upload, served.predictor.card)
    images = prepare_upload(upload, served.predictor.card.recipe.input)
    scored = score_prepared(images, upload, served.predictor, served.version, verdict=verdict, service_version=service_version)
    answer = to_json(scored.record())
    metrics.note_score(served.version.name, wells=len(scored.tables.wells), seconds=time.monotonic() - started)
    return answer


def judge_upload(upload: Upload, card: Card) -> Verdict:
    """The verdict of the rules, by the limits of the model's card.

    Raises ScreenError with the findings if it refuses the upload, InputError for a model that scores no plates.
    """
    require_plates(card)
    verdict = judge_screen(upload.layout, upload.screen, inventory=take_inventory(upload.plates), thresholds=thresholds_of(card))
    verdict.require()
    return verdict


def thresholds_of(card: Card) -> Thresholds:
    """The limits of the data checks under which the model was made. Raises ParamsError for a card with one that no rule knows."""
    return from_record(Thresholds, card.validation, path=f"model {card.name}: card.json: validation")


def prepare_upload(upload: Upload, spec: InputSpec, *, on_progress: OnProgress = _quietly) -> WellImages:
    """All plates as the stage `prepare` makes them, in the stage's order, because batches of another make-up differ in the last bits."""
    plates, done = [], 0
    channels = [channel.name for channel in upload.screen.channels]
    for path in sorted(upload.plates):
        with PlateArchive(path) as archive:
            def on_well(_well: str) -> None:
                nonlocal done
                done += 1
                on_progress("preparing images", done, max(done, len(upload.layout.layout)))
            plates.append(prepare_plate(archive, spec, channels=channels, on_well=on_well))
    return join_images(plates)


def score_prepared(images: WellImages, upload: Upload, predictor: Predictor, version: RegisteredVersion, *, verdict: Verdict,
                   service_version: str, on_progress: OnProgress = _quietly) -> Scored:
    """Scores of prepared images. Raises SampleMismatch for another sample than the model's, unless forced."""
    done = 0

    def on_images(count: int) -> None:
        nonlocal done
        done += count
        on_progress("scoring", done, len(images))

    tables = score_images(images, upload.layout.layout, screen=upload.screen, predictor=predictor, model=version.name,
                          version=str(version.version), options=upload.options, on_images=on_images)
    return Scored(tables=replace(tables, findings=(*verdict.findings, *tables.findings)), screen=upload.screen,
                  gates=predictor.card.gates, lineage=lineage_of(version, service_version=service_version))


def score_readout_form(form: Form, folder: Path, *, service_version: str) -> bytes:
    """The answer of POST /curves. Raises InputError with findings for unusable tables."""
    from serving.readouts import score_table

    table, options = read_readout_form(form, folder)
    lineage = measured_lineage(service_version=service_version)
    return to_json(Scored(tables=score_table(table, options), screen=table.screen, gates=(), lineage=lineage).record())
