"""How far long work is: what is told while it runs, and how the command line shows it, a bar per stage, and lines that stay."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

OnProgress = Callable[[str, int, int], object]
"""Called with what is being done, how much of it is done, and how much there is (0: not known)."""


def quietly(stage: str, done: int, total: int) -> None:
    """Nobody watches."""


class Progress:
    """A bar per stage on standard error: bytes while sending, then what the job counts."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        from tqdm import tqdm

        if stage != self._stage or self._bar is None:
            self.close()
            in_bytes = stage == "sending"
            self._stage, self._bar = stage, tqdm(desc=stage, total=total or None, unit="B" if in_bytes else "", unit_scale=in_bytes,
                                                 leave=False, file=sys.stderr, disable=None)   # none in a file or a pipe
        self._bar.total = total or None
        self._bar.update(done - self._bar.n)

    def say(self, words: str) -> None:
        """A line that stays."""
        self.close()
        sys.stderr.write(f"{words}\n")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
