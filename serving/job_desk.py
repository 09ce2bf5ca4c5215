"""Where jobs are taken in and results given out: between the HTTP interface, the table of jobs and their files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import shorten
from typing import Any

from models.errors import ImageError, InputError
from models.networks.bundle import Card
from models.plates.images import PlateArchive
from models.suitability import require_plates
from serving.forms import Form, field_finding
from serving.job_files import JobFiles, fingerprint, sent_options, write_sent
from serving.job_records import Job, JobConflictError, JobStoreError, NewJob, UnknownJobError, WellChange
from serving.jobs import JobStore
from serving.observe import job_id
from serving.promotion import Promoter
from serving.results import Result, check_changes, left_out, read_result, result_at
from serving.uploads import Upload, read_upload
from validation.rules import judge_screen
from validation.thresholds import thresholds_of

logger = logging.getLogger("dosewell.jobs")

FIRST_WORDS = 200   # characters of an error in a list of jobs


class JobDesk:
    """The jobs of a service."""

    def __init__(self, store: JobStore, files: JobFiles) -> None:
        self.store, self.files = store, files

    def accept(self, form: Form, folder: Path, *, promoter: Promoter, owner: str) -> tuple[Job, bool]:
        """The job of a form whose files lie in `folder`, and whether it is new.

        When this returns, the job is on disk and in the table. What can be told at once is told at once: an unknown or refused model, a
        form, layout or archive that is no use, another sample than the model's. Raises InputError, RegistryError, RefusedError.
        """
        upload, adapt = read_upload(form, folder), _flag(form.texts.get("adapt", ""), "adapt")
        version, card = promoter.version_of(form.texts["model"].strip())
        _check(upload, card)
        mark = fingerprint(form, upload, owner=owner, adapt=adapt, model=f"{version.name}/{version.version} {version.bundle_sha256}")
        layout = upload.layout.layout
        write_sent(folder, upload, form, bundle_sha256=version.bundle_sha256, adapt=adapt)
        job, is_new = self._take_in(folder, NewJob(
            fingerprint=mark, owner=owner, model=version.name, version=version.version, adapt=adapt, screen=upload.screen.name,
            sample=upload.screen.sample, plates=len(upload.plates), wells=len(layout)))
        self.files.listed(job.id)
        job_id.set(job.id)
        logger.info("job accepted" if is_new else "job was sent before", extra={"fields": {"wells": job.wells, "by": owner}})
        return job, is_new

    def _take_in(self, received: Path, new: NewJob) -> tuple[Job, bool]:
        """The job of these files, and whether it is new. Of a job that is known the files are dropped, unless its own were lost: then these
        take their place, and it is done anew.
        """
        if known := self.store.find(new.fingerprint):
            if missing := not self.files.folder(known.id).is_dir():
                received = self.files.keep(received, known.id)
            with suppress(UnknownJobError):     # it is being deleted at this very moment: then the same again is a new one
                return self.store.send_again(new.fingerprint, anew=missing), False
        self.files.keep(received, new.id)
        return self._enter(new)

    def _enter(self, new: NewJob) -> tuple[Job, bool]:
        """Put a job into the table whose files are kept already. Where that fails, the files are deleted: each further try would leave
        another copy on the disk.
        """
        try:
            job, is_new = self.store.accept(new)
        except JobStoreError:
            with suppress(JobStoreError):   # where the table cannot say either, JobFiles.sweep decides later
                if self.store.find(new.fingerprint) is None:
                    self.files.remove(new.id)
            raise
        if not is_new:      # the same came twice at the same moment
            self.files.remove(new.id)
        return job, is_new

    def result(self, job: Job) -> Result:
        """The result after the latest change of wells. Raises JobConflictError unless the job is done and its files are there,
        UnknownJobError for one that is deleted meanwhile.
        """
        _require_done(job)
        folder = self.files.folder(job.id)
        with self.there(job):
            return result_at(folder, self.store.changes(job.id, upto=job.revision), fit=sent_options(folder).fit, revision=job.revision)

    @contextmanager
    def there(self, job: Job, *archives: Path) -> Iterator[None]:
        """Answer for files of the job that are missing in the block: UnknownJobError where the job was deleted meanwhile, else a
        JobConflictError that says to send the plate again. archives: plates that are read in the block; one that is there but damaged stays
        an ImageError.
        """
        try:
            yield
        except (FileNotFoundError, ImageError) as error:
            if isinstance(error, ImageError) and all(path.is_file() for path in archives):
                raise
            self.store.get(job.id)
            raise JobConflictError(f"the files of job {job.id} are no longer there; send the same again, and it is done anew") from error

    def change_wells(self, job: Job, changes: Sequence[WellChange], *, by: str, seen: int | None = None) -> Job:
        """Leave wells out or take them back, keep that, and fit again; what is so already is no new revision. seen: as
        JobStore.change_wells. Raises InputError, JobConflictError.
        """
        _require_done(job)
        with self.there(job):
            wells = read_result(self.files.folder(job.id) / "result").scored.tables.wells
            check_changes(wells, changes)
        kept = self.store.changes(job.id)
        if left_out(wells, [*kept, *changes]) == left_out(wells, kept):
            return self.store.get(job.id)
        changed = self.store.change_wells(job.id, changes, by=by, seen=seen)
        self.result(changed)
        return changed

    def delete(self, job: Job) -> None:
        """Delete a job; the files of one that runs go when its worker has let it go."""
        if self.store.begin_delete(job.id):
            self.files.remove(job.id)
            self.store.end_delete(job.id)


def job_record(job: Job) -> dict[str, Any]:
    """A job as its asker sees it."""
    return {"id": job.id, "name": job.screen, "state": job.state, "model": job.model, "version": job.version,
            "adapt": job.adapt, "sample": job.sample, "plates": job.plates, "wells": job.wells, "by": job.owner,
            "created": job.created_at, "started": job.started_at, "finished": job.finished_at,
            "progress": {"stage": job.stage, "done": job.stage_done, "total": job.stage_total}, "note": job.note, "sent": job.sent,
            "revision": job.revision, "error": job.error, "findings": list(job.findings)}


def job_line(job: Job) -> dict[str, Any]:
    """A job as it stands in a list: without findings, and with the first words of its error and note."""
    record = job_record(job)
    del record["findings"]
    return record | {name: shorten(record[name], FIRST_WORDS, placeholder=" …") for name in ("error", "note")}


def _check(upload: Upload, card: Card | None) -> None:
    """What is known to go wrong before an image is read. card: None where the model is not loaded, so that its job judges."""
    for path in upload.plates:
        PlateArchive(path).close()
    if upload.layout.errors:
        judge_screen(upload.layout, upload.screen).require()
    if card is not None:
        require_plates(card)
        judge_screen(upload.layout, upload.screen, thresholds=thresholds_of(card)).require()


def _flag(text: str, name: str) -> bool:
    known = {"": False, "false": False, "0": False, "no": False, "true": True, "1": True, "yes": True}
    if text.strip().lower() not in known:
        raise InputError("the form cannot be used", [field_finding(name, f"'{name}' is true or false, got '{text[:50]}'", text)])
    return known[text.strip().lower()]


def _require_done(job: Job) -> None:
    if job.state != "done":
        words = {"failed": f"failed; GET /jobs/{job.id} says why", "refused": f"was refused; GET /jobs/{job.id} says why"}
        raise JobConflictError(f"job {job.id} {words.get(job.state, f'is {job.state}; it has no result yet')}")
