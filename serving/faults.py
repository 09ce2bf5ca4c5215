"""Exceptions as HTTP statuses and as the records that every error answer has."""

from __future__ import annotations

import errno
import re
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from models.errors import Finding, InputError, RefusedError, RegistryError, SampleMismatch
from models.registered import UnknownModelError
from serving.job_records import JobConflictError, JobStoreError, UnknownJobError

OWN_MISTAKE = "the service made a mistake; its log says more"
_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (SampleMismatch, 409), (InputError, 400), (UnknownModelError, 404), (RefusedError, 409), (RegistryError, 503), (ClientDisconnect, 400),
    (RequestValidationError, 400), (UnknownJobError, 404), (JobConflictError, 409), (JobStoreError, 503))
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def status_of(error: Exception) -> int:
    """HTTP status of an exception; 500 for what nobody foresaw."""
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return 507
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def error_record(error: Exception) -> dict[str, Any]:
    """{error, findings} of an exception; what nobody foresaw says nothing of the inside."""
    summary = OWN_MISTAKE if status_of(error) == 500 else _summary(error)
    findings = list(getattr(error, "findings", ())) or [Finding(rule=_rule_of(error), severity="error", message=summary)]
    return {"error": summary, "findings": [finding.record() for finding in findings]}


def _summary(error: Exception) -> str:
    if isinstance(error, RequestValidationError):
        return "the request cannot be used: " + "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5])
    if isinstance(error, OSError):
        return "the service's disk is full; nothing was accepted, try again when there is room"
    return str(getattr(error, "summary", None) or getattr(error, "detail", None) or error or type(error).__name__)


def _rule_of(error: Exception) -> str:
    """UnknownModelError -> "unknown_model"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).lower()
