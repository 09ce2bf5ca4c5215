"""docs/alarms.yml: the alarms that operations are told to have, asked by Prometheus's own tool where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "docs" / "alarms.yml"
FAILED, BROKEN = 'dosewell_jobs_total{kind="score",state="failed"}', 'dosewell_requests_total{method="GET",route="/jobs",status="503"}'


def alarms() -> dict[str, dict]:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_alarms_stand_on_metrics_that_there_are_and_in_the_page() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(Dosewell\w+)`", text, re.MULTILINE) == list(alarms())
    told = set(re.findall(r"`(dosewell_\w+)`", text))      # tests/test_docs.py compares them with serving/metrics.py
    for rule in alarms().values():
        assert set(re.findall(r"dosewell_\w+", rule["expr"])) <= told, rule


# minutes of a quarter: what is scraped, and at which minutes the alarm must ring, or not
@pytest.mark.parametrize(("alarm", "series", "rings", "silent"), [
    ("DosewellDown", {'up{job="dosewell"}': "1x4 0x60"}, (5, 14), (1,)),
    ("DosewellRegistryAway", {"dosewell_registry_reachable": "1x4 0x60"}, (7,), (1, 4)),
    ("DosewellJobDatabaseAway", {"dosewell_job_database_reachable": "1x4 0x60"}, (4,), (1,)),
    ("DosewellChampionRefused", {'dosewell_champion_refused{model="m"}': "0x8 1x8 0x60"}, (3,), (1, 6)),
    ("DosewellQueueWaits", {"dosewell_oldest_queued_job_seconds": "0x4 1801x60"}, (4,), (1,)),
    ("DosewellDiskFills", {"dosewell_state_free_bytes": "11000000000x4 9000000000x60"}, (8,), (1, 4)),
    # the first failure of its kind since the start: a series that begins with 1, which `increase` alone does not see
    ("DosewellJobFailed", {FAILED: "_x8 1x90"}, (3, 14), (1, 20)),
    ("DosewellJobFailed", {FAILED: "1x70 2x90"}, (19, 25), (16,)),
    ("DosewellAnswersFail", {BROKEN: "_x8 1x90"}, (3, 6), (1, 9)),
    ("DosewellAnswersFail", {BROKEN: "7x40 9x90"}, (12,), (9, 20))])
def test_an_alarm_rings_when_it_should_and_not_else(alarm: str, series: dict[str, str], rings: tuple[int, ...], silent: tuple[int, ...],
                                                    tmp_path: Path) -> None:
    if not shutil.which("promtool"):
        pytest.skip("no promtool (Debian: prometheus)")
    labels = dict(re.findall(r'(\w+)="([^"]*)"', next(iter(series))))
    said = [{"exp_labels": labels, "exp_annotations": alarms()[alarm]["annotations"]}]
    (tmp_path / "test.yml").write_text(json.dumps({
        "rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [{
            "interval": "15s", "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": alarm, "exp_alerts": said if minute in rings else []}
                                for minute in (*rings, *silent)]}]}))
    done = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
