"""Answers that are files to keep: their names, and the headers that go with them."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote


def file_stem(name: str) -> str:
    """A name of a screen as one of a file."""
    return re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).strip("._")[:60] or "screen"


def attachment(name: str) -> dict[str, str]:
    """Headers of a file that is kept under its name, and in ASCII for whoever knows no better (RFC 6266). A page with somebody's names in
    it is never shown under our origin.
    """
    plain = "".join(letter if letter.isascii() else "_" for letter in name)
    return {"content-disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}",
            "content-security-policy": "sandbox"}
