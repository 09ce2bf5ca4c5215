"""The benchmark of system S2 at the paper's size, which needs a GPU, at a size that needs none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.gpu_phases import Timing, control_plate, profiled, run, screen
from tests.conftest import CONTROLS

SHORT = replace(CONTROLS, optimizer=replace(CONTROLS.optimizer, batch_size=16, epochs=200), split=replace(CONTROLS.split, validation=0.0))


def test_the_wells_are_those_of_the_paper() -> None:
    assert control_plate()["role"].value_counts().to_dict() == {"positive": 112, "negative": 98}
    layout = screen()
    assert layout["role"].value_counts().to_dict() == {"treated": 750, "negative": 30, "positive": 24}
    assert not layout.duplicated(["plate", "well"]).any()
    assert (layout[layout["role"] == "treated"].groupby(["treatment", "dose"]).size() == 2).all()


def test_three_phases_go_on_from_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    phases = {"phase I": SHORT, "phase II": SHORT, "phase III": replace(SHORT, target="controls_and_duplicates")}
    found = run(phases, epochs=2, device="cpu", drugs=4)
    assert [timing.steps for timing in found] == [2 * 14, 2 * 4, 2 * 6]     # 210, 54, 54 + 40 wells in batches of 16
    assert "phase III: 12 steps in" in capsys.readouterr().out
    assert "200 epochs would take 5.0 min (paper 15)" in Timing("phase II", 3.0, 10, 2, 200).told()


def test_the_profile_names_the_convolutions() -> None:
    assert "conv" in profiled(replace(SHORT, trunk=replace(SHORT.trunk, trained="all")), steps=8, device="cpu")
