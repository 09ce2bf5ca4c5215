"""`make demo`: what it promotes. The chain itself is too long for a test."""

from __future__ import annotations

from pathlib import Path

from pipelines.demo import served_models
from pipelines.params import Params

ROOT = Path(__file__).parents[2]


def test_what_scores_is_promoted_and_what_a_new_patients_model_is_trained_from() -> None:
    assert served_models(Params.read(ROOT / "params.yaml")) == [
        "viability-A549", "viability-HEK293", "viability-NCI-H1975", "profile-PAT_1", "profile-INF_R_153_CE"]
