"""Layouts that mean harm: workbooks and text whose few kilobytes stand for millions of cells."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable

from tests.serving.hostile.archives import archive
from tests.serving.hostile.images import LAUGHS


def workbook(sheet: str, *, strings: str = "") -> bytes:
    """An XLSX whose only sheet is this XML."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    return archive({
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType='
                               '"application/vnd.openxmlformats-package.relationships+xml"/>'
                               f'<Override PartName="/xl/workbook.xml" ContentType="{kinds}.sheet.main+xml"/>'
                               f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kinds}.sharedStrings+xml"/>'
                               f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kinds}.worksheet+xml"/></Types>'.encode(),
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/officeDocument" '
                       'Target="xl/workbook.xml"/></Relationships>'.encode(),
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/worksheet" '
                                      f'Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="{office}/sharedStrings" '
                                      'Target="sharedStrings.xml"/></Relationships>'.encode(),
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="s" sheetId="1" r:id="r1"/></sheets>'
                           '</workbook>'.encode(),
        "xl/sharedStrings.xml": (strings or f'<sst xmlns="{main}"/>').encode(),
        "xl/worksheets/sheet1.xml": sheet.replace("<worksheet>", f'<worksheet xmlns="{main}">').encode()})


def sheet(rows: str, *, after: str = "", before: str = "") -> str:
    return f'<?xml version="1.0"?>{before}<worksheet><sheetData>{rows}</sheetData>{after}</worksheet>'


def cell(place: str, value: str = "1") -> str:
    return f'<c r="{place}"><v>{value}</v></c>'


def far_cells() -> bytes:
    """Two cells, of which one lies in the last column of the last row."""
    return workbook(sheet(f'<row r="1">{cell("A1")}</row><row r="1048576">{cell("XFD1048576")}</row>'))


def wide_rows(count: int = 30_000) -> bytes:
    """A cell in the last column of every row."""
    return workbook(sheet("".join(f'<row r="{row}">{cell(f"XFD{row}")}</row>' for row in range(1, count))))


def merged_wide(count: int = 5_000) -> bytes:
    """Rows of two cells, and the last column merged beside all of them."""
    rows = "".join(f'<row r="{row}">{cell(f"A{row}")}{cell(f"B{row}")}</row>' for row in range(1, count))
    return workbook(sheet(rows, after=f'<mergeCells count="1"><mergeCell ref="XFD1:XFD{count}"/></mergeCells>'))


def merged_over(count: int = 5_000) -> bytes:
    """Rows of two cells, and the first column merged from each row to the last."""
    rows = "".join(f'<row r="{row}">{cell(f"A{row}")}{cell(f"B{row}")}</row>' for row in range(1, count))
    merged = "".join(f'<mergeCell ref="A{row}:A{count}"/>' for row in range(1, count))
    return workbook(sheet(rows, after=f"<mergeCells>{merged}</mergeCells>"))


def lying_part(size: int = 2**26) -> bytes:
    """An XLSX whose list of parts is followed by blanks that it does not declare."""
    with zipfile.ZipFile(io.BytesIO(workbook(sheet("")))) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    listed = "[Content_Types].xml"
    data = bytearray(archive({**parts, listed: parts[listed] + b" " * size}))
    at = data.find(listed.encode(), data.find(b"PK\1\2")) - 46    # its entry in the directory
    data[at + 24:at + 28] = struct.pack("<I", 1_000)
    return bytes(data)


def sheet_bomb(rows: int = 2_000_000) -> bytes:
    """Two million rows, all alike, in 300 kB."""
    return workbook(sheet(f"<row>{cell('A1')}{cell('B1')}</row>" * rows))


TABLES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "XLSX of 2,000,000 rows in 300 kB": ("layout.xlsx", sheet_bomb),
    "XLSX with a cell at the end of the sheet": ("layout.xlsx", far_cells),
    "XLSX with 30,000 rows as wide as they get": ("layout.xlsx", wide_rows),
    "XLSX with its last column merged": ("layout.xlsx", merged_wide),
    "XLSX with cells merged over one another": ("layout.xlsx", merged_over),
    "XLSX whose list of parts says 1 kB and unpacks to 64 MB": ("layout.xlsx", lying_part),
    "XLSX of a billion laughs": ("layout.xlsx", lambda: workbook(sheet(
        '<row r="1"><c r="A1" t="inlineStr"><is><t>&a11;</t></is></c></row>', before=LAUGHS))),
    "CSV of 2 million empty rows": ("layout.csv", lambda: b"well,role,treatment,dose\nA01,treated,x,1\n" + b"\n" * 2_000_000 + b"A02\n"),
    "CSV of 2 million rows": ("layout.csv", lambda: b"well,role\n" + b"a,b\n" * 2_000_000),
    "CSV of 10 million commas": ("layout.csv", lambda: b"well,role,treatment,dose\n" + b"," * 10_000_000),
    "CSV with a number of 100,000 digits": ("layout.csv", lambda: b"well,role,treatment,dose,dose_unit\nA01,treated,x,"
                                            + b"1" * 100_000 + b"!,nM\n"),
}
"""Layouts: file name and content, by what is wrong with them."""
