"""What every command line shares: errors are printed for people, with exit status 1, and tracebacks are kept for bugs."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from models.environment import tolerate_any_terminal
from models.errors import DosewellError

NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EROFS: "the disk can only be read",
           errno.EACCES: "this may not be read or written by you", errno.EPERM: "this may not be read or written by you"}


def run_command(main: Callable[[], None]) -> None:
    """Run a command's main(); a DosewellError becomes its message on standard error and exit status 1."""
    if (spec := sys.modules["__main__"].__spec__) and spec.name.startswith("pipelines."):
        sys.argv[0] = f"python -m {spec.name}"      # what help and usage call the command
    tolerate_any_terminal()
    try:
        main()
    except DosewellError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        sys.exit(f"{NO_ROOM[error.errno]}{f' ({error.filename})' if error.filename else ''}; put that right, and run the same "
                 "command again")
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same command again to go on")
