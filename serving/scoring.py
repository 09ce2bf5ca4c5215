"""From an upload and a loaded model to scores. Runs in a worker thread or a job's process, away from the event loop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.networks.bundle import Card
from models.networks.predict import Predictor
from models.plates.images import PlateArchive, WellImages
from models.plates.prepare import InputSpec, PreparedPlace, channel_numbers, join_images, prepare_place, prepare_plate
from models.records import from_record
from models.registered import RegisteredVersion
from models.scoring import require_plates, score_images
from serving import metrics
from serving.forms import Form
from serving.plain import plain, to_json
from serving.scored import Answered, Scored, lineage_of, measured_lineage
from serving.snapshot import Served
from serving.uploads import Upload, read_readout_form
from validation.inventory import Pixels
from validation.rules import Thresholds, Verdict, judge_screen, take_inventory

__all__ = ["OnProgress", "plain", "read_images", "score_prepared", "score_readout_form", "score_upload", "thresholds_of"]

OnProgress = Callable[[str, int, int], object]
"""Called with what is being done, how much of it is done, and how much there is."""


def _quietly(stage: str, done: int, total: int) -> None:
    """Nobody watches."""


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


def read_images(upload: Upload, card: Card, *, on_progress: OnProgress = _quietly) -> tuple[Verdict, WellImages]:
    """The verdict of the rules, by the limits of the model's card, and the images as the stage `prepare` makes them; each image is read
    once, for both.

    Raises ScreenError with the findings if the rules refuse the upload, InputError for a model that scores no plates, ImageError.
    """
    require_plates(card)
    ready = _Ready(upload, card.recipe.input)
    inventory = take_inventory(upload.plates, on_place=ready.prepare)
    verdict = judge_screen(upload.layout, upload.screen, inventory=inventory, thresholds=thresholds_of(card))
    verdict.require()
    return verdict, ready.images(on_progress)


def thresholds_of(card: Card) -> Thresholds:
    """The limits of the data checks under which the model was made. Raises ParamsError for a card with one that no rule knows."""
    return from_record(Thresholds, card.validation, path=f"model {card.name}: card.json: validation")


class _Ready:
    """Prepares the wells of an upload while the inventory reads them; those that it did not hand on are read when all are joined."""

    def __init__(self, upload: Upload, spec: InputSpec) -> None:
        self.upload, self.spec = upload, spec
        self.channels = tuple(channel.name for channel in upload.screen.channels)
        self.places: dict[Path, dict[tuple[str, int], PreparedPlace]] = {path: {} for path in upload.plates}

    def prepare(self, archive: PlateArchive, well: str, site: int, pixels: Pixels) -> None:
        """One well and site. What cannot be prepared is met again, and told, when all are joined: the rules have their say first."""
        with contextlib.suppress(Exception):
            numbers = channel_numbers(self.spec, self.channels, archive)
            by_plane = sorted(pixels.items(), key=lambda item: item[0])
            found = {name: [image for (channel, _), image in by_plane if channel == number] for name, number in numbers.items()}
            stacks = {name: planes[0][None] if len(planes) == 1 else np.stack(planes) for name, planes in found.items()}
            self.places[archive.path][well, site] = prepare_place(stacks, self.spec, channels=self.channels)

    def images(self, on_progress: OnProgress) -> WellImages:
        """All plates in the stage's order. Raises ImageError."""
        plates, done = [], 0
        for path in sorted(self.upload.plates):
            with PlateArchive(path) as archive:
                def on_well(_well: str) -> None:
                    nonlocal done
                    done += 1
                    on_progress("preparing images", done, max(done, len(self.upload.layout.layout)))
                plates.append(prepare_plate(archive, self.spec, channels=self.channels, on_well=on_well, ready=self.places.pop(path)))
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
    metrics.note_drift(version.name, tables.drift.to_dict("records"), warned=sum(found.rule == "drift" for found in tables.findings))
    return Scored(tables=replace(tables, findings=(*verdict.findings, *tables.findings)), screen=upload.screen,
                  gates=predictor.card.gates, lineage=lineage_of(
                      version, precision=predictor.trunk.precision, service_version=service_version))


def score_readout_form(form: Form, folder: Path, *, service_version: str) -> bytes:
    """The answer of POST /curves. Raises InputError with findings for unusable tables."""
    from serving.readouts import score_table

    table, options = read_readout_form(form, folder)
    lineage = measured_lineage(service_version=service_version)
    return to_json(Scored(tables=score_table(table, options), screen=table.screen, gates=(), lineage=lineage).record())
