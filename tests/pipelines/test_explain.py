"""The command `explain`: a sheet of the wells asked for, or of telling ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.errors import InputError
from pipelines import explain
from tests.pipelines.chain import call, predictor_of, prepared_screen


@pytest.mark.parametrize(("model", "screen"), [("profile-PAT_1", "patient-1"), ("viability-HEK293", "hek293")])
def test_telling_wells_are_controls_and_the_range_of_answers(chain: Path, model: str, screen: str) -> None:
    predictor, data = predictor_of(chain, model), prepared_screen(chain, screen)
    sheet, table = explain.run(predictor, data, names=[], method="gradcam")
    assert table["role"].iloc[0] == "negative"
    treated = table[table["role"].isin(["treated", "reference"])]
    assert len(treated) >= 6
    whole = explain.answers(predictor, data)
    dosed = whole[whole["role"].isin(["treated", "reference"])]["answer"]
    assert (treated["answer"].min(), treated["answer"].max()) == (dosed.min(), dosed.max())
    assert len(sheet.axes) == 3 * len(table)
    assert sheet.axes[0].get_title() == "image"
    assert {axes.get_title() for axes in sheet.axes[1:3]} == ({"speaks for living", "speaks for dead"} if "profile" in model else
                                                              {"speaks for a high read-out", "speaks for a low read-out"})


def test_the_command_writes_the_sheet_and_its_table(chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, data = predictor_of(chain, "profile-PAT_1"), prepared_screen(chain, "patient-1")
    plate, well = data.layout.loc[data.layout["role"] == "treated", ["plate", "well"]].iloc[3]
    monkeypatch.chdir(chain)
    out = tmp_path / "new" / "sheet.png"
    call(f"python -m pipelines.explain profile-PAT_1 --wells {plate}:{well} --method xrai --params params.yaml --out {out}".split())
    table = pd.read_csv(out.with_suffix(".csv"))
    assert table[["plate", "well"]].to_numpy().tolist() == [[plate, well]]
    raw = predictor.predict(data.images)
    expected = raw.loc[(raw["plate"] == plate) & (raw["well"] == well), "probability"].iloc[0]
    assert table["answer"].iloc[0] == pytest.approx(expected, abs=1e-4)
    assert out.read_bytes()[:4] == b"\x89PNG"
    assert str(out) in capsys.readouterr().out


def test_a_well_that_is_not_there_is_said() -> None:
    wells = pd.DataFrame({"plate": ["P1", "P1", "P2"], "well": ["A01", "A01", "A01"]})
    assert explain.named_rows(wells, ["P2:a1", "A01"]) == [2, 0, 1, 2]
    with pytest.raises(InputError, match="no image of well 'P3:A01'; plates: P1, P2"):
        explain.named_rows(wells, ["P3:A01"])


def test_a_well_unlike_the_training_is_shown() -> None:
    wells = pd.DataFrame({"role": ["negative", "positive", "treated", "treated", "untreated"], "answer": [0.8, 0.2, 0.4, 0.6, 0.99]})
    assert explain.telling_rows(wells, {"raw_low": 0.1, "raw_high": 0.9}) == [0, 1, 2, 3, 4]
    assert explain.telling_rows(wells, {}) == [0, 1, 2, 3]


def test_a_veil_covers_what_the_map_marks() -> None:
    grey = np.full((1, 2, 2, 3), 0.5)
    shown = explain._overlaid(grey, np.array([[[0.0, 1.0], [0.5, 0.0]]]), (1.0, 0.0, 0.0))
    np.testing.assert_allclose(shown[0, 0, 0], 0.5)
    np.testing.assert_allclose(shown[0, 0, 1], [0.875, 0.125, 0.125])
