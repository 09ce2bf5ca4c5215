"""docs/dose_response.md: its code runs as written, from a plate reader's CSV to figures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

PAGE = Path(__file__).parents[3] / "docs" / "dose_response.md"


def plate_reader_table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [("P1", f"{row}{column}", role, "", np.nan, "", level + rng.normal(0, 100))
            for column, role, level in (("01", "negative", 15000), ("12", "positive", 1000)) for row in "ABCDEFGH"]
    for row, name, loss in (("A", "strong", 14000), ("B", "weak", 3000)):
        rows += [("P1", f"{row}{column + 2:02d}", "treated", name, dose, "nM", 15000 - loss / (1 + 10 / dose) + rng.normal(0, 300))
                 for column, dose in enumerate(np.logspace(-1, 4, 9))]
    return pd.DataFrame(rows, columns=["plate", "well", "role", "treatment", "dose", "dose_unit", "signal"])


def test_the_how_to_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plate_reader_table().to_csv("plate_reader.csv", index=False)
    names: dict[str, pd.DataFrame] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)
    assert {path.name for path in tmp_path.iterdir()} >= {"curves.csv", "panel.pdf", "waterfall.pdf", "P1.png"}
    curves = names["curves"].set_index("treatment")
    assert curves.loc["strong", "ic50"] == pytest.approx(10, rel=0.5)
    assert curves.loc["weak", "ic50_relation"] == ">"
    assert curves["hit"].tolist() == [True, False]
