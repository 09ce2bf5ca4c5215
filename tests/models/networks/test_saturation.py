"""Wells with the very same output are told, others are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from models.networks.heads import build_head
from models.networks.recipe import HeadSpec
from models.networks.saturation import saturation_findings
from models.wells import wells_of


def table(values: np.ndarray, *, plate: str = "P1") -> pd.DataFrame:
    return pd.DataFrame({"plate": plate, "well": list(wells_of(96))[:len(values)], "od": values, "excluded": False})


def test_a_head_whose_units_rest_is_found_and_a_leaky_one_tells_the_wells_apart() -> None:
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32))
    found = {}
    for activation in ("relu", "leaky_relu"):
        head = build_head(HeadSpec(hidden=(4,), outputs=1, activation=activation), 8)
        with torch.no_grad():
            head[0].weight.copy_(torch.ones(4, 8))
            head[0].bias.fill_(-1.0)
            values = head(features)[:, 0].numpy().astype(float)
        found[activation] = saturation_findings(table(values), value="od", model="viability-X")
    assert found["leaky_relu"] == []
    (finding,) = found["relu"]
    resting = int((features.sum(dim=1) <= 1.0).sum())
    assert (finding.rule, finding.severity, finding.plate) == ("saturated_output", "warning", "P1")
    assert len(finding.wells) == resting
    assert f"{resting} of 60 wells get the very same od" in finding.message


def test_few_equal_wells_and_those_left_out_do_not_count() -> None:
    values = np.arange(60.0)
    values[:2] = 7.5
    assert saturation_findings(table(values), value="od", model="m") == []
    values[:10] = 7.5
    left_out = table(values)
    left_out.loc[:8, "excluded"] = True
    assert saturation_findings(left_out, value="od", model="m") == []
    assert saturation_findings(table(np.full(4, np.nan)), value="od", model="m") == []


def test_each_plate_is_looked_at_by_itself() -> None:
    both = pd.concat([table(np.arange(20.0)), table(np.repeat([1.0, 2.0], 10), plate="P2")])
    assert [finding.plate for finding in saturation_findings(both, value="od", model="m")] == ["P2"]
