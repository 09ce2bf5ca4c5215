"""Which version of each model answers: a thread that follows the alias `champion` in the registry.

It looks every two seconds, of hundreds of models less often (`pause`). When an alias moved, it fetches the version, checks hash and gates,
loads and warms it, and only then puts it into a new `Snapshot`; a request takes one snapshot and keeps it. A version that cannot serve is
refused and the old one stays. A registry that is away or silent changes nothing but what /models says. Every change seen goes to an
append-only log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from models.errors import DosewellError, RefusedError, RegistryError
from models.networks.bundle import Card
from models.networks.predict import Predictor
from models.registered import CHAMPION, RegisteredVersion
from models.registry import Registry
from models.tracking import without_password
from serving import metrics
from serving.asking import AskedRegistry
from serving.loaded import LoadedModels, warm
from serving.promotion_log import Event, PromotionLog, now
from serving.promotion_notes import PromotionNotes
from serving.snapshot import Refusal, Served, Snapshot, is_judged

logger = logging.getLogger("dosewell.promotion")

V = TypeVar("V")
LOADED_AT_START = 8     # champions; of more, one of each trunk, and each other when somebody first asks for it
TRUNKS_AT_START = 8     # of those
BROUGHT_AT_ONCE = 4     # bundles, when the service starts


class Promoter:
    """Follows the champions. `snapshot` is safe to read from any thread; `pick` resolves a request's model reference.

    open_registry: called in the thread until it succeeds, because the registry may be away when the service starts.
    memory_bytes: for loaded models.
    """

    def __init__(self, open_registry: Callable[[], Registry], log: PromotionLog, *, retry_seconds: float = 30.0,
                 grace_seconds: float = 15.0, device: str = "auto", memory_bytes: float = float("inf")) -> None:
        self.snapshot = Snapshot()
        self.log = log
        self._retry_seconds, self._grace_seconds, self._device = retry_seconds, grace_seconds, device
        self._asked = AskedRegistry(open_registry, self._note_unreachable)
        self._missing_since: dict[str, float] = {}
        self._notes = PromotionNotes(log)
        self._models = LoadedModels(self._load, budget_bytes=memory_bytes)
        self._broken: dict[str, tuple[int, RefusedError]] = {}      # champions that could not be loaded when they were asked for
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, *, poll_seconds: float, on_first: Callable[[], object] = lambda: None) -> None:
        """Look with pauses of `poll_seconds` or more, in a daemon thread, until `stop`. on_first: called after the first look."""
        def follow() -> None:
            self._look_whatever_happens()
            on_first()
            while not self._stop.wait(self._asked.pause(poll_seconds)):
                self._look_whatever_happens()
        self._thread = threading.Thread(target=follow, name="promotion", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        self.log.close()

    @property
    def ready(self) -> bool:
        """Whether the registry has been looked at, or found unreachable, at least once."""
        return bool(self.snapshot.looked_at)

    def pick(self, reference: str) -> Served:
        """The loaded version that a request means: the champion of this moment, or a version named by number or alias.

        Raises UnknownModelError, RefusedError (with the reason), RegistryError (not reachable).
        """
        snapshot = self.snapshot
        if (served := snapshot.champion(reference)) is not None:
            return served
        version = self._registry.resolve(reference)
        champion = snapshot.served.get(version.name)
        if champion is not None and champion.version.version == version.version:
            return champion
        predictor = self._models.get(version)
        return Served(version=version, card=predictor.card, since=now(), load=lambda: predictor)

    def pick_to_explain(self, reference: str, *, sha256: str) -> Served:
        """The version that scored a job, also one whose gates failed and that scored because a person forced it: it is loaded to be looked
        at, and not kept where requests find it. sha256: of its bundle, for in a registry that was made anew its number is another's. Raises
        as `pick` does.
        """
        version = self._registry.resolve(reference)
        version.require_bundle(sha256)
        if version.gates_passed:
            return self.pick(reference)
        predictor = self._registry.load(version, check_gates=False, device=self._device)
        return Served(version=version, card=predictor.card, since=now(), load=lambda: predictor)

    def version_of(self, reference: str) -> tuple[RegisteredVersion, Card | None]:
        """The version that a job means, without loading it, and its card if it is loaded anyway. Raises as `pick` does."""
        snapshot = self.snapshot
        if (served := snapshot.champion(reference)) is not None:
            return served.version, served.card
        version = self._registry.resolve(reference)
        version.require_gates()
        champion = snapshot.served.get(version.name)
        same = champion is not None and champion.version.bundle_sha256 == version.bundle_sha256
        return version, champion.card if champion is not None and same else None

    @property
    def _registry(self) -> Registry:
        if self._asked.opened is None:
            raise RegistryError(f"no model can be looked up: {self.snapshot.registry_error or 'the service is starting'}")
        return self._asked.opened

    def _look_whatever_happens(self) -> None:
        try:
            self.look()
        except Exception:   # without this thread no promotion would be seen any more, and nobody would say so
            logger.exception("the champions could not be followed; it is tried again")

    def look(self) -> None:
        """Look at the aliases once and follow them. What goes wrong with the registry or a version is kept in the snapshot and logged."""
        started, since = time.monotonic(), now()
        self.log.write_waiting()
        try:
            aliases = self._asked.aliases()
        except Exception as error:  # whatever MLflow or its database raises, serving goes on
            self._note_unreachable(error, since)
            return
        if self.snapshot.unreachable_since:
            logger.warning("the registry answers again; it was away since %s", self.snapshot.unreachable_since)
            # it may be another one, restored or made anew, whose versions have the same numbers: as if each alias had been taken away
            self._missing_since |= dict.fromkeys(self.snapshot.served, time.monotonic())
        self._put(aliases=aliases, registry_error="", unreachable_since="")
        self._notes.take_over()
        self._note_broken()
        few = sum(CHAMPION in named for named in aliases.values()) <= LOADED_AT_START
        brought = {} if self.ready or few else self._bring({name: named[CHAMPION] for name, named in aliases.items() if CHAMPION in named})
        for name in sorted(aliases.keys() | self.snapshot.served.keys() | self.snapshot.refused.keys() | self._notes.served()):
            if self.snapshot.unreachable_since:
                break       # it fell silent meanwhile, and each further question would wait as long; the next look takes them up
            self._follow(name, aliases.get(name, {}).get(CHAMPION), loaded=self.ready or few, brought=brought.get(name))
        if not self.ready:
            logger.info("the registry was looked at", extra={"fields": {
                "champions": len(self.snapshot.served), "refused": len(self.snapshot.refused), "loaded": len(self._models),
                "seconds": round(time.monotonic() - started, 2)}})
        self._put(looked_at=now())
        self._measure()

    def _note_unreachable(self, error: Exception, since: str) -> None:
        reason = without_password(str(error))
        if not self.snapshot.unreachable_since:
            logger.error("the registry cannot be reached; serving goes on with what is loaded: %s", reason)
        self._put(registry_error=reason, unreachable_since=self.snapshot.unreachable_since or since,
                  looked_at=self.snapshot.looked_at or now())
        self._measure()

    def _measure(self) -> None:
        metrics.note_snapshot({name: served.version.version for name, served in self.snapshot.served.items()},
                              list(self.snapshot.refused), reachable=not self.snapshot.unreachable_since)

    def _bring(self, champions: Mapping[str, int]) -> dict[str, Served]:
        """Bring many bundles into the cache and check them, several at a time, and load one of each trunk meanwhile: compiling it is what
        the first request would wait for. What goes wrong is met again, and told, when each is followed.
        """
        registry, trunks, adding = self._registry, set[str](), threading.Lock()

        def bring(name: str, number: int) -> Served | None:
            try:
                served = self._serve(registry.version(name, number), loaded=False)
                with adding:
                    first = served.card.trunk.sha256 not in trunks and len(trunks) < TRUNKS_AT_START
                    trunks.update([served.card.trunk.sha256] if first else [])
                if first:
                    self._models.get(served.version)
                return served
            except Exception as error:
                logger.debug("%s version %d was not brought ahead: %s", name, number, error)
                return None
        with ThreadPoolExecutor(BROUGHT_AT_ONCE) as pool:
            found = pool.map(bring, champions, champions.values())
            return {name: served for name, served in zip(champions, found, strict=True) if served is not None}

    def _note_broken(self) -> None:
        """Champions that turned out not to load no longer count as serving."""
        for name in list(self._broken):
            number, error = self._broken.pop(name)
            served = self.snapshot.served.get(name)
            if served is not None and served.version.version == number:
                self._put(served=_without(self.snapshot.served, name))
                self._refuse(name, number, error)

    def _follow(self, name: str, wanted: int | None, *, loaded: bool, brought: Served | None) -> None:
        """Do what the alias of one model asks. wanted: the version that it names, None for no alias; loaded: whether a new champion is
        loaded and run once before it takes over, or only checked; brought: that version, where `_bring` has checked it already.
        """
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
        self._promote(name, wanted, loaded=loaded, brought=brought)

    def _promote(self, name: str, wanted: int, *, loaded: bool, brought: Served | None) -> None:
        old = self.snapshot.served.get(name)
        try:
            version = brought.version if brought else self._asked.version(name, wanted)
            same = old is not None and (old.version.version, old.version.bundle_sha256) == (wanted, version.bundle_sha256)
            old_or_new = old if old is not None and same else brought or self._serve(version, loaded=loaded)
        except Exception as error:  # nothing that a version holds may stop the others from serving
            if old is not None and old.version.version == wanted and isinstance(error, RegistryError) and not is_judged(error):
                self._missing_since[name] = time.monotonic()    # it goes on, and is compared when the registry answers
            else:
                self._refuse(name, wanted, error)
            return
        self._put(served={**self.snapshot.served, name: old_or_new}, refused=_without(self.snapshot.refused, name))
        if old_or_new is not old:
            self._note(name, "serving", old, wanted, sha256=version.bundle_sha256)

    def _serve(self, version: RegisteredVersion, *, loaded: bool) -> Served:
        """Fetch, check hash, files and gates; load it and let it answer once, or leave that to its first request."""
        card = self._models.get(version).card if loaded else self._registry.check(version)
        return Served(version=version, card=card, since=now(), load=partial(self._predictor_of, version))

    def _predictor_of(self, version: RegisteredVersion) -> Predictor:
        try:
            return self._models.get(version)
        except RefusedError as error:
            self._broken[version.name] = (version.version, error)   # noticed at the next look, in the thread that changes the snapshot
            raise

    def _load(self, version: RegisteredVersion) -> Predictor:
        """Fetch, check hash and gates, load, and run once. Raises RefusedError, RegistryError."""
        predictor = self._registry.load(version, device=self._device)
        warm(predictor)
        return predictor

    def _refuse(self, name: str, wanted: int, error: Exception) -> None:
        if not isinstance(error, DosewellError):
            logger.exception("%s version %d cannot be loaded", name, wanted)
        refusal, before = Refusal.of(name, wanted, error), self.snapshot.refused.get(name)
        self._put(refused={**self.snapshot.refused, name: refusal})
        if refusal.says_more_than(before):
            self._note(name, "refused", self.snapshot.served.get(name), wanted, reason=refusal.reason)

    def _withdraw(self, name: str) -> None:
        """No alias: after a grace the model stops serving, because somebody took it away; perhaps while no service ran, which the log then
        learns too.
        """
        self._put(refused=_without(self.snapshot.refused, name))
        served = self.snapshot.served.get(name)
        if served is None and name not in self._notes.served():
            return
        since = self._missing_since.setdefault(name, time.monotonic())
        if time.monotonic() - since >= self._grace_seconds:
            self._put(served=_without(self.snapshot.served, name))
            del self._missing_since[name]
            self._note(name, "withdrawn", served, None, reason="the alias champion was taken away")

    def _note(self, name: str, event: Event, old: Served | None, wanted: int | None, *, reason: str = "", sha256: str = "") -> None:
        self._notes.note(name, event, old=old.version.version if old else None, new=wanted, reason=reason, sha256=sha256)

    def _put(self, **changes: object) -> None:
        self.snapshot = replace(self.snapshot, **changes)  # type: ignore[arg-type]  # fields of Snapshot


def _without(items: Mapping[str, V], name: str) -> dict[str, V]:
    return {key: value for key, value in items.items() if key != name}
