"""What each command does with its options (serving/cli.py), in words for people on the terminal."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.environment import port
from models.errors import InputError
from models.tracking import default_tracking_uri
from serving.progress import Progress

if TYPE_CHECKING:
    import argparse

    import pandas as pd

    from serving.client import Client
    from serving.client_tables import Classes, Scores

DEFAULT_PORT = 3000
DRAIN_SECONDS = 40      # for requests in hand when the service is told to end; then it ends in order all the same, before systemd kills it
LISTED = 20     # jobs, the latest


def serve(arguments: argparse.Namespace) -> None:
    """Replace this process by BentoML's server; it ends with SIGTERM, after the requests in hand."""
    from serving.access import require_tokens
    from serving.job_database import database_address, open_database
    from serving.settings import Settings, require_port, require_state

    settings = Settings.from_environment()
    require_state(settings)
    require_tokens(arguments.host, settings.tokens, named=settings.tokens_needed)
    open_database(database_address(settings.database))  # connects nowhere yet; an address of no use is told here, in words for people
    settings.share()
    listen = arguments.port or port(os.environ, "SERVICE_PORT", DEFAULT_PORT)
    require_port(arguments.host, listen)
    what = str(_bento_folder(arguments.bento)) if arguments.bento else "serving.service:Dosewell"
    command = [sys.executable, "-m", "bentoml", "serve", what, "--host", arguments.host, "--port", str(listen),
               "--timeout-graceful-shutdown", str(DRAIN_SECONDS)]
    if not arguments.bento:
        command += ["--working-dir", str(Path(__file__).resolve().parent.parent)]
    # the metrics lie there, and BentoML clears them away at a start: each of several services over one state folder needs its own
    os.environ["BENTOML_HOME"] = str(settings.state / "bentoml" / f"{socket.gethostname()}-{listen}")
    os.execv(sys.executable, command)  # noqa: S606  # the same interpreter with a fixed list


def _bento_folder(bento: str) -> Path:
    """Of a tag of BentoML's store, or of a folder. Raises InputError where there is none."""
    name, _, version = bento.partition(":")
    versions = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml") / "bentos" / name
    if version in ("", "latest") and (versions / "latest").is_file():
        version = (versions / "latest").read_text(encoding="utf-8").strip()
    for folder in (Path(bento).absolute(), versions / version):
        if (folder / "bento.yaml").is_file():
            return folder
    raise InputError(f"there is no bento {bento}, neither as a folder nor in {versions.parent}; `make bento` packs one")


def score(arguments: argparse.Namespace) -> None:
    """Send plates as a job, wait for it, and print and write what came out."""
    from serving.client import Client, read_plates

    _require_folder(arguments.out, also=arguments.also)
    options = dict(arguments.options)
    if arguments.force:
        options["force"] = True
    if arguments.exclude:
        options["exclusions"] = [*options.get("exclusions", []), *arguments.exclude]
    plates = read_plates(arguments.images)
    with Progress() as progress, Client(arguments.url, token=arguments.token, on_progress=progress) as client:
        job = client.submit(plates, layout=arguments.layout, model=arguments.model, options=options, adapt=arguments.adapt,
                            screen=_screen(client, arguments, progress))
        progress.say(job["sent_as"] or "sent as it is")
        progress.say(f"job {job['id']}" + (f", sent {job['sent']} times: it is not scored again" if job["sent"] > 1 else " is accepted"))
        _take_result(client, job["id"], arguments)


def result(arguments: argparse.Namespace) -> None:
    """Print and write what came out of an earlier job, as `score` does; without an id, list the latest jobs."""
    from serving.client import Client, RejectedError

    _require_folder(arguments.out, also=arguments.also)
    with Progress() as progress, Client(arguments.url, token=arguments.token, on_progress=progress) as client:
        if not arguments.job:
            print("\n".join(map(_job_line, islice(client.jobs(), LISTED))) or f"{arguments.url} has no jobs that you may see")
            return
        try:
            _take_result(client, arguments.job, arguments)
        except RejectedError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            raise InputError(f"{error.summary}; `dosewell result` without an id lists the latest") from None


def _job_line(job: Mapping[str, Any]) -> str:
    when = job["created"][:16].replace("T", " ")
    return f"{job['id']}  {when} UTC  {job['state']:<8}{job['sample']}: {job['name']}, by {job['model']} version {job['version']}"


def _take_result(client: Client, job: str, arguments: argparse.Namespace) -> None:
    """Wait for a job, and print and write what came out."""
    scores = client.result(job)
    _tell(scores, arguments.out, [client.download(job, form, to=arguments.out) for form in arguments.also])


def _screen(client: Client, arguments: argparse.Namespace, progress: Progress) -> str | dict[str, Any]:
    """What was screened: as a file says, that was named or lies with the images or the layout; else as far as the sample's name tells."""
    from serving.client_files import SCREEN_NAMES, find_screen

    if arguments.sample:
        return client.describe(arguments.sample, layout=arguments.layout, model=arguments.model)
    path = arguments.screen or find_screen(arguments.images, arguments.layout)
    if path is None:
        raise InputError(f"what was screened is not known: none of {', '.join(SCREEN_NAMES)} lies with {arguments.images} or "
                         f"{arguments.layout}; name that file with --screen, or the cell line or patient with --sample")
    if not path.is_file():
        raise InputError(f"there is no {path}; name a screen.yaml with --screen, or the cell line or patient with --sample")
    progress.say(f"screen: {path}")
    return str(path.read_text(encoding="utf-8"))


def classify(arguments: argparse.Namespace) -> None:
    """Send images without a layout, and print and write their classes."""
    from serving.client import Client, read_images
    from serving.client_files import left_aside

    _require_folder(arguments.out)
    imageset = arguments.imageset.read_text(encoding="utf-8") if arguments.imageset else json.dumps({"sample": arguments.sample})
    with Progress() as progress, Client(arguments.url, token=arguments.token, on_progress=progress) as client:
        if arguments.images.is_dir() and (aside := left_aside(arguments.images)):
            progress.say(aside)
        found = client.classify(read_images(arguments.images), model=arguments.model, imageset=imageset, options={"force": arguments.force})
    _tell(found, arguments.out)


def exclude(arguments: argparse.Namespace) -> None:
    """Leave wells of a job out of its curves, or take them back, and write the new result."""
    from serving.client import Client

    _require_folder(arguments.out)
    changes = [{**change, "excluded": not arguments.restore} for change in arguments.wells]
    seen = _revision_in(arguments.out, arguments.job) if arguments.revision is None else arguments.revision
    with Client(arguments.url, token=arguments.token) as client:
        scores = client.change_wells(arguments.job, changes, revision=seen)
    _tell(scores, arguments.out)


def _revision_in(folder: Path | None, job: str) -> int | None:
    """Of the job's result that lies in the folder; None where none does."""
    try:
        answer = json.loads((folder / "answer.json").read_text(encoding="utf-8")) if folder is not None else {}
    except (OSError, ValueError):
        return None
    return int(answer["revision"]) if answer.get("job") == job else None


def _require_folder(out: Path | None, *, also: Sequence[str] = ()) -> None:
    """Make the folder of the result before anything is sent. Raises InputError where that cannot be, and for forms without a folder."""
    if also and out is None:
        raise InputError(f"--also {' '.join(also)} needs --out: the folder to write to")
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out} is no folder that can be written to ({error.strerror}); name another") from None


def _tell(found: Scores | Classes, out: Path | None, also: Sequence[Path] = ()) -> None:
    """Write what was found, where a folder for it is named, and sum it up. also: what was written before."""
    if out is not None:
        _tell_written(out, [*found.write(out), *also])
    print(found.summary())


def _tell_written(out: Path, written: Sequence[Path]) -> None:
    """Say what was written, and what lies beside it and is not of this result."""
    from serving.readouts import left_before

    print(f"wrote {', '.join(path.name for path in written)} in {out}")
    if others := left_before(out, written):
        print(f"NOT of this result, but there from before: {', '.join(others)}")


def curves(arguments: argparse.Namespace) -> None:
    """Curves, scores and figures of a plate reader's table; works without a service."""
    from models.plates.data_hash import file_md5
    from models.records import from_record
    from models.report import render_report, render_text
    from models.tables import MEASURED
    from models.whole_file import write_whole
    from serving.promotion_log import now
    from serving.readouts import ReadoutOptions, read_readout_table, score_table, write_figures, write_tables

    options = from_record(ReadoutOptions, {
        "fit": arguments.fit, "controls": arguments.controls, "plate_format": arguments.plate_format,
        "readout": arguments.readout_name, "name": arguments.name or arguments.table.stem, "exclusions": arguments.exclude,
        "roles": arguments.roles, "dose_unit": arguments.dose_unit, "columns": arguments.columns,
        "expected_ic50": arguments.expected_ic50, "hit_score": arguments.score, "hit_threshold": arguments.threshold}, path="options")
    table = read_readout_table(arguments.table, arguments.readout, options=options)
    scored, report = score_table(table, options), options.report
    lineage = {"model": MEASURED, "version": "measured", "data_md5": file_md5(arguments.table), "scored_at": now(),
               "files": ", ".join(path.name for path in (arguments.table, *arguments.readout))}
    page = render_report(scored, screen=table.screen, lineage=lineage, options=report)
    written = [*write_tables(scored, arguments.out, screen=table.screen, report=report), write_whole(arguments.out / "report.html", page)]
    if arguments.figures:
        written += write_figures(scored, arguments.out, score=arguments.score, threshold=arguments.threshold)
    print(*table.said, *scored.findings, render_text(scored, screen=table.screen, options=report), sep="\n")
    print()
    _tell_written(arguments.out, written)


def fit(arguments: argparse.Namespace) -> None:
    """Curves and scores of responses that are normalised already, or GR values of counted cells; works without a service."""
    from models.dose_response import FitOptions
    from models.plates.safe_csv import write_csv
    from models.records import from_record
    from models.report import curve_lines
    from serving.responses import draw_responses, fit_responses, read_responses

    options = from_record(FitOptions, arguments.fit, path="fit")
    responses = read_responses(arguments.table, by=arguments.by, columns=arguments.columns, dose_unit=arguments.dose_unit)
    tables = fit_responses(responses, options, score=arguments.score, threshold=arguments.threshold)
    _require_folder(arguments.out)
    written = [write_csv(table, arguments.out / f"{name}.csv") for name, table in tables.items()]
    if arguments.figures:
        written += draw_responses(responses, tables["curves"], arguments.out, score=arguments.score, threshold=arguments.threshold)
    print(*responses.said, *responses.findings, curve_lines(tables["curves"], by=responses.by, score=arguments.score), sep="\n")
    print()
    _tell_written(arguments.out, written)


def compare(arguments: argparse.Namespace) -> None:
    """IC50s of one sample beside those of another, from what `curves` or `score` wrote."""
    from models.dose_response import compare_potency
    from models.plates.safe_csv import write_csv
    from models.report.potency import fold_words, limit_words

    first, second = _read_curves(arguments.first), _read_curves(arguments.second)
    found = compare_potency(first, second)
    for row in found.to_dict("records"):
        said = row["reason"] or f"{limit_words(row)}: {row['call']}"
        print(f"{row['treatment']}: {fold_words(row)} ({said})")
    for path, own, other in ((arguments.first, first, second), (arguments.second, second, first)):
        if len(only := own.loc[~own["treatment"].isin(other["treatment"]), "treatment"]):
            print(f"only in {path}: {', '.join(only)}")
    print(f"wrote {write_csv(found, arguments.out)}: IC50s of {arguments.second} over those of {arguments.first}")


def _read_curves(path: Path) -> pd.DataFrame:
    """Curves that `curves` or `score` wrote."""
    from models.plates.spreadsheets import read_table
    from models.tables import CURVES, check_table

    file = path / "curves.csv" if path.is_dir() else path
    table = read_table(file)
    if not {"treatment", "ic50_relation"} <= set(table):
        raise InputError(f"{file} is no table of curves; its columns are {', '.join(map(str, table.columns[:8]))}. Make one of a "
                         "plate reader's table: dosewell curves TABLE --out FOLDER")
    return check_table(table, CURVES)


def token(arguments: argparse.Namespace) -> None:
    """Make a token for somebody and show it, once."""
    from serving.access import add_token
    from serving.settings import Settings

    path = Settings.from_environment().tokens
    print(add_token(path, name=arguments.name, role=arguments.role))
    print(f"This is {arguments.name}'s token, role {arguments.role}; it is shown only now. Its hash stands in {path}: delete that line to "
          "take the token back. A service that was started without tokens must be started again.", file=sys.stderr)


def promote(arguments: argparse.Namespace) -> None:
    """Move the alias champion, as a person does in the MLflow UI."""
    from models.registry import CHAMPION, Registry

    registry = Registry(arguments.tracking_uri or default_tracking_uri(), Path("var/registry-cache"))
    version = registry.resolve(f"{arguments.name}/{arguments.version}")
    if not version.gates_passed:
        print(f"warning: {version} did not pass its gates ({version.tags.get('gates', 'never judged')}); the service will refuse it",
              file=sys.stderr)
    registry.set_alias(version, CHAMPION)
    print(f"{version} is champion; the service takes it over within seconds")
