"""The files of jobs: none is swept that a job needs, and none stays that became no job."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from models.errors import RefusedError
from models.registered import RegisteredVersion
from serving.engine import do_job
from serving.forms import Form, StoredFile
from serving.job_desk import JobDesk
from serving.job_files import ABANDONED_SECONDS, JobFiles, read_sent
from serving.job_records import Job, JobStoreError, NewJob
from serving.jobs import JobStore
from tests.serving.tiny import MODEL, SCREEN, new_job, tiny_plate


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    return JobFiles(tmp_path / "jobs")


def received(tmp_path: Path, name: str = "upload") -> Path:
    folder = tmp_path / name
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "P1.zip").write_bytes(b"images")
    return folder


def age(folder: Path) -> None:
    then = time.time() - ABANDONED_SECONDS - 1
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (then, then))


def test_only_what_became_no_job_is_swept(files: JobFiles, tmp_path: Path) -> None:
    """A table that was lost, or an address of another one, takes no files of jobs that were accepted with it."""
    for name in ("cut-off", "just-now", "accepted"):
        files.keep(received(tmp_path, name), name)
    files.listed("accepted")
    age(files.folder("cut-off"))
    age(files.folder("accepted"))
    assert files.sweep(known=set()) == ["cut-off"]
    assert {path.name for path in files.root.iterdir()} == {"just-now", "accepted"}
    age(files.folder("just-now"))
    assert files.sweep(known={"just-now"}) == []     # killed between the table and the mark


def test_what_could_not_be_deleted_is_deleted_later(files: JobFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.keep(received(tmp_path), "job")
    files.listed("job")
    there: list[bool] = []
    with monkeypatch.context() as patch:    # as on a disk of which one file cannot be deleted just now
        patch.setattr("serving.job_files.shutil.rmtree", lambda *_, **__: there.append(files.folder("job").exists()))
        files.remove("job")
    assert not any(there)       # a fit that was being written at that moment stayed on the disk for good
    (left,) = files.root.iterdir()
    age(left)
    assert files.sweep(known=set()) == [left.name]
    assert list(files.root.iterdir()) == []


def test_an_upload_that_the_table_does_not_take_leaves_no_files(store: JobStore, files: JobFiles, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, or a table that is locked: else each try of the client left a copy of its plates behind."""
    new, desk = new_job(), JobDesk(store, files)
    files.keep(received(tmp_path), new.id)

    def full(_job: NewJob) -> tuple[Job, bool]:
        raise JobStoreError("database or disk is full")
    monkeypatch.setattr(store, "accept", full)
    with pytest.raises(JobStoreError):
        desk._enter(new)
    assert not files.folder(new.id).exists()


def test_a_plate_that_came_before_is_a_new_job_for_another_model_of_its_number(store: JobStore, files: JobFiles, tmp_path: Path) -> None:
    """After a registry was made anew, the same plate got the old model's numbers as those of "version 1"."""
    plate, desk = tiny_plate(tmp_path), JobDesk(store, files)

    def version(sha256: str) -> RegisteredVersion:
        return RegisteredVersion(name=MODEL, version=1, run_id="", tags={"bundle_sha256": sha256, "gates": "pass"})

    def send(folder: str, sha256: str) -> tuple[Job, bool]:
        (tmp_path / folder).mkdir()
        sent = {name: StoredFile(filename=path.name, sha256=name, path=Path(shutil.copy(path, tmp_path / folder / f"part-{name}")))
                for name, path in (("images", plate.archive), ("layout", plate.layout))}
        form = Form(files={name: [file] for name, file in sent.items()}, texts={"model": MODEL, "screen": json.dumps(SCREEN)})
        promoter: Any = SimpleNamespace(version_of=lambda _reference: (version(sha256), None))
        return desk.accept(form, tmp_path / folder, promoter=promoter, owner="")
    first, new = send("first", "a" * 64)
    assert new
    assert send("again", "a" * 64) == (store.get(first.id), False)
    assert send("other", "b" * 64)[1]
    with pytest.raises(RefusedError, match="the registry was made anew"):   # meanwhile
        do_job(first, read_sent(files.folder(first.id)), tmp_path, load=Mock(return_value=(version("b" * 64), None)), registry=Mock(),
               progress=Mock(), device="cpu", service_version="1")


def test_what_is_sent_again_while_it_is_deleted_is_a_new_job(store: JobStore, files: JobFiles, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender was told 404 of plates that were all there."""
    desk, first = JobDesk(store, files), new_job()
    assert desk._take_in(received(tmp_path), first)[1]
    send_again = store.send_again

    def deleted_first(fingerprint: str, *, anew: bool = False) -> Job:
        monkeypatch.setattr(store, "send_again", send_again)
        desk.delete(store.get(first.id))
        return send_again(fingerprint, anew=anew)
    for path in ("find", "insert"):
        monkeypatch.setattr(store, "send_again", deleted_first)
        again = new_job()
        if path == "insert":    # found only when it is put into the table
            monkeypatch.setattr(store, "find", lambda _fingerprint: None)
        job, is_new = desk._take_in(received(tmp_path, path), again)
        assert (job.id, is_new, job.state) == (again.id, True, "queued")
        assert (files.folder(job.id) / "images" / "P1.zip").is_file()
        assert not files.folder(first.id).exists()
        first = again
