"""Synergy against SynergyFinder's reference columns, and by law."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.dose_response import synergy
from models.dose_response.synergy import fit_single, zip_surfaces
from models.errors import InputError
from models.plates.screen import Screen
from models.scoring import score_measured
from models.wells import wells_of

UNITS = {True: "nM", False: ""}
NAMES = {"dose_1": "conc1", "dose_2": "conc2", "response": "response"}


@pytest.fixture
def block(reference: Path) -> pd.DataFrame:
    return pd.read_csv(reference / "synergy_mathews_block1.csv")


def test_bliss_and_hsa_equal_synergyfinder(block: pd.DataFrame) -> None:
    for kind, name in (("bliss", "Bliss"), ("hsa", "HSA")):
        found = synergy(block, **NAMES, kind=kind)
        np.testing.assert_allclose(found["excess"], block[f"{name}_synergy"], atol=1e-6)
        np.testing.assert_allclose(found["expected"], block[f"{name}_ref"], atol=1e-6)


def test_zip_equals_synergyfinder_given_its_single_curves(block: pd.DataFrame) -> None:
    """SynergyFinder's fit of drug 1 ended at the constant mean (RSS 5630, where 30 can be reached); with that constant ZIP's
    expectation agrees to 0.01. Its fitted surface has such ends too: median difference below 1, none above 6.5."""
    both = (block["conc1"] > 0) & (block["conc2"] > 0)
    constant = block.loc[block["conc2"] == 0, "response"].mean()
    alone = block[block["conc1"] == 0]
    second = fit_single(alone["conc2"].to_numpy(float), alone["response"].to_numpy(float))
    assert second is not None
    a, b, y = (block[name].to_numpy(float) for name in NAMES.values())
    expected, fitted = zip_surfaces(a, b, y, effects=(lambda dose: np.full(len(dose), constant), second.effect))
    np.testing.assert_allclose(expected[both], block.loc[both, "ZIP_ref"], atol=0.01)
    difference = np.abs(fitted - block["ZIP_fit"])[both]
    assert difference.median() < 1.0
    assert difference.max() < 6.5


def matrix(effect: object) -> pd.DataFrame:
    doses = np.array([0.0, 0.1, 0.3, 1.0, 3.0, 10.0])
    a, b = (grid.ravel() for grid in np.meshgrid(doses, doses))
    return pd.DataFrame({"conc1": a, "conc2": b, "response": effect(a, b)})


def hill(dose: np.ndarray, middle: float) -> np.ndarray:
    return 100 * dose / (dose + middle)


def test_independent_drugs_have_no_bliss_and_no_zip_excess() -> None:
    wells = matrix(lambda a, b: 100 - (100 - hill(a, 1.0)) * (100 - hill(b, 0.5)) / 100)
    assert np.abs(synergy(wells, **NAMES)["excess"]).max() < 1e-9
    found = synergy(wells, **NAMES, kind="zip")
    assert found["excess"].notna().all()
    assert np.abs(found["excess"]).max() < 0.1
    assert abs(found["excess"].mean()) < 0.01


def test_a_drug_with_itself_has_no_loewe_excess() -> None:
    found = synergy(matrix(lambda a, b: hill(a + b, 1.0)), **NAMES, kind="loewe")
    assert found["excess"].notna().all()
    assert np.abs(found["excess"]).max() < 0.01


@pytest.mark.parametrize("kind", ["loewe", "zip"])
def test_a_drug_alone_at_three_doses_gets_no_fitted_expectation_and_a_reason(kind: str) -> None:
    wells = matrix(lambda a, b: hill(a + b, 1.0))
    for first, second in (("conc1", "conc2"), ("conc2", "conc1")):
        found = synergy(wells[(wells[second] > 0) | (wells[first] < 3.0)], **NAMES, kind=kind)
        both = (found["dose_1"] > 0) & (found["dose_2"] > 0)
        assert found.loc[both, "excess"].isna().all()
        assert found.loc[both, "reason"].str.contains("fewer than 4 doses").all()


def test_a_drug_that_cannot_reach_the_effect_adds_nothing_to_loewe() -> None:
    """The partner's effect alone is what is expected then, and above both curves what the stronger one can do at most."""
    wells = matrix(lambda a, b: np.maximum(0.2 * hill(a, 1.0), hill(b, 1.0)))
    found = synergy(wells, **NAMES, kind="loewe")
    strong = (found["dose_1"] > 0) & (found["dose_2"] >= 1.0)
    assert np.abs(found.loc[strong, "excess"]).max() < 0.01


def test_a_missing_single_drug_well_gives_nan_with_a_reason() -> None:
    wells = matrix(lambda a, b: hill(a + b, 1.0))
    wells = wells[~((wells["conc1"] == 1.0) & (wells["conc2"] == 0.0))]
    found = synergy(wells, **NAMES)
    gone = (found["dose_1"] == 1.0) & (found["dose_2"] > 0)
    assert found.loc[gone, "excess"].isna().all()
    assert (found.loc[gone, "reason"] != "").all()
    assert found.loc[~gone, "excess"].notna().all()


def test_unknown_kind_raises() -> None:
    with pytest.raises(InputError, match="kind"):
        synergy(matrix(lambda a, b: a), **NAMES, kind="magic")


def test_a_published_matrix_as_a_plate_gives_the_published_excess(block: pd.DataFrame) -> None:
    """From a layout on: the table of combinations has SynergyFinder's Bliss and HSA. Without replicates it calls nothing."""
    a, b, y = (block[name].to_numpy(float) for name in NAMES.values())
    treated = (a > 0) | (b > 0)
    layout = pd.DataFrame({
        "role": np.where(treated, "treated", "negative"), "treatment": np.where(a > 0, "one", np.where(b > 0, "two", "")),
        "dose": np.where(a > 0, a, np.where(b > 0, b, np.nan)), "treatment_2": np.where((a > 0) & (b > 0), "two", ""),
        "dose_2": np.where((a > 0) & (b > 0), b, np.nan), "readout": np.where(treated, 1 - y / 100, 1.0)})
    positive = pd.DataFrame([{"role": "positive", "treatment": "", "treatment_2": "", "readout": 0.0}])
    layout = pd.concat([layout, positive], ignore_index=True)
    layout = layout.assign(plate="block", replicate=1, well=list(wells_of(96))[:len(layout)], dose_unit=layout["dose"].notna().map(UNITS),
                           dose_unit_2=layout["dose_2"].notna().map(UNITS))
    scored = score_measured(layout, screen=Screen.from_dict({"name": "block", "sample": "X", "plate_format": 96}))
    found = scored.combinations.doses.set_index(["dose", "dose_2"])
    both = block[(a > 0) & (b > 0)].set_index(["conc1", "conc2"])
    assert len(found) == len(both)
    for column, name in (("excess", "Bliss_synergy"), ("expected", "Bliss_ref"), ("excess_hsa", "HSA_synergy")):
        np.testing.assert_allclose(found[column].reindex(both.index), both[name], atol=1e-6)
    (pair,) = scored.combinations.pairs.to_dict("records")
    assert (pair["call"], pair["status"]) == ("", "no_scatter")
    assert "scatter" in pair["reason"]
