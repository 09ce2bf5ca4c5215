"""What a request leaves behind: an id, a line of structured log, and headers that keep browsers from doing more than they should.

A line of log is a JSON object with time, level, logger, process, message, and request_id and job_id where there are some. Headers, forms
and tokens are never logged.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import uuid
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access import SCOPE_KEY

request_id: ContextVar[str] = ContextVar("request_id", default="")
job_id: ContextVar[str] = ContextVar("job_id", default="")
logger = logging.getLogger("dosewell.access")

HEADERS = {"x-content-type-options": "nosniff", "x-frame-options": "DENY", "referrer-policy": "no-referrer",
           "cross-origin-resource-policy": "same-origin", "cross-origin-opener-policy": "same-origin",
           "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
           "cache-control": "no-store"}
_QUIET_PATHS = ("/livez", "/healthz", "/readyz", "/metrics")
_GIVEN_ID = re.compile(r"^[\w.-]{8,64}$")


class Observer:
    """ASGI middleware: request id, access log, and HEADERS where an answer does not set its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, watching."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        request_id.set(given if _GIVEN_ID.match(given) else uuid.uuid4().hex)
        started, status = time.monotonic(), 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers["x-request-id"] = request_id.get()
            await send(message)

        try:
            await self.app(scope, receive, note)
        finally:
            if scope["path"] not in _QUIET_PATHS:
                _keep(scope, status, time.monotonic() - started)


def _keep(scope: Scope, status: int, seconds: float) -> None:
    """A line of the log, and the metrics. status: 0 where nothing was answered."""
    from serving import metrics  # not in the parent process, see there

    metrics.note_request(scope["method"], getattr(scope.get("route"), "path", "") or "other", status, seconds)
    token = scope.get(SCOPE_KEY)
    path = "".join(letter if letter.isprintable() else "?" for letter in scope["path"])     # one request, one line
    logger.info("%s %s %d", scope["method"], path, status, extra={"fields": {
        "method": scope["method"], "path": path, "status": status, "by": token.name if token else "",
        "client": (scope.get("client") or ("",))[0], "seconds": round(seconds, 4)}})


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """time, level, logger, process, message, ids, the record's own fields, and the traceback of an exception."""
        line: dict[str, Any] = {"time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
                                "level": record.levelname.lower(), "logger": record.name, "process": record.process,
                                "message": record.getMessage()}
        ids = {"request_id": request_id.get(), "job_id": job_id.get()}
        line |= {name: value for name, value in ids.items() if value} | getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """A record as a line for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The usual line, with the ids at its end."""
        ids = " ".join(f"{name}={value}" for name, value in (("request", request_id.get()), ("job", job_id.get())) if value)
        return super().format(record) + (f" [{ids}]" if ids else "")


def set_up_logging(style: str) -> None:
    """Send everything that the project logs to standard error. style: "json" or "text"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    project = logging.getLogger("dosewell")
    project.handlers, project.propagate = [handler], False
    project.setLevel(logging.INFO)
    logging.getLogger("urllib3").setLevel(logging.ERROR)    # a line per look at a registry that is away; the promoter says it once
