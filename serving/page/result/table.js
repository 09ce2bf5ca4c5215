// The table of treatments that have a curve.
import { button, chip, el } from "../shared/dom.js";
import { SortableTable, number, words } from "../shared/sortable.js";

const RANK = { hit: 0, unsure: 1, none: 2, unscored: 3 };
const BEST = 1000; // above any score

/** The columns after the name. */
function columnsOf({ summary, kinds }) {
  const verdict = { title: "Verdict", kind: "why", by: ({ kind, score_sort: score }) => RANK[kind] * BEST - (score ?? 0),
    cell: ({ kind, why }) => words(chip(kind, kinds[kind]), why) };
  const half = { title: summary.half, kind: "half", by: ({ half_sort: value }) => value,
    cell: ({ half: value, interval, certain }) => words(certain ? el("strong", value) : value, interval) };
  const curve = { title: "Curve", kind: "why", by: ({ status }) => status, cell: ({ status, reason }) => words(status, reason) };
  const shape = [number("Slope", "slope"), number("R²", "r2"), curve];
  return summary.raw ? [half, ...shape] : [verdict, half, number(summary.score, "score"), number("AUC", "auc"), ...shape];
}

/** shown: of SortableTable, kept by the caller. onOpen, onPoint: name of a treatment; onPoint(null): the pointer has left it. */
export function treatmentTable(view, { shown, onOpen, onPoint }) {
  if (view.treatments.length === 0) return el("p", "No treatment of this screen could be fitted. The findings below say why.");
  const treatment = { title: "Treatment", by: ({ name }) => name.toLowerCase(),
    cell: ({ name }) => button(name, () => onOpen(name), { class: "link" }) };
  const { table, tools } = new SortableTable(view.treatments, [treatment, ...columnsOf(view)], {
    label: "Table of treatments", kinds: Object.entries(view.kinds), shown,
    on: ({ name }) => ({ pointerenter: () => onPoint(name), pointerleave: () => onPoint(null) }) });
  return el("div", tools, view.summary.scale && el("p", el("strong", view.summary.scale)),
    el("p.dim", `${view.summary.half} with its confidence interval. “>” and “<”: beyond the tested doses. “≈”: weakly determined, `,
      "or limits that are open or more than tenfold apart. “–”: no meaningful number."),
    table);
}
