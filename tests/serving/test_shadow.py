"""The challenger scores in silence what the champion scored; their agreement is kept, summed up and shown."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.plates.layout import parse_layout
from models.plates.screen import Screen
from models.plates.spreadsheets import read_table
from models.registry import Registry
from models.scoring import ScoringOptions
from serving.agreement import Agreement, AgreementLog, Comparison, compare_scores
from serving.answers import models_answer
from serving.job_files import JobFiles
from serving.job_records import NewJob
from serving.jobs import JobStore
from serving.promotion import Promoter
from serving.promotion_log import PromotionLog
from serving.scored import Answered
from serving.scoring import score_upload
from serving.settings import Settings
from serving.shadow import Shadow
from serving.uploads import Upload
from serving.worker import Worker
from tests.serving.tiny import MODEL, SCREEN, TinyPlate, tiny_registry, two_versions
from tests.waiting import until


def tables(viability: np.ndarray, ic50: list[float], relation: list[str], *, excluded: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    wells = pd.DataFrame({"plate": "P1", "well": [f"A{number:02d}" for number in range(len(viability))], "viability": viability,
                          "excluded": [number < excluded for number in range(len(viability))]})
    curves = pd.DataFrame({"treatment": list("abcd"), "dose_unit": "nM", "ic50": ic50, "ic50_relation": relation})
    return wells, curves


def comparison(seed: int) -> tuple[Comparison, np.ndarray, np.ndarray]:
    """One upload of 24 wells, and the viabilities that count: the first two are left out by the champion, the fourth has none."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, 24)
    y = x + rng.normal(0.02, 0.05, 24)
    x[3] = np.nan
    one = tables(x, [10.0, 20.0, 1000.0, np.nan], ["=", "=", ">", ""], excluded=2)
    other = tables(y, [20.0, 10.0, 500.0, np.nan], ["=", "=", "=", ""])
    count = [2, *range(4, 24)]
    return compare_scores((1, *one), (2, *other), model="m", at="2026"), x[count], y[count]


def summary(*comparisons: Comparison) -> dict[str, Any]:
    found = Agreement()
    for item in comparisons:
        found.add(item)
    return found.record()


def test_sums_over_uploads_give_the_numbers_of_all_wells() -> None:
    parts = [comparison(seed) for seed in range(3)]
    x, y = (np.concatenate([part[side] for part in parts]) for side in (1, 2))
    found = summary(*(part[0] for part in parts))
    assert (found["uploads"], found["plates"], found["wells"]) == (3, 3, 63)
    assert found["viability_r"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found["viability_bias"] == pytest.approx(np.mean(y - x))
    assert found["viability_largest"] == pytest.approx(np.abs(y - x).max())
    assert (found["curves"], found["ic50_both_stated"], found["ic50_one_sided"]) == (12, 6, 3)
    assert found["ic50_ratio"] == pytest.approx(1.0)
    assert found["ic50_ratio_low"] == pytest.approx(0.5)
    assert found["ic50_ratio_high"] == pytest.approx(2.0)


def test_nothing_to_compare_is_said_as_nothing() -> None:
    wells, curves = tables(np.full(4, np.nan), [np.nan] * 4, [""] * 4)
    empty = summary(compare_scores((1, wells, curves), (2, wells, curves), model="m", at="2026"))
    assert (empty["wells"], empty["viability_r"], empty["viability_bias"], empty["ic50_ratio"]) == (0, None, None, None)
    same, same_curves = tables(np.full(4, 0.5), [np.nan] * 4, [""] * 4)
    assert summary(compare_scores((1, same, same_curves), (2, same, same_curves), model="m", at="x"))["viability_r"] is None


def test_the_log_is_shared_between_processes_and_survives_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "agreement.jsonl"
    one, other = AgreementLog(path), AgreementLog(path)
    found = comparison(0)[0]
    one.append(found)
    assert other.of("m", champion=1, challenger=2) == summary(found)
    with path.open("ab") as file:
        file.write(b'{"at": "2026')
    assert other.of("m", champion=1, challenger=2) == summary(found)
    one.append(found)       # loses nothing by the half line before it
    assert other.of("m", champion=1, challenger=2) == summary(found, found) == one.of("m", champion=1, challenger=2)
    assert other.of("m", champion=1, challenger=3) is None


@pytest.fixture
def own(tmp_path: Path) -> Registry:
    """Version 1 is champion, version 2 challenger."""
    return two_versions(tiny_registry(tmp_path), tmp_path)


@pytest.fixture
def promoter(own: Registry, tmp_path: Path) -> Promoter:
    found = Promoter(lambda: own, PromotionLog(tmp_path / "log.jsonl"), device="cpu")
    found.look()
    return found


def uploads(log: AgreementLog) -> int:
    """How many both versions have scored."""
    found = log.of(MODEL, champion=1, challenger=2)
    return int(found["uploads"]) if found else 0


def answered(promoter: Promoter, plate: TinyPlate) -> Answered:
    """What a request leaves behind."""
    upload = Upload(plates=(plate.archive,), layout=parse_layout(read_table(plate.layout), plate_format=96),
                    screen=Screen.from_dict(SCREEN), options=ScoringOptions())
    kept: list[Answered] = []
    answer = json.loads(score_upload(upload, promoter.pick(MODEL), service_version="1", on_answered=kept.append))
    assert {row["version"] for row in answer["wells"]} == {"1"}
    return kept[0]


def test_the_challenger_waits_while_requests_are_in_hand_and_is_then_compared(promoter: Promoter, plate: TinyPlate, tmp_path: Path) -> None:
    log, in_hand, looks = AgreementLog(tmp_path / "agreement.jsonl"), threading.Event(), list[None]()
    in_hand.set()
    shadow = Shadow(promoter, log, busy=lambda: looks.append(None) or in_hand.is_set())
    shadow.start()
    shadow.offer(answered(promoter, plate))
    until(lambda: len(looks) > 5)
    assert uploads(log) == 0
    in_hand.clear()
    until(lambda: uploads(log) > 0)
    shadow.stop()
    record = models_answer(promoter.snapshot, service_version="1", agreement=log)["models"][0]
    assert record["serving"]["version"] == 1
    shown = record["agreement"]
    assert (shown["challenger"], shown["uploads"], shown["plates"], shown["wells"], shown["curves"]) == (2, 1, 1, 96, 2)
    assert -1 <= shown["viability_r"] <= 1


def test_what_finds_no_room_is_dropped_and_models_without_a_challenger_are_left_alone(
        promoter: Promoter, plate: TinyPlate, own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr("serving.metrics.note_shadow", lambda model, outcome: told.append((model, outcome)))
    shadow, item = Shadow(promoter, AgreementLog(tmp_path / "a.jsonl"), busy=lambda: False), answered(promoter, plate)
    for _ in range(4):      # not started: nobody takes them
        shadow.offer(item)
    assert told == [(MODEL, "no_room")] * 2
    own.set_alias(own.resolve(f"{MODEL}/1"), "challenger")
    promoter.look()
    alone = Shadow(promoter, AgreementLog(tmp_path / "a.jsonl"), busy=lambda: False)
    alone.offer(item)
    assert alone._waiting.empty()
    assert models_answer(promoter.snapshot, service_version="1", agreement=alone.log)["models"][0]["agreement"] is None


def test_a_challenger_that_cannot_score_ends_nothing(promoter: Promoter, plate: TinyPlate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     caplog: pytest.LogCaptureFixture) -> None:
    log = AgreementLog(tmp_path / "agreement.jsonl")
    shadow, item = Shadow(promoter, log, busy=lambda: False), answered(promoter, plate)
    with monkeypatch.context() as patch:
        patch.setattr("serving.shadow.score_images", lambda *_, **__: 1 / 0)
        shadow._compare(item)
    assert "the challenger could not be compared (ZeroDivisionError" in caplog.text
    shadow._compare(item)
    assert uploads(log) == 1


def test_a_worker_compares_when_no_job_waits(promoter: Promoter, plate: TinyPlate, own: Registry, tmp_path: Path) -> None:
    settings = Settings(tracking_uri=own.tracking_uri, state=tmp_path / "state", shadow=True, device="cpu")
    settings.state.mkdir()
    worker = Worker(JobStore(settings.database), JobFiles(settings.jobs), settings, service_version="1")
    item, log = answered(promoter, plate), AgreementLog(settings.state / "agreement.jsonl")
    waiting, _ = worker.store.accept(NewJob(fingerprint="f", owner="", model="m", version=1, adapt=False, screen="s", sample="S", plates=1,
                                            wells=1))
    worker._compare(item)
    assert uploads(log) == 0
    worker.store.begin_delete(waiting.id)
    worker._compare(item)
    assert uploads(log) == 1
