"""Exceptions as HTTP statuses, and as the record that every error answer is."""

from __future__ import annotations

import errno
import re
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from models.errors import Finding, InputError, RefusedError, RegistryError, SampleMismatch
from models.registered import UnknownModelError
from serving.job_records import JobConflictError, JobStoreError, UnknownJobError
from serving.plain import to_json

OWN_MISTAKE = "the service made a mistake; its log says more"
_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (SampleMismatch, 409), (InputError, 400), (UnknownModelError, 404), (RefusedError, 409), (RegistryError, 503), (ClientDisconnect, 400),
    (RequestValidationError, 400), (UnknownJobError, 404), (JobConflictError, 409), (JobStoreError, 503))
MAX_TEXT = 4_000    # characters of a message
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)     # Linux makes a damaged disk one that is only read


def status_of(error: Exception) -> int:
    """HTTP status of an exception; 500 for what nobody foresaw."""
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return 507
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def error_record(error: Exception) -> dict[str, Any]:
    """{error, findings} of an exception; what nobody foresaw says nothing of the inside."""
    summary = OWN_MISTAKE if status_of(error) == 500 else _summary(error)
    findings = list(getattr(error, "findings", ())) or [Finding(rule=_rule_of(error), severity="error", message=summary)]
    return {"error": _cut(summary), "findings": [{name: _cut(value) for name, value in finding.record().items()} for finding in findings]}


def _cut(value: Any) -> Any:
    """A text of what was sent may be as long as that, and stand in the answer twice."""
    return f"{value[:MAX_TEXT]} …" if isinstance(value, str) and len(value) > MAX_TEXT else value


def error_response(error: Exception) -> Response:
    """The HTTP answer to an exception."""
    return Response(to_json(error_record(error)), status_code=status_of(error), media_type="application/json",
                    headers=getattr(error, "headers", None))


def _summary(error: Exception) -> str:
    if isinstance(error, RequestValidationError):
        return "the request cannot be used: " + "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5])
    if isinstance(error, OSError):
        return f"the service's disk takes nothing ({error.strerror}); nothing was accepted, try again when it does"
    return str(getattr(error, "summary", None) or getattr(error, "detail", None) or error or type(error).__name__)


def _rule_of(error: Exception) -> str:
    """UnknownModelError -> "unknown_model"; an HTTPException of 404 -> "not_found"."""
    name = type(error).__name__.removesuffix("Error")
    if isinstance(error, HTTPException) and name == "HTTPException":
        return HTTPStatus(error.status_code).name.lower()
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
