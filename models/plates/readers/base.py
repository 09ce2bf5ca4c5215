"""What every convention is asked, and what it answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from models.errors import Finding
from models.plates.layout import UNNAMED

FILE_COLUMNS = ("plate", "well", "site", "channel", "plane", "path", "part")
"""A row per image: names as text, site from 1, channel by name, path absolute; plane of its first plane, from 0; part of the file
that it is (`models.plates.planes.open_planes`), "" for all of it."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a person points at.

    folder: where the images lie. platemap: the layout's file, None to look for it. columns: contract column -> column of
    the platemap. channels: channel name -> column (or channel key) of the source, in the order that is wanted; empty: all.
    plate: plate name where the source names none. pattern: of file names, for the convention `pattern`. timepoint: which one
    of several, counted as the source does; None: the last. layout: whether one is wanted; without it the images alone are read.
    """

    folder: Path
    platemap: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)
    plate: str = UNNAMED
    pattern: str = ""
    timepoint: int | None = None
    layout: bool = True


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a convention read: images (FILE_COLUMNS), the raw layout (text, a row per well; empty where none is wanted), channels in order.

    inputs: the tables that were read. findings: errors and warnings about the files; said: what was recognised, in words.
    facts: fields of screen.yaml that the instrument wrote down (magnification, pixel_size_um, plate_format, sample).
    """

    convention: str
    files: pd.DataFrame
    raw_layout: pd.DataFrame
    channels: tuple[str, ...]
    inputs: tuple[Path, ...] = ()
    findings: tuple[Finding, ...] = ()
    said: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Convention(Protocol):
    """A way in which image files and layouts are kept on disk."""

    @property
    def name(self) -> str:
        """The word for --convention."""

    def detect(self, source: Source) -> bool:
        """Whether the source looks like this convention. Quick, and never raises for content."""

    def read(self, source: Source) -> Found:
        """The image files and the layout. Raises InputError where nothing usable can be made of the source."""


def channel_word(text: str) -> str:
    """A channel's name as it stands in inputs: "HOECHST 33342" -> "hoechst_33342"."""
    return "_".join(re.findall(r"[a-z0-9]+", text.lower()))


def channel_words(labels: Mapping[str, str]) -> dict[str, str]:
    """channel key -> name made of its label; the key itself where labels are empty or the same."""
    words = {key: channel_word(label) or key for key, label in labels.items()}
    return {key: word if list(words.values()).count(word) == 1 else key for key, word in words.items()}


def by_numbers(name: str) -> list[str | int]:
    """To sort names as people count: w2 before w10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
