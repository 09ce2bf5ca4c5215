// Which model answered, how good it was, and what everything rests on.
import { chip, el, fold, pairs, sentence } from "../shared/dom.js";

export function lineageView({ lineage, gates, metrics, screen, adapted }) {
  const about = [screen.name, screen.organism, `${screen.plate_format}-well plates`, screen.source].filter(Boolean).join(", ");
  return [
    adapted && el("p", sentence(adapted)),
    el("div.card", pairs([...lineage.map(([name, value]) => [name, el("code", value)]), ["screen", about]])),
    el("h3", "Checks the model had to pass"),
    gates.length === 0 ? el("p", "No check of the model is on record.") : el("ul.plain", gates.map(gateView)),
    metrics.length > 0 && fold(`Evaluation of the model (${metrics.length} numbers)`, el("div.card", pairs(metrics))),
  ];
}

function gateView({ metric, passed, reason }) {
  return el("li", chip(...(passed ? ["pass", "passed"] : ["fail", "failed"])), ` ${metric.replaceAll("_", " ")}`, reason && `: ${reason}`);
}
