"""What the service is told by its environment. It never reads params.yaml."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.environment import choice, count, number
from models.errors import DosewellError
from models.instructions import CHOICES, VARIABLE
from models.tracking import absolute_uri, default_tracking_uri

MEBIBYTE = 2**20
QUIET = {"BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
         "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}   # the promoter itself tries again


@dataclass(frozen=True, kw_only=True)
class Settings:
    """tracking_uri: the registry ("" = MLFLOW_TRACKING_URI or SQLite in the working folder). state: folder of the bundle cache,
    the promotion log and uploads in progress. poll_seconds between looks at the aliases; retry_seconds before a refused version
    is tried again; grace_seconds for which a model whose alias was taken away still serves, because moving an alias by hand may
    take it away first. max_upload_bytes of a whole request; max_text_bytes of a screen or options; scoring_threads =
    requests scored at a time; device: auto | cpu | cuda | mps. tokens: file of those who may ask (serving/access.py); tokens_needed: it
    was named, or was there at the start, so that nobody is let in should it be missing. log: json | text.
    database_url: of the table of jobs ("" = SQLite in the state folder); job_workers: processes that do jobs, 0 = none here.
    model_memory_bytes: of loaded weights per process, above which the least recently used models are let go.
    workers: processes that answer requests.
    shadow: whether challengers score in silence what champions scored, so that their agreement is known.
    """

    tracking_uri: str = ""
    state: Path = Path("var/service")
    poll_seconds: float = 2.0
    retry_seconds: float = 30.0
    grace_seconds: float = 15.0
    max_upload_bytes: int = 4096 * MEBIBYTE
    max_text_bytes: int = 4 * MEBIBYTE
    scoring_threads: int = 2
    device: str = "auto"
    tokens: Path = Path("var/service/tokens")
    tokens_needed: bool = False
    log: str = "json"
    database_url: str = ""
    job_workers: int = 1
    model_memory_bytes: int = 4096 * MEBIBYTE
    shadow: bool = False
    workers: int = 1

    @property
    def database(self) -> str:
        """Where the table of jobs is."""
        return self.database_url or f"sqlite:///{self.state / 'jobs.db'}"

    @property
    def jobs(self) -> Path:
        """Folder of the files of jobs."""
        return self.state / "jobs"

    @property
    def uploads(self) -> Path:
        """Folder of uploads in progress, one folder per process; what dead ones left is removed at start."""
        return self.state / "uploads"

    def share(self) -> None:
        """Tell this process's children the same: BentoML works in another folder, and what MLflow is told here it reads when imported."""
        uri = absolute_uri(self.tracking_uri or default_tracking_uri())
        os.environ |= {"DOSEWELL_STATE": str(self.state), "MLFLOW_TRACKING_URI": uri}
        if self.tokens_needed:
            os.environ["DOSEWELL_TOKENS"] = str(self.tokens)
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """MLFLOW_TRACKING_URI and DOSEWELL_STATE, _POLL_SECONDS, _RETRY_SECONDS, _GRACE_SECONDS, _MAX_UPLOAD_MB,
        _SCORING_THREADS, _DEVICE, _TOKENS, _LOG, _DATABASE_URL, _JOB_WORKERS, _MODEL_MEMORY_MB,
        _SHADOW, _WORKERS, _PRECISION, _INSTRUCTIONS. Raises DosewellError naming the variable at fault.
        """
        defaults = cls()
        state = Path(environment.get("DOSEWELL_STATE") or defaults.state).absolute()
        tokens = Path(environment.get("DOSEWELL_TOKENS") or state / "tokens").absolute()
        choice(environment, "DOSEWELL_PRECISION", ("auto", "fp32"))     # models.networks.forward reads it, when the first model is loaded
        choice(environment, VARIABLE, CHOICES)                          # models.instructions has read it
        return cls(
            tracking_uri=absolute_uri(uri) if (uri := environment.get("MLFLOW_TRACKING_URI", "")) else "", state=state,
            tokens=tokens, tokens_needed=bool(environment.get("DOSEWELL_TOKENS")) or tokens.is_file(),
            log=choice(environment, "DOSEWELL_LOG", ("json", "text")), database_url=environment.get("DOSEWELL_DATABASE_URL", ""),
            job_workers=count(environment, "DOSEWELL_JOB_WORKERS", defaults.job_workers, least=0),
            poll_seconds=number(environment, "DOSEWELL_POLL_SECONDS", defaults.poll_seconds),
            retry_seconds=number(environment, "DOSEWELL_RETRY_SECONDS", defaults.retry_seconds),
            grace_seconds=number(environment, "DOSEWELL_GRACE_SECONDS", defaults.grace_seconds),
            max_upload_bytes=int(number(environment, "DOSEWELL_MAX_UPLOAD_MB", defaults.max_upload_bytes / MEBIBYTE) * MEBIBYTE),
            scoring_threads=count(environment, "DOSEWELL_SCORING_THREADS", defaults.scoring_threads),
            model_memory_bytes=int(number(environment, "DOSEWELL_MODEL_MEMORY_MB", defaults.model_memory_bytes / MEBIBYTE) * MEBIBYTE),
            workers=count(environment, "DOSEWELL_WORKERS", defaults.workers),
            shadow=choice(environment, "DOSEWELL_SHADOW", ("off", "on")) == "on",
            device=choice(environment, "DOSEWELL_DEVICE", ("auto", "cpu", "cuda", "mps")))


def require_place() -> None:
    """Raises DosewellError in a bento that was not told where its state is: BentoML works in the bento's own folder, which is no place
    for jobs, because the next bento is another folder.
    """
    if "DOSEWELL_STATE" not in os.environ and (Path(__file__).resolve().parents[2] / "bento.yaml").is_file():
        raise DosewellError("this is a bento, and the environment variable DOSEWELL_STATE does not name the folder for its jobs and logs; "
                            "start it by `dosewell serve --bento TAG`, or set DOSEWELL_STATE")


def require_state(settings: Settings) -> None:
    """Make the folder of state, which nobody else may read: plates of patients lie there. Raises DosewellError where it cannot be made or
    written to.
    """
    try:
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.state):
            pass
    except OSError as error:
        raise DosewellError(f"the service's folder {settings.state} (DOSEWELL_STATE) cannot be used: {error.strerror or error}; name one "
                            "that this user may write to") from None


def require_port(host: str, port: int, *, patience: float = 10.0) -> None:
    """Wait until the port is free: the processes of a service that was killed hold it for a second or two. Raises DosewellError if it is
    not free in `patience` seconds, or the host is no address of this machine.
    """
    until = time.monotonic() + patience
    while True:
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                reason = os.strerror(error.errno) if error.errno else error
                raise DosewellError(f"the service cannot listen at {host}, port {port}: {reason}; choose another by --port or "
                                    "SERVICE_PORT, or end what listens there") from None
            time.sleep(0.2)
        else:
            return
