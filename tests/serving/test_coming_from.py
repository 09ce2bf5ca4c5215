"""docs/coming_from.md: files as other programs have them go in by the commands that stand there, and give what stands below."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.dose_response import FitOptions, fit_curves, score_curves
from models.errors import InputError
from models.plates.layout import parse_layout
from models.plates.readers.platemaps import read_layout_table
from serving import cli
from serving.responses import fit_responses, read_responses
from tests.serving.tiny import ROOT

PAGE = ROOT / "docs" / "coming_from.md"
SHARED = Path(os.environ.get("DOSEWELL_SHARED", ROOT.parent / "shared")) / "data" / "dose_response"
CURATOR = """['Experiment']
experiments = [0, 1, 2, 3, 4, 5]
doses = [0.0, 1.0, 10.0, 100.0, 1000.0, 10000.0]
dose_scale = '1e-9'
dose_unit = 'M'
['Paths']
input_file = './ratios.tsv'
"""
RATIOS = ("Name\tRaw 0\tRaw 1\tRaw 2\tRaw 3\tRaw 4\tRaw 5\nstrong\t204\t198\t174\t70\t12\t4\nweak\t99\t101\t98\t102\t97\t100\n")


def run(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    cli.main()


def test_the_page_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each block is a file (named in the line above it), Python, a command, or lines of what the command before it prints."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parameters.toml").write_text(CURATOR)
    (tmp_path / "ratios.tsv").write_text(RATIOS)
    grid = [(dose, other) for dose in (0, 1, 10) for other in (0, 1, 10)]
    pd.DataFrame([(block, *pair, 9.0 * (pair[0] > 0) + 20.0 * (pair[1] > 0)) for block in (1, 2) for pair in grid],
                 columns=["block_id", "conc1", "conc2", "response"]).to_csv("synergyfinder.csv", index=False)
    names: dict[str, pd.DataFrame] = {}
    printed, commands = "", 0
    page = PAGE.read_text(encoding="utf-8").partition("### Features of wells")[0]     # those have tests of their own
    for before, kind, block in re.findall(r"([^\n]*)\n*\n```(\w*)\n(.*?)```", page, re.DOTALL):
        if kind == "python":
            exec(block, names)
        elif file := re.search(r"`(\w+\.csv)`[^`]*:$", before):
            (tmp_path / file[1]).write_text(block)
        elif block.startswith("dosewell "):
            run(monkeypatch, block)
            printed, commands = capsys.readouterr().out, commands + 1
        else:
            assert [line for line in block.splitlines() if line not in printed] == []
    assert commands == 5
    assert {path.name for path in Path("gr").iterdir()} == {"curves.csv", "gr.csv", "panel.pdf", "waterfall.pdf"}
    assert Path("fit/panel.pdf").read_bytes()[:5] == b"%PDF-"
    gr = pd.read_csv("gr/gr.csv")
    assert gr[["gr50", "gr50_low", "gr50_high"]].round(1).iloc[0].tolist() == [55.1, 49.6, 60.6]
    curves = pd.read_csv("curator/curves.csv").set_index("treatment")
    assert 9 - np.log10(curves.loc["strong", "ec50"]) == pytest.approx(7.3, abs=0.1)
    assert (curves.loc["weak", "ic50_relation"], curves.loc["weak", "ic50"]) == (">", 10_000)
    both = names["blocks"][["conc1", "conc2"]].gt(0).all(axis=1)
    assert names["blocks"]["bliss"][both].to_numpy() == pytest.approx(29.0 - (29.0 - 0.01 * 9 * 20))
    assert pd.read_csv("breeze/hits.csv")[["treatment", "verdict", "IC50"]].values.tolist() == [["Venetoclax", "hit", "88.2 nM"]]


def test_the_area_of_pharmacogx_is_one_minus_ours() -> None:
    """Its closed form (computeAUC.R) on our curve, which begins at 100 % as its does."""
    doses = np.array([0.0025, 0.008, 0.025, 0.08, 0.25, 0.8, 2.53, 8.0])     # of the example in its help, cut off at 100 %
    table = pd.DataFrame({"drug": "x", "dose": doses, "viability": np.minimum([108.67, 111, 102.16, 100.27, 90, 87, 74, 57], 100.0) / 100})
    row = score_curves(fit_curves(table, by="drug", response="viability", scale="fraction_viability",
                                  options=FitOptions(model="3pl", interval="none"))).iloc[0]
    assert row["top"] == 1.0
    low, high = np.log10(doses[[0, -1]])
    steps = (1 + 10 ** (row["slope"] * (np.array([low, high]) - row["log10_midpoint"])))
    area = (1 - row["bottom"]) / (row["slope"] * (high - low)) * np.log10(steps[1] / steps[0])
    assert area == pytest.approx(1 - row["auc"], rel=1e-9)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not there; set DOSEWELL_SHARED")
def test_the_example_of_grmetrics_as_it_is() -> None:
    keys = ["cell_line", "perturbation", "replicate", "time"]
    responses = read_responses(SHARED / "toy_example_input1.tsv", by=keys, dose_unit="uM")
    tables = fit_responses(responses, FitOptions(interval="none"))
    expected = pd.read_csv(SHARED / "R_input1_GRmetrics.tsv", sep="\t", dtype=dict.fromkeys(keys, str))
    both = tables["gr"].merge(expected, left_on=[*keys, "treatment"], right_on=[*keys, "agent"], validate="one_to_one")
    assert len(tables["curves"]) == len(both) == 112
    assert (np.log10(both["gr50"] / 1000) - np.log10(both["GR50"])).replace(np.inf, np.nan).abs().median() < 1e-6


@pytest.mark.parametrize(("rows", "columns", "said"), [
    (["drug,dose,response", "x,1,50"], {}, "no column holds a response"),
    (["drug,viability", "x,50"], {}, "no column 'dose'"),
    (["drug,dose,viability", "x,ten,50"], {}, "'ten' in column dose is not a number"),
    (["drug,dose,Viability (%)", "x,1,0.9", "x,10,0.2"], {}, "says percent, and no value in it is beyond 3: are they fractions of 1"),
    (["drug,dose,resp", "x,1,50"], {"viability": "Resp"}, "'Resp' was named as the column of viability")])
def test_tables_that_cannot_be_fitted_are_told_why(tmp_path: Path, rows: list[str], columns: dict[str, str], said: str) -> None:
    (tmp_path / "table.csv").write_text("\n".join(rows))
    with pytest.raises(Exception, match=said):
        read_responses(tmp_path / "table.csv", columns=columns)


def test_weights_by_intervals_are_refused_where_no_response_has_one(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("drug,dose,viability\nx,1,100\nx,10,50\n")
    with pytest.raises(InputError, match=r"fit\.weights: interval asks for weights .* Leave weights out"):
        fit_responses(read_responses(tmp_path / "table.csv"), FitOptions(weights="interval"))


def test_percent_fractions_zero_doses_and_controls(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("drug,uM,well,role,Viability (%)\nx,0,A01,treated,100\nx,1,A02,treated,50\n,,A03,neg,99\n")
    read = read_responses(tmp_path / "table.csv", columns={"dose": "uM"}, dose_unit="uM")
    assert read.wells[["dose", "viability"]].values.tolist() == [[0.0, 1.0], [1000.0, 0.5]]
    assert "in percent; a curve for each treatment; 1 row of controls or left out is not fitted" in read.said[0]


LISTED = ["well,drug,Level [uM],Raw", "A1,DMSO,,9", "A2,H2O,,8", "A3,x,0,7", "A4,x,2,5", "A5,,,1", "A6,BzCl,5,0", "A7,,0,9"]


def test_roles_and_units_of_a_long_table_that_names_neither(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("\n".join(LISTED))
    read = read_layout_table(path, columns={"dose": "Level [uM]"}, roles={"positive": "bzcl", "negative": "H2O"})
    assert read["role"].tolist() == ["negative", "negative", "negative", "treated", "empty", "positive", "negative"]
    assert list(read.columns) == ["dose [uM]", "well", "drug", "Raw", "role"]      # a thousand times less without its unit
    assert "4 negative" in read.attrs["notes"][0]
    path.write_text("\n".join(line for line in LISTED if line[:2] not in ("A1", "A3", "A7")))
    assert "role" not in read_layout_table(path)        # nothing tells the controls: the rules ask for roles


def test_a_column_that_a_person_names_counts_and_others_of_its_meaning_do_not(tmp_path: Path) -> None:
    """As in a platemap of JUMP: two names of each compound, and roles of controls alone."""
    path = tmp_path / "jump.csv"
    path.write_text("Metadata_Well,Metadata_broad_sample,Metadata_pert_iname,Metadata_mmoles_per_liter,Metadata_control_type\n"
                    "A01,BRD-1,DMSO,,negcon\nA02,BRD-2,dexamethasone,0.005,\n")
    assert [one.rule for one in parse_layout(read_layout_table(path), plate_format=384).errors] == ["column_repeated"]
    parsed = parse_layout(read_layout_table(path, columns={"treatment": "Metadata_pert_iname"}), plate_format=384)
    assert parsed.errors == ()
    assert parsed.layout[["role", "treatment", "dose"]].fillna(0).values.tolist() == [
        ["negative", "DMSO", 0], ["treated", "dexamethasone", 5000]]
    assert any("1 well(s) without role are taken as treated" in one.message for one in parsed.findings)
