"""The log of promotions: every change once, whatever was cut off, full or away meanwhile."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from models.errors import RegistryError
from serving.promotion import Promoter
from serving.promotion_log import Change, PromotionLog
from tests.serving.tiny import CLASSIFIER, MODEL, Away


def test_the_log_survives_a_cut_line_and_a_restart(away: Away, tmp_path: Path) -> None:
    path = tmp_path / "log" / "promotions.jsonl"
    for _ in range(2):
        Promoter(lambda: away, PromotionLog(path), device="cpu").look()
    assert [change.model for change in PromotionLog(path).read()] == [CLASSIFIER, MODEL]    # the same champions again are no change
    with path.open("ab") as file:
        file.write(b'{"at": "2026\xff')
    assert [change.event for change in PromotionLog(path).read()] == ["serving", "serving"]


def test_an_alias_taken_away_while_no_service_ran_is_in_the_log(away: Away, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "promotions.jsonl"
    before = Promoter(lambda: away, PromotionLog(path), device="cpu")
    before.look()
    before.stop()
    aliases = {name: named for name, named in away.registry.aliases().items() if name != MODEL}
    monkeypatch.setattr(away.registry, "aliases", lambda: aliases)
    after = Promoter(lambda: away, PromotionLog(path), grace_seconds=0, device="cpu")
    for _ in range(3):
        after.look()
    told = [(change.event, change.version_from, change.version_to) for change in after.log.read() if change.model == MODEL]
    assert told == [("serving", None, 1), ("withdrawn", 1, None)]


def change(number: int, *, model: str = "m") -> Change:
    return Change(at="", model=model, event="serving", version_from=None, version_to=number)


def test_a_restart_after_years_of_changes_is_no_change(away: Away, tmp_path: Path) -> None:
    """The last change of a model may lie any number of lines back."""
    path = tmp_path / "promotions.jsonl"
    first = Promoter(lambda: away, PromotionLog(path), device="cpu")
    first.look()
    first.stop()
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(change(number, model="another"))) + "\n" for number in range(1500))
    written = path.read_text(encoding="utf-8").count(f'"{MODEL}"')
    second = Promoter(lambda: away, PromotionLog(path), device="cpu")
    second.look()
    assert path.read_text(encoding="utf-8").count(f'"{MODEL}"') == written
    assert len(second.log.read()) == 1000


def test_a_version_that_cannot_be_fetched_is_told_once_however_the_reason_reads(
        away: Away, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk names another temporary folder at every try: a line every 30 seconds, for as long as it is full."""
    promoter = Promoter(lambda: away, PromotionLog(tmp_path / "log.jsonl"), retry_seconds=0.0, device="cpu")
    tries: list[str] = []

    def full(*_: object, **__: object) -> None:
        tries.append(f"No space left on device: download-{len(tries)}")
        raise RegistryError(tries[-1])
    with monkeypatch.context() as patch:
        patch.setattr(promoter._models, "get", full)
        for _ in range(4):
            promoter.look()
    assert len(tries) > 4
    assert tries[-1] in "".join(refusal.reason for refusal in promoter.snapshot.refused.values())
    assert [item.event for item in promoter.log.read() if item.model == MODEL] == ["refused"]
    promoter.look()
    assert [item.event for item in promoter.log.read() if item.model == MODEL] == ["refused", "serving"]


def test_a_log_that_cannot_be_written_stops_nothing_and_forgets_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "log.jsonl"
    log = PromotionLog(path)
    log.append(change(1))
    path.rename(tmp_path / "kept.jsonl")
    path.mkdir()    # a file that cannot be written, even by root
    log.append(change(2))
    log.append(change(3))
    assert "cannot be written" in caplog.text
    assert [item.version_to for item in log.read()] == [2, 3]
    path.rmdir()
    (tmp_path / "kept.jsonl").rename(path)
    log.write_waiting()
    log.write_waiting()     # nothing waits any more
    assert [item.version_to for item in PromotionLog(path).read()] == [1, 2, 3]


def test_a_half_line_takes_no_whole_one_with_it(tmp_path: Path) -> None:
    log = PromotionLog(tmp_path / "log.jsonl")
    log.append(change(1))
    with log.path.open("a") as file:
        file.write('{"at": "2026')     # a full disk, or a kill
    log.append(change(2))
    assert [item.version_to for item in log.read()] == [1, 2]
