"""What a job does: check, prepare, (train,) score, write. Each step tells how far it is, and can be cut off there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from models.errors import Finding
from models.networks.predict import Predictor
from models.registered import RegisteredVersion
from models.registry import Registry
from serving.job_files import Sent
from serving.job_records import Job
from serving.progress import OnProgress
from serving.results import Result, write_result
from serving.scored import Answered
from serving.scoring import read_images, score_prepared

Load = Callable[[str, int], tuple[RegisteredVersion, Predictor]]


def do_job(job: Job, sent: Sent, folder: Path, *, load: Load, registry: Callable[[], Registry], progress: OnProgress, device: str,
           service_version: str) -> Answered | None:
    """Write folder/result, and give what was answered, unless the job made its own model.

    Raises what the upload, the model or the registry is at fault for.
    """
    progress("loading the model", 0, 1)
    version, predictor = load(job.model, job.version)
    if sent.bundle_sha256:
        version.require_bundle(sent.bundle_sha256)
    progress("checking images", 0, 1)
    verdict, images = read_images(sent.upload, predictor.card, on_progress=progress)
    adapted, parent = None, None
    notes: tuple[Finding, ...] = ()
    if sent.adapt:
        from serving.adaptation import adapt_model  # training brings in what scoring need not load

        made = adapt_model(sent.upload, images, parent=version, registry=registry(), folder=folder, job=job.id,
                           device=device, progress=progress)
        parent, version, predictor, adapted, notes = predictor, made.version, made.predictor, made.record, made.findings
    scored = score_prepared(images, sent.upload, predictor, version, verdict=verdict, service_version=service_version, parent=parent,
                            on_progress=progress)
    scored = replace(scored, tables=replace(scored.tables, findings=(*notes, *scored.tables.findings)))
    progress("writing the result", 0, 1)
    write_result(folder / "result", Result(scored=scored, adapted=adapted))
    return None if sent.adapt else Answered(version=version, card=predictor.card, images=images, upload=sent.upload, scored=scored)
