"""The command line of the client: scores, excludes, fetches, and says how to go on."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from models.errors import InputError
from serving.client import Client, read_images
from tests.serving.tiny import CLASSIFIER, MODEL, ROOT, SAMPLE, SCREEN, Server, TinyPlate
from tests.waiting import PATIENCE


def dosewell(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "serving.cli", *words], capture_output=True, text=True, cwd=ROOT, check=False,
                          timeout=PATIENCE, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environment})


def test_score_and_exclude_on_the_command_line(server: Server, plate: TinyPlate, tmp_path: Path) -> None:
    (tmp_path / "screen.json").write_text(json.dumps(SCREEN))
    done = dosewell("score", str(plate.archive), "--layout", str(plate.layout), "--screen", str(tmp_path / "screen.json"), "--model", MODEL,
                    "--options", '{"fit": {"level": 0.84}}', "--out", str(tmp_path / "out"), "--also", "xlsx", DOSEWELL_URL=server.url)
    assert done.returncode == 0, done.stderr
    assert "96 wells, 2 treatments" in done.stdout
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".html", ".csv", ".json", ".xlsx"}
    answer = json.loads((tmp_path / "out" / "answer.json").read_text())
    again = dosewell("exclude", answer["job"], f"P1:{answer['wells'][40]['well']}=a bubble", "--url", server.url, "--out",
                     str(tmp_path / "second"))
    assert again.returncode == 0, again.stderr
    assert pd.read_csv(tmp_path / "second" / "wells.csv")["excluded"].sum() == 1
    well, asked = f"P1:{answer['wells'][40]['well']}", ("exclude", answer["job"], "--url", server.url)
    for late in (("--out", str(tmp_path / "out")), ("--revision", "0")):     # chosen by the first result, which is no longer the latest
        refused = dosewell(*asked, "--restore", f"{well}=was dust", *late)
        assert refused.returncode == 1
        assert f"{well.replace(':', ' ')} was left out (a bubble); nothing was changed now" in refused.stderr
    seen = dosewell(*asked, "--restore", f"{well}=was dust", "--out", str(tmp_path / "second"))
    assert seen.returncode == 0, seen.stderr
    assert json.loads((tmp_path / "second" / "answer.json").read_text())["revision"] == 2


def test_an_earlier_jobs_result_is_what_score_wrote(server: Server, client: Client, plate: TinyPlate, tmp_path: Path) -> None:
    scores = client.score([plate.archive], layout=plate.layout, model=MODEL, screen=SCREEN, options={"fit": {"level": 0.81}})
    written = [path.name for path in scores.write(tmp_path / "first")]
    done = dosewell("result", scores.job, "--out", str(tmp_path / "again"), "--also", "xlsx", DOSEWELL_URL=server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{scores.summary()}\n")
    for name in written:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
    assert sorted(path.suffix for path in (tmp_path / "again").iterdir() if path.name not in written) == [".xlsx"]
    listed = dosewell("result", "--url", server.url)
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [job["id"] for job in list(client.jobs())[:20]]
    assert any(scores.job in line and "done" in line and f"{MODEL} version 1" in line for line in listed.stdout.splitlines())
    client.delete(scores.job)
    gone = dosewell("result", scores.job, DOSEWELL_URL=server.url)
    assert gone.returncode == 1
    assert "no such job" in gone.stderr
    assert "`dosewell result` without an id lists the latest" in gone.stderr


def test_further_forms_need_a_folder(tmp_path: Path) -> None:
    """They were left out without a word."""
    done = dosewell("result", "0" * 32, "--also", "xlsx", DOSEWELL_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "--also xlsx needs --out" in done.stderr


def test_what_cannot_be_used_is_told_before_anything_is_sent(server: Server, client: Client, plate: TinyPlate, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    words = ["score", str(plate.archive), "--layout", str(plate.layout), "--model", MODEL]
    jobs = [job["id"] for job in client.jobs()]
    for more, message in ((["--sample", SAMPLE, "--out", str(tmp_path / "taken")], "taken is no folder that can be written to (File"),
                          (["--screen", str(tmp_path / "none.yaml")], "none.yaml; name a screen.yaml with --screen"),
                          (["--sample", SAMPLE, "--model", "nobody"], "nobody is no champion")):
        done = dosewell(*words, *more, DOSEWELL_URL=server.url)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert [job["id"] for job in client.jobs()] == jobs


def interrupt(process: subprocess.Popen[str]) -> str:
    """Ctrl-C until it ends, and what it said: Python does not see one that comes just before it begins to wait for the network."""
    for _ in range(6):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=10)[1]
    process.kill()
    raise AssertionError(f"still running after six interrupts: {process.communicate()[1]}")


def test_an_interrupted_client_says_how_to_go_on(plate: TinyPlate) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [sys.executable, "-m", "serving.cli", "score", str(plate.archive), "--layout", str(plate.layout), "--model", MODEL,
                   "--sample", SAMPLE, "--url", f"http://127.0.0.1:{silent.getsockname()[1]}"]
        before = signal.signal(signal.SIGINT, signal.default_int_handler)   # tests in the background ignore it, and what they start too
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        signal.signal(signal.SIGINT, before)
        with silent.accept()[0] as asked:
            asked.recv(1)
            told = interrupt(process)
    assert process.returncode == 130
    assert "interrupted; the same command continues where it stopped" in told
    assert "Traceback" not in told


def test_a_screen_beside_the_images_is_found_and_a_sample_is_enough(server: Server, plate: TinyPlate, tmp_path: Path) -> None:
    images, layout = tmp_path / "images", tmp_path / "layout.csv"
    images.mkdir()
    shutil.copy(plate.archive, images)
    shutil.copy(plate.layout, layout)
    words = ["score", str(images), "--layout", str(layout), "--model", MODEL, "--url", server.url, "--options", '{"fit": {"level": 0.83}}']
    unknown = dosewell(*words)
    assert unknown.returncode == 1
    assert "--screen" in unknown.stderr
    assert "--sample" in unknown.stderr
    by_sample = dosewell(*words, "--sample", SAMPLE, "--out", str(tmp_path / "by_sample"))
    assert by_sample.returncode == 0, by_sample.stderr
    (tmp_path / "screen.json").write_text(json.dumps(SCREEN))
    found = dosewell(*words, "--out", str(tmp_path / "found"))
    assert found.returncode == 0, found.stderr
    assert f"screen: {tmp_path / 'screen.json'}" in found.stderr
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "by_sample" / "curves.csv"), pd.read_csv(tmp_path / "found" / "curves.csv"))
    other = dosewell(*words, "--sample", "NOT THIS ONE")
    assert other.returncode == 1
    assert "NOT THIS ONE" in other.stderr


def test_a_sample_is_not_enough_for_a_model_that_nobody_promoted(client: Client, plate: TinyPlate) -> None:
    with pytest.raises(InputError, match="no champion"):
        client.describe("TINY", layout=plate.layout, model="viability-nobody")


def test_classify_on_the_command_line(server: Server, plate: TinyPlate, tmp_path: Path) -> None:
    for name, data in list(plate.images.items())[:3]:
        (tmp_path / name).write_bytes(data)
    assert len(read_images(tmp_path)) == 3
    done = dosewell("classify", str(tmp_path), "--model", CLASSIFIER, "--sample", "TINY", "--url", server.url,
                    "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "3 images" in done.stdout
    assert len(pd.read_csv(tmp_path / "out" / "classes.csv")) == 3
    wrong = dosewell("classify", str(tmp_path), "--model", MODEL, "--sample", "TINY", "--url", server.url)
    assert wrong.returncode == 1
    assert "scores plates" in wrong.stderr
