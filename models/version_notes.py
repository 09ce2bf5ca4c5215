"""What a person reads of a version in the MLflow UI before promoting it: gates, how it differs from the champion of that moment, and where
it comes from. Texts are Markdown; their first line stands in the table of versions. No MLflow in here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from models.networks.bundle import Card, GateResult

MEANINGS = {    # what a version is judged by, most telling first; with _cv or _test behind it where it is of certain wells
    "r2": "squared correlation with the measured read-out; 1 is best",
    "rmse": "typical error, in the read-out's unit; 0 is best",
    "log10_ec50_difference": "largest error of a treatment's EC50, in factors of ten; 0 is best",
    "interval_half_width": "half of a well's 95 % interval, in the read-out's unit",
    "level_gap": "widest gap between the levels learned from, as a share of their range",
    "z_prime": "Z' of the controls; 1 is best",
    "accuracy": "share called right; 1 is best",
    "mcc": "Matthews' correlation; 1 is best, 0 is guessing",
    "auroc": "area under the ROC curve; 1 is best",
    "calibration_error": "how far probabilities lie from observed shares; 0 is best",
    "n_train": "wells or images learned from",
}
_DIFFERENCES = 12   # of a recipe, that a text lists
_WORDS = 60         # characters of a value


@dataclass(frozen=True, kw_only=True)
class Noted:
    """What the run of a version holds. version: its number, None before it has one; recipe: flat, as the run's parameters."""

    version: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def describe_version(gates: tuple[GateResult, ...], new: Noted, champion: Noted | None) -> str:
    """The text of a new version. champion: the one that served when it was registered, None where none did."""
    words = "Gates passed." if new.tags.get("gates") == "pass" else "It will not be served."
    failed = "" if new.tags.get("gates") == "pass" else "GATES FAILED: "
    first = f"{failed}{'; '.join(_gate(gate, champion) for gate in gates) or 'none was judged'}. {words}"
    return "\n".join([first, "", *_metrics_table(new, champion), "", *_origin(new, champion)])


def describe_model(card: Card) -> str:
    """The text of a registered model, the same for all of its versions."""
    assay = card.acquisition.get("assay")
    return (f"{card.sample} ({card.kind.replace('_', ' ')}{f', {assay}' if assay else ''}). It answers {card.output}.\n\n"
            "The version with the alias `champion` is served; `challenger` is the newest whose gates passed. To promote, move `champion` "
            "to it; to roll back, move it back. How each version differs from the champion of its time stands in its description.")


def describe_trunk(card: Card) -> str:
    """The text of a trunk that is stored for the models that stand on it."""
    return (f"Weights of the trunk {card.trunk.name} ({card.trunk.weights}), stored once for all models whose heads stand on it. "
            "It answers nothing by itself, and without it those models cannot be served: do not delete it.")


def _gate(gate: GateResult, champion: Noted | None) -> str:
    """Short first: the table of versions shows some thirty characters."""
    bounds = [f"{side} {bound:g}" for side, bound in (("at least", gate.minimum), ("at most", gate.maximum)) if bound is not None]
    before = f" (v{champion.version}: {_number(champion.metrics.get(gate.metric))})" if champion else ""
    return f"{gate.metric} {_number(gate.value)}{before}, asked {' and '.join(bounds)}"


def _metrics_table(new: Noted, champion: Noted | None) -> list[str]:
    others = [f"champion, version {champion.version}"] if champion else []
    rows = [[f"`{name}`", _number(new.metrics.get(name)), *([_number(champion.metrics.get(name))] if champion else []), meaning]
            for stem, meaning in MEANINGS.items() for name in (stem, f"{stem}_cv", f"{stem}_test")
            if name in new.metrics or (champion and name in champion.metrics)]
    head = ["metric", "this version", *others, "meaning"]
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]] + [
        "", "`_cv`: wells predicted by models that had not seen them; `_test`: wells held out."]


def _origin(new: Noted, champion: Noted | None) -> list[str]:
    """Recipe, data, parent and code; against the champion's, where there is one."""
    if champion is None:
        return ["No version was champion when this one was registered.", "",
                *(f"- {what}: {_short(_tag(new, tag))}" for what, tag in _LINEAGE if _tag(new, tag))]
    known = [md5 for noted in (new, champion) if (md5 := noted.tags.get("data_md5"))]
    warnings = ["- **Other data than the champion's: the two were judged by different wells.**"] if len(set(known)) > 1 else []
    if champion.recipe and any(name.startswith("split.") or name == "seed" for name in _different(new.recipe, champion.recipe)):
        warnings.append("- **Another split or seed than the champion's: other wells were held out.**")
    return [f"Against version {champion.version}, the champion when this one was registered:", "", *warnings,
            f"- recipe: {_changed(new.recipe, champion.recipe)}",
            *(f"- {what}: {_against(*tags)}" for what, tag in _LINEAGE if any(tags := (_tag(new, tag), _tag(champion, tag))))]


_LINEAGE = (("screen", "screen"), ("data (md5)", "data_md5"), ("parent (sha256)", "parent"), ("code (git commit)", "git_commit"),
            ("DVC experiment", "dvc_experiment"))


def _changed(new: Mapping[str, str], old: Mapping[str, str]) -> str:
    if not old:
        return "the champion's is not noted"
    names = _different(new, old)
    listed = [f"`{name}` {new.get(name, 'none')[:_WORDS]} (was {old.get(name, 'none')[:_WORDS]})" for name in names[:_DIFFERENCES]]
    return ("; ".join(listed) or "the same") + (f"; and {len(names) - len(listed)} more" if len(names) > len(listed) else "")


def _different(new: Mapping[str, str], old: Mapping[str, str]) -> list[str]:
    return [name for name in sorted(new.keys() | old.keys()) if new.get(name) != old.get(name)]


def _against(new: str | None, old: str | None) -> str:
    return f"the same, {_short(new)}" if new == old else f"{_short(new)} (was {_short(old)})"


def _tag(noted: Noted, name: str) -> str | None:
    value = noted.tags.get(name)
    return f"{value} with uncommitted changes" if value and name == "git_commit" and noted.tags.get("git_dirty") == "true" else value


def _short(value: str | None) -> str:
    """A value whose hashes are cut to 12 characters."""
    return " ".join(word[:12] if len(word) >= 32 else word for word in value.split()) if value else "none"


def _number(value: float | None) -> str:
    return "-" if value is None else "not computable" if math.isnan(value) else f"{value:.4g}"
