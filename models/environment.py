"""What a process is given from outside: environment variables, read so that a wrong one is named (an empty one counts as not set), and
streams that may not know every character.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping

from models.errors import DosewellError


def choice(environment: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    """One of the allowed words, the first by default. Raises DosewellError naming the variable."""
    value = environment.get(name) or allowed[0]
    if value not in allowed:
        raise DosewellError(f"environment variable {name} must be {', '.join(allowed[:-1])} or {allowed[-1]}, got {value!r}")
    return value


def number(environment: Mapping[str, str], name: str, default: float) -> float:
    """A finite number above 0. Raises DosewellError naming the variable."""
    text = environment.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise DosewellError(f"environment variable {name} must be a number above 0, got {text!r}")
    return value


def count(environment: Mapping[str, str], name: str, default: int, *, least: int = 1, most: int | None = None) -> int:
    """A whole number from `least` to `most`. Raises DosewellError naming the variable."""
    text = environment.get(name, "").strip()
    try:
        value = int(text) if text else default
    except ValueError:
        value = least - 1
    if value < least or (most is not None and value > most):
        raise DosewellError(f"environment variable {name} must be a whole number "
                            f"{f'of {least} or more' if most is None else f'from {least} to {most}'}, got {text!r}")
    return value


def port(environment: Mapping[str, str], name: str, default: int) -> int:
    """A port to listen at. Raises DosewellError naming the variable."""
    return count(environment, name, default, most=65535)


def tolerate_any_terminal() -> None:
    """Characters that standard output and error cannot show, such as the prime of Z′ where a pipe is cp1252, become question marks there
    instead of ending the command.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
