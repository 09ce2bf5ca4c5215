"""Simulated plates: true by construction, the same for the same seed, and learnable from the images."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from models.errors import TableError
from models.plates.simulate import (
    CELL_LINES,
    MIXED_LINES,
    CellLine,
    TrueCurve,
    curve_table,
    sample_look,
    simulate_brightfield,
    simulate_readout,
    simulate_spheroids,
    true_viability,
)
from models.plates.simulate.examples import Example, example_screens, random_curves
from models.plates.simulate.stamps import CHUNK, Ellipses, draw
from models.tables import LAYOUT, check_table
from models.wells import wells_of

DOSES = (0.1, 1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1e3, 5e3, 1e4, 1e5)
CURVES = {"drug": TrueCurve(midpoint=100, slope=1.2)}


def layout_of(doses: tuple[float, ...] = DOSES, *, replicates: int = 1, plate: str = "P1") -> pd.DataFrame:
    rows = [{"plate": plate, "role": "treated", "treatment": "drug", "dose": dose, "dose_unit": "nM", "replicate": replicate}
            for replicate in range(1, replicates + 1) for dose in doses]
    names = list(wells_of(384))[:len(rows)]
    return pd.DataFrame(rows).assign(well=names)


def controls(**roles: int) -> pd.DataFrame:
    rows = [{"plate": "P1", "role": role, "treatment": "", "dose": np.nan, "dose_unit": "", "replicate": 1}
            for role, count in roles.items() for _ in range(count)]
    return pd.DataFrame(rows).assign(well=list(wells_of(384))[:len(rows)])


def features(image: np.ndarray) -> list[float]:
    """Means and spreads at some scales: what a first convolution sees."""
    values = image.astype(float)
    detail = [values - gaussian_filter(values, 1), gaussian_filter(values, 1) - gaussian_filter(values, 2.5),
              gaussian_filter(values, 2.5) - gaussian_filter(values, 6)]
    return [value for part in detail for value in (part.std(), (np.clip(part, 0, None) ** 2).mean(), np.percentile(part, 2),
                                                   np.percentile(part, 98), np.abs(part).mean())]


def fitted(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    design = np.column_stack([np.ones(len(x)), (x - mean) / spread])
    return np.linalg.solve(design.T @ design + 0.3 * np.eye(design.shape[1]), design.T @ y), mean, spread


def predicted(model: tuple[np.ndarray, np.ndarray, np.ndarray], x: np.ndarray) -> np.ndarray:
    weights, mean, spread = model
    return np.asarray(np.column_stack([np.ones(len(x)), (x - mean) / spread]) @ weights)


def r2(y: np.ndarray, guess: np.ndarray) -> float:
    return float(1 - ((y - guess) ** 2).sum() / ((y - y.mean()) ** 2).sum())


@pytest.fixture(scope="module")
def lines() -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """Features and OD450 of 77 wells of each line."""
    found = {}
    for name, line in CELL_LINES.items():
        layout = layout_of(replicates=7)
        truth = true_viability(layout, {"drug": line.doxorubicin})
        images = simulate_brightfield(layout, line=line, truth=truth, size=96, seed=3, plate="P1")
        found[name] = (np.array([features(pixels) for _, pixels in images]),
                       simulate_readout(layout, line=line, truth=truth, seed=3).to_numpy())
    return found


# --- truth ---------------------------------------------------------------------------------------------------------------

def test_a_true_curve_passes_its_limits_midpoint_and_ic50() -> None:
    curve = TrueCurve(midpoint=50, slope=1.7, bottom=0.2)
    np.testing.assert_allclose(curve.viability(np.array([1e-9, 50, 1e12])), [1, 0.6, 0.2], atol=1e-9)
    assert curve.viability(np.array(curve.ic50)) == pytest.approx(0.5)
    assert TrueCurve(midpoint=5, bottom=0.5).ic50 == np.inf
    assert TrueCurve(midpoint=np.inf).viability(np.array(1e6)) == 1


@pytest.mark.parametrize("wrong", [{"midpoint": 0}, {"midpoint": 1, "slope": 0}, {"midpoint": 1, "bottom": 1.1}])
def test_impossible_curves_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="true curve"):
        TrueCurve(**wrong)


def test_controls_define_one_and_zero_and_empty_wells_have_no_truth() -> None:
    layout = pd.concat([controls(negative=1, positive=1, untreated=1, empty=1), layout_of((100.0,))], ignore_index=True)
    np.testing.assert_array_equal(true_viability(layout, CURVES), [1, 0, 1, np.nan, 0.5])


def test_a_treatment_without_a_curve_is_named() -> None:
    with pytest.raises(TableError, match="'drug' has no true curve"):
        true_viability(layout_of(), {})


def test_the_curve_table_censors_what_lies_beyond_the_doses() -> None:
    layout = layout_of((1.0, 10.0, 100.0))
    for midpoint, relation, value in ((10, "=", 10), (1e4, ">", 100), (0.01, "<", 1), (np.inf, ">", 100)):
        row = curve_table(layout, {"drug": TrueCurve(midpoint=midpoint)}).iloc[0]
        assert (row["ic50_relation"], row["ic50"]) == (relation, value)


# --- images --------------------------------------------------------------------------------------------------------------

def test_any_part_of_a_plate_comes_out_the_same() -> None:
    layout, line = layout_of(), CELL_LINES["A549"]
    truth = true_viability(layout, CURVES)
    whole = dict(simulate_brightfield(layout, line=line, truth=truth, size=48, seed=5, plate="P1"))
    part = layout.iloc[[7, 2]]
    for well, pixels in simulate_brightfield(part, line=line, truth=truth, size=48, seed=5, plate="P1"):
        np.testing.assert_array_equal(pixels, whole[well])
    pd.testing.assert_series_equal(simulate_readout(part, line=line, truth=truth, seed=5),
                                   simulate_readout(layout, line=line, truth=truth, seed=5).loc[part.index])


def test_seed_plate_and_well_each_change_the_image() -> None:
    line, truth = CELL_LINES["A549"], pd.Series([1.0, 1.0])
    layout = controls(negative=2)
    first, second = (pixels for _, pixels in simulate_brightfield(layout, line=line, truth=truth, size=32, seed=1, plate="P1"))
    seeded = next(iter(simulate_brightfield(layout, line=line, truth=truth, size=32, seed=2, plate="P1")))[1]
    moved = next(iter(simulate_brightfield(layout.assign(plate="P2"), line=line, truth=truth, size=32, seed=1, plate="P2")))[1]
    for other in (second, seeded, moved):
        assert (other != first).any()


def test_shapes_depths_and_ranges() -> None:
    layout = controls(negative=1, positive=1, empty=1)
    truth = true_viability(layout, {})
    for line in (*CELL_LINES.values(), *MIXED_LINES.values()):
        for _, pixels in simulate_brightfield(layout, line=line, truth=truth, size=40, plate="P1"):
            assert (pixels.shape, pixels.dtype) == ((40, 40), np.uint8)
            assert np.mean((pixels == 0) | (pixels == 255)) < 0.02
    stacks = dict(simulate_spheroids(layout, look=sample_look("PAT_1"), truth=truth, planes=5, size=40, plate="P1"))
    for stack in stacks.values():
        assert (stack.shape, stack.dtype) == ((5, 40, 40), np.uint16)
        assert stack.max() < 65_535
    assert stacks["A03"].max() < 2 * sample_look("PAT_1").background


def test_an_empty_well_shows_no_cells_and_reads_the_blank() -> None:
    layout = controls(negative=4, empty=4)
    truth = true_viability(layout, {})
    line = CELL_LINES["HEK293"]
    spread = [pixels.std() for _, pixels in simulate_brightfield(layout, line=line, truth=truth, size=64, plate="P1")]
    assert max(spread[4:]) < 0.5 * min(spread[:4])
    readout = simulate_readout(layout, line=line, truth=truth)
    assert abs(readout[4:].mean() - line.od_blank) < 0.05


def test_stamps_sum_to_the_same_light_wherever_they_lie() -> None:
    def blob(square: np.ndarray, _: slice) -> np.ndarray:
        return np.asarray(np.exp(-square * square))

    totals = [draw(Ellipses(np.array([centre]), np.array([[5.0, 3.0]]), np.array([angle])), blob, size=48).sum()
              for centre, angle in (((20.0, 20.0), 0.7), ((31.4, 17.8), 2.0))]
    assert totals[0] == pytest.approx(totals[1], rel=0.02)
    outside = Ellipses(np.array([[-500.0, 900.0]]), np.array([[5.0, 3.0]]), np.array([0.0]))
    assert draw(outside, blob, size=48).sum() == 0


def test_many_stamps_are_drawn_in_parts_and_add_up() -> None:
    rng = np.random.default_rng(0)
    many = Ellipses(rng.uniform(0, 64, (CHUNK + 30, 2)), np.full((CHUNK + 30, 2), 1.5), np.zeros(CHUNK + 30))
    light = np.arange(CHUNK + 30, dtype=float)
    whole = draw(many, lambda square, part: light[part, None, None] * np.exp(-square), size=64)
    halves = [Ellipses(many.centre[rows], many.axes[rows], many.angle[rows]) for rows in (slice(0, 1000), slice(1000, None))]
    parts = [draw(half, lambda square, part, grey=grey: grey[part, None, None] * np.exp(-square), size=64)
             for half, grey in zip(halves, (light[:1000], light[1000:]), strict=True)]
    np.testing.assert_allclose(whole, parts[0] + parts[1], rtol=1e-9)


# --- can it be learnt? ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", CELL_LINES)
def test_the_readout_follows_the_truth_as_closely_as_an_assay_does(name: str) -> None:
    layout, line = layout_of(replicates=8), CELL_LINES[name]
    truth = true_viability(layout, {"drug": line.doxorubicin})
    readout = simulate_readout(layout, line=line, truth=truth)
    assert 0.97 < r2(readout.to_numpy(), (line.od_blank + line.od_span * truth).to_numpy()) < 0.998
    assert readout.between(0, 1.99).all()


@pytest.mark.parametrize("name", CELL_LINES)
def test_a_few_features_of_the_image_predict_the_readout_of_the_same_line(
        name: str, lines: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    x, y = lines[name]
    trained = np.arange(len(y)) < 55
    assert r2(y[~trained], predicted(fitted(x[trained], y[trained]), x[~trained])) > 0.9


def test_a_model_of_one_line_is_wrong_on_the_others(lines: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    for name, (x, y) in lines.items():
        model = fitted(x, y)
        others = {other: r2(lines[other][1], predicted(model, lines[other][0])) for other in lines if other != name}
        assert max(others.values()) < 0.6, (name, others)


@pytest.mark.parametrize("sample", ["PAT_1", "INF_R_153", "PAT_7"])
def test_spheroids_tell_the_controls_apart_and_order_the_doses(sample: str) -> None:
    viability = np.repeat([1.0, 0.75, 0.5, 0.25, 0.0], 12)
    layout = controls(negative=len(viability))
    images = simulate_spheroids(layout, look=sample_look(sample), truth=pd.Series(viability), planes=3, plate="P1")
    x = np.array([features(stack.max(axis=0)) for _, stack in images])
    ends = np.isin(viability, (0, 1))
    guess = predicted(fitted(x[ends], viability[ends]), x)
    means = [guess[viability == level].mean() for level in (0, 0.25, 0.5, 0.75, 1)]
    assert means == sorted(means), means
    assert guess[viability == 1].min() > guess[viability == 0].max()


def test_samples_look_different_and_always_the_same() -> None:
    assert sample_look("PAT_1") == sample_look("PAT_1")
    assert sample_look("PAT_1").brightness != sample_look("PAT_2").brightness


# --- the example's screens -----------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def screens() -> Mapping[str, Example]:
    return {screen.name: screen for screen in example_screens()}


def test_the_example_has_its_screens_and_each_layout_keeps_the_contract(screens: Mapping[str, Example]) -> None:
    assert list(screens) == ["pretrain-brightfield", "a549", "hek293", "nci-h1975", "inf-r-153-ce", "patient-1", "heldout-a549"]
    for screen in screens.values():
        layout = check_table(screen.full_layout(), LAYOUT, keys=("plate", "well"))
        assert all(len(wells) == 96 for _, wells in layout.groupby("plate"))
        assert ("readout" in layout) == bool(screen.lines)
        truth = screen.truth()
        assert truth[["plate", "well"]].equals(layout[["plate", "well"]])
        assert truth["viability"].between(0, 1).all()


@pytest.mark.parametrize("name", ["a549", "hek293", "nci-h1975"])
def test_a_line_has_eleven_doses_in_eight_sets(name: str, screens: Mapping[str, Example]) -> None:
    treated = screens[name].layout.query("role == 'treated'")
    assert sorted(treated["dose"].unique()) == [0.1, 1, 5, 10, 50, 100, 500, 1000, 5000, 10000, 100000]
    assert (treated.groupby(["dose", "replicate"]).size() == 1).all()
    assert len(treated) == 88
    assert (screens[name].layout["role"] == "negative").sum() == 8


def test_the_patient_has_duplicates_controls_and_a_reference_series(screens: Mapping[str, Example]) -> None:
    layout = screens["patient-1"].layout
    treated = layout.query("role == 'treated'")
    assert treated.groupby(["treatment", "dose"])["replicate"].agg(lambda found: sorted(found) == [1, 2]).all()
    assert treated["treatment"].nunique() == 15
    for _, plate in layout.groupby("plate"):
        assert plate["role"].value_counts().to_dict() == {"treated": 75, "negative": 8, "positive": 8, "reference": 5}
    curves = screens["patient-1"].true_curves()
    assert (curves["midpoint"] == np.inf).sum() >= 2
    assert ((curves["bottom"] > 0.5) | (curves["ic50_relation"] == ">")).sum() >= 3


def test_pretraining_shows_other_lines_than_those_to_be_modelled(screens: Mapping[str, Example]) -> None:
    assert not set(MIXED_LINES) & set(CELL_LINES)
    layout = screens["pretrain-brightfield"].layout
    assert layout.groupby("replicate")["line"].nunique().eq(len(MIXED_LINES)).all()
    assert set(screens["pretrain-brightfield"].true_curves()["line"]) == set(MIXED_LINES)


def test_the_heldout_plate_holds_potent_weak_and_inactive_compounds(screens: Mapping[str, Example]) -> None:
    curves = screens["heldout-a549"].true_curves().set_index("treatment")
    assert set(curves["ic50_relation"]) == {"=", ">"}
    assert curves.loc["bortezomib", "ic50"] < curves.loc["doxorubicin", "ic50"] < curves.loc["cisplatin", "ic50"]
    assert set(curves.query("ic50_relation == '>'").index) == {"carboplatin", "sucrose"}
    training = screens["a549"]
    assert not set(training.plates) & set(screens["heldout-a549"].plates)


def test_random_curves_do_not_depend_on_the_order_of_the_layout() -> None:
    layout = pd.concat([layout_of().assign(treatment=name) for name in "abcdefgh"], ignore_index=True)
    curves = random_curves(layout, seed=1)
    assert curves == random_curves(layout.iloc[::-1], seed=1)
    assert curves != random_curves(layout, seed=2)


def test_lines_are_told_apart_by_what_they_are() -> None:
    midpoints = {name: line.doxorubicin.midpoint for name, line in CELL_LINES.items()}
    assert midpoints["HEK293"] < midpoints["NCI-H1975"] < midpoints["A549"]
    assert isinstance(CELL_LINES["A549"], CellLine)


def test_masks_mark_what_cells_add_to_the_image() -> None:
    """Living and dead wells of both kinds: inside the mask the image differs from the empty background, outside hardly."""
    for example in (example for example in example_screens() if example.name in ("a549", "patient-1")):
        plate = example.plates[0]
        masks, images = (dict(islice(drawn, 8)) for drawn in (example.masks(plate), example.images(plate)))
        assert masks.keys() == images.keys()
        for well in masks:
            image = images[well].max(axis=0).astype(float) if images[well].ndim == 3 else images[well].astype(float)
            away = np.abs(image - np.median(image[~masks[well]]))
            assert masks[well].shape == image.shape
            assert 0.02 < masks[well].mean() < 0.98
            assert away[masks[well]].mean() > 2 * away[~masks[well]].mean()
