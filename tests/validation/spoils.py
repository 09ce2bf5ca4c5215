"""What can be wrong with a screen, each done to a draft of a good one."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import openpyxl
import pandas as pd
from PIL import Image

from models.plates.images import encode_tiff, member_name

if TYPE_CHECKING:
    from .conftest import Draft

Spoil = Callable[["Draft"], Any]


def set_cell(column: str, value: str, *, role: str = "treated", place: int = 0) -> Spoil:
    def spoil(draft: Draft) -> None:
        draft.layout.loc[draft.at(role, place), column] = value
    return spoil


def set_text(make: Callable[[Draft], bytes]) -> Spoil:
    def spoil(draft: Draft) -> None:
        draft.file = make(draft)
    return spoil


def set_image(data: bytes | Callable[[bytes], bytes], *, places: int = 1) -> Spoil:
    def spoil(draft: Draft) -> None:
        members = draft.images["P1"]
        for place in range(places):
            name = draft.member(draft.at("treated", place))
            members[name] = data(members[name]) if callable(data) else data
    return spoil


def duplicate_well(draft: Draft) -> None:
    draft.layout.loc[draft.at("treated", 1), "well"] = draft.layout.at[draft.at("treated", 0), "well"]


def rename_wells(change: Callable[[str], str]) -> Spoil:
    def spoil(draft: Draft) -> None:
        draft.layout["well"] = draft.layout["well"].map(change).astype("str")
    return spoil


def drop_column(name: str) -> Spoil:
    def spoil(draft: Draft) -> None:
        draft.layout = draft.layout.drop(columns=name)
    return spoil


def keep(wanted: Callable[[Draft], Any]) -> Spoil:
    """Keep the wanted rows and their images."""
    def spoil(draft: Draft) -> None:
        dropped = draft.layout[~wanted(draft)]
        draft.layout = draft.layout.drop(dropped.index).reset_index(drop=True)
        for plate, well in zip(dropped["plate"], dropped["well"], strict=True):
            del draft.images[plate][member_name(well)]
    return spoil


def one_column_of_controls(draft: Draft) -> None:
    """Move the negative controls, with their images, to column 12."""
    for place, row in enumerate(draft.layout.index[draft.layout["role"] == "negative"]):
        target = f"{'ABCDEFGH'[place]}12"
        other = draft.layout.index[draft.layout["well"] == target]
        old = draft.layout.at[row, "well"]
        images, names = draft.images["P1"], (member_name(old), member_name(target))
        first, second = images.pop(names[0]), images.pop(names[1], None)
        images[names[1]] = first
        if len(other) and other[0] != row:
            draft.layout.loc[other[0], "well"] = old
            images[names[0]] = second
        draft.layout.loc[row, "well"] = target


def unbalanced(draft: Draft) -> None:
    keep(lambda draft: (draft.layout["role"] != "positive") | (draft.layout.groupby("role").cumcount() < 3))(draft)
    for _ in range(7):
        draft.layout.loc[draft.at("treated"), ["role", "dose", "dose_unit"]] = ["negative", "", ""]


def all_images(make: Callable[[np.random.Generator], np.ndarray], **screen: Any) -> Spoil:
    def spoil(draft: Draft) -> None:
        rng = np.random.default_rng(0)
        draft.images = {"P1": {name: encode_tiff(make(rng)) for name in draft.images["P1"]}}
        draft.screen.update(screen)
    return spoil


def merged_excel(draft: Draft) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(list(draft.layout.columns))
    for row in draft.layout.itertuples(index=False):
        sheet.append(list(row))
    sheet.merge_cells(f"A2:A{len(draft.layout) + 1}")
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def huge_tiff(_: bytes) -> bytes:
    """4 kB that declare 60000 x 60000 pixels."""
    tags = [(256, 4, 1, 60_000), (257, 4, 1, 60_000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
            (277, 3, 1, 1), (278, 4, 1, 60_000), (279, 4, 1, 3_600_000_000)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + b"\0" * 4).ljust(4_096, b"\0")


def as_png(data: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, "PNG")
    return buffer.getvalue()


def add_member(name: str, data: bytes = b"x", *, link: bool = False, compressed: bool = False) -> Spoil:
    def spoil(draft: Draft) -> None:
        draft.images["P1"][name] = data
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
        info.external_attr = (stat.S_IFLNK | 0o777) << 16 if link else 0
        draft.infos[name] = info
    return spoil


def shift_rows(draft: Draft) -> None:
    def down(name: str) -> str:
        return chr(ord(name[0]) + 3) + name[1:]

    draft.layout["well"] = draft.layout["well"].map(down)
    draft.images["P1"] = {down(name): data for name, data in draft.images["P1"].items()}
    draft.screen["plate_format"] = 384


def drop_image(draft: Draft) -> None:
    del draft.images["P1"][draft.member(draft.at("treated"))]


def copy_image(draft: Draft) -> None:
    names = [draft.member(draft.at("treated", place)) for place in (0, 1)]
    draft.images["P1"][names[1]] = draft.images["P1"][names[0]]


def set_screen(**values: Any) -> Spoil:
    return lambda draft: draft.screen.update(values)


def combine(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Spoil:
    """Give a second treatment to the wells of gemcitabine."""
    def spoil(draft: Draft) -> None:
        chosen = draft.layout["treatment"] == "gemcitabine"
        second = change(draft.layout[chosen])[["treatment_2", "dose_2", "dose_unit_2"]]
        draft.layout = draft.layout.join(second).fillna("").astype("str")
    return spoil


def read_out(change: Callable[[pd.Series], pd.Series]) -> Spoil:
    """Give every well an OD450 from 0.1 to 1.7, a little higher from well to well, then change it."""
    def spoil(draft: Draft) -> None:
        values = change(pd.Series(np.linspace(0.1, 1.7, len(draft.layout))))
        draft.layout["OD450"] = values.map(lambda value: "" if value != value else f"{value:.4f}").astype("str")
    return spoil


def rename_archive(draft: Draft) -> None:
    draft.images["P01"] = draft.images.pop("P1")
