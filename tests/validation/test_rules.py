"""Laws of the rules: they judge anything without breaking, say nothing twice, and hide nothing that reading found."""

from __future__ import annotations

import io
import re
import time
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import skew

from models.errors import Finding
from models.plates.images import encode_tiff, member_name, write_plate
from models.plates.layout import parse_layout
from models.plates.screen import Screen
from models.tables import ROLES
from models.wells import wells_of
from models.words import some
from validation.evidence import SUBJECTS, merged
from validation.inventory import DTYPES, Inventory, take_inventory
from validation.rules import RULES, Thresholds, judge_layout, judge_screen

SCREEN = Screen(name="s", sample="A549")
CELLS = {
    "plate": st.sampled_from(["P1", "P2", "", "a/b"]), "well": st.sampled_from(["A01", "a1", "A02", "B12", "H12", "P24", "", "?", "A00"]),
    "role": st.sampled_from([*ROLES, "dmso", "", "?"]), "treatment": st.sampled_from(["x", "X", "y", ""]),
    "dose": st.sampled_from(["1", "10", "0", "-1", "ten", "", "1e308", "1e-300", "0,5", "nan"]),
    "dose_unit": st.sampled_from(["nM", "M", "%", "", "?"]),
    "replicate": st.sampled_from(["1", "2", "0", "x", ""]), "AddOn": st.sampled_from(["", "x", "z"]),
    "dose 2": st.sampled_from(["", "1", "-1"]),
    "OD450": st.sampled_from(["", "1", "2", "2", "-1", "OVRFLW"]), "excluded": st.sampled_from(["", "yes", "?"])}
LAYOUTS = st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=14).flatmap(
    lambda rows: st.sets(st.sampled_from(sorted(CELLS)), max_size=4).map(
        lambda dropped: pd.DataFrame(rows, dtype="str").drop(columns=sorted(dropped))))
IMAGES = st.lists(st.fixed_dictionaries({
    "plate": st.sampled_from(["P1", "P2", "plate1"]), "well": st.sampled_from(["A01", "A02", "B12", "H12"]), "site": st.integers(1, 2),
    "channel": st.integers(0, 1), "plane": st.integers(0, 1), "height": st.integers(8, 9), "width": st.just(8),
    "bits": st.sampled_from([8, 16]),
    "colour": st.booleans(), "darkest": st.integers(0, 1), "brightest": st.integers(1, 300), "at_limit": st.sampled_from([0.0, 1.0]),
    "mean": st.floats(0, 255), "sd": st.floats(0, 50), "texture": st.floats(0, 50), "checksum": st.integers(0, 2),
    "readable": st.booleans(), "kind": st.sampled_from(["tiff", "png"])}), max_size=10)


@settings(max_examples=40)
@given(LAYOUTS, IMAGES, st.sampled_from(["both", "negative", "none"]))
def test_anything_can_be_judged(raw: pd.DataFrame, images: list[dict[str, object]], controls: str) -> None:
    rows = [row | {"member": member_name(str(row["well"]))} for row in images]
    inventory = Inventory(pd.DataFrame(rows, columns=list(DTYPES)).astype(DTYPES), (), tuple(sorted({str(row["plate"]) for row in rows})))
    parsed = parse_layout(raw, plate_format=96)
    screen = Screen(name="s", sample="A549", controls=controls)
    verdict = judge_screen(parsed, screen, inventory=inventory)
    assert len(set(verdict.findings)) == len(verdict.findings)
    told = {(replace(finding, well="", value=""), well) for finding in verdict.findings for well in ("", *finding.wells)}
    assert {(replace(finding, well="", value=""), finding.well) for finding in parsed.findings} <= told
    assert [finding.severity for finding in verdict.findings] == sorted(finding.severity for finding in verdict.findings)
    assert all(finding.message for finding in verdict.findings)


def test_rules_are_named_once_and_say_what_must_hold() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert {rule.subject for rule in RULES} == set(SUBJECTS)
    assert all(rule.title and rule.title[0].isupper() and not rule.title.endswith(".") for rule in RULES)


def test_every_finding_belongs_to_a_rule() -> None:
    """So that the page can say what must hold: names of findings, read from the source of the rules."""
    known = {name for rule in RULES for name in (rule.name, *rule.says)}
    sources = [path for path in (Path(__file__).parents[2] / "validation").glob("*_rules.py") if path.stem != "imageset_rules"]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    names = {*re.findall(r'rule="(\w+)"', text), *re.findall(r'\("((?:readout|image)_\w+)", \w', text)}
    assert {"dose_count", "readout_high", "image_uniform", "layout_turned"} <= names
    assert names <= known


def test_every_rule_is_explained_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "validation.md").read_text(encoding="utf-8")
    assert [rule.name for rule in RULES if f"`{rule.name}`" not in page] == []
    assert [name for name in Thresholds.__dataclass_fields__ if f"`{name}`" not in page] == []


def test_a_customary_series_of_round_doses_is_no_mistake() -> None:
    def rules(doses: list[float]) -> set[str]:
        raw = pd.DataFrame({"plate": "P", "well": [f"A{place + 1:02d}" for place in range(len(doses))], "role": "treated", "treatment": "x",
                            "dose": [f"{dose:g}" for dose in doses], "dose_unit": "nM", "replicate": "1"}, dtype="str")
        return {finding.rule for finding in judge_layout(parse_layout(raw, plate_format=96), Screen(name="s", sample="x", controls="none"))}
    assert "dose_ratio" not in rules([0.1, 1, 5, 10, 50, 100, 500, 1_000])
    assert "dose_ratio" not in rules([0.98, 1.95, 3.91, 7.81, 15.63, 31.25, 62.5, 125, 250])
    assert not {"dose_ratio", "replicates"} & rules([0.98, 1.02, 10.1, 9.9, 99, 101, 1_010, 990])     # as an Echo dispenses them
    assert "dose_ratio" in rules([1, 10, 1_000, 10_000])
    assert "dose_ratio" in rules([1, 3, 9, 72, 81])
    assert "dose_ratio" in rules([1, 10, 100, 120, 1_200])


@pytest.mark.parametrize(("factor", "told"), [(1, False), (1e-3, True), (1e3, True), (1e-6, True), (0.1, False), (100, False)])
def test_doses_of_one_treatment_a_thousand_times_those_of_the_others_ask_for_its_unit(factor: float, told: bool) -> None:
    rows = [(name, dose * (factor if name == "slip" else 1)) for name in ("a", "b", "c", "slip") for dose in (1, 5, 25, 125)]
    raw = pd.DataFrame(rows, columns=["treatment", "dose"]).assign(
        plate="P1", well=[str(well) for well in wells_of(96)][:len(rows)], role="treated", dose_unit="nM").astype("str")
    found = [one for one in judge_layout(parse_layout(raw, plate_format=96), SCREEN) if one.rule == "dose_unit_slip"]
    assert len(found) == told
    words = f"{'times' if factor > 1 else 'over'} {max(factor, 1 / factor):g}: is its unit right?"
    assert all("treatment slip has doses of" in one.message and words in one.message for one in found)


@pytest.mark.parametrize(("alike", "others", "asked"), [(3, 0, True), (2, 0, False), (6, 1, True), (6, 2, False)])
def test_a_slipped_unit_is_asked_about_where_most_treatments_share_their_doses(alike: int, others: int, asked: bool) -> None:
    """Of few, or of a set in which every treatment has doses of its own, a thousandfold one is no sign of a mistake."""
    drugs = {f"a{number}": [1, 5, 25, 125] for number in range(alike)} | {f"b{number}": [2 + number, 9, 80] for number in range(others)}
    assert ("dose_unit_slip" in told({}, drugs | {"slip": [1000, 5000, 25_000, 125_000]})) == asked


def told(roles: dict[str, list[str]], drugs: dict[str, list[float]] | None = None, **columns: list[str]) -> dict[str, list[str]]:
    """Rule -> severity of each finding, of a layout of controls (role -> wells) and of drugs (name -> doses) in the wells that are left."""
    rows = [(well, role, "", "") for role, wells in roles.items() for well in wells]
    free = [str(well) for well in wells_of(96) if str(well) not in {row[0] for row in rows}]
    rows += [(free.pop(), "treated", name, f"{dose:g}") for name, doses in (drugs or {}).items() for dose in doses]
    raw = pd.DataFrame(rows, columns=["well", "role", "treatment", "dose"]).assign(**{"plate": "P1", **columns})
    raw["dose_unit"] = np.where(raw["dose"] != "", "nM", "")
    found: dict[str, list[str]] = {}
    for one in judge_layout(parse_layout(raw.astype("str"), plate_format=96), replace(SCREEN, controls="both" if roles else "none")):
        found.setdefault(one.rule, []).append(one.severity)
    return found


GOOD = {"negative": ["C03", "D05", "E07", "F09"], "positive": ["C04", "D06", "E08"]}


@pytest.mark.parametrize(("role", "wells", "rule", "severities"), [
    ("positive", ["C04", "D06", "E08"], "controls_present", []), ("positive", ["C04", "D06"], "controls_present", ["error"]),
    ("negative", [f"{row}{column:02d}" for row in "CDEF" for column in (3, 5, 7)], "controls_balanced", []),         # 12 to 3
    ("negative", [f"{row}{column:02d}" for row in "CDEF" for column in (3, 5, 7)] + ["G09"], "controls_balanced", ["warning"]),
    ("negative", ["C03", "D03", "F03"], "controls_spread", ["warning"]),
    ("negative", ["C03", "C05", "C09"], "controls_spread", ["warning"]),
    ("negative", ["A03", "D12", "H05"], "controls_spread", ["warning"]), ("negative", ["A03", "D11", "H05"], "controls_spread", [])])
def test_controls_are_enough_balanced_and_spread_up_to_the_limits_and_no_further(role: str, wells: list[str], rule: str,
                                                                                  severities: list[str]) -> None:
    assert rule not in told(GOOD)
    assert told(GOOD | {role: wells}).get(rule, []) == severities


@pytest.mark.parametrize(("wells", "severities"), [
    (["C04", "D06", "E08", "E08"], []), (["C04", "D06", "D06"], ["error"]), (["C04", "D06", GOOD["negative"][0]], ["error"])])
def test_a_well_counts_once_as_what_it_is_called_first(wells: list[str], severities: list[str]) -> None:
    assert told(GOOD | {"positive": wells}).get("controls_present", []) == severities


@pytest.mark.parametrize(("drugs", "rule", "count"), [
    ({"x": [1, 10, 100, 1000]}, "dose_count", 0), ({"x": [1, 10, 100]}, "dose_count", 1),
    ({f"x{number}": [1, 10] for number in range(8)}, "dose_count", 8), ({f"x{number}": [1, 10] for number in range(9)}, "dose_count", 1),
    ({"x": [1, 2, 4, 8]}, "dose_range", 1), ({"x": [1, 2, 5, 10]}, "dose_range", 0),
    ({"x": [1, 10, 100, 1000] * 2}, "replicates", 0), ({"x": [1, 10, 100, 1000] * 2 + [10_000]}, "replicates", 1)])
def test_doses_are_enough_wide_and_replicated_up_to_the_limits_and_no_further(drugs: dict[str, list[float]], rule: str, count: int) -> None:
    assert len(told({}, drugs).get(rule, [])) == count


def test_replicates_may_stand_on_any_plate() -> None:
    assert "replicates" not in told({}, {"x": [1, 10, 100, 1000] * 2}, plate=["P1"] * 4 + ["P2"] * 4)


@pytest.mark.parametrize(("values", "rule", "severities"), [
    (["0.5"] * 40, "readout_missing", []), (["0.5"] * 39 + [""], "readout_missing", ["warning"]),
    (["0.5"] * 32 + [""] * 8, "readout_missing", ["warning"]), (["0.5"] * 31 + [""] * 9, "readout_missing", ["error"]),
    (["0.5"] * 37 + ["2.5"] * 3, "readout_saturated", ["warning"]), (["0.5"] * 38 + ["2.5"] * 2, "readout_saturated", []),
    (["0.5"] * 39 + ["-0.01"], "readout_negative", ["warning"]),
    (["0.5"] * 39 + ["0"], "readout_negative", []), (["0.5"] * 39 + ["4.6"], "readout_high", ["warning"]),
    (["500"] * 39 + ["4000"], "readout_high", [])])
def test_read_outs_are_there_and_in_range(values: list[str], rule: str, severities: list[str]) -> None:
    assert told({}, {"x": [1, 10, 100, 1000] * 10}, readout=values).get(rule, []) == severities


@pytest.mark.parametrize(("unread", "severities"), [
    ([], []), ([0], []), ([0, 1], ["warning"]), ([4], ["warning"]), ([0, 1, 4], ["warning"] * 2)])
def test_viability_by_read_outs_needs_enough_controls_that_were_read(unread: list[int], severities: list[str]) -> None:
    values = ["" if place in unread else "0.5" for place in range(7 + 16)]       # four negative and three positive controls come first
    assert told(GOOD, {"x": [1, 10, 100, 1000] * 4}, readout=values).get("readout_controls", []) == severities


def test_findings_that_differ_in_their_wells_are_one_and_those_of_two_plates_two() -> None:
    """Of two, the second plate's would be read nowhere."""
    one = Finding(rule="r", severity="warning", plate="P1", well="A01", message="m")
    error = replace(one, severity="error")
    assert merged([one, replace(one, plate="P2"), replace(one, well="B02"), error]) == (
        error, replace(one, well="A01, B02"), replace(one, plate="P2"))


def test_a_list_of_names_is_cut() -> None:
    assert some("abc") == "a, b, c"
    assert some("aabc", limit=1) == "a and 2 more"


def test_a_plate_of_96_wells_is_judged_within_a_second(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wells = list(wells_of(96))
    write_plate(tmp_path / "P1.zip", ((member_name(well), rng.integers(0, 255, (128, 128)).astype(np.uint8)) for well in wells))
    raw = pd.DataFrame({"plate": "P1", "well": wells, "role": ["negative", "positive", "treated"] * 32, "treatment": "x",
                        "dose": "1", "dose_unit": "nM", "replicate": "1"}, dtype="str")
    times = []
    for _ in range(3):
        start = time.process_time()
        judge_screen(parse_layout(raw, plate_format=96), SCREEN, inventory=take_inventory([tmp_path / "P1.zip"]))
        times.append(time.process_time() - start)
    assert min(times) < 1.0


def test_the_inventory_measures_images(tmp_path: Path) -> None:
    stripes = np.tile(np.array([[0, 255]], np.uint8), (4, 2))
    write_plate(tmp_path / "P1.zip", [(member_name("A01"), stripes), (member_name("A02"), np.stack([stripes] * 3, -1)),
                                      (member_name("A03"), stripes.astype(np.uint16))])
    images = take_inventory([tmp_path / "P1.zip"]).images.set_index("well")
    whole = ["height", "width", "bits", "colour", "darkest", "brightest", "kind"]
    assert images.loc["A01", whole].tolist() == [4, 4, 8, False, 0, 255, "tiff"]
    assert images.loc["A01", ["at_limit", "mean", "sd", "texture"]].tolist() == pytest.approx([0.5, 127.5, 127.5, 255])
    assert images["colour"].tolist() == [False, True, False]
    assert images["bits"].tolist() == [8, 8, 16]
    assert images.loc["A03", "at_limit"] == 0
    assert {name: str(dtype) for name, dtype in images.dtypes.items()} == {name: kind for name, kind in DTYPES.items() if name != "well"}


@pytest.mark.parametrize("image", [
    np.random.default_rng(1).gamma(4, 20, (70, 90)).clip(0, 255).astype(np.uint8),
    np.random.default_rng(2).gamma(4, 200, (90, 70)).astype(np.uint16),
    np.random.default_rng(3).integers(0, 65536, (64, 64)).astype(np.uint16),                # more levels than pixels: not counted
    np.random.default_rng(4).integers(0, 256, (1100, 40)).astype(np.uint8),                 # tall: every fourth row tells
    np.random.default_rng(5).integers(0, 256, (40, 30, 3)).astype(np.uint8),
    np.full((30, 40), 200, np.uint8),
    np.arange(50, dtype=np.uint8)[:, None].copy(),
], ids=["8 bit", "16 bit, dim", "16 bit", "tall", "colour", "uniform", "one pixel wide"])
def test_statistics_of_an_image_are_those_of_its_pixels(tmp_path: Path, image: np.ndarray) -> None:
    """However they are reckoned: by counting grey values, or pixel by pixel."""
    write_plate(tmp_path / "P1.zip", [(member_name("A01"), image)])
    found = take_inventory([tmp_path / "P1.zip"]).images.iloc[0]
    grey = image[::len(image) // 256 if len(image) >= 1024 else 1].astype(float)
    grey = grey.mean(axis=-1) if image.ndim == 3 else grey
    steps = np.abs(np.diff(grey, axis=1))
    assert found[["darkest", "brightest"]].tolist() == [image.min(), image.max()]
    assert found["at_limit"] == (image == np.iinfo(image.dtype).max).mean()
    assert found[["mean", "sd"]].tolist() == pytest.approx([grey.mean(), grey.std()], rel=1e-5)
    assert found["texture"] == pytest.approx(steps.mean() if steps.size else np.nan, rel=1e-5, nan_ok=True)
    assert found["skew"] == pytest.approx(skew(grey, axis=None) if grey.std() else 0.0, rel=1e-3, abs=1e-4)


def test_one_thread_and_several_see_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    write_plate(tmp_path / "P1.zip", ((member_name(well), rng.integers(0, 255, (32, 32)).astype(np.uint8)) for well in wells_of(24)))
    alone = take_inventory([tmp_path / "P1.zip"]).images
    monkeypatch.setattr("validation.inventory.SMALL_BYTES", 0)
    pd.testing.assert_frame_equal(take_inventory([tmp_path / "P1.zip"]).images, alone)


def test_what_is_known_of_a_plate_is_small_when_the_next_is_read(tmp_path: Path) -> None:
    """A screen of twenty 1536-well plates took 3 GB for the rows of its inventory."""
    wells = list(wells_of(384))

    def peak(*plates: str) -> int:
        for plate in plates:
            write_plate(tmp_path / f"{plate}.zip", ((member_name(well), np.full((4, 4), 7, np.uint8)) for well in wells))
        tracemalloc.start()
        assert len(take_inventory(tmp_path / f"{plate}.zip" for plate in plates).images) == len(plates) * len(wells)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most
    peak("P1")      # whatever is imported or made once
    assert peak("P1", "P2", "P3", "P4", "P5", "P6") < 2 * peak("P1")


def test_an_empty_inventory_has_the_same_columns(tmp_path: Path) -> None:
    assert list(take_inventory([]).images.columns) == list(DTYPES)
    (tmp_path / "P1.zip").write_bytes(b"no zip")
    inventory = take_inventory([tmp_path / "P1.zip"])
    assert [finding.rule for finding in inventory.findings] == ["archive_unreadable"]
    assert inventory.plates == ("P1",)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_is_a_finding_and_no_crash(tmp_path: Path, compression: int) -> None:
    rng = np.random.default_rng(compression)
    path, clean = tmp_path / "P1.zip", io.BytesIO()
    with zipfile.ZipFile(clean, "w", compression) as archive:
        for well in ("A01", "A02", "A03"):
            archive.writestr(member_name(well), encode_tiff(rng.integers(0, 255, (16, 16)).astype(np.uint8)))
    broken = 0
    for cut in range(60):
        data = bytearray(clean.getvalue())
        for _ in range(4):
            data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(bytes(data[:rng.integers(len(data))] if cut % 5 == 0 else data))
        inventory = take_inventory([path])
        broken += bool(inventory.findings)
        assert all(finding.plate == "P1" and finding.severity == "error" for finding in inventory.findings)
    assert broken > 30
