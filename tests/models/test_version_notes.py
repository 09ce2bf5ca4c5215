"""What a person reads of a version before promoting it."""

from __future__ import annotations

from dataclasses import replace

from models.networks.bundle import GateResult
from models.version_notes import Noted, describe_version

GATES = (GateResult(metric="r2_cv", value=0.9623, minimum=0.85, maximum=None, passed=True, reason=""),)
NEW = Noted(metrics={"r2_cv": 0.9623, "rmse_cv": 0.1, "slope_in_sample": 1.0}, recipe={"optimizer.epochs": "120", "seed": "1"},
            tags={"gates": "pass", "data_md5": "a" * 32, "screen": "a549", "git_commit": "c" * 40})
CHAMPION = Noted(version=3, metrics={"r2_cv": 0.9666}, recipe={"optimizer.epochs": "200", "seed": "1"}, tags=dict(NEW.tags))


def test_the_first_line_has_the_gates_with_what_the_champion_reached() -> None:
    assert describe_version(GATES, NEW, CHAMPION).splitlines()[0] == (
        "r2_cv 0.9623 (v3: 0.9666), asked at least 0.85. Gates passed.")
    assert describe_version(GATES, NEW, None).splitlines()[0] == "r2_cv 0.9623, asked at least 0.85. Gates passed."


def test_metrics_stand_beside_the_champions_and_no_in_sample_one_is_among_them() -> None:
    text = describe_version(GATES, NEW, CHAMPION)
    assert "| `r2_cv` | 0.9623 | 0.9666 | squared correlation" in text
    assert "| `rmse_cv` | 0.1 | - |" in text
    assert "in_sample" not in text


def test_what_cannot_be_computed_is_said_in_words() -> None:
    nan = float("nan")
    text = describe_version((replace(GATES[0], value=nan, passed=False),), replace(NEW, metrics={"r2_cv": nan}, tags={}), CHAMPION)
    assert text.startswith("GATES FAILED: r2_cv not computable (v3: 0.9666), asked at least 0.85.")
    assert "| `r2_cv` | not computable | 0.9666 |" in text


def test_what_differs_is_named_and_what_is_the_same_too() -> None:
    text = describe_version(GATES, NEW, CHAMPION)
    assert "- recipe: `optimizer.epochs` 120 (was 200)\n" in text
    assert "- data (md5): the same, aaaaaaaaaaaa\n" in text
    assert "- code (git commit): the same, cccccccccccc" in text.splitlines()
    assert "**" not in text     # no warning: the same wells judged both
    assert "none" not in text   # of parent and experiment neither has one


def test_the_same_commit_with_other_changes_is_not_called_the_same() -> None:
    dirty = Noted(tags=dict(NEW.tags) | {"git_dirty": "true", "dvc_experiment": "hot-lr"})
    text = describe_version(GATES, dirty, CHAMPION)
    assert "- code (git commit): cccccccccccc with uncommitted changes (was cccccccccccc)\n" in text
    assert "- DVC experiment: hot-lr (was none)" in text


def test_versions_that_were_judged_by_other_wells_are_not_silently_compared() -> None:
    other = Noted(version=3, recipe=dict(NEW.recipe) | {"seed": "2"}, tags=dict(NEW.tags) | {"data_md5": "b" * 32})
    text = describe_version(GATES, NEW, other)
    assert "Other data than the champion's" in text
    assert "Another split or seed than the champion's" in text
    assert "- data (md5): aaaaaaaaaaaa (was bbbbbbbbbbbb)" in text


def test_of_a_champion_whose_run_is_gone_nothing_is_made_up() -> None:
    text = describe_version(GATES, NEW, Noted(version=3, tags=CHAMPION.tags))
    assert "| `r2_cv` | 0.9623 | - |" in text
    assert "recipe: the champion's is not noted" in text
    assert "**" not in text


def test_failed_gates_say_so_first_and_a_long_text_stays_within_what_mlflow_keeps() -> None:
    recipe = {f"a.{number}": "x" * 500 for number in range(100)}
    text = describe_version((), Noted(recipe=recipe, tags={"gates": "fail: none"}), Noted(version=1, recipe={"b": "y"}))
    assert text.startswith("GATES FAILED: none was judged. It will not be served.")
    assert "and 89 more" in text
    assert len(text) < 5000
