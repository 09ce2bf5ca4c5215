"""Command line of the service: serve, score, promote."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from models.errors import DosewellError

DEFAULT_URL = "http://127.0.0.1:3000"


def serve(arguments: argparse.Namespace) -> None:
    """Replace this process by BentoML's server; it ends with SIGTERM, after the requests in hand."""
    state = Path(os.environ.get("DOSEWELL_STATE", "var/service")).absolute()
    environment = {"BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
                   "BENTOML_HOME": str(state / "bentoml"), "DOSEWELL_STATE": str(state),
                   "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}  # the promoter itself tries again
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:Dosewell", "--host", arguments.host, "--port",
               str(arguments.port), "--working-dir", str(Path(__file__).resolve().parent.parent)]
    os.execv(sys.executable, command)  # noqa: S606  # the same interpreter with a fixed list


def score(arguments: argparse.Namespace) -> None:
    """Send plates and print or write the answer."""
    from serving.client import Client, read_plates

    screen = arguments.screen.read_text(encoding="utf-8")
    options = json.loads(arguments.options) if arguments.options else {}
    if arguments.force:
        options["force"] = True
    with Client(arguments.url) as client:
        scores = client.score(read_plates(arguments.images), layout=arguments.layout, model=arguments.model, screen=screen, options=options)
    if arguments.out is not None:
        scores.write(arguments.out)
        print(f"wrote {arguments.out}/report.html, wells.csv, curves.csv, quality.csv and answer.json")
    print(scores.summary())


def promote(arguments: argparse.Namespace) -> None:
    """Move the alias champion, as a person does in the MLflow UI."""
    from models.registry import CHAMPION, Registry, default_tracking_uri

    registry = Registry(arguments.tracking_uri or default_tracking_uri(), Path("var/registry-cache"))
    version = registry.resolve(f"{arguments.name}/{arguments.version}")
    if not version.gates_passed:
        print(f"warning: {version} did not pass its gates ({version.tags.get('gates', 'never judged')}); the service will refuse it",
              file=sys.stderr)
    registry.set_alias(version, CHAMPION)
    print(f"{version} is champion; the service takes it over within seconds")


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="python -m serving.cli", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("serve", help="start the service")
    one.add_argument("--host", default="127.0.0.1", help="address to listen at (default: only this machine)")
    one.add_argument("--port", type=int, default=int(os.environ.get("SERVICE_PORT", "3000")))
    one.set_defaults(run=serve)
    one = commands.add_parser("score", help="score a folder or archive of plate images")
    one.add_argument("images", type=Path, help="a plate zip, a folder of plate zips, or a folder of one plate's images")
    one.add_argument("--layout", type=Path, required=True, help="CSV or XLSX, one row per well")
    one.add_argument("--screen", type=Path, required=True, help="screen.yaml, or the same as JSON")
    one.add_argument("--model", required=True, help="name, name@alias or name/version")
    one.add_argument("--options", default="", help='JSON, e.g. {"fit": {"model": "5pl"}}')
    one.add_argument("--force", action="store_true", help="score another sample than the model's")
    one.add_argument("--url", default=os.environ.get("DOSEWELL_URL", DEFAULT_URL))
    one.add_argument("--out", type=Path, help="folder for report.html, the tables as CSV, and answer.json")
    one.set_defaults(run=score)
    one = commands.add_parser("promote", help="make a registered version the champion")
    one.add_argument("name")
    one.add_argument("version", type=int)
    one.add_argument("--tracking-uri", default="")
    one.set_defaults(run=promote)
    return top


def main() -> None:
    """Entry point; errors are printed for people, with exit status 1."""
    arguments = parser().parse_args()
    try:
        arguments.run(arguments)
    except (DosewellError, OSError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
