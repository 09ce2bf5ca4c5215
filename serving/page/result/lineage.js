// Which model answered, how good it was, and what everything rests on.
import { chip, el, fold, pairs, sentence, table } from "../shared/dom.js";

export function lineageView({ lineage, gates, metrics, screen, adapted, quality_cv: quality }) {
  const about = [screen.name, screen.organism, `${screen.plate_format}-well plates`, screen.source].filter(Boolean).join(", ");
  return [
    adapted && el("p", sentence(adapted)),
    quality.length > 0 && [el("h3", "Plate quality by wells that the model did not see"), crossFitted(quality)],
    el("div.card", pairs([...lineage.map(([name, value]) => [name, el("code", value)]), ["screen", about]])),
    el("h3", "Checks the model had to pass"),
    gates.length === 0 ? el("p", "No check of the model is on record.") : el("ul.plain", gates.map(gateView)),
    metrics.length > 0 && fold(`Evaluation of the model (${metrics.length} numbers)`, el("div.card", pairs(metrics))),
  ];
}

function crossFitted(quality) {
  const number = (value) => el("td.n", value === null ? "–" : value.toFixed(2));
  return table("Cross-fitted quality of the plates", ["Plate", "Z′", "Z′ robust", "SSMD", "Controls −", "Controls +", "Why not"],
    quality.map((row) => el("tr", el("th", { scope: "row" }, row.plate), number(row.z_prime), number(row.z_prime_robust), number(row.ssmd),
      el("td.n", row.n_negative), el("td.n", row.n_positive), el("td", row.reason))));
}

function gateView({ metric, passed, reason }) {
  return el("li", chip(...(passed ? ["pass", "passed"] : ["fail", "failed"])), ` ${metric.replaceAll("_", " ")}`, reason && `: ${reason}`);
}
