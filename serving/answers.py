"""The answers of GET /models and GET /promotions, made from what is in memory: they work while the registry is away."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from models.records import to_record
from models.registry import CHALLENGER
from serving.agreement import AgreementLog
from serving.plain import plain
from serving.promotion_log import PromotionLog
from serving.snapshot import Served, Snapshot


def models_answer(snapshot: Snapshot, *, service_version: str, agreement: AgreementLog | None = None) -> dict[str, Any]:
    """Every model with the version that answers, why another one does not, and how far its challenger agrees with it."""
    names = sorted(snapshot.aliases.keys() | snapshot.served.keys() | snapshot.refused.keys())
    return {"models": [model_record(snapshot, name, agreement) for name in names], "service_version": service_version, "registry": {
        "reachable": not snapshot.unreachable_since, "unreachable_since": snapshot.unreachable_since, "error": snapshot.registry_error,
        "looked_at": snapshot.looked_at}}


def model_record(snapshot: Snapshot, name: str, agreement: AgreementLog | None = None) -> dict[str, Any]:
    """One model."""
    served, refused = snapshot.served.get(name), snapshot.refused.get(name)
    challenger = snapshot.aliases.get(name, {}).get(CHALLENGER)
    compared = None
    if agreement is not None and served is not None and challenger not in (None, served.version.version):
        found = agreement.of(name, champion=served.version.version, challenger=int(challenger))
        compared = {"challenger": challenger, **found} if found else None
    return {"name": name, "aliases": dict(snapshot.aliases.get(name, {})), "serving": serving_record(served) if served else None,
            "refused": {"version": refused.version, "reason": refused.reason} if refused else None, "agreement": compared}


def serving_record(served: Served) -> dict[str, Any]:
    """The version that answers, with what a sender of images must know."""
    version, card = served.version, served.card
    spec = card.recipe.input
    return {"version": version.version, "since": served.since, "run_id": version.run_id, "bundle_sha256": version.bundle_sha256,
            "git_commit": version.tags.get("git_commit", ""), "data_md5": version.tags.get("data_md5", ""), "sample": card.sample,
            "system": card.system, "output": card.output, "classes": list(card.classes), "planes": list(spec.planes), "size": spec.size,
            "kind": card.kind, "acquisition": plain(to_record(card.acquisition)), "metrics": plain(dict(card.metrics)),
            "gates": version.tags.get("gates", "")}


def promotions_answer(log: PromotionLog) -> dict[str, Any]:
    """The promotion log."""
    return {"promotions": [asdict(change) for change in log.read()]}
