"""Which version of each model answers: a thread that follows the alias `champion` in the registry.

It looks every second. When an alias moved, it fetches the version, checks hash and gates, loads and warms it, and only then
puts it into a new `Snapshot`; a request takes one snapshot and keeps it. A version that cannot serve is refused and the old
one stays. An unreachable registry changes nothing but what /models says. Every change seen goes to an append-only log.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pandas as pd

from models.errors import DosewellError, RefusedError, RegistryError
from models.networks.bundle import Card
from models.networks.predict import Predictor
from models.plates.images import WellImages
from models.registry import CHAMPION, RegisteredVersion, Registry, UnknownModelError
from serving import metrics

logger = logging.getLogger("dosewell.promotion")

Event = Literal["serving", "refused", "withdrawn"]
V = TypeVar("V")
KEPT_BY_NUMBER = 4  # loaded versions that requests named by number or another alias


@dataclass(frozen=True, kw_only=True)
class Served:
    """A version that is loaded and answers. since: when it took over (ISO 8601, UTC)."""

    version: RegisteredVersion
    predictor: Predictor
    since: str


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A champion that does not serve, and why. at: seconds of the monotonic clock when it was tried last."""

    version: int
    reason: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Change:
    """One line of the promotion log. version_from, version_to: numbers, None for none."""

    at: str
    model: str
    event: Event
    version_from: int | None
    version_to: int | None
    reason: str = ""
    bundle_sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything that requests need to know, replaced as a whole. unreachable_since: "" while the registry answers."""

    served: Mapping[str, Served] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    aliases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    registry_error: str = ""
    unreachable_since: str = ""
    looked_at: str = ""


def now() -> str:
    """The time in ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class PromotionLog:
    """An append-only file of JSON lines, one per change seen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def read(self, *, limit: int = 1000) -> list[Change]:
        """The latest changes, oldest first; a line cut short by a crash is left out."""
        lines = self.path.read_text(encoding="utf-8").splitlines()[-limit:] if self.path.is_file() else []
        changes = []
        for line in lines:
            try:
                changes.append(Change(**json.loads(line)))
            except (ValueError, TypeError):
                logger.warning("promotion log %s: a line cannot be read and is left out: %.80r", self.path, line)
        return changes

    def append(self, change: Change) -> None:
        """Write and flush to disk. A full disk must not stop the service: it is logged."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(change)) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            logger.error("promotion log %s cannot be written (%s): %s", self.path, error, change)


class Promoter:
    """Follows the champions. `snapshot` is safe to read from any thread; `pick` resolves a request's model reference.

    open_registry: called in the thread until it succeeds, because the registry may be away when the service starts.
    """

    def __init__(self, open_registry: Callable[[], Registry], log: PromotionLog, *, retry_seconds: float = 30.0,
                 grace_seconds: float = 15.0, device: str = "auto") -> None:
        self.snapshot = Snapshot()
        self.log = log
        self._open_registry, self._device = open_registry, device
        self._retry_seconds, self._grace_seconds = retry_seconds, grace_seconds
        self._registry: Registry | None = None
        self._missing_since: dict[str, float] = {}
        self._last_logged = {change.model: change for change in log.read()}
        self._by_number: OrderedDict[tuple[str, int, str], Served] = OrderedDict()
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, *, poll_seconds: float) -> None:
        """Look once per `poll_seconds`, in a daemon thread, until `stop`."""
        def follow() -> None:
            while not self._stop.is_set():
                self.look()
                self._stop.wait(poll_seconds)
        self._thread = threading.Thread(target=follow, name="promotion", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    @property
    def ready(self) -> bool:
        """Whether the registry has been looked at, or found unreachable, at least once."""
        return bool(self.snapshot.looked_at)

    def pick(self, reference: str) -> Served:
        """The loaded version that a request means: the champion of this moment, or a version named by number or alias.

        Raises UnknownModelError, RefusedError (with the reason), RegistryError (not reachable).
        """
        snapshot = self.snapshot
        name = reference.removesuffix(f"@{CHAMPION}")
        if name in snapshot.served:
            return snapshot.served[name]
        if name in snapshot.refused:
            raise RefusedError(snapshot.refused[name].reason)
        version = self._resolve(reference)
        champion = snapshot.served.get(version.name)
        if champion is not None and champion.version.version == version.version:
            return champion
        return self._load_by_number(version)

    def version_of(self, reference: str) -> tuple[RegisteredVersion, Card | None]:
        """The version that a job means, without loading it, and its card if it is loaded anyway. Raises as `pick` does."""
        snapshot = self.snapshot
        served = snapshot.served.get(reference.removesuffix(f"@{CHAMPION}"))
        if served is not None:
            return served.version, served.predictor.card
        if reference.removesuffix(f"@{CHAMPION}") in snapshot.refused:
            raise RefusedError(snapshot.refused[reference.removesuffix(f"@{CHAMPION}")].reason)
        version = self._resolve(reference)
        if not version.gates_passed:
            raise RefusedError(f"{version} is refused: gates {version.tags.get('gates', 'were never judged')}")
        champion = snapshot.served.get(version.name)
        same = champion is not None and champion.version.bundle_sha256 == version.bundle_sha256
        return version, champion.predictor.card if champion is not None and same else None

    def _resolve(self, reference: str) -> RegisteredVersion:
        if self._registry is None:
            raise RegistryError(f"no model can be looked up: {self.snapshot.registry_error or 'the service is starting'}")
        return self._registry.resolve(reference)

    def _load_by_number(self, version: RegisteredVersion) -> Served:
        key = (version.name, version.version, version.bundle_sha256)
        with self._lock:  # one load at a time; champions do not wait for it
            served = self._by_number.pop(key, None) or self._load(version)
            self._by_number[key] = served  # the latest stands last
            while len(self._by_number) > KEPT_BY_NUMBER:
                self._by_number.popitem(last=False)
            return served

    def look(self) -> None:
        """Look at the aliases once and follow them. Never raises; what goes wrong is kept in the snapshot and logged."""
        try:
            if self._registry is None:
                self._registry = self._open_registry()
            aliases = self._registry.aliases()
        except Exception as error:  # whatever MLflow or its database raises, serving goes on
            self._note_unreachable(error)
            return
        if self.snapshot.unreachable_since:
            logger.warning("the registry answers again; it was away since %s", self.snapshot.unreachable_since)
        self._put(aliases=aliases, registry_error="", unreachable_since="")
        for name in sorted(aliases.keys() | self.snapshot.served.keys() | self.snapshot.refused.keys()):
            self._follow(name, aliases.get(name, {}).get(CHAMPION))
        self._put(looked_at=now())
        metrics.note_snapshot({name: served.version.version for name, served in self.snapshot.served.items()},
                              list(self.snapshot.refused), reachable=True)

    def _note_unreachable(self, error: Exception) -> None:
        if not self.snapshot.unreachable_since:
            logger.error("the registry cannot be reached; serving goes on with what is loaded: %s", error)
        self._put(registry_error=str(error), unreachable_since=self.snapshot.unreachable_since or now(),
                  looked_at=self.snapshot.looked_at or now())
        metrics.note_snapshot({name: served.version.version for name, served in self.snapshot.served.items()},
                              list(self.snapshot.refused), reachable=False)

    def _follow(self, name: str, wanted: int | None) -> None:
        served, refused = self.snapshot.served.get(name), self.snapshot.refused.get(name)
        if wanted is None:
            self._withdraw(name)
            return
        came_back = self._missing_since.pop(name, None) is not None
        if served is not None and served.version.version == wanted and not came_back:
            if refused is not None:
                self._put(refused=_without(self.snapshot.refused, name))
                self._note(name, "serving", served, wanted, reason="the alias moved back", sha256=served.version.bundle_sha256)
            return
        if refused is not None and refused.version == wanted and time.monotonic() - refused.at < self._retry_seconds:
            return
        self._promote(name, wanted)

    def _promote(self, name: str, wanted: int) -> None:
        assert self._registry is not None
        old = self.snapshot.served.get(name)
        try:
            version = self._registry.resolve(f"{name}/{wanted}")
            if old is None or old.version.bundle_sha256 != version.bundle_sha256 or old.version.version != wanted:
                old_or_new = self._load(version)
            else:
                old_or_new = old
        except Exception as error:  # nothing that a version holds may stop the others from serving
            self._refuse(name, wanted, error)
            return
        self._put(served={**self.snapshot.served, name: old_or_new}, refused=_without(self.snapshot.refused, name))
        if old_or_new is not old:
            self._note(name, "serving", old, wanted, sha256=version.bundle_sha256)

    def _load(self, version: RegisteredVersion) -> Served:
        """Fetch, check hash and gates, load, and run once. Raises RefusedError, RegistryError."""
        assert self._registry is not None
        predictor = self._registry.load(version, device=self._device)
        warm(predictor)
        return Served(version=version, predictor=predictor, since=now())

    def _refuse(self, name: str, wanted: int, error: Exception) -> None:
        if not isinstance(error, DosewellError):
            logger.exception("%s version %d cannot be loaded", name, wanted)
        reason = str(error) if isinstance(error, DosewellError) else f"{name} version {wanted} cannot be loaded ({error})"
        if isinstance(error, RegistryError) and not isinstance(error, RefusedError | UnknownModelError):
            reason = f"{name} version {wanted} cannot be fetched now: {reason}"
        refusal = Refusal(version=wanted, reason=reason, at=time.monotonic())
        before = self.snapshot.refused.get(name)
        self._put(refused={**self.snapshot.refused, name: refusal})
        if before is None or (before.version, before.reason) != (wanted, reason):
            self._note(name, "refused", self.snapshot.served.get(name), wanted, reason=reason)

    def _withdraw(self, name: str) -> None:
        """No alias: after a grace the model stops serving, because somebody took it away."""
        self._put(refused=_without(self.snapshot.refused, name))
        served = self.snapshot.served.get(name)
        if served is None:
            return
        since = self._missing_since.setdefault(name, time.monotonic())
        if time.monotonic() - since >= self._grace_seconds:
            self._put(served=_without(self.snapshot.served, name))
            del self._missing_since[name]
            self._note(name, "withdrawn", served, None, reason="the alias champion was taken away")

    def _note(self, name: str, event: Event, old: Served | None, wanted: int | None, *, reason: str = "", sha256: str = "") -> None:
        change = Change(at=now(), model=name, event=event, version_from=old.version.version if old else None, version_to=wanted,
                        reason=reason, bundle_sha256=sha256)
        level = logging.WARNING if event != "serving" else logging.INFO
        logger.log(level, "%s: %s version %s (before: %s) %s", name, event, wanted, change.version_from, reason)
        metrics.note_change(name, event)
        last = self._last_logged.get(name)
        restart = old is None and last is not None and (last.event, last.version_to, last.reason) == (event, wanted, reason)
        if not restart:
            self.log.append(change)
        self._last_logged[name] = change

    def _put(self, **changes: object) -> None:
        self.snapshot = replace(self.snapshot, **changes)  # type: ignore[arg-type]  # fields of Snapshot


def warm(predictor: Predictor) -> None:
    """One pass over a black image. Raises RefusedError unless the answer is a number."""
    spec = predictor.card.recipe.input
    pixels = np.zeros((1, len(spec.planes), spec.size, spec.size), np.float16)
    answer = predictor.predict(WellImages(pd.DataFrame({"plate": [""], "well": [""], "site": [1]}), pixels, spec.planes))
    if not np.isfinite(answer[["logit", "od"]].to_numpy(float)).any():
        raise RefusedError(f"{predictor.card.name} is refused: it answers no number for a black image")


def _without(items: Mapping[str, V], name: str) -> dict[str, V]:
    return {key: value for key, value in items.items() if key != name}
