"""Archives as tasks: on processes and clusters, cut off, and again after something changed; to the same bytes, and nothing done twice."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from models.errors import DosewellError
from models.networks.bundle import bundle_sha256
from models.plates.layout import write_layout
from pipelines.plate_tasks import Outcome, predict_plate
from pipelines.pools import InlineExecutor, Pool
from pipelines.score_archive import plate_table, run, write_summary
from tests.pipelines.archives import Recording, make_screen, planned_in
from tests.serving.tiny import ROOT, tiny_bundle, tiny_layout

CLUSTER = """
import os, sys
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
import ray
ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", object_store_memory=100_000_000, _temp_dir=sys.argv[1])
print("at", ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, bundle: Path) -> None:
    screens = [make_screen(tmp_path / name, plates=("P1", "P2")) for name in ("one", "two")]
    planned = planned_in(tmp_path, bundle, *screens)
    first = Recording(stop=4)
    with pytest.raises(KeyboardInterrupt):
        run(planned, Pool(first, lambda: 1), progress=False)
    assert first.done == [("predict_plate", "P1"), ("predict_plate", "P2"), ("score_screen", "one"), ("predict_plate", "P1")]
    second = Recording()
    outcomes = run(planned_in(tmp_path, bundle, *screens), Pool(second, lambda: 1), progress=False)
    assert second.done == [("predict_plate", "P2"), ("score_screen", "two")]
    assert outcomes == [Outcome(), Outcome()]
    assert write_summary(planned, outcomes, tmp_path / "out")["scored"].tolist() == [96] * 4


def test_a_changed_layout_needs_no_image_again_and_a_changed_plate_only_itself(tmp_path: Path, bundle: Path) -> None:
    screen = make_screen(tmp_path / "one", plates=("P1", "P2"))
    run(planned_in(tmp_path, bundle, screen), Pool(InlineExecutor(), lambda: 1), progress=False)
    layout = pd.concat([tiny_layout("P1"), tiny_layout("P2")], ignore_index=True)
    write_layout(layout.assign(excluded=layout["well"].eq("A01"), exclusion_reason=layout["well"].map({"A01": "a bubble"}).fillna("")),
                 screen / "layout.csv")
    after = Recording()
    run(planned_in(tmp_path, bundle, screen), Pool(after, lambda: 1), progress=False)
    assert after.done == [("score_screen", "one")]
    wells = pd.read_parquet(tmp_path / "out" / "scores" / "one" / "wells.parquet")
    assert wells.loc[wells["excluded"], "exclusion_reason"].tolist() == ["a bubble"] * 2
    planned = planned_in(tmp_path, bundle, screen)
    assert plate_table(planned, [Outcome()])["left_out"].tolist() == [1, 1]
    wells.assign(logit=wells["od"], od=np.nan).to_parquet(tmp_path / "out" / "scores" / "one" / "wells.parquet", index=False)
    assert plate_table(planned, [Outcome()])["scored"].tolist() == [96, 96]      # of a classifier
    os.utime(screen / "images" / "P2.zip", ns=(1, 1))
    touched = Recording()
    run(planned_in(tmp_path, bundle, screen), Pool(touched, lambda: 1), progress=False)
    assert touched.done == [("predict_plate", "P2"), ("score_screen", "one")]


def test_another_model_or_other_options_leave_no_scores_of_the_ones_before(tmp_path: Path, bundle: Path,
                                                                           command: Callable[..., Path]) -> None:
    screen = make_screen(tmp_path / "one")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())

    def scores() -> tuple[str, pd.DataFrame, pd.DataFrame]:
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        out = command(screen, options=("--params", str(tmp_path / "params.yaml"))) / "scores" / "one"
        return (json.loads((out / "lineage.json").read_text())["bundle_sha256"], *(pd.read_parquet(out / f"{name}.parquet")
                                                                                    for name in ("wells", "curves")))

    first = scores()
    tiny_bundle(bundle, seed=5)
    retrained = scores()
    assert first[0] != retrained[0] == bundle_sha256(bundle)
    assert not retrained[1]["od"].equals(first[1]["od"])
    params["score"]["fit"]["ic_level"] = 20.0
    other = scores()
    assert other[1]["od"].equals(retrained[1]["od"])
    assert set(other[2]["ic_level"]) == {20.0}
    assert set(retrained[2]["ic_level"]) == {50.0}


@pytest.mark.parametrize("spoilt", ["P1", "P2"])
def test_one_plate_that_cannot_be_predicted_leaves_no_scores_of_the_others(tmp_path: Path, bundle: Path, spoilt: str,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.score_archive.predict_plate",
                        lambda task: Outcome("out of order") if task.out.name == spoilt else predict_plate(task))
    planned = planned_in(tmp_path, bundle, make_screen(tmp_path / "one", plates=("P1", "P2")))
    assert run(planned, Pool(InlineExecutor(), lambda: 1), progress=False) == [Outcome("out of order")]
    assert not (tmp_path / "out" / "scores").exists()


def test_several_processes_give_the_same_bytes(tmp_path: Path, command: Callable[..., Path]) -> None:
    screens = [make_screen(tmp_path / name) for name in ("one", "two")]
    alone, together = command(*screens, out="alone"), command(*screens, out="together", options=("--workers", "2"))
    names = [path.relative_to(alone) for path in sorted(alone.rglob("*")) if path.is_file()]
    assert len(names) > 20
    for name in names:
        assert (alone / name).read_bytes() == (together / name).read_bytes(), name


def _kill(task: object) -> Outcome:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_killed_worker_is_told_with_the_way_out(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.score_archive.predict_plate", _kill)
    planned = planned_in(tmp_path, bundle, make_screen(tmp_path / "one"))
    with ProcessPoolExecutor(1) as executor, pytest.raises(DosewellError, match=r"a worker process was killed.*fewer --workers"):
        run(planned, Pool(executor, lambda: 1), progress=False)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a Ray cluster of this machine alone, with a token of its own."""
    for name, value in {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}.items():
        monkeypatch.setenv(name, value)
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, subprocess.Popen(   # its sockets' paths must be short
            [sys.executable, "-c", CLUSTER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as head:
        assert head.stdin is not None
        assert head.stdout is not None
        yield next(line.split()[1] for line in head.stdout if line.startswith("at "))
        head.stdin.close()


def test_a_ray_cluster_gives_the_same_bytes(tmp_path: Path, command: Callable[..., Path], bundle: Path, cluster: str) -> None:
    screens = [make_screen(tmp_path / "one", plates=("P1", "P2")), make_screen(tmp_path / "two")]
    here, there = command(*screens, out="here"), tmp_path / "there"
    subprocess.run([sys.executable, "-m", "pipelines.score_archive", *screens, "--bundle", bundle, "--out", there, "--ray", cluster],
                   cwd=ROOT, check=True, timeout=300)
    assert pd.read_csv(there / "plates.csv")["scored"].tolist() == [96] * 3
    for path in sorted(here.rglob("*")):
        assert path.is_dir() or path.read_bytes() == (there / path.relative_to(here)).read_bytes(), path
