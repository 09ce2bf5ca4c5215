"""Several read-outs of the same wells: roles, duplicates, agreement, mismatches, uniformity, and their figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from models.dose_response import readout_plots
from models.dose_response.readouts import (
    compare_scores,
    duplicate_scores,
    duplicate_wells,
    readout_of,
    reproducibility,
    score_agreement,
    score_readouts,
    uniformity,
)
from models.dose_response.statistics import correlation_interval
from models.errors import TableError

DOSES = (1.0, 10.0, 100.0, 1000.0, 10000.0)
MIDPOINTS = {"strong": 5.0, "middle": 200.0, "late": 20_000.0, "none": np.inf}


def layout() -> pd.DataFrame:
    """Two kinds of kill control: staurosporine (with a series) and benzethonium; four drugs in duplicates on one plate."""
    rows = [("negative", "DMSO", np.nan)] * 8 + [("positive", "Staurosporine", 250.0)] * 8 + [("reference", "Benzethonium", 1e5)] * 4
    rows += [("reference", "Staurosporine", dose) for dose in DOSES]
    table = pd.DataFrame(rows, columns=["role", "treatment", "dose"]).assign(replicate=1)
    drugs = pd.DataFrame([("treated", name, dose, replicate) for name in MIDPOINTS for dose in DOSES for replicate in (1, 2)],
                         columns=["role", "treatment", "dose", "replicate"])
    table = pd.concat([table, drugs], ignore_index=True)
    return table.assign(plate="P1", well=[f"{'ABCDEFGH'[i // 12]}{i % 12 + 1:02d}" for i in range(len(table))], dose_unit="nM")


def wells(*, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    table = layout()
    midpoint = table["treatment"].map(MIDPOINTS)
    true = (1 / (1 + table["dose"] / midpoint)).where(table["role"] == "treated", (table["role"] == "negative").astype(float))
    image = true + np.random.default_rng(seed).normal(0, noise, len(table))
    metabolic = 100 + 900 * true - 50 * (table["treatment"] == "Benzethonium")      # benzethonium leaves less than staurosporine
    return table.assign(image=image, metabolic=metabolic)


def both(noise: float = 0.0) -> pd.DataFrame:
    table = wells(noise=noise)
    return pd.concat([readout_of(table, value="image", name="image", screen="s"),
                      readout_of(table, value="metabolic", name="metabolic", screen="s", positive="benzethonium")], ignore_index=True)


def test_roles_follow_the_read_outs_positive_control() -> None:
    found = both().groupby(["readout", "treatment", "role"]).size()
    assert found[("image", "Staurosporine", "positive")] == 8
    assert found[("image", "Staurosporine", "reference")] == 5
    assert found[("metabolic", "Benzethonium", "positive")] == 4
    assert found[("metabolic", "Staurosporine", "reference")] == 13
    assert ("metabolic", "Staurosporine", "positive") not in found


def test_a_kill_control_that_is_only_a_series_is_its_highest_dose() -> None:
    table = wells()
    table = table[table["role"] != "positive"]
    found = readout_of(table, value="image", name="image", screen="s", positive="staurosporine")
    assert found.loc[found["role"] == "positive", "dose"].tolist() == [DOSES[-1]]


def test_viability_is_relative_to_the_read_outs_own_controls() -> None:
    found = both().set_index(["readout", "treatment", "role"])["viability"]
    assert found[("metabolic", "DMSO", "negative")].unique().tolist() == [1.0]
    assert found[("metabolic", "Benzethonium", "positive")].unique().tolist() == [0.0]
    assert found[("metabolic", "Staurosporine", "reference")].min() == pytest.approx(50 / 950)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(TableError, match="replicate"):
        readout_of(wells().drop(columns="replicate"), value="image", name="image", screen="s")


def test_curves_of_read_outs_have_the_doses_that_they_were_made_with() -> None:
    scored = score_readouts(both()).set_index(["readout", "treatment"])
    for name, ic50 in (("strong", 5.0), ("middle", 200.0)):
        assert scored.loc[("image", name), "ic50"] == pytest.approx(ic50, rel=0.01)
    assert scored.loc[("image", "late"), "ic50_relation"] == ">"
    assert scored["hit"].groupby("treatment").any().to_dict() == {"strong": True, "middle": True, "late": False, "none": False}


def test_duplicates_are_paired_well_by_well_and_their_correlation_is_pearsons() -> None:
    readouts = both(noise=0.1)
    pairs = duplicate_wells(readouts)
    assert pairs.groupby("readout").size().tolist() == [20, 20]
    image = readouts[(readouts["readout"] == "image") & (readouts["role"] == "treated")].set_index(["treatment", "dose", "replicate"])
    for row in pairs[pairs["readout"] == "image"].itertuples():
        assert row.first == image.at[(row.treatment, row.dose, 1), "viability"]
        assert row.second == image.at[(row.treatment, row.dose, 2), "viability"]
    found = reproducibility(pairs).set_index("readout")
    part = pairs[pairs["readout"] == "image"]
    expected = stats.pearsonr(part["first"].astype(float), part["second"].astype(float))
    low, high = expected.confidence_interval()
    assert found.loc["image", ["pearson", "pearson_low", "pearson_high"]].tolist() == pytest.approx([expected.statistic, low, high])
    assert found.loc["metabolic", "pearson"] == pytest.approx(1)


def test_three_replicates_give_three_pairs_and_excluded_wells_none() -> None:
    readouts = both()
    third = readouts[(readouts["role"] == "treated") & (readouts["replicate"] == 2)].assign(replicate=3)
    assert len(duplicate_wells(pd.concat([readouts, third]))) == 3 * len(duplicate_wells(readouts))
    gone = readouts.assign(excluded=(readouts["treatment"] == "strong") & (readouts["replicate"] == 1))
    assert set(duplicate_wells(gone)["treatment"]) == {"middle", "late", "none"}


def test_replicates_whose_numbers_begin_again_on_each_plate_are_still_pairs() -> None:
    """Each plate a replicate, all of them number 1: their mean under one number would leave no pair at all."""
    readouts = both()
    second = (readouts["role"] == "treated") & (readouts["replicate"] == 2)
    again = readouts.assign(plate=readouts["plate"].mask(second, "P2"), replicate=1)
    pd.testing.assert_frame_equal(duplicate_wells(again), duplicate_wells(readouts))
    pd.testing.assert_frame_equal(duplicate_scores(again), duplicate_scores(readouts))


def test_wells_of_two_treatments_are_no_duplicates_of_one() -> None:
    table = wells(noise=0.05)
    third = table[(table["treatment"] == "none") & (table["replicate"] == 1)].assign(
        replicate=3, treatment_2="strong", dose_2=1000.0, image=0.0, well=[f"H{column:02d}" for column in range(8, 13)])
    mixed = pd.concat([table.assign(treatment_2="", dose_2=np.nan), third], ignore_index=True)
    alone, beside = (readout_of(rows, value="image", name="image", screen="s") for rows in (table, mixed))
    assert len(beside) == len(mixed)
    pd.testing.assert_frame_equal(duplicate_wells(beside), duplicate_wells(alone))
    pd.testing.assert_frame_equal(score_readouts(beside), score_readouts(alone))


def test_the_interval_of_a_correlation() -> None:
    assert correlation_interval(0.5, 103) == pytest.approx((0.3395, 0.6324), abs=1e-3)
    assert np.isnan(correlation_interval(0.5, 3)).all()
    assert np.isnan(correlation_interval(1.0, 30)).all()


def test_scores_of_duplicates_come_from_curves_of_their_own() -> None:
    pairs = duplicate_scores(both())
    assert len(pairs) == 8
    np.testing.assert_allclose(pairs["first"].astype(float), pairs["second"].astype(float), atol=1e-6)


def test_a_drug_that_kills_at_every_dose_is_a_hit_without_a_slope() -> None:
    readouts = both(noise=0.05)
    killed = readouts["treatment"] == "strong"
    noise = np.random.default_rng(1).normal(0.1, 0.05, int(killed.sum()))
    readouts.loc[killed, "viability"] = noise
    readouts.loc[readouts["treatment"] == "none", "viability"] = 0.95 + noise[:10].repeat(2)
    scored = score_readouts(readouts).set_index(["readout", "treatment"])
    strong, none = scored.loc[("image", "strong")], scored.loc[("image", "none")]
    assert (strong["status"], strong["ic50_relation"], strong["hit"]) == ("flat", "<", True)
    assert "10 or more but flat" in strong["hit_reason"]
    assert (none["status"], none["hit"]) == ("flat", False)


def test_mismatches_are_hits_of_one_read_out_only() -> None:
    readouts = both()
    changed = (readouts["readout"] == "image") & (readouts["treatment"] == "middle")
    readouts["viability"] = readouts["viability"].mask(changed, 1.0)
    scored = score_readouts(readouts)
    assert scored.set_index(["readout", "treatment"])["hit"][("metabolic", "strong")]
    compared = compare_scores(scored, reference="metabolic").set_index("treatment")
    assert compared["mismatch"].to_dict() == {"strong": "", "middle": "only metabolic", "late": "", "none": ""}
    agreement = score_agreement(compared.reset_index()).iloc[0]
    assert (agreement["mismatches"], agreement["mismatch_share"], agreement["n"]) == (1, 0.25, 4)


def test_treatments_without_a_score_keep_their_place() -> None:
    """In the table, as a number of those that could not be compared, and as a grey row of the map."""
    readouts = both()
    readouts["viability"] = readouts["viability"].mask(readouts["treatment"] == "late")
    scored = score_readouts(readouts)
    compared = compare_scores(scored, reference="metabolic")
    assert compared.set_index("treatment")["mismatch"].to_dict() == dict.fromkeys(MIDPOINTS, "")
    agreement = score_agreement(compared).iloc[0]
    assert (agreement["n"], agreement["n_without"], agreement["mismatch_share"]) == (3, 1, 0)
    assert readout_plots.plot_score_map(scored).axes[0].images[0].get_array().shape == (4, 2)


def test_uniform_wells_lie_half_in_the_middle_and_classes_do_not() -> None:
    readouts = both()
    treated = readouts["role"] == "treated"
    flat = readouts[treated & (readouts["readout"] == "image")]
    flat = flat.assign(viability=np.linspace(0, 1, len(flat)))
    assert uniformity(flat)["middle_share"].iloc[0] == pytest.approx(0.5, abs=0.03)
    classes = readouts.assign(viability=readouts["viability"].mask(treated, (readouts["viability"] > 0.5).astype(float)))
    assert uniformity(classes)["middle_share"].tolist() == [0, 0]
    outside = readouts.assign(viability=readouts["viability"].mask(treated, 1.3))
    assert uniformity(outside)["outside_share"].tolist() == [1, 1]


def test_figures_show_every_read_out() -> None:
    readouts = both(noise=0.05)
    quality = pd.DataFrame({"readout": ["image"] * 4 + ["metabolic"] * 3, "z_prime_mad_mean": [0.6, 0.5, 0.7, -4.0, 0.2, 0.3, np.nan]})
    violins = readout_plots.plot_quality(quality).axes[0]
    assert [text.get_text() for text in violins.texts] == ["-4.0"]
    assert [label.get_text() for label in violins.get_xticklabels()] == ["image\n(n = 4)", "metabolic\n(n = 3)"]
    pairs, scored = duplicate_wells(readouts), score_readouts(readouts)
    drawn = readout_plots.plot_pairs(pairs, reproducibility(pairs), reproducibility(pairs, by=("screen", "readout")))
    assert [len(line.get_xdata()) for line in drawn.subfigs[0].axes[0].lines][1:] == [20, 0]
    assert len(readout_plots.plot_uniformity(readouts).axes) == 2
    score_map = readout_plots.plot_score_map(scored, names={"strong": "STR"}).axes[0]
    assert score_map.images[0].get_array().shape == (4, 2)
    assert score_map.get_yticklabels()[0].get_text() == "STR"
    compared = compare_scores(scored, reference="metabolic")
    bars = readout_plots.plot_score_bars(compared, reference="metabolic").axes[0]
    assert len(bars.patches) == 8
    expected = readout_plots.plot_expected_hits(scored, ["strong", "middle"]).axes[0]
    assert [label.get_text() for label in expected.get_yticklabels()] == ["strong", "middle"]
