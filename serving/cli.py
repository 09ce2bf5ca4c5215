"""Command line of the service and of its client: serve, score, result, classify, exclude, curves, fit, compare, token, promote."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.environment import tolerate_any_terminal
from models.errors import DosewellError
from serving.commands import (
    DEFAULT_PORT,
    classify,
    compare,
    curves,
    exclude,
    fit,
    promote,
    result,
    score,
    serve,
    token,
)

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PORT}"
FORMS = ("xlsx", "parquet", "csv", "json", "html")      # of a result, as the service makes them


def _pairs(text: str) -> dict[str, str]:
    from models.plates.vocabulary import named_pairs

    try:
        return named_pairs(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _mapping(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected JSON, got {text!r}: {error}") from None
    if not isinstance(values, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object such as {{\"model\": \"5pl\"}}, got {text!r}")
    return values


def _port(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text!r}")
    return int(text)


def _exclusion(text: str) -> dict[str, str]:
    """ "P1:B03=bubble" -> plate, well, reason."""
    place, _, reason = text.partition("=")
    plate, mark, well = place.rpartition(":")
    if not (mark and plate and well and reason):
        raise argparse.ArgumentTypeError(f"expected PLATE:WELL=REASON, got {text!r}")
    return {"plate": plate, "well": well, "reason": reason}


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="dosewell", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_serving, _add_sending, _add_tables, _add_rights):
        add(commands)
    return top


def _add_serving(commands: Commands) -> None:
    one = commands.add_parser("serve", help="start the service")
    one.add_argument("--host", default="127.0.0.1", help="address to listen at (default: only this machine)")
    one.add_argument("--port", type=_port, default=0, help=f"default: SERVICE_PORT, else {DEFAULT_PORT}")
    one.add_argument("--bento", default="", metavar="TAG", help="a bento that `make bento` packed, e.g. dosewell:latest, or its folder "
                                                                "(default: this code)")
    one.set_defaults(run=serve)


def _add_sending(commands: Commands) -> None:
    """Those that ask a service."""
    one = commands.add_parser("score", help="score a folder or archive of plate images")
    one.add_argument("images", type=Path, help="a plate zip, a folder of plate zips, or a folder of one plate's images")
    one.add_argument("--layout", type=Path, required=True, help="CSV or XLSX, one row per well")
    described = one.add_mutually_exclusive_group()
    described.add_argument("--screen", type=Path, help="screen.yaml, or the same as JSON (default: the one beside images or layout)")
    described.add_argument("--sample", default="", help="cell line or patient, where there is no screen.yaml: imaged as the model expects")
    one.add_argument("--model", required=True, help="name, name@alias or name/version")
    one.add_argument("--adapt", action="store_true", help="train a model of this sample from --model, on the controls of these plates")
    one.add_argument("--options", type=_mapping, default={}, help='JSON, e.g. {"fit": {"model": "5pl"}}')
    one.add_argument("--exclude", type=_exclusion, nargs="+", default=[], metavar="PLATE:WELL=REASON", help="wells to leave out")
    one.add_argument("--force", action="store_true", help="score another sample than the model's")
    _add_result(one)
    _add_service(one, score)
    one = commands.add_parser("result", help="the result of an earlier job, as `score` writes it; without an id, the latest jobs")
    one.add_argument("job", nargs="?", default="", help="id of the job; one that still runs is waited for")
    _add_result(one)
    _add_service(one, result)
    one = commands.add_parser("classify", help="classify images without a layout (systems S3 to S5)")
    one.add_argument("images", type=Path, help="a folder of TIFF, PNG or JPEG images, a zip of them, or one image")
    one.add_argument("--model", required=True, help="name, name@alias or name/version")
    described = one.add_mutually_exclusive_group(required=True)
    described.add_argument("--sample", help="cell line, tissue or patient that the images are of")
    described.add_argument("--imageset", type=Path, help="imageset.yaml, which also says how they were imaged")
    one.add_argument("--force", action="store_true", help="classify another sample than the model's")
    one.add_argument("--out", type=Path, help="folder for classes.csv and answer.json")
    _add_service(one, classify)
    one = commands.add_parser("exclude", help="leave wells of a job out of its curves, or take them back; nothing is scored again")
    one.add_argument("job", help="id of the job")
    one.add_argument("wells", type=_exclusion, nargs="+", metavar="PLATE:WELL=REASON", help="which, and why; the reason is kept")
    one.add_argument("--restore", action="store_true", help="take the wells back")
    one.add_argument("--revision", type=int, help="of the result that the wells were chosen by: where others changed one of them since, "
                                                  "nothing is done (default: that of the result in --out)")
    one.add_argument("--out", type=Path, help="folder for the new result")
    _add_service(one, exclude)


def _add_tables(commands: Commands) -> None:
    """Those that read and write tables, without a service."""
    one = commands.add_parser("curves", help="curves, scores and figures of a plate reader's table, without a service")
    one.add_argument("table", type=Path, help="CSV or XLSX, a row per well: plate, well, role, treatment, dose and the read-out")
    one.add_argument("--out", type=Path, required=True, help="folder for wells.csv, curves.csv, hits.csv, quality.csv, report.html and the "
                                                                  "figures")
    one.add_argument("--readout", type=Path, nargs="+", default=[], help="the plate reader's own files, where the table has no read-out")
    one.add_argument("--readout-name", default="", help="which read-out, where those files hold several")
    one.add_argument("--roles", type=_pairs, default={}, metavar="positive=BzCl,...", help="treatments that are controls")
    one.add_argument("--controls", choices=("auto", "both", "negative", "none"), default="auto", help="controls to normalise by")
    one.add_argument("--plate-format", type=int, default=0, help="wells of a plate (default: the smallest that fits)")
    one.add_argument("--exclude", type=_exclusion, nargs="+", default=[], metavar="PLATE:WELL=REASON", help="wells to leave out")
    one.add_argument("--name", default="", help="title of the report (default: the table's name)")
    one.add_argument("--expected-ic50", type=_mapping, default={}, metavar="JSON", help="compounds of known potency, lowest and highest "
                                                                                        'usual IC50: {"staurosporine": [5, 40]} (nM)')
    _add_fitting(one, curves)
    one = commands.add_parser("fit", help="curves and scores of responses that are normalised already, or GR50 of counted cells")
    one.add_argument("table", type=Path, help="CSV or XLSX, a row per treatment, dose and replicate: treatment, dose, and viability, "
                                              "inhibition, or cell_count, cell_count__ctrl and cell_count__time0")
    one.add_argument("--out", type=Path, required=True, help="folder for curves.csv, the figures, and gr.csv of counted cells")
    one.add_argument("--by", nargs="+", default=[], metavar="COLUMN", help="columns that name a curve beside the treatment (default: those "
                                                                           "of cell lines, patients and times)")
    _add_fitting(one, fit)
    one = commands.add_parser("compare", help="IC50s of one sample over those of another, with limits: how many times less potent?")
    one.add_argument("first", type=Path, help="curves.csv, or the folder that it lies in, as `curves` and `score` write it")
    one.add_argument("second", type=Path, help="the same of the other sample")
    one.add_argument("--out", type=Path, required=True, help="CSV to write, a row per treatment that both have")
    one.set_defaults(run=compare)


def _add_fitting(one: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]) -> None:
    """How the table's columns and doses are meant, how curves are fitted and judged, and what does it."""
    one.add_argument("--columns", type=_pairs, default={}, metavar="dose=Conc,...", help="columns that the table calls by another name")
    one.add_argument("--dose-unit", default="", help="of doses for which the table names none (default: nM, which is told)")
    one.add_argument("--fit", type=_mapping, default={}, help='curve options as JSON, e.g. {"model": "5pl", "loss": "tukey"}')
    one.add_argument("--score", choices=("dss_asym", "dss1", "dss2", "dss3"), default="dss_asym", help="score by which hits are called")
    one.add_argument("--threshold", type=float, default=10.0, help="lowest score that is called a hit")
    one.add_argument("--no-figures", dest="figures", action="store_false", help="no figures, which is quicker")
    one.set_defaults(run=run)


def _add_rights(commands: Commands) -> None:
    """Who may use the service, and which version it uses."""
    one = commands.add_parser("token", help="make a token for somebody who may use the service")
    one.add_argument("name", help="whose token it is; the name appears in logs and with jobs")
    one.add_argument("--role", choices=("score", "admin"), default="score", help="admin: sees and deletes everybody's jobs")
    one.set_defaults(run=token)
    one = commands.add_parser("promote", help="make a registered version the champion")
    one.add_argument("name", help="a registered model, such as viability-A549")
    one.add_argument("version", type=int, help="number of the version")
    one.add_argument("--tracking-uri", default="", help="address of the registry (default: MLFLOW_TRACKING_URI, else mlflow.db here)")
    one.set_defaults(run=promote)


def _add_result(one: argparse.ArgumentParser) -> None:
    """Where a job's result is written, and in which forms."""
    one.add_argument("--out", type=Path, help="folder for report.html, the tables as CSV, and answer.json")
    one.add_argument("--also", nargs="+", default=[], choices=FORMS, help="further forms of the result, as the service makes them")


def _add_service(one: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]) -> None:
    """Which service is asked, and what does it."""
    one.add_argument("--url", default=os.environ.get("DOSEWELL_URL") or DEFAULT_URL,
                     help=f"address of the service (default: DOSEWELL_URL, else {DEFAULT_URL})")
    one.add_argument("--token", default=os.environ.get("DOSEWELL_TOKEN", ""), help="access token; better in DOSEWELL_TOKEN, where no list "
                                                                                   "of processes shows it")
    one.set_defaults(run=run)


def main() -> None:
    """Entry point; errors are printed for people, with exit status 1."""
    tolerate_any_terminal()
    arguments = parser().parse_args()
    try:
        arguments.run(arguments)
    except (DosewellError, OSError, ValueError) as error:
        sys.exit(f"dosewell: {error}")
    except KeyboardInterrupt:
        print("interrupted; the same command continues where it stopped, and nothing that the service already has is scored twice",
              file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
