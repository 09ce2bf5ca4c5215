"""What every command line shares: errors are printed for people, with exit status 1, tracebacks are kept for bugs, and SIGTERM ends what
the command started, too.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from models.environment import choice, tolerate_any_terminal
from models.errors import DosewellError
from models.instructions import CHOICES, VARIABLE

DISK_TROUBLE = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EROFS: "the disk can only be read",
                errno.EACCES: "this may not be read or written by you", errno.EPERM: "this may not be read or written by you"}


def add_params(parser: argparse.ArgumentParser) -> None:
    """The file of parameters, which every stage reads."""
    parser.add_argument("--params", default="params.yaml", help="file of parameters (default: %(default)s)")


def add_places(parser: argparse.ArgumentParser) -> None:
    """Where parameters, data and results lie, of a command that people run beside the pipeline."""
    add_params(parser)
    parser.add_argument("--data", type=Path, default=Path("data"), help="one folder per screen or image set (default: %(default)s)")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="what the pipeline made (default: %(default)s)")


def whole_number(least: int) -> Callable[[str], int]:
    """The type of an option: a whole number of `least` or more."""
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of {least} or more, got {text!r}")
        return value
    return parse


def _end_with_children(number: int, _frame: object) -> None:
    """End the processes below this one, gently, then firmly, and then it: a training whose `make demo` is gone would go on for hours."""
    below = psutil.Process().children(recursive=True)
    for act, seconds in ((psutil.Process.terminate, 10), (psutil.Process.kill, 5)):
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                act(process)
        _, below = psutil.wait_procs(below, timeout=seconds)
    sys.exit(128 + number)


def _end_with_dvc() -> None:
    """Ask the system for a SIGTERM when the `dvc` that started this stage is gone: else one whose DVC was killed goes on, and writes its
    files beside the next `dvc repro`, which may take half of one for the whole. Other commands may outlive their terminal.
    """
    if "DVC_STAGE" in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)      # PR_SET_PDEATHSIG


def run_command(main: Callable[[], None]) -> None:
    """Run a command's main(); a DosewellError becomes its message on standard error and exit status 1."""
    if (spec := sys.modules["__main__"].__spec__) and spec.name.startswith("pipelines."):
        sys.argv[0] = f"python -m {spec.name}"      # what help and usage call the command
    tolerate_any_terminal()
    before = signal.signal(signal.SIGTERM, _end_with_children)
    _end_with_dvc()
    try:
        choice(os.environ, VARIABLE, CHOICES)   # a wrong word is named
        main()
    except DosewellError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in DISK_TROUBLE:
            raise
        sys.exit(f"{DISK_TROUBLE[error.errno]}{f' ({error.filename})' if error.filename else ''}; put that right, and run the same "
                 "command again")
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same command again to go on")
    finally:
        signal.signal(signal.SIGTERM, before)
