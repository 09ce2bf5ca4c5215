"""The files of jobs: one folder each, beside the database, written whole before the job is accepted and kept until it is deleted.

    <id>/screen.yaml, layout.csv, images/<plate>.zip    the upload as a screen's folder: copied to data/ it is one for the pipeline
    <id>/sent/                                          the layout as it was sent, and form.json
    <id>/result/                                        the scores; revisions/<n>/ after wells were excluded or restored
    <id>/training/                                      checkpoint and bundle of a job that adapts a model
    <id>/unlisted                                       there until the table lists the job, and again once it is being deleted
    <id>.deleted/                                       what is being deleted
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.plates.layout import only_plate, parse_layout, write_layout
from models.plates.readers.platemaps import read_layout_table
from models.records import to_record
from models.scoring import ScoringOptions
from serving.forms import Form
from serving.plain import plain
from serving.uploads import SENT, Upload, base_name, read_options, read_screen, sent_table

ABANDONED_SECONDS = 3600    # an unlisted folder that no row of the table knows is an upload that was cut off, if it is older
_UNLISTED = "unlisted"


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a job was asked, read back from its folder. bundle_sha256: of the version that was meant; "" where an earlier
    release accepted it.
    """

    upload: Upload
    model: str
    bundle_sha256: str
    adapt: bool


class JobFiles:
    """The folder of all jobs."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def folder(self, job: str) -> Path:
        """The folder of one job."""
        return self.root / job

    def plates(self, job: str) -> dict[str, Path]:
        """The plate archives of a job, by plate."""
        return {path.stem: path for path in (self.folder(job) / "images").glob("*.zip")}

    def keep(self, received: Path, job: str) -> Path:
        """Make a received upload the job's folder, and give that. When this returns, a power cut does not take it away. `listed` must
        follow.
        """
        (received / _UNLISTED).touch()
        for path in sorted(received.rglob("*"), reverse=True):
            _flush(path)
        self.root.mkdir(parents=True, exist_ok=True)
        _flush(received)
        try:
            received.rename(self.folder(job))
        except OSError:     # the same came twice at the same moment
            if not self.folder(job).is_dir():
                raise
        _flush(self.root)
        return self.folder(job)

    def listed(self, job: str) -> None:
        """The job is in the table: from now on only `remove` takes its files away."""
        (self.folder(job) / _UNLISTED).unlink(missing_ok=True)

    def remove(self, job: str) -> None:
        """Delete a job's files. The folder is renamed first, so that a fit that is written at this moment cannot put a file into a folder
        that is half deleted. What cannot be deleted now is marked, and `sweep` deletes it later.
        """
        gone = self.root / f"{job}.deleted"
        with contextlib.suppress(OSError):
            (self.folder(job) / _UNLISTED).touch()
        with contextlib.suppress(OSError):
            self.folder(job).rename(gone)
        for path in (gone, self.folder(job)):
            shutil.rmtree(path, ignore_errors=True)

    def sweep(self, known: set[str]) -> list[str]:
        """Delete the files of uploads that became no job, and what is left of deleted ones. Returns their ids.

        Files that were listed once are never deleted here, so a service that is given an empty table by mistake destroys nothing.
        """
        found = [mark.parent for mark in self.root.glob(f"*/{_UNLISTED}") if mark.parent.name not in known and _is_old(mark)]
        for path in found:
            shutil.rmtree(path, ignore_errors=True)
        return [path.name for path in found]


def _is_old(mark: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):    # a job is listed at this very moment
        return time.time() - mark.stat().st_mtime > ABANDONED_SECONDS
    return False


def write_sent(folder: Path, upload: Upload, form: Form, *, bundle_sha256: str, adapt: bool) -> None:
    """Put an upload that `read_upload` understood into a job's form."""
    (folder / SENT / "form.json").write_text(json.dumps({**form.texts, "bundle_sha256": bundle_sha256, "adapt": adapt}), encoding="utf-8")
    (folder / "screen.yaml").write_text(json.dumps(plain(upload.screen.to_dict()), indent=1) + "\n", encoding="utf-8")     # JSON is YAML
    write_layout(upload.layout.layout, folder / "layout.csv")


def _read_form(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / SENT / "form.json").read_text(encoding="utf-8")))


def sent_options(folder: Path) -> ScoringOptions:
    """The options that a job was sent with."""
    return read_options(_read_form(folder).get("options", ""))


def read_sent(folder: Path) -> Sent:
    """What `write_sent` wrote, as `read_upload` gave it."""
    form = _read_form(folder)
    screen, plates = read_screen(form["screen"]), tuple(sorted((folder / "images").glob("*.zip")))
    parsed = parse_layout(read_layout_table(sent_table(folder)), plate_format=screen.plate_format,
                          default_plate=only_plate([path.stem for path in plates]))
    return Sent(upload=Upload(plates=plates, layout=parsed, screen=screen, options=sent_options(folder)),
                model=form["model"], bundle_sha256=form.get("bundle_sha256", ""), adapt=form["adapt"])


def fingerprint(form: Form, upload: Upload, *, owner: str, model: str, adapt: bool) -> str:
    """sha256 over who asks what of which version, and the bytes of every file: the same again has the same.

    model: name/version and hash, so that the same plate after a promotion, or of a registry that was made anew, is another job.
    """
    files = sorted((base_name(file.filename, "images"), file.sha256) for file in form.files["images"])
    said: Mapping[str, object] = {
        "owner": owner, "model": model, "adapt": adapt, "screen": upload.screen.to_dict(), "options": to_record(upload.options),
        "layout": form.files["layout"][0].sha256, "images": files, "plates": [path.stem for path in upload.plates]}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def _flush(path: Path) -> None:
    """To the disk itself, not only to the system's memory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
