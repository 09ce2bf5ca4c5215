"""Which version of each model answers at a moment: what the promotion thread finds out and requests read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from models.errors import DosewellError, RefusedError, RegistryError
from models.networks.bundle import Card
from models.networks.predict import Predictor
from models.registered import CHAMPION, RegisteredVersion, UnknownModelError


@dataclass(frozen=True, kw_only=True)
class Served:
    """A version that answers. since: when it took over (ISO 8601, UTC); load: gives its predictor, from memory or from disk."""

    version: RegisteredVersion
    card: Card
    since: str
    load: Callable[[], Predictor]

    @property
    def predictor(self) -> Predictor:
        """The loaded model; take it once per request. Raises RefusedError, RegistryError when it cannot be loaded now."""
        return self.load()


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A champion that does not serve, and why. at: seconds of the monotonic clock when it was tried last; judged: whether the reason
    lies in the version itself; one that does not (a full disk, a store that is away) may read otherwise at every try.
    """

    version: int
    reason: str
    at: float
    judged: bool = True

    @classmethod
    def of(cls, name: str, version: int, error: Exception) -> Refusal:
        """Why a version of the model does not serve: any error, as a sentence for people."""
        reason, judged = str(error), is_judged(error)
        if not isinstance(error, DosewellError):
            reason = f"{name} version {version} cannot be loaded ({error})"
        elif isinstance(error, RegistryError) and not judged:
            reason = f"{name} version {version} cannot be fetched now: {error}"
        return cls(version=version, reason=reason, at=time.monotonic(), judged=judged)

    def says_more_than(self, before: Refusal | None) -> bool:
        """Whether it is worth a line of the log: not at every try of what is away for reasons that read otherwise each time."""
        return (before is None or before.version != self.version
                or (before.reason != self.reason and (before.judged or self.judged)))


def is_judged(error: Exception) -> bool:
    """Whether the reason lies in the version, and not in a registry, store or disk that is away."""
    return isinstance(error, RefusedError | UnknownModelError)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything that requests need to know, replaced as a whole. unreachable_since: "" while the registry answers."""

    served: Mapping[str, Served] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    aliases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    registry_error: str = ""
    unreachable_since: str = ""
    looked_at: str = ""

    def champion(self, reference: str) -> Served | None:
        """The champion that a reference means; None where it means another version, or a model without one. Raises RefusedError where it is
        refused and none serves in its place.
        """
        name = reference.removesuffix(f"@{CHAMPION}")
        if name not in self.served and name in self.refused:
            raise RefusedError(self.refused[name].reason)
        return self.served.get(name)
