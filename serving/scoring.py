"""From an upload and a loaded model to scores. Runs in a worker thread or a job's process, away from the event loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from models.errors import Finding
from models.networks.bundle import Card
from models.networks.predict import Predictor
from models.plates.images import WellImages
from models.registered import RegisteredVersion
from models.scoring import score_images
from models.suitability import require_plates
from serving import metrics
from serving.forms import Form
from serving.plain import to_json
from serving.progress import OnProgress, quietly
from serving.scored import Answered, Scored, lineage_of, measured_lineage
from serving.snapshot import Served
from serving.uploads import Upload, read_readout_form
from validation.reading import PlateReader
from validation.rules import Verdict, judge_screen
from validation.thresholds import thresholds_of


def score_upload(upload: Upload, served: Served, *, service_version: str,
                 on_answered: Callable[[Answered], object] = lambda answered: None) -> bytes:
    """The answer of POST /score. on_answered: gets what was answered from what.

    Raises InputError (ScreenError, ImageError, SampleMismatch ...) with findings for unusable uploads.
    """
    started = time.monotonic()
    predictor = served.predictor    # once: it may have been let go and be loaded again meanwhile
    verdict, images = read_images(upload, predictor.card)
    scored = score_prepared(images, upload, predictor, served.version, verdict=verdict, service_version=service_version)
    answer = to_json(scored.record())
    metrics.note_score(served.version.name, wells=len(scored.tables.wells), seconds=time.monotonic() - started)
    on_answered(Answered(version=served.version, card=predictor.card, images=images, upload=upload, scored=scored))
    return answer


def read_images(upload: Upload, card: Card, *, on_progress: OnProgress = quietly) -> tuple[Verdict, WellImages]:
    """The verdict of the rules, by the limits of the model's card, and the images as the stage `prepare` makes them; each image is read
    once, for both.

    Raises ScreenError with the findings if the rules refuse the upload, InputError for a model that scores no plates, ImageError.
    """
    require_plates(card)
    reader = PlateReader(upload.plates, upload.screen, card.recipe.input)
    verdict = judge_screen(upload.layout, upload.screen, inventory=reader.inventory(), thresholds=thresholds_of(card))
    verdict.require()
    wells, done = len(upload.layout.layout), 0

    def on_well(_well: str) -> None:
        nonlocal done
        done += 1
        on_progress("preparing images", done, max(done, wells))
    return verdict, reader.images(on_well=on_well)


def score_prepared(images: WellImages, upload: Upload, predictor: Predictor, version: RegisteredVersion, *, verdict: Verdict,
                   service_version: str, parent: Predictor | None = None, on_progress: OnProgress = quietly) -> Scored:
    """Scores of prepared images. parent: of a model that was adapted to them. Raises SampleMismatch for another sample than the model's,
    unless forced.
    """
    done = 0

    def on_images(count: int) -> None:
        nonlocal done
        done += count
        on_progress("scoring", done, len(images))

    tables = score_images(images, upload.layout.layout, screen=upload.screen, predictor=predictor, model=version.name,
                          version=str(version.version), options=upload.options, parent=parent, on_images=on_images)
    metrics.note_drift(version.name, tables.drift.to_dict("records"), unlike=unlike_training(tables.findings, plates=len(upload.plates)))
    return Scored(tables=replace(tables, findings=(*verdict.findings, *tables.findings)), screen=upload.screen,
                  gates=predictor.card.gates, lineage=lineage_of(
                      version, precision=predictor.trunk.precision, service_version=service_version))


def unlike_training(findings: Sequence[Finding], *, plates: int) -> dict[str, int]:
    """Of how many plates a person is warned by each rule of metrics.UNLIKE; what is wrong with the screen is so with all its plates."""
    named = {rule: {found.plate for found in findings if found.rule == rule} for rule in metrics.UNLIKE}
    return {rule: plates if "" in found else len(found) for rule, found in named.items()}


def score_readout_form(form: Form, folder: Path, *, service_version: str,
                       kind: Literal["json", "html"] = "json") -> tuple[bytes, str]:
    """The answer of POST /curves, its tables or the report, and its title. Raises InputError with findings for unusable tables."""
    from models.report import render_report
    from serving.promotion_log import now
    from serving.readouts import score_table

    table, options = read_readout_form(form, folder)
    scored, lineage = score_table(table, options), measured_lineage(service_version=service_version)
    if kind == "html":
        page = render_report(scored, screen=table.screen, lineage={**lineage, "scored_at": now()}, options=options.report)
        return page.encode(), table.screen.name
    return to_json(Scored(tables=scored, screen=table.screen, gates=(), lineage=lineage).record()), table.screen.name
