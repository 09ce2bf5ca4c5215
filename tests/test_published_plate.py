"""The published plate of docs/published_plate.md: the figures that the page states, computed from the files."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.published_plate import EXPECTED_HITS, IMAGE, METABOLIC, PublishedPlate, evaluate, read_plate
from models.dose_response import FitOptions
from models.dose_response.readouts import compare_scores, score_agreement, score_readouts

FILES = Path(os.environ.get("DOSEWELL_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data" / "vendor_layouts" / "itrex"
pytestmark = [pytest.mark.shared, pytest.mark.skipif(not FILES.is_dir(), reason=f"{FILES} is not there; set DOSEWELL_SHARED")]


@pytest.fixture(scope="module")
def readouts() -> pd.DataFrame:
    return read_plate(FILES)


@pytest.fixture(scope="module")
def plate(readouts: pd.DataFrame) -> PublishedPlate:
    return evaluate(readouts, FitOptions(mode="itrex", interval="none"))


def test_each_read_out_has_its_own_positive_control(readouts: pd.DataFrame) -> None:
    kills = readouts[readouts["role"] == "positive"].groupby("readout")[["treatment", "dose"]].agg(set)
    assert kills.loc[IMAGE].tolist() == [{"Staurosporine"}, {250.0}]
    assert kills.loc[METABOLIC].tolist() == [{"BzCl"}, {100_000.0}]
    treated = readouts[readouts["role"] == "treated"]
    assert treated.groupby("readout")["well"].agg(tuple).nunique() == 1      # the same wells, in the same order
    assert treated.groupby("readout").size().tolist() == [260, 260]


def test_z_prime_is_the_published_one(plate: PublishedPlate) -> None:
    quality = plate.quality.set_index("readout")
    assert quality.loc[IMAGE, ["n_negative", "n_positive"]].tolist() == [10, 8]
    assert quality.loc[IMAGE, "z_prime_mad_mean"] == pytest.approx(0.625, abs=0.001)


def test_duplicates_agree_as_published(plate: PublishedPlate) -> None:
    wells, scores = plate.wells.set_index("readout"), plate.scores.set_index("readout")
    assert wells.loc[IMAGE, ["pearson", "n"]].tolist() == pytest.approx([0.763, 130], abs=0.001)
    assert wells.loc[METABOLIC, "pearson"] == pytest.approx(0.921, abs=0.001)
    assert wells.loc[IMAGE, ["pearson_low", "pearson_high"]].tolist() == pytest.approx([0.680, 0.826], abs=0.001)
    assert scores.loc[[IMAGE, METABOLIC], "pearson"].tolist() == pytest.approx([0.880, 0.959], abs=0.01)
    assert scores["n"].tolist() == [26, 26]


def test_image_and_metabolic_scores_agree_as_published(plate: PublishedPlate) -> None:
    found = plate.agreement.iloc[0]
    assert found["pearson"] == pytest.approx(0.76, abs=0.01)
    apart = plate.compared.set_index("treatment")["mismatch"]
    by_image = set(apart[apart == f"only {IMAGE}"].index)
    assert by_image - {"Ceritinib"} == {"Palbociclib", "Chloroquine"}
    assert set(apart[apart == f"only {METABOLIC}"].index) == {"Topotecan", "Entinostat"}
    assert (found["mismatches"], found["n"]) == (2 + len(by_image), 26)
    image = plate.scored[plate.scored["readout"] == IMAGE].set_index("treatment")["dss_asym"]
    assert image["Ceritinib"] == pytest.approx(10, abs=0.1)     # on which side is rounding's: iTReX's fit stops at its iteration limit


def test_the_expected_drugs_are_hits_by_both_read_outs(readouts: pd.DataFrame, plate: PublishedPlate) -> None:
    for scored in (plate.scored, score_readouts(readouts)):     # fitted as iTReX does, and as Dosewell does
        hits = scored[scored["treatment"].isin(EXPECTED_HITS)]
        assert len(hits) == 6
        assert hits["hit"].all()


def test_fitted_as_dosewell_does_the_picture_is_the_same(readouts: pd.DataFrame) -> None:
    compared = compare_scores(score_readouts(readouts), reference=METABOLIC)
    assert score_agreement(compared)[["pearson", "mismatches"]].iloc[0].tolist() == pytest.approx([0.745, 6], abs=0.01)
