"""What a layout says and what is wrong with it, before gigabytes of images are sent.

The same reader and rules as scoring, without images. Where no screen is given, what it must say is read from the layout:
the smallest plate that holds all wells, and the controls that are there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from models.errors import InputError
from models.plates.layout import UNNAMED, parse_layout
from models.plates.readers.platemaps import read_layout_table
from models.plates.screen import Screen
from models.report.plate_figures import content_words
from models.tables import ROLES
from models.wells import PLATE_FORMATS, parse_well
from serving.forms import Fields, Form
from serving.plain import plain
from serving.readouts import controls_of, smallest_format
from serving.uploads import read_mapping, read_screen, table_path
from validation.rules import judge_layout

LAYOUT_FIELDS = Fields(files=("layout",), texts=("screen", "plate"), required=("layout",))
SAMPLE_COLUMNS = ("sample", "cell_line", "cell line", "cellline", "line", "patient")
PROVISIONAL = Screen(name="screen", sample="unknown")   # to read a layout with, where no screen is given yet


def layout_answer(form: Form) -> dict[str, Any]:
    """What the layout holds. Raises InputError when it is no table, or the screen cannot be read.

    screen: the screen as given, or as far as the layout tells it (`sample` may be empty). given: names of its fields that were. wells:
    place, role and content of each row that has a place. readouts: wells with a measured value, of which POST /curves makes curves
    without images. findings: everything that a scoring would say of the layout.
    """
    raw = read_layout_table(table_path(form.files["layout"][0]))
    given = read_screen(text) if (text := form.texts.get("screen", "").strip()) else None
    names = list(read_mapping(text, field="screen")) if given else []
    plate = form.texts.get("plate", "").strip() or UNNAMED
    plate_format = given.plate_format if given else smallest_format(raw)    # plates below 96 wells are told by a person
    parsed = parse_layout(raw, plate_format=plate_format, default_plate=plate)
    screen = given or _screen_of(parsed.layout, plate_format=plate_format)
    layout, (rows, columns) = parsed.layout, PLATE_FORMATS[screen.plate_format]
    told = plain(screen.to_dict()) | ({} if given else _sample(layout))
    counts = layout["role"].value_counts()
    return {"screen": told, "given": names, "rows": rows, "columns": columns, "plates": list(dict.fromkeys(layout["plate"])),
            "wells": [_well(well) for _, well in layout.iterrows() if _placed(well["well"])],
            "roles": {role: int(counts[role]) for role in ROLES if role in counts},
            "readouts": int(layout["readout"].notna().sum()) if "readout" in layout else 0,
            "treatments": list(dict.fromkeys(layout.loc[layout["role"] == "treated", "treatment"])),
            "findings": [finding.record() for finding in judge_layout(parsed, screen)]}


def _screen_of(layout: pd.DataFrame, *, plate_format: int) -> Screen:
    """What a layout tells of its screen."""
    kills = set(layout.loc[layout["role"] == "positive", "treatment"]) - {""}
    return replace(PROVISIONAL, plate_format=plate_format, controls=controls_of(layout),
                   positive_control={"image": kills.pop()} if len(kills) == 1 else {})


def _sample(layout: pd.DataFrame) -> dict[str, str]:
    """The one cell line or patient that a column of the layout names, and which of the two it is where the column says so."""
    for name in layout.columns:
        called = str(name).strip().casefold()
        if called in SAMPLE_COLUMNS:
            named = {str(value).strip() for value in layout[name]} - {""}
            return {"sample": named.pop() if len(named) == 1 else "", **({"kind": "patient"} if called == "patient" else {})}
    return {"sample": ""}


def _placed(well: str) -> bool:
    try:
        parse_well(well)
    except InputError:
        return False
    return True


def _well(well: pd.Series) -> dict[str, Any]:
    row, column = parse_well(well["well"])
    return {"plate": well["plate"], "well": well["well"], "row": row, "column": column, "role": well["role"],
            "content": content_words(well)}
