"""The report of a scored screen: tables in, one self-contained HTML page out. No file is read but the package's own templates."""

from models.report.inputs import ReportOptions, ReportTables, ScoredTables
from models.report.page import IndexEntry, index_entry, render_index, render_report
from models.report.plain_text import render_text
from models.report.view import report_view

__all__ = ["IndexEntry", "ReportOptions", "ReportTables", "ScoredTables", "index_entry", "render_index", "render_report", "render_text",
           "report_view"]
