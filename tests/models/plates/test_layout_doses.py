"""Doses and their units: what is meant is read, what could mean two things is asked about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.plates.layout import parse_layout
from models.plates.vocabulary import canonical_unit
from tests.models.plates.layout_texts import GOOD, only, parsed, table


@pytest.mark.parametrize(("text", "unit"), [
    ("µM", "uM"), ("μM", "uM"), ("um", "uM"), ("nmol/L", "nM"), ("M", "M"), ("mM", "mM"), ("MM", ""), ("ug / ml", "ug/mL"),
    ("µg/mL", "ug/mL"), ("ng/ml", "ng/mL"), ("%", "%"), ("% v/v", "% v/v"), ("mg/L", "ug/mL"), ("apples", "")])
def test_units(text: str, unit: str) -> None:
    assert canonical_unit(text) == unit


def test_a_dose_in_words_names_plate_well_column_and_value() -> None:
    finding = only(parsed(GOOD.replace("P1,A03,treated,wortmannin,0.5", "P1,A03,treated,wortmannin,ten")), "number")
    assert finding.record() == {
        "rule": "number", "severity": "error", "plate": "P1", "well": "A03", "column": "dose", "value": "ten",
        "message": "'ten' in column dose is not a number; write it in digits with a decimal point, like 0.5"}


@pytest.mark.parametrize(("values", "doses"), [
    (["0,5", "1,25"], [0.5, 1.25]), (["1e-3", "2E2"], [0.001, 200.0]), (["10 uM", "5 nM"], [10_000.0, 5.0]),
    (["1,1 µM", "2 µM"], [1100.0, 2000.0]), (["1,1e2 nM", "2e1 nM"], [110.0, 20.0]), (["1,000 µM", "2 µM"], [np.nan, 2000.0]),
    (["1,1 apples", "2"], [np.nan, 2.0]), (["inf", "1e999"], [np.nan, np.nan]), (["1_000", "1 000"], [np.nan, np.nan]),
    (["1,000", "2"], [np.nan, 2.0]), (["NaN", "n/a"], [np.nan, np.nan]), (["=A1", "<5"], [np.nan, np.nan]),
    (["10OO", "5 apples"], [np.nan, np.nan])])
def test_numbers(values: list[str], doses: list[float]) -> None:
    raw = pd.DataFrame({"well": ["A01", "A02"], "role": "treated", "treatment": "x", "dose": values})
    np.testing.assert_array_equal(parse_layout(raw, plate_format=96).layout["dose"], doses)


@pytest.mark.parametrize(("unit", "factor"), [("M", 1e9), ("mM", 1e6), ("uM", 1e3), ("nM", 1.0), ("pM", 1e-3)])
def test_molar_units_become_nM(unit: str, factor: float) -> None:
    result = parsed(GOOD.replace("0.5,nM", f"1.1,{unit}"))
    assert result.layout["dose"][2] == pytest.approx(1.1 * factor, rel=1e-15)
    assert result.layout["dose_unit"][2] == "nM"


@pytest.mark.parametrize(("header", "dose", "unit"), [
    ("dose", "0.5 uM", "nM"), ("Conc. [µM]", "0.5", "nM"), ("dose (nM)", "0.5 nM", "mg/mL")])
def test_units_that_contradict_each_other_are_refused(header: str, dose: str, unit: str) -> None:
    table = GOOD.replace("dose,", f"{header},").replace("0.5,nM", f"{dose},{unit}")
    finding = next(one for one in parsed(table).errors if one.well == "A03")
    assert (finding.rule, finding.value, "correct the wrong one" in finding.message) == ("unit_contradicted", unit, True)


@pytest.mark.parametrize(("header", "doses", "read"), [
    ("Conc. [µM]", ["0.5 uM", "500 nM"], [500.0, 500.0]), ("Conc. [µM]", ["0.5", "500 nM"], [500.0, 500.0]),
    ("dose", ["1 uM", "5 nM"], [1000.0, 5.0])])
def test_units_beside_doses_and_in_the_header_go_together(header: str, doses: list[str], read: list[float]) -> None:
    raw = pd.DataFrame({"plate": "P", "well": ["A01", "A02"], "role": "treated", "treatment": "x", header: doses})
    result = parse_layout(raw, plate_format=96)
    assert (result.layout["dose"].tolist(), result.findings) == (read, ())


def test_a_header_with_an_unknown_unit_is_not_read_as_nM() -> None:
    raw = pd.DataFrame({"plate": "P", "well": ["A01"], "role": "treated", "treatment": "x", "Dose (log M)": ["5"]})
    finding = only(parse_layout(raw, plate_format=96), "unit_unknown")
    assert (finding.severity, finding.value) == ("error", "log M")
    assert not parse_layout(raw, plate_format=96, dose_unit="uM").findings
    assert not parse_layout(raw.assign(unit="nM"), plate_format=96).findings


@pytest.mark.parametrize(("doses", "unit", "refused"), [
    ([0.79, 1.39, 1.99, 2.59, 3.19, 3.8, 4.4, 5.0], "nM", True), ([5, 5.5, 6, 6.5, 7, 7.5], "M", True),
    ([1, 2, 3, 4, 5], "ug/mL", True), ([1000, 2000, 3000, 4000, 5000], "nM", False), ([1, 2, 3, 4], "uM", False),
    ([1, 2, 4, 6, 8], "uM", False), ([1, 2, 3, 4, 5], "Gy", False), ([1, 3, 10, 30, 100], "nM", False)])
def test_logarithms_of_doses_are_refused(doses: list[float], unit: str, refused: bool) -> None:
    raw = pd.DataFrame({"plate": "P", "well": [f"A{n:02d}" for n in range(1, len(doses) + 1)], "role": "treated", "treatment": "x",
                        "dose": list(map(str, doses)), "dose_unit": unit})
    assert [one.rule for one in parse_layout(raw, plate_format=96).errors] == ["dose_logarithm"] * refused
    tenfold = raw.assign(treatment="y", well=raw["well"].str.replace("A", "B"), dose=[str(10.0 ** n) for n in range(len(doses))])
    other = pd.concat([raw, tenfold], ignore_index=True)
    assert parse_layout(other, plate_format=96).errors == ()    # one odd series among others is `dose_ratio`


@pytest.mark.parametrize(("doses", "read"), [
    ([9.97, 10.02, 10, 101, 99.2, 1000], [10, 10, 10, 100, 100, 1000]),     # as a dispenser reports them
    ([1, 1.1, 1.21, 1.331], [1, 1.1, 1.21, 1.331]),                         # steps of a tenth are a series
    ([10, 10.9, 13, 100], [10, 10.9, 13, 100])])                            # nobody knows what belongs to what
def test_doses_of_one_level_are_one_dose(doses: list[float], read: list[float]) -> None:
    raw = pd.DataFrame({"plate": "P", "well": [f"A{n:02d}" for n in range(1, len(doses) + 1)], "role": "treated", "treatment": "x",
                        "dose": list(map(str, doses)), "dose_unit": "nM"})
    result = parse_layout(raw, plate_format=96)
    assert result.layout["dose"].tolist() == pytest.approx(read)
    assert [one.rule for one in result.findings] == ["dose_pooled"] * (doses != read)
    second = raw.assign(treatment="y", dose="5", treatment_2="x", dose_2=raw["dose"], dose_unit_2="nM", plate="P2")
    both = parse_layout(pd.concat([raw[2:3], second], ignore_index=True), plate_format=96)
    assert [one.message for one in both.findings if one.rule == "dose_pooled" and "(9.97 as 10)" not in one.message] == []
    assert {one.column for one in both.findings if one.rule == "dose_pooled"} == ({"dose_2"} if doses != read else set())
    assert both.layout["dose_2"][1:].tolist() == pytest.approx(read)


def test_other_units_are_kept() -> None:
    layout = parsed(GOOD.replace("0.5,nM", "0.5,µg/ml")).layout
    assert (layout["dose"][2], layout["dose_unit"][2]) == (0.5, "ug/mL")


def test_a_dose_of_a_control_is_left_out_and_said() -> None:
    result = parsed(GOOD.replace("P1,A01,negative,,,", "P1,A01,negative,DMSO,0.1,%"))
    assert np.isnan(result.layout["dose"][0])
    assert only(result, "dose_of_control").severity == "warning"


@pytest.mark.parametrize(("doses", "told"), [(("1.000", "10.000", "100.000"), True), (("0.100", "1.000"), False),
                                             (("1.250", "1.125"), False), (("1000.000", "100.000"), False)])
def test_points_that_may_all_part_thousands_are_told(doses: tuple[str, ...], told: bool) -> None:
    """A German thousand in every dose would move all midpoints by three decades."""
    rows = "".join(f"A{place + 1:02d},treated,a,{dose},nM\n" for place, dose in enumerate(doses))
    result = parsed(f"well,role,treatment,dose,unit\nB01,negative,,0,\n{rows}")
    assert result.layout["dose"].tolist()[1:] == [float(dose) for dose in doses]
    assert not result.errors
    assert [finding.message for finding in result.findings if finding.rule == "decimal_point"] == told * [
        "3 value(s) of dose have three digits behind a point; 1.000 is read as 1. If the point marks thousands, write 1000"]


@pytest.mark.parametrize(("doses", "unclear"), [
    (("10", "100", "1.000", "10.000"), ["1.000", "10.000"]),    # 10, 100, 1, 10 would make replicates of the lowest and the highest dose
    (("10 uM", "100 uM", "1.000 uM", "10.000 uM"), ["1.000 uM", "10.000 uM"]), (("1.000 uM", "10.000 uM"), []),
    (("0", "1.000", "10.000"), []), (("1.125", "2.25", "9"), []), (("1.125", "3.375", "9"), [])])
def test_a_point_that_may_part_thousands_is_asked_about(tmp_path: Path, doses: tuple[str, ...], unclear: list[str]) -> None:
    rows = "".join(f"A{place + 1:02d};treated;a;{dose};{'' if 'M' in dose else 'nM'}\n" for place, dose in enumerate(doses) if dose != "0")
    result = parse_layout(table(tmp_path / "layout.csv", f"well;role;treatment;dose;unit\nB01;negative;;0;\n{rows}"), plate_format=96)
    assert [finding.value for finding in result.errors if finding.rule == "number"] == unclear


@pytest.mark.parametrize("value", ["2026-03-16 00:00:00", "2026-03-16", "3-Jan", "03. Mrz", "16-Mar-26"])
def test_a_dose_that_a_spreadsheet_made_a_date_of_is_told_as_that(value: str) -> None:
    finding = only(parsed(GOOD.replace("0.5,nM", f"{value},nM", 1)), "number")
    assert "a spreadsheet program made a date of it; format the column as text" in finding.message


@pytest.mark.parametrize("value", ["ten", "1 in 10", "low"])
def test_other_words_are_no_dates(value: str) -> None:
    assert "date" not in only(parsed(GOOD.replace("0.5,nM", f"{value},nM", 1)), "number").message


def test_doses_without_a_unit_are_shown_as_they_are_read() -> None:
    result = parsed("plate,well,role,treatment,dose\nP,A01,neg,,0\nP,A02,treated,x,1e-9\nP,A03,treated,x,1e-5\n")
    assert "doses (1e-09 to 1e-05) are read as nM" in only(result, "unit_default").message
