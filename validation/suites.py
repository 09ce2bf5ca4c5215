"""The rules of screens and of image sets as Great Expectations suites, and their Data Docs. The only importer of great_expectations.

One expectation per rule; it calls the rule itself, so that a suite and the service cannot disagree. Great Expectations drops
an expectation that it does not know without a word: every rule is counted before and after, and a missing one is an error.
"""

from __future__ import annotations

import contextvars
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # before the import, which reads it

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports modules that Python deprecates
    import great_expectations as gx
    from great_expectations.expectations.expectation import BatchExpectation
    from great_expectations.render import LegacyRendererType, RenderedStringTemplateContent
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.renderer.renderer import renderer
    from great_expectations.render.view import DefaultJinjaPageView

import pandas as pd

from models.errors import Finding, ScreenError
from validation import imageset_rules
from validation.data_docs import offline_page
from validation.evidence import SUBJECTS, Evidence, Rule
from validation.imageset_rules import ImageSetEvidence, ImageSetRule, imageset_verdict
from validation.rules import RULES, verdict_from
from validation.verdicts import Verdict

SHOWN = 5       # findings in the observed value of an expectation


@dataclass(frozen=True)
class _Run:
    """What is judged now, and what each rule found so far."""

    evidence: Evidence | ImageSetEvidence
    found: dict[str, tuple[Finding, ...]] = field(default_factory=dict)


_run: contextvars.ContextVar[_Run] = contextvars.ContextVar("the screen or image set that the expectations look at")
_BY_NAME: Mapping[str, Rule | ImageSetRule] = {**{rule.name: rule for rule in RULES},
                                                   **{rule.name: rule for rule in imageset_rules.RULES}}


class ExpectRuleToHold(BatchExpectation):
    """Expect a rule of Dosewell to hold for what is being validated. Each rule has a subclass of its own."""

    rule: ClassVar[str] = ""
    metric_dependencies = ()

    def _validate(self, metrics: Any, runtime_configuration: Any = None, execution_engine: Any = None) -> dict[str, Any]:
        run = _run.get()
        findings = run.found[self.rule] = tuple(_BY_NAME[self.rule].findings(run.evidence))  # type: ignore[arg-type]  # own suites
        return {"success": not any(finding.severity == "error" for finding in findings),
                "result": {"observed_value": _observed(findings)}}

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)
    def _prescriptive_renderer(cls, configuration: Any = None, result: Any = None, runtime_configuration: Any = None,
                               **_: Any) -> list[RenderedStringTemplateContent]:
        rule = _BY_NAME[cls.rule]
        return [RenderedStringTemplateContent(content_block_type="string_template", string_template={
            "template": f"{rule.title}. ($subject: $name)", "params": {"subject": rule.subject, "name": rule.name}})]


def _observed(findings: tuple[Finding, ...]) -> str:
    if not findings:
        return "holds"
    more = f" ... and {len(findings) - SHOWN} more" if len(findings) > SHOWN else ""
    return "; ".join(map(str, findings[:SHOWN])) + more


def expectation_class(rule: Rule | ImageSetRule) -> type[ExpectRuleToHold]:
    """The expectation of one rule: made, and thereby registered, once."""
    name = "ExpectDosewell" + "".join(word.capitalize() for word in rule.name.split("_"))
    return type(name, (ExpectRuleToHold,), {
        "__module__": __name__, "__doc__": f"Expect that: {rule.title}.", "__annotations__": {"rule": ClassVar[str]}, "rule": rule.name})


EXPECTATIONS: tuple[type[ExpectRuleToHold], ...] = tuple(expectation_class(rule) for subject in SUBJECTS for rule in RULES
                                                         if rule.subject == subject)
IMAGESET_EXPECTATIONS: tuple[type[ExpectRuleToHold], ...] = tuple(expectation_class(rule) for rule in imageset_rules.RULES)


def validate_screen(evidence: Evidence) -> tuple[Verdict, str]:
    """Run the suite of all rules on a screen: its verdict (as `rules.judge_screen` gives it) and its page of Data Docs as HTML.

    Raises ScreenError if an expectation got lost or broke, because then nothing can be said about the screen.
    """
    found, page = _judged(evidence, EXPECTATIONS, RULES, name=evidence.screen.name, table=evidence.layout, of="layout")
    return verdict_from(evidence, found), page


def validate_imageset(evidence: ImageSetEvidence) -> tuple[Verdict, str]:
    """The same for an image set: its verdict and its page of Data Docs."""
    found, page = _judged(evidence, IMAGESET_EXPECTATIONS, imageset_rules.RULES, name=evidence.imageset.name, table=evidence.images,
                          of="images")
    return imageset_verdict(evidence, found), page


def _judged(evidence: Evidence | ImageSetEvidence, expectations: Sequence[type[ExpectRuleToHold]], rules: Sequence[Rule | ImageSetRule], *,
            name: str, table: pd.DataFrame, of: str) -> tuple[dict[str, tuple[Finding, ...]], str]:
    """(what each rule found, the page of Data Docs) of a suite of these expectations. Raises ScreenError if one got lost or broke."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("screens").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe(of).get_batch(batch_parameters={"dataframe": table})
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=[one() for one in expectations]))
    run = _Run(evidence)
    token = _run.set(run)
    try:
        result = batch.validate(suite)
    finally:
        _run.reset(token)
    broken = [f"{one.expectation_config.type} ({one.exception_info['exception_message']})" for one in result.results
              if one.exception_info.get("raised_exception")]
    if broken:
        raise ScreenError(f"'{name}' cannot be judged: rules broke: {', '.join(broken)}")
    missing = sorted({rule.name for rule in rules} - set(run.found)) + ["?"] * (len(expectations) - len(result.results))
    if missing:
        raise ScreenError(f"'{name}' cannot be judged: expectations are missing: {', '.join(missing)}")
    return run.found, _page(result)


def _page(result: Any) -> str:
    """The result as Great Expectations draws it, without clock and random names, so that the same result gives the same page."""
    result.meta.pop("batch_markers", None)
    for one in result.results:
        one.expectation_config.id = None
    page: str = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result), show_how_to_buttons=False)
    return offline_page(page)
