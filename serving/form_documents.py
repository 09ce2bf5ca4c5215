"""What may be sent to the service, as the multipart forms of its OpenAPI document. What comes in is checked by serving/uploads.py."""

from __future__ import annotations

from typing import Any

_BINARY = {"type": "string", "format": "binary"}
_LAYOUT = {**_BINARY, "description": "CSV or XLSX, one row per well: plate, well, role, treatment, dose, dose_unit, replicate"}
_SCORE_FIELDS: dict[str, Any] = {
    "images": {"type": "array", "items": _BINARY, "description":
               "one zip per plate, named after it (P1.zip), or the images of one plate; names like B03_s1_c0_z0.tif: "
               "well, site from 1, channel and plane from 0, or usual ones like B03.tif"},
    "layout": _LAYOUT,
    "model": {"type": "string", "description": "registered name, name@alias or name/version; the default alias is champion"},
    "screen": {"type": "string", "description": "YAML or JSON, fields of screen.yaml: name, sample, channels, controls ..."},
    "options": {"type": "string", "description":
                'JSON: {"fit": {...}, "exclusions": [{"plate", "well", "reason"}], "keep": [{"plate", "well", "reason"}], "force": false}; '
                "keep: wells that stay in whatever a rule or the layout says"}}


def _form(required: tuple[str, ...], fields: dict[str, Any]) -> dict[str, Any]:
    """A multipart form in the OpenAPI document."""
    schema = {"type": "object", "required": list(required), "properties": fields}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


SCORE_FORM = _form(("images", "layout", "model", "screen"), _SCORE_FIELDS)
JOB_FORM = _form(("images", "layout", "model", "screen"), {
    **_SCORE_FIELDS, "adapt": {"type": "string", "enum": ["true", "false"], "default": "false", "description":
                               "true: `model` is a phase-I parent; phase II is trained on the controls of these plates, registered as "
                               "challenger if it passes its gates, and scores them"}})
CLASSIFY_FORM = _form(("images", "model", "imageset"), {
    "images": {"type": "array", "items": _BINARY, "description": "TIFF, PNG or JPEG images, or one zip of them"},
    "model": {"type": "string", "description": "name, name@alias or name/version of a model of system treatment, toxicity or tumour"},
    "imageset": {"type": "string", "description": "YAML or JSON, fields of imageset.yaml; `sample` must be there, classes are the model's"},
    "options": {"type": "string", "description":
                'JSON: {"force": false, "thumbnails": 0}; thumbnails: side of a small image of each, up to 512 pixels'}})
CURVES_FORM = _form(("layout",), {
    "layout": {**_LAYOUT, "description": "CSV or XLSX, one row per well; measured values in a column readout, signal, od ..."},
    "readout": {"type": "array", "items": _BINARY, "description":
                "instead of that column: the plate reader's own files (grids or lists; TXT, CSV, XLSX), named <read-out>_<plate>"},
    "options": {"type": "string", "description":
                'JSON: {"fit": {...}, "exclusions": [...], "keep": [...], "controls": "auto", "plate_format": 0, "readout": "", '
                '"name": "", "roles": {"positive": "BzCl"}, "columns": {"dose": "Level"}, "dose_unit": "uM", '
                '"expected_ic50": {"staurosporine": [5, 40]}, "hit_score": "dss_asym", "hit_threshold": 10}; the last two call '
                'the hits of the report (format=html)'}})
LAYOUT_FORM = _form(("layout",), {
    "layout": _LAYOUT,
    "screen": {"type": "string", "description":
               "YAML or JSON, fields of screen.yaml; without it plate and controls are read from the layout"},
    "plate": {"type": "string", "description": "name of the plate where the layout gives none"}})
