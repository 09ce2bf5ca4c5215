"""Is this data fit to use? The rules, and the functions that judge by them.

The pipeline's stage `validate` and the scoring service call the same `judge_screen`, so that a mistake is told in the same
words in both places. Pure pandas: importing this module costs nothing that scoring does not need anyway.
"""

from __future__ import annotations

from collections.abc import Mapping

from models.errors import Finding
from models.plates.layout import ParsedLayout
from models.plates.screen import Screen
from validation import behaviour_rules, control_rules, dose_rules, image_rules, layout_rules
from validation.evidence import Evidence, Rule, merged
from validation.inventory import Inventory, take_inventory
from validation.thresholds import Thresholds
from validation.verdicts import Verdict

__all__ = ["RULES", "Evidence", "Inventory", "Rule", "Thresholds", "Verdict", "judge_layout", "judge_screen", "take_inventory",
           "verdict_from"]

RULES: tuple[Rule, ...] = (*layout_rules.RULES, *control_rules.RULES, *dose_rules.RULES, *image_rules.RULES,
                           *behaviour_rules.RULES)


def judge_layout(parsed: ParsedLayout, screen: Screen) -> tuple[Finding, ...]:
    """Findings on the layout, its controls, doses and read-outs by the default limits: errors first, what several wells share said once."""
    return judge_screen(parsed, screen).findings


def judge_screen(parsed: ParsedLayout, screen: Screen, *, inventory: Inventory | None = None,
                 thresholds: Thresholds | None = None) -> Verdict:
    """The verdict on a screen by all rules. inventory: None judges the layout alone."""
    evidence = Evidence(parsed=parsed, screen=screen, thresholds=thresholds or Thresholds(), inventory=inventory)
    return verdict_from(evidence, {rule.name: tuple(rule.findings(evidence)) for rule in RULES})


def verdict_from(evidence: Evidence, found: Mapping[str, tuple[Finding, ...]]) -> Verdict:
    """The verdict from what each rule found; `found` has an entry for every rule."""
    return Verdict(screen=evidence.screen.name, counts=count(evidence),
                   findings=merged(finding for rule in RULES for finding in found[rule.name]))


def count(evidence: Evidence) -> dict[str, int]:
    """What the screen holds: plates, wells, wells per role, treatments, images."""
    layout, inventory = evidence.layout, evidence.inventory
    return {"plates": int(layout["plate"].nunique()), "wells": len(layout),
            **{f"{role} wells": int(number) for role, number in layout["role"].value_counts().sort_index().items() if role},
            "treatments": int(layout.loc[layout["treatment"] != "", "treatment"].nunique()),
            **({"images": len(inventory.images)} if inventory is not None else {})}
