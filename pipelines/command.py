"""What every command line shares: errors are printed for people, with exit status 1, and tracebacks are kept for bugs."""

from __future__ import annotations

import sys
from collections.abc import Callable

from models.environment import tolerate_any_terminal
from models.errors import DosewellError


def run_command(main: Callable[[], None]) -> None:
    """Run a command's main(); a DosewellError becomes its message on standard error and exit status 1."""
    if (spec := sys.modules["__main__"].__spec__) and spec.name.startswith("pipelines."):
        sys.argv[0] = f"python -m {spec.name}"      # what help and usage call the command
    tolerate_any_terminal()
    try:
        main()
    except DosewellError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same command again to go on")
