"""Results of jobs on disk, and as JSON, CSV, Parquet, XLSX and a report page."""

from __future__ import annotations

import io
import json
import re
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from models.combinations import NAMES, CombinationTables
from models.dose_response import FitOptions
from models.errors import Finding, InputError
from models.networks.bundle import GateResult
from models.networks.drift import COLUMNS as DRIFT
from models.plates.safe_csv import to_csv
from models.plates.screen import Screen
from models.report import render_report, treatment_table
from models.report.inputs import ALWAYS, flag_list, tables_of
from models.scoring import REFITTED, Exclusion, ScoredScreen, refit_wells
from models.single_doses import NAME as SINGLE
from models.single_doses import read_single_doses
from models.tables import COMBINATION_PAIRS, COMBINATIONS, CURVES, LAYOUT, SINGLE_DOSES, WELL_SCORES, check_table
from serving.attachments import file_stem
from serving.faults import NO_ROOM
from serving.job_records import Job, KeptChange, WellChange
from serving.plain import plain, records, to_json
from serving.scored import Scored

TABLES = (*ALWAYS, SINGLE, *NAMES)   # those after ALWAYS where there are such wells
CONTRACT_OF = {"wells": WELL_SCORES, "curves": CURVES, SINGLE: SINGLE_DOSES,
               **dict(zip(NAMES, (COMBINATIONS, COMBINATION_PAIRS), strict=True))}
NO_TABLE = {SINGLE: "every treatment of this job has doses enough for a curve",
            **dict.fromkeys(NAMES, "no well of this job holds two treatments")}
FORMATS: Mapping[str, str] = {"json": "application/json", "csv": "application/zip", "parquet": "application/zip",
                              "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "html": "text/html"}
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_CELL_LIMIT = 32_000    # Excel's is 32,767 characters
_WIDEST, _MEASURED = 60, 200    # characters of a column of a sheet; rows that are looked at for it


@dataclass(frozen=True, kw_only=True)
class Result:
    """The scores of a job. adapted: what the model rests on, where the job made one; changes: wells excluded and restored since."""

    scored: Scored
    adapted: Mapping[str, Any] | None = None
    changes: Sequence[KeptChange] = field(default_factory=tuple)

    def record(self, job: Job) -> dict[str, Any]:
        """The answer as plain records: that of POST /score, and what is the job's own."""
        return {**self.scored.record(), "job": job.id, "revision": job.revision, "adapted": plain(self.adapted),
                "changes": [asdict(change) for change in self.changes]}


def write_result(folder: Path, result: Result) -> None:
    """Write into `folder`, which appears whole or not at all. One that is there stays: it holds the same. Raises FileNotFoundError where
    the folder around it is gone: what was deleted is not made anew.
    """
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    partial.mkdir()
    scored = result.scored
    try:
        for name, table in tables_of(scored.tables).items():
            table.to_parquet(partial / f"{name}.parquet", index=False)
        (partial / "rest.json").write_bytes(to_json({
            "flags": [finding.record() for finding in scored.tables.findings], "screen": plain(scored.screen.to_dict()),
            "gates": scored.record_of_gates(), "lineage": dict(scored.lineage), "adapted": plain(result.adapted),
            "drift": records(scored.tables.drift)}))
        partial.rename(folder)
    except BaseException as error:  # a full disk is not to become fuller; or two people asked for the same fit at the same moment
        shutil.rmtree(partial, ignore_errors=True)
        if not (isinstance(error, OSError) and folder.is_dir()):
            raise


def read_result(folder: Path) -> Result:
    """Read what `write_result` wrote."""
    rest = json.loads((folder / "rest.json").read_text(encoding="utf-8"))
    wells, curves, quality = (pd.read_parquet(folder / f"{name}.parquet") for name in ALWAYS)
    wells["flags"] = pd.Series([flag_list(flags) for flags in wells["flags"]], index=wells.index, dtype=object)
    tables = ScoredScreen(check_table(wells, WELL_SCORES, keys=("plate", "well")), curves, quality,
                          tuple(Finding(**record) for record in rest["flags"]), pd.DataFrame(rest.get("drift", []), columns=list(DRIFT)),
                          CombinationTables.read(folder), read_single_doses(folder))
    scored = Scored(tables=tables, screen=Screen.from_dict(rest["screen"]), gates=tuple(GateResult(**gate) for gate in rest["gates"]),
                    lineage=rest["lineage"])
    return Result(scored=scored, adapted=rest["adapted"])


def result_at(folder: Path, changes: Sequence[KeptChange], *, fit: FitOptions, revision: int) -> Result:
    """The result of a job's folder after so many revisions; one that is not on disk yet is fitted from the scored wells, and kept.

    It depends on nothing but the scored wells and the changes, so a fit that was cut off, or that a full disk does not take, is simply done
    again.
    """
    if revision == 0:
        return replace(read_result(folder / "result"), changes=())
    path = folder / "revisions" / str(revision)
    if not path.is_dir():
        base = read_result(folder / "result")
        tables = refit_wells(base.scored.tables.wells, screen=base.scored.screen, exclusions=left_out(base.scored.tables.wells, changes),
                             fit=fit, drift=base.scored.tables.drift)
        findings = (*tables.findings, *(finding for finding in base.scored.tables.findings if finding.rule not in REFITTED))
        fitted = replace(base, scored=replace(base.scored, tables=replace(tables, findings=findings)), changes=tuple(changes))
        try:
            path.parent.mkdir(exist_ok=True)
            write_result(path, fitted)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            return fitted
    return replace(read_result(path), changes=tuple(changes))


def left_out(wells: pd.DataFrame, changes: Iterable[KeptChange | WellChange]) -> list[Exclusion]:
    """The wells that are left out after these changes, in the order of the plate's rows, with the latest reason."""
    reasons: dict[tuple[str, str], str] = {}
    given = wells["exclusion_reason"] if "exclusion_reason" in wells else pd.Series("", index=wells.index)
    for plate, well, excluded, reason in zip(wells["plate"], wells["well"], wells["excluded"], given, strict=True):
        if excluded:
            reasons[plate, well] = str(reason)
    for change in changes:
        reasons.pop((change.plate, change.well), None)
        if change.excluded:
            reasons[change.plate, change.well] = change.reason
    places = zip(wells["plate"], wells["well"], strict=True)
    return [Exclusion(plate=plate, well=well, reason=reasons[plate, well]) for plate, well in places if (plate, well) in reasons]


def check_changes(wells: pd.DataFrame, changes: Sequence[WellChange]) -> None:
    """Raises InputError for wells that the job does not have, and for changes without a reason."""
    known = set(zip(wells["plate"], wells["well"], strict=True))
    findings = [Finding(rule="exclusion_unknown", severity="error", plate=change.plate, well=change.well,
                        message=f"the job has no well {change.well} on a plate {change.plate}; check plate and well names")
                for change in changes if (change.plate, change.well) not in known]
    findings += [Finding(rule="exclusion_reason", severity="error", plate=change.plate, well=change.well, column="reason",
                         message=f"say why well {change.well} is {'left out' if change.excluded else 'taken back'}; the reason is kept")
                 for change in changes if not change.reason.strip()]
    if not changes:
        findings.append(Finding(rule="exclusions_missing", severity="error", column="exclusions", message="no well is named"))
    if findings:
        raise InputError("the wells cannot be changed", findings)


# -- formats ---------------------------------------------------------------------------------------------------------------


def render(result: Result, job: Job, *, kind: str, table: str = "") -> tuple[bytes, str, str]:
    """(bytes, media type, file name) of a result as `kind`; table: one of TABLES alone, as CSV or Parquet. Raises InputError."""
    if kind not in FORMATS or (table and (table not in TABLES or kind not in ("csv", "parquet"))):
        raise InputError("the result cannot be given so", [Finding(
            rule="format", severity="error", column="format", value=f"{kind} {table}".strip(),
            message=f"format is one of {', '.join(FORMATS)}; csv and parquet take table={'|'.join(TABLES)} for a single table")])
    stem = f"{file_stem(job.screen)}-{job.id[:8]}"
    if table:
        media = "text/csv; charset=utf-8" if kind == "csv" else "application/vnd.apache.parquet"
        chosen = tables_of(result.scored.tables).get(table)
        if chosen is None:
            raise InputError("the result has no such table", [Finding(
                rule="format", severity="error", column="table", value=table, message=NO_TABLE[table])])
        return _WRITERS[kind](chosen), media, f"{stem}-{table}.{kind}"
    if kind in _WRITERS:
        return _archive(result, kind), FORMATS[kind], f"{stem}-{kind}.zip"
    whole: Mapping[str, Callable[[], bytes]] = {
        "json": lambda: to_json(result.record(job)), "xlsx": lambda: _workbook(result, job), "html": lambda: _page(result, job)}
    return whole[kind](), FORMATS[kind], f"{stem}.{kind}"


def _csv(table: pd.DataFrame) -> bytes:
    return to_csv(table).encode()


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


_WRITERS: Mapping[str, Callable[[pd.DataFrame], bytes]] = {"csv": _csv, "parquet": _parquet}


def _archive(result: Result, kind: str) -> bytes:
    """The tables in one zip, with the report's verdicts where there are some."""
    tables = {f"{name}.{kind}": _WRITERS[kind](table) for name, table in tables_of(result.scored.tables).items()}
    hits = _verdicts(result)
    return _zipped({**tables, **({"hits.csv": _csv(hits)} if len(hits) else {}), "flags.csv": _csv(_flags(result))})


def _verdicts(result: Result) -> pd.DataFrame:
    return treatment_table(result.scored.tables, screen=result.scored.screen, gates=result.scored.gates)


def _zipped(members: Mapping[str, bytes]) -> bytes:
    """Files in one zip, without a clock: the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _flags(result: Result) -> pd.DataFrame:
    return pd.DataFrame([finding.record() for finding in result.scored.tables.findings],
                        columns=list(Finding.__dataclass_fields__))


def _workbook(result: Result, job: Job) -> bytes:
    """One sheet a table; what people look for first stands first: the treatments in words, where no censored IC50 can pass for a number.

    It is dated as the job is, not as asked for.
    """
    from openpyxl import Workbook
    from openpyxl.xml.functions import tostring

    scored = result.scored
    lineage = [("lineage", *item) for item in _lineage(result, job).items()]
    lineage += [("screen", name, value) for name, value in plain(scored.screen.to_dict()).items()]
    lineage += [("adapted", name, value) for name, value in (result.adapted or {}).items()]
    tables, treatments = tables_of(scored.tables), _verdicts(result)
    sheets = {**({"treatments": treatments} if len(treatments) or SINGLE not in tables else {}),
              **{name: tables[name] for name in (SINGLE, "curves", *reversed(NAMES), "wells", "quality") if name in tables},
              "flags": _flags(result),
              "changes": pd.DataFrame([asdict(change) for change in result.changes], columns=list(KeptChange.__dataclass_fields__)),
              "columns": _columns(tables), "about": pd.DataFrame(lineage, columns=["of", "name", "value"])}
    book = Workbook(write_only=True)
    for name, table in sheets.items():
        _fill(book.create_sheet(name), table)
    buffer = io.BytesIO()
    book.save(buffer)
    book.properties.created = book.properties.modified = datetime.fromisoformat(job.created_at)     # saving wrote the time of day there
    with zipfile.ZipFile(buffer) as saved:
        members = {name: saved.read(name) for name in saved.namelist()}
    return _zipped({**members, "docProps/core.xml": tostring(book.properties.to_tree())})


def _columns(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What each column of these tables means, and its unit: a row per column."""
    rows = []
    for name in filter(tables.__contains__, CONTRACT_OF):
        known = {column.name: column for column in (*LAYOUT.columns, *CONTRACT_OF[name].columns)}   # the layout's own are carried along
        rows += [(name, column, known[column].unit, known[column].meaning) for column in tables[name] if column in known]
    return pd.DataFrame(rows, columns=["sheet", "column", "unit", "meaning"])


def _fill(sheet: Any, table: pd.DataFrame) -> None:
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.utils import get_column_letter

    sheet.freeze_panes = "B2"
    for place, (name, column) in enumerate(table.items(), 1):
        longest = max((len(str(_cell(value))) for value in [name, *column.head(_MEASURED)]), default=0)
        sheet.column_dimensions[get_column_letter(place)].width = min(max(longest + 2, 8), _WIDEST)
    for row in [list(map(str, table.columns)), *table.astype(object).to_numpy().tolist()]:
        cells = []
        for value in row:
            cell = WriteOnlyCell(sheet, value=_cell(value))
            if isinstance(cell.value, str):
                cell.data_type = "s"    # else a treatment that is called =1+1 would be a formula
            cells.append(cell)
        sheet.append(cells)


def _cell(value: Any) -> str | float | bool | None:
    value = plain(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    text = " ".join(map(str, value)) if isinstance(value, list) else json.dumps(value) if isinstance(value, dict) else str(value)
    return _NOT_IN_XML.sub(" ", text)[:_CELL_LIMIT]


def _lineage(result: Result, job: Job) -> dict[str, str]:
    """The lineage, and which job's result this is and of when, for what is printed or passed on without the service at hand."""
    changed = f"; wells were last left out or taken back {result.changes[-1].at}" if result.changes else ""
    return {**result.scored.lineage, "scored_at": job.finished_at, "job": job.id, "revision": f"{job.revision}{changed}"}


def _page(result: Result, job: Job) -> bytes:
    scored = result.scored
    metrics = (result.adapted or {}).get("metrics") or {}
    return render_report(scored.tables, screen=scored.screen, lineage=_lineage(result, job), gates=scored.gates, metrics=metrics).encode()
