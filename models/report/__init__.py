"""The report of a scored screen or image set: tables in, one self-contained HTML page out. No file is read but the own templates."""

from models.report.class_page import ClassTables, class_index_entry, render_classes, wrong_images
from models.report.inputs import ReportOptions, ReportTables, ScoredTables
from models.report.page import IndexEntry, index_entry, render_index, render_report
from models.report.plain_text import curve_lines, render_text, treatment_table
from models.report.view import report_view

__all__ = ["ClassTables", "IndexEntry", "ReportOptions", "ReportTables", "ScoredTables", "class_index_entry", "curve_lines", "index_entry",
           "render_classes", "render_index", "render_report", "render_text", "report_view", "treatment_table", "wrong_images"]
