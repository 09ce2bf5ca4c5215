"""Where a model looks: a sheet of wells with heat maps of what raises and what lowers its answer for each.

    python -m pipelines.explain profile-PAT_1 --screen patient-1
    python -m pipelines.explain viability-A549 --screen a549 --wells B03 A549-plate-1:C07 --method xrai --out sheet.png

Without --wells: a well of each control, the treated wells that share out the range of the model's answers, and one that it finds unlike
all it has learned from. Image sets go by the same command; their images are named in the place of wells. Writes the sheet (PNG) and,
beside it, a table of what the model says of the wells.
"""

from __future__ import annotations

import argparse
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from models.errors import InputError
from models.networks.explain import METHODS, Explanation, Method, explain_wells
from models.networks.predict import Predictor
from models.tables import DOSED_ROLES
from models.wells import well_or_text
from pipelines.command import run_command
from pipelines.figures import colour_pictures, save_figure
from pipelines.model_on_screen import add_model_on_screen, read_model_on_screen
from pipelines.prepared import PreparedImageSet, PreparedScreen

RAISES, LOWERS = (0.0, 0.45, 0.70), (0.84, 0.37, 0.0)     # blue and vermilion, told apart by colour-blind eyes too
SHOWN = ("plate", "well", "site", "role", "label", "treatment", "dose", "dose_unit", "answer", "logit")
SPREAD = 6      # treated wells that are shown where none is asked for


def answers(predictor: Predictor, data: PreparedScreen | PreparedImageSet) -> pd.DataFrame:
    """A row per image, in their order: its layout row, site, and `answer`: the read-out, or the probability of the first class."""
    raw = predictor.predict(data.images)
    return data.images.wells.merge(data.layout, on=["plate", "well"], how="left", validate="many_to_one").assign(
        answer=raw[predictor.card.recipe.answer_column].to_numpy(), logit=raw["logit"].to_numpy())


def named_rows(wells: pd.DataFrame, names: list[str]) -> list[int]:
    """Rows of wells named "C07", "c7" or "plate:C07", all their sites. Raises InputError for one that is not there."""
    rows: list[int] = []
    for name in names:
        plate, _, well = name.rpartition(":")
        well = well_or_text(well)
        chosen = (wells["well"] == well) & ((wells["plate"] == plate) | (not plate))
        if not chosen.any():
            raise InputError(f"no image of well '{name}'; plates: {', '.join(dict.fromkeys(wells['plate']))}; name one as plate:well")
        rows += np.flatnonzero(chosen).tolist()
    return rows


def telling_rows(wells: pd.DataFrame, limits: dict[str, float]) -> list[int]:
    """Rows that are shown where none is asked for (see the module's docstring). limits: raw_low and raw_high of the model's card."""
    role = wells["role"] if "role" in wells else pd.Series("treated", index=wells.index)
    first = [int(np.flatnonzero(role == name)[0]) for name in ("negative", "positive") if (role == name).any()]
    order = wells.loc[role.isin(DOSED_ROLES), "answer"].sort_values().index.to_numpy()
    between = [int(order[round(place)]) for place in np.linspace(0, len(order) - 1, min(SPREAD, len(order)))]
    outside = wells.index[(wells["answer"] < limits.get("raw_low", -np.inf)) | (wells["answer"] > limits.get("raw_high", np.inf))]
    return list(dict.fromkeys([*first, *between, *outside[:1].tolist()]))


def run(predictor: Predictor, data: PreparedScreen | PreparedImageSet, *, names: list[str], method: Method) -> tuple[Figure, pd.DataFrame]:
    """(the sheet, a row per image on it)."""
    wells = answers(predictor, data)
    rows = named_rows(wells, names) if names else telling_rows(wells, dict(predictor.card.thresholds))
    chosen = data.images.take(np.array(rows))
    found = explain_wells(predictor, chosen, method=method)
    table = wells.iloc[rows].reset_index(drop=True)
    return draw_sheet(np.asarray(chosen.pixels), found, table, predictor), table[[name for name in SHOWN if name in table]]


def draw_sheet(pixels: np.ndarray, found: Explanation, wells: pd.DataFrame, predictor: Predictor) -> Figure:
    """A row per image: itself, what raises the answer (blue), what lowers it (vermilion). Each map is stretched to its own maximum."""
    card = predictor.card
    pictures = colour_pictures(pixels)
    grey = np.repeat(pictures.mean(axis=3, keepdims=True), 3, axis=3)
    up, down = _meaning(card.recipe.is_regression, card.classes)
    columns = [("image", pictures), (f"speaks for {up}", _overlaid(grey, found.raises, RAISES)),
               (f"speaks for {down}", _overlaid(grey, found.lowers, LOWERS))]
    figure = Figure(figsize=(6.6, 0.6 + 2.05 * len(wells)), layout="constrained")
    axes = figure.subplots(len(wells), 3, squeeze=False)
    for number, row in enumerate(wells.to_dict("records")):
        for place, (title, shown) in enumerate(columns):
            axes[number, place].imshow(shown[number])
            axes[number, place].set(xticks=[], yticks=[])
            if number == 0:
                axes[number, place].set_title(title, fontsize=8)
        axes[number, 0].set_ylabel(_caption(row, "OD" if card.recipe.is_regression else up), fontsize=6.5)
    figure.suptitle(f"{card.name}, {found.method}: where the model looks, not why", fontsize=9)
    return figure


def _meaning(regression: bool, classes: tuple[str, ...]) -> tuple[str, str]:
    if regression:
        return "a high read-out", "a low read-out"
    return classes if len(classes) == 2 else ("living", "dead")


def _caption(row: Mapping[Hashable, Any], answer: str) -> str:
    dose = f" {row['dose']:g} {row['dose_unit']}" if row.get("dose") == row.get("dose") and row.get("dose_unit") else ""
    what = " ".join(str(row[name]) for name in ("role", "label", "treatment") if row.get(name) == row.get(name) and row.get(name))
    return f"{row['plate']}\n{row['well']}\n{what}{dose}\n{answer} {row['answer']:.2f}"


def _overlaid(grey: np.ndarray, maps: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """Grey pictures (N, H, W, 3) under a veil of one colour, thicker where the map (N, H, W) is higher."""
    veil = 0.75 * maps[..., None]
    return grey * (1 - veil) + np.array(colour) * veil


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_on_screen(parser)
    parser.add_argument("--wells", nargs="*", default=[], help="C07 or plate:C07")
    parser.add_argument("--method", choices=METHODS, default="gradcam", help="how the heat is computed (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="the sheet; default artifacts/explain/MODEL_SCREEN_METHOD.png")
    arguments = parser.parse_args()
    predictor, data, name = read_model_on_screen(arguments)
    sheet, table = run(predictor, data, names=arguments.wells, method=arguments.method)
    out = arguments.out or arguments.artifacts / "explain" / f"{name}_{arguments.method}.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    save_figure(sheet, out)
    table.round(4).to_csv(out.with_suffix(".csv"), index=False)
    print(f"{table.round(3).to_string(index=False)}\n\n{out}")


if __name__ == "__main__":
    run_command(main)
