"""The BentoML service: one worker that mounts the app, follows the registry, and stops cleanly.

Run it by `python -m serving.cli serve`, which sets what must be set before BentoML is imported.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
from collections.abc import Callable
from typing import Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml
from bentoml._internal.utils import circus
from uvicorn.protocols.http import auto

from models.tracking import absolute_uri, default_tracking_uri
from serving.access import AccessGuard, TokenFile
from serving.app import create_app
from serving.limits import BodyLimit, Punctual
from serving.observe import Observer, set_up_logging
from serving.settings import Settings, require_place

require_place()
settings = Settings.from_environment()
settings.share()
set_up_logging(settings.log)
app = create_app(settings)


def allow_open_files() -> None:
    """Raise the soft limit to the hard one: every connection is an open file, also of one who says nothing for a minute."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536, hard))


def spare_collector() -> None:
    """Tell Python's collector to pass over what is there by now: half a million objects of libraries and models that stay to the end, which
    it would otherwise walk through every few plates, for a third of a second each time.
    """
    gc.collect()
    gc.freeze()


class _PrivateArbiter(circus.Arbiter):
    """BentoML's parent process, which keeps its workers alive, without two ports that take commands from anybody: whoever has an account
    on the machine could have it run any program as its user.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "endpoint": "inproc://commands", "pubsub_endpoint": "inproc://events"})


circus.Arbiter = _PrivateArbiter
auto.AutoHTTPProtocol = Punctual


def _on_sigterm(act: Callable[[], None]) -> None:
    """Do this too when the service is told to end."""
    before = signal.getsignal(signal.SIGTERM)

    def both(number: int, frame: Any) -> None:
        act()
        if callable(before):
            before(number, frame)
    signal.signal(signal.SIGTERM, both)


@bentoml.service(name="dosewell", workers=settings.workers, traffic={"timeout": 24 * 3600},
                 metrics={"enabled": False},  # serving/metrics.py has them
                 logging={"access": {"enabled": False}},  # serving/observe.py writes it, with ids
                 tracing={"excluded_urls": [".*"]})  # nothing samples them, yet each piece of an upload would begin and end a span
@bentoml.asgi_app(app, path="/")
class Dosewell:
    """Scores plates with the champions of the registry; the HTTP interface is in serving/app.py."""

    def __init__(self) -> None:
        from models.registry import Registry  # here: the parent process need not import MLflow and torch
        from serving import answers, scoring, uploads  # noqa: F401  # now, so that the first request need not wait for them
        from serving.agreement import AgreementLog
        from serving.job_desk import JobDesk
        from serving.job_files import JobFiles
        from serving.job_workers import JobWorkers
        from serving.jobs import JobStore
        from serving.locks import own_folder
        from serving.promotion import Promoter
        from serving.promotion_log import PromotionLog
        from serving.shadow import Shadow
        from serving.worker import end_with

        app.state.uploads, self.uploads_lock = own_folder(settings.uploads)
        allow_open_files()
        end_with(os.getppid(), stop=lambda: os.kill(os.getpid(), signal.SIGTERM))
        uri = settings.tracking_uri or default_tracking_uri()
        self.promoter = Promoter(lambda: Registry(uri, settings.state / "cache"), PromotionLog(settings.state / "promotions.jsonl"),
                                 retry_seconds=settings.retry_seconds, grace_seconds=settings.grace_seconds, device=settings.device,
                                 memory_bytes=settings.model_memory_bytes)
        self.promoter.start(poll_seconds=settings.poll_seconds, on_first=spare_collector)
        store, files = JobStore(settings.database), JobFiles(settings.jobs)
        self.workers = JobWorkers(settings.job_workers, store=store, files=files, environment={
            "DOSEWELL_STATE": str(settings.state), "MLFLOW_TRACKING_URI": absolute_uri(uri)})
        self.workers.start()
        _on_sigterm(self.workers.drain)
        app.state.promoter, app.state.desk = self.promoter, JobDesk(store, files)
        app.state.agreement = AgreementLog(settings.state / "agreement.jsonl")
        self.shadow = Shadow(self.promoter, app.state.agreement, busy=lambda: bool(app.state.limiter and app.state.limiter.borrowed_tokens))
        if settings.shadow:
            self.shadow.start()
            app.state.shadow = self.shadow

    @bentoml.on_shutdown
    def stop(self) -> None:
        """Stop following the registry, and put jobs in hand back into the queue."""
        self.shadow.stop()
        self.promoter.stop()
        self.workers.stop()
        self.workers.store.close()

    def __is_ready__(self) -> bool:
        """GET /readyz: the registry was looked at once, and its champions are loaded."""
        return self.promoter.ready


# around all that BentoML answers; the first is the outermost
_service: Any = Dosewell    # what the decorator made of the class
_service.add_asgi_middleware(Observer)
_service.add_asgi_middleware(AccessGuard, tokens=TokenFile(settings.tokens, named=settings.tokens_needed))
_service.add_asgi_middleware(BodyLimit, max_bytes=settings.max_upload_bytes)
