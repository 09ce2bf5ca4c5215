// Which model answered, how good it was, and what everything rests on.
import { chip, el, fold, pairs, table } from "../shared/dom.js";

export function lineageView({ lineage, gates, metrics, screen, adapted, quality_cv: quality }) {
  const about = [screen.name, screen.organism, `${screen.plate_format}-well plates`, screen.source].filter(Boolean).join(", ");
  return [
    adapted && el("p", `${adapted}.`), // it begins with the model's name
    quality.length > 0 && [el("h3", "Plate quality by wells that the model did not see"), crossFitted(quality)],
    el("h3", "Where the numbers come from"),
    el("div.card", pairs([...lineage.map(([name, value]) => [name, el("code", value || "not recorded")]), ["screen", about]])),
    el("h3", "Checks the model had to pass"),
    gates.length === 0 ? el("p", "No check of the model is on record.") : el("ul.plain", gates.map(gateView)),
    metrics.length > 0 && fold(`Evaluation of the model (${metrics.length} numbers)`, el("div.card", pairs(metrics))),
  ];
}

function crossFitted(quality) {
  const number = (value) => el("td", value === null ? "–" : value.toFixed(2));
  const told = quality.some(({ reason }) => reason);
  return table("Cross-fitted quality of the plates", ["Plate", "Z′", "Z′ robust", "SSMD", "Negative controls", "Positive controls",
    ...(told ? ["Why not"] : [])], quality.map((row) => el("tr", el("th", { scope: "row" }, row.plate), number(row.z_prime),
    number(row.z_prime_robust), number(row.ssmd), el("td", row.n_negative), el("td", row.n_positive), told && el("td", row.reason))));
}

function gateView({ metric, passed, reason }) {
  return el("li", chip(...(passed ? ["pass", "passed"] : ["fail", "failed"])), ` ${metric.replaceAll("_", " ")}`, reason && `: ${reason}`);
}
