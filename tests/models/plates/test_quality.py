"""Which images are bad: judged on measures alone, so that each rule is tried by itself, far from any pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.plates.quality import LEAVING_FLAGS, QUALITY_FLAGS, RULE, QualityLimits, judge_wells, leave_out
from models.tables import IMAGE_QUALITY, LAYOUT, check_table
from models.wells import wells_of

LIMITS = QualityLimits()
LIVING = {"detail_1": 6.0, "detail_2": 9.0, "detail_4": 11.0, "detail_8": 12.0, "background": 100.0, "contrast": 80.0, "debris": 5.0,
          "gradient": 0.05, "saturated_share": 0.0, "noise": 2.0, "brightest": 200, "height": 64, "width": 64, "planes": 1, "bits": 8}
DEAD = LIVING | {"detail_1": 3.0, "detail_2": 7.5, "detail_4": 9.0, "detail_8": 9.0, "background": 85.0, "debris": 4.0}   # blunter, sparser


def layout_of(*, plate: str = "P1", controls: int = 8, positive: int = 8, doses: int = 6, replicates: int = 4) -> pd.DataFrame:
    """One treatment, doses 10^0 .. 10^(doses - 1), and controls."""
    rows = [{"role": role, "treatment": "", "dose": np.nan, "dose_unit": "", "replicate": number + 1}
            for role, count in (("negative", controls), ("positive", positive)) for number in range(count)]
    rows += [{"role": "treated", "treatment": "drug", "dose": 10.0**dose, "dose_unit": "nM", "replicate": number + 1}
             for dose in range(doses) for number in range(replicates)]
    return pd.DataFrame(rows).assign(plate=plate, well=list(wells_of(96))[:len(rows)])


def measured(layout: pd.DataFrame, *, lethal_from: float = 1e3, noise: float = 0.05, seed: int = 0,
             **changes: Mapping[str, float]) -> pd.DataFrame:
    """ImageQuality of a layout: wells are dead at the positive control and from a dose on. changes: well -> measures."""
    rng, rows = np.random.default_rng(seed), []
    for place, well in enumerate(layout.to_dict("records")):
        dead = well["role"] == "positive" or (well["role"] == "treated" and well["dose"] >= lethal_from)
        values = dict(DEAD if dead else LIVING)
        values |= {name: values[name] + rng.normal(0, noise) for name in ("detail_1", "detail_2", "detail_4", "detail_8", "debris")}
        rows.append({"plate": well["plate"], "well": well["well"], "site": 1, "channel": "dna", "digest": f"{well['plate']}{place:012x}",
                     **values, **changes.get(well["well"], {})})
    return check_table(pd.DataFrame(rows), IMAGE_QUALITY)


def flags(quality: pd.DataFrame, layout: pd.DataFrame, limits: QualityLimits = LIMITS) -> dict[str, list[str]]:
    """well -> flags of those that have some."""
    judged = judge_wells(quality, layout, limits)
    assert len(judged.flags) == len(layout)
    return {well: own for well, own in zip(layout["well"], judged.flags, strict=True) if own}


def well_at(layout: pd.DataFrame, *, role: str = "treated", dose: float | None = None, number: int = 0) -> str:
    chosen = layout[(layout["role"] == role) & (layout["dose"].eq(dose) if dose is not None else True)]
    return str(chosen["well"].iloc[number])


FAULTS: dict[str, dict[str, float]] = {
    "out_of_focus": {"detail_1": 1.0, "detail_2": 7.0}, "empty_well": {"detail_1": -3.0, "detail_2": -2.0, "detail_4": -1.0},
    "saturated": {"saturated_share": 0.1, "brightest": 255}, "background": {"background": 180.0}, "debris": {"debris": 7.5},
    "uneven_light": {"gradient": 0.6}}


@pytest.mark.parametrize("flag", FAULTS)
@pytest.mark.parametrize(("role", "dose"), [("negative", None), ("positive", None), ("treated", 1.0), ("treated", 1e5)])
def test_a_fault_is_found_in_living_and_dead_wells_and_nowhere_else(flag: str, role: str, dose: float | None) -> None:
    layout = layout_of()
    well = well_at(layout, role=role, dose=dose)
    assert flags(measured(layout, **{well: FAULTS[flag]}), layout) == {well: [flag]}


def test_a_dark_lamp_is_another_background_too() -> None:
    layout = layout_of()
    assert flags(measured(layout, B03={"background": 50.0}), layout) == {"B03": ["background"]}


def test_heavy_blur_is_told_by_coarser_detail() -> None:
    """At the finest scale nothing is left of either, so that their ratio looks as if it were sharp."""
    layout = layout_of()
    found = flags(measured(layout, B03={"detail_1": -2.5, "detail_2": 0.5, "detail_4": 5.0}), layout)
    assert found["B03"] == ["out_of_focus", "empty_well"]


@pytest.mark.parametrize("lethal_from", [1.0, 1e2, 1e5, np.inf])
def test_no_well_is_flagged_for_what_its_drug_did(lethal_from: float) -> None:
    layout = layout_of()
    assert flags(measured(layout, lethal_from=lethal_from), layout) == {}


def test_a_drug_may_do_what_no_control_does_as_long_as_its_wells_agree() -> None:
    """All wells of the two highest doses glow, are blunt and nearly empty: the drug's doing. In a single well it is a fault."""
    layout = layout_of()
    strange = {"background": 200.0, "detail_1": -2.0, "detail_2": 4.0, "detail_4": 5.0}
    high = layout.loc[layout["dose"] >= 1e4, "well"]
    assert flags(measured(layout, **dict.fromkeys(high, strange)), layout) == {}
    assert set(flags(measured(layout, **{high.iloc[0]: strange}), layout)[high.iloc[0]]) == {"out_of_focus", "empty_well", "background"}


def test_without_positive_controls_dead_wells_have_their_like() -> None:
    layout = layout_of(positive=0)
    assert flags(measured(layout), layout) == {}
    well = well_at(layout, dose=1e5)
    assert flags(measured(layout, **{well: FAULTS["empty_well"]}), layout) == {well: ["empty_well"]}


def test_a_replicate_on_another_plate_is_a_like_well_whatever_that_plate_s_level() -> None:
    """One replicate of each dose a plate: the peers stand on the second plate, whose lamp is twice as bright."""
    one, two = (layout_of(plate=plate, positive=0, replicates=1) for plate in ("P1", "P2"))
    both = pd.concat([one, two], ignore_index=True)
    bright = measured(two)
    bright["background"] *= 2
    assert flags(pd.concat([measured(one), bright], ignore_index=True), both) == {}
    well = well_at(one, dose=1e4)
    spoilt = pd.concat([measured(one, **{well: {"background": 150.0}}), bright], ignore_index=True)
    assert flags(spoilt, both) == {well: ["background"]}


def test_without_controls_the_plate_s_median_stands_for_them() -> None:
    layout = layout_of(controls=0, positive=0, doses=1, replicates=30)
    assert flags(measured(layout, B03=FAULTS["out_of_focus"]), layout) == {"B03": ["out_of_focus"]}


def test_a_plate_that_scatters_is_judged_by_its_scatter() -> None:
    layout = layout_of()
    well = {"B03": {"debris": 5.8}}
    assert flags(measured(layout, noise=0.05, **well), layout) == {"B03": ["debris"]}
    assert "B03" not in flags(measured(layout, noise=0.5, **well), layout)


def test_what_a_whole_plate_shows_is_no_fault_of_a_well() -> None:
    layout = layout_of()
    quality = measured(layout).assign(saturated_share=0.05, gradient=0.5, brightest=255)
    assert flags(quality, layout) == {}


def test_an_image_below_the_camera_s_limit_is_not_saturated() -> None:
    layout = layout_of()
    assert flags(measured(layout, B03={"saturated_share": 0.3, "brightest": 120}), layout) == {}     # a dim one of few grey values


def test_wells_that_a_person_left_out_are_no_reference() -> None:
    """Five of eight negative controls are blurred; once a person has left them out, the sixth is found too."""
    layout = layout_of(doses=0)
    blurred = dict.fromkeys(layout["well"].iloc[:6], FAULTS["out_of_focus"])
    sick = measured(layout, **blurred)
    assert flags(sick, layout) == {}
    told = layout.assign(excluded=layout["well"].isin(layout["well"].iloc[:5]), exclusion_reason="")
    assert set(flags(sick, told)) == set(blurred)


def test_empty_wells_by_design_and_wells_without_an_image_are_not_judged() -> None:
    layout = layout_of()
    layout.loc[0, "role"] = "empty"
    quality = measured(layout, A01=FAULTS["empty_well"] | {"background": 900.0})
    assert flags(quality[quality["well"] != "C05"], layout) == {}
    assert flags(quality.iloc[:0], layout) == {}


@pytest.mark.parametrize("bad_sites", [1, 2])
def test_a_well_is_judged_as_it_is_scored_by_the_median_of_its_sites(bad_sites: int) -> None:
    layout = layout_of()
    parts = [measured(layout, seed=site, **({"B03": FAULTS["out_of_focus"]} if site <= bad_sites else {})).assign(
        site=site, digest=[f"{site}-{place}" for place in range(len(layout))]) for site in (1, 2, 3)]
    assert flags(pd.concat(parts, ignore_index=True), layout) == ({"B03": ["out_of_focus"]} if bad_sites == 2 else {})


def test_columns_that_a_layout_has_of_its_own_are_not_taken_for_measures() -> None:
    layout = layout_of()
    assert flags(measured(layout, B03=FAULTS["debris"]), layout.assign(debris="some", gradient=9.0)) == {"B03": ["debris"]}


def test_each_channel_is_judged_and_named() -> None:
    layout = layout_of()
    both = pd.concat([measured(layout), measured(layout, B03=FAULTS["saturated"]).assign(channel="gfp")], ignore_index=True)
    both["digest"] = [str(place) for place in range(len(both))]
    (finding,) = judge_wells(both, layout, LIMITS).findings
    assert (finding.rule, finding.well, finding.column, finding.value, finding.severity) == ("saturated", "B03", "gfp", "0.1", "warning")
    assert finding.message.startswith("well B03 is overexposed")
    assert "(channel gfp)" in finding.message


def test_copies_are_flagged_both_also_across_plates_but_black_images_are_alike_without_being_copies() -> None:
    both = pd.concat([layout_of(plate="P1"), layout_of(plate="P2")], ignore_index=True)
    quality = pd.concat([measured(layout_of(plate="P1")), measured(layout_of(plate="P2"), seed=1)], ignore_index=True)
    quality.loc[[3, 50], "digest"] = "same"
    quality.loc[[7, 8], "digest"] = ""
    judged = judge_wells(quality, both, LIMITS)
    assert np.flatnonzero([bool(own) for own in judged.flags]).tolist() == [3, 50]
    first, second = judged.findings
    assert (first.plate, first.well, first.value) == ("P1", both.at[3, "well"], f"P2 {both.at[50, 'well']}")
    assert (second.plate, second.well, second.value) == ("P2", both.at[50, "well"], f"P1 {both.at[3, 'well']}")


@pytest.mark.parametrize(("change", "flag"), [({"height": 32}, "wrong_size"), ({"planes": 2}, "wrong_size"), ({"bits": 16}, "wrong_depth")])
def test_an_image_unlike_the_others_in_size_or_depth(change: dict[str, float], flag: str) -> None:
    layout = layout_of()
    assert flags(measured(layout, B03=change), layout) == {"B03": [flag]}


def test_the_order_of_rows_does_not_matter() -> None:
    layout = layout_of()
    quality = measured(layout, B03=FAULTS["debris"], C01=FAULTS["out_of_focus"])
    shuffled = layout.sample(frac=1, random_state=1)
    assert flags(quality.sample(frac=1, random_state=2), shuffled) == flags(quality, layout) == {"B03": ["debris"], "C01": ["out_of_focus"]}


def test_limits_say_which_field_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"^focus: must be > 0, got -1"):
        QualityLimits(focus=-1)
    with pytest.raises(ValueError, match=r"^leave_out: 'blurry' is no flag of this kind; known: out_of_focus"):
        QualityLimits(leave_out=("debris", "blurry"))


# --- what a flag does ----------------------------------------------------------------------------------------------------

def flagged(layout: pd.DataFrame, **own: list[str]) -> pd.DataFrame:
    return layout.assign(flags=pd.Series([own.get(well, []) for well in layout["well"]], index=layout.index, dtype=object))


def test_flagged_wells_go_unless_a_person_keeps_them_and_persons_have_the_last_word() -> None:
    layout = check_table(flagged(layout_of(), A01=["debris"], A02=["debris", "out_of_focus"], A04=["saturated"]).assign(
        excluded=[place == 2 for place in range(40)], exclusion_reason=["", "", "bubble", "looked at it"] + [""] * 36), LAYOUT)
    found = leave_out(layout, LIMITS).head(5)
    assert found["excluded"].tolist() == [True, True, True, False, False]
    assert found["exclusion_reason"].tolist() == [RULE + "debris", RULE + "debris, out_of_focus", "bubble", "looked at it", ""]
    assert leave_out(found, LIMITS)[["excluded", "exclusion_reason"]].equals(found[["excluded", "exclusion_reason"]])    # twice is once


def test_a_layout_without_the_columns_gets_them_and_keeps_its_rows() -> None:
    layout = flagged(layout_of(), A02=["empty_well"])
    found = leave_out(layout.iloc[::-1], LIMITS)
    assert found["well"].tolist() == layout["well"].tolist()[::-1]
    assert found.loc[found["excluded"], "well"].tolist() == ["A02"]


def test_only_chosen_flags_leave_a_well_out() -> None:
    layout = flagged(layout_of(), A01=["debris"], A02=["saturated"], A03=["no_image"], A04=["training_well"])
    found = leave_out(layout, replace(LIMITS, leave_out=("saturated",)))
    assert found.loc[found["excluded"], "well"].tolist() == ["A02"]
    assert set(QUALITY_FLAGS) < set(LEAVING_FLAGS) == {*QUALITY_FLAGS, "out_of_distribution"}


def with_logits(layout: pd.DataFrame, *, seed: int = 0, **own: float) -> pd.DataFrame:
    """Logits of +2 and -2 with a scatter of 0.5, by the well's dose; own: well -> logit, flagged where given."""
    level = np.where((layout["role"] == "positive") | (layout["dose"] >= 1e3), -2.0, 2.0)
    logits = pd.Series(level + np.random.default_rng(seed).normal(0, 0.5, len(layout)), index=layout.index)
    return flagged(layout.assign(logit=layout["well"].map(own).fillna(logits)), **{well: ["out_of_distribution"] for well in own})


def test_a_strange_raw_output_is_left_out_where_it_stands_alone_not_where_the_drug_is_strong() -> None:
    layout = layout_of(replicates=4)
    top, low = layout.loc[layout["dose"] == 1e5, "well"], layout.loc[layout["dose"] == 1.0, "well"]
    found = leave_out(with_logits(layout, **dict.fromkeys(top, -8.0), **{low.iloc[0]: 8.0}), LIMITS)
    assert found.loc[found["excluded"], "well"].tolist() == [low.iloc[0]]
    single = layout_of(replicates=1)    # nobody to compare it with
    assert not leave_out(with_logits(single, **{single["well"].iloc[-1]: 8.0}), LIMITS)["excluded"].any()


def test_wells_that_scatter_about_a_limit_stay() -> None:
    """Of untreated-like wells those beyond the limit would go, and the dose would seem to kill."""
    layout = layout_of(replicates=8)
    plain = with_logits(layout)
    low = plain[plain["dose"] == 1.0]
    beyond = low.nlargest(2, "logit").set_index("well")["logit"].to_dict()
    assert not leave_out(with_logits(layout, **beyond), LIMITS)["excluded"].any()
