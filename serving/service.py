"""The BentoML service: one worker that mounts the app, follows the registry, and stops cleanly.

Run it by `python -m serving.cli serve`, which sets what must be set before BentoML is imported.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import threading
import time
from typing import Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml

from serving.access import AccessGuard, TokenFile
from serving.app import clear_uploads, create_app
from serving.limits import BodyLimit
from serving.observe import Observer, set_up_logging
from serving.settings import Settings

settings = Settings.from_environment()
set_up_logging(settings.log)
app = create_app(settings)


def allow_open_files() -> None:
    """Raise the soft limit to the hard one: every large image of a form is an open file, and a 384-well plate has over 1,000."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536, hard))


def end_with_parent() -> None:
    """End this worker when the process that started it is killed, so that no orphan keeps the port."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        logging.getLogger("dosewell.service").error("the parent process is gone; this worker ends")
        os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=watch, name="parent", daemon=True).start()


@bentoml.service(name="dosewell", workers=1, traffic={"timeout": 24 * 3600}, metrics={"enabled": True},
                 logging={"access": {"enabled": False}})  # serving/observe.py writes it, with ids
@bentoml.asgi_app(app, path="/")
class Dosewell:
    """Scores plates with the champions of the registry; the HTTP interface is in serving/app.py."""

    def __init__(self) -> None:
        from models.registry import Registry, default_tracking_uri  # here: the parent process need not import MLflow and torch
        from serving import answers, scoring, uploads  # noqa: F401  # now, so that the first request need not wait for them
        from serving.promotion import Promoter, PromotionLog

        clear_uploads(settings)
        allow_open_files()
        end_with_parent()
        uri = settings.tracking_uri or default_tracking_uri()
        self.promoter = Promoter(lambda: Registry(uri, settings.state / "cache"), PromotionLog(settings.state / "promotions.jsonl"),
                                 retry_seconds=settings.retry_seconds, grace_seconds=settings.grace_seconds, device=settings.device)
        self.promoter.start(poll_seconds=settings.poll_seconds)
        app.state.promoter = self.promoter

    @bentoml.on_shutdown
    def stop(self) -> None:
        """Stop following the registry."""
        self.promoter.stop()

    def __is_ready__(self) -> bool:
        """GET /readyz: the registry was looked at once, and its champions are loaded."""
        return self.promoter.ready


# around all that BentoML answers, its own /metrics included; the first is the outermost
_service: Any = Dosewell    # what the decorator made of the class
_service.add_asgi_middleware(Observer)
_service.add_asgi_middleware(AccessGuard, tokens=TokenFile(settings.tokens))
_service.add_asgi_middleware(BodyLimit, max_bytes=settings.max_upload_bytes)
