// The table of treatments: sortable, and filtered by name and verdict where it is long.
import { button, chip, el, scrolling, select } from "../shared/dom.js";

const RANK = { hit: 0, unsure: 1, none: 2, unscored: 3 };
const MANY = 8; // treatments from which on a filter helps
const BEST = 1000; // above any score

/** The columns after the name: { title, by: what sorts it, cell: what it shows, kind: its class }. */
function columnsOf({ summary, kinds }) {
  const words = (main, detail) => [main, detail && el("span.sub", detail)];
  const number = (title, name) => ({ title, by: (row) => row[`${name}_sort`], cell: (row) => row[name], kind: "n" });
  const verdict = { title: "Verdict", kind: "why", by: ({ kind, score_sort: score }) => RANK[kind] * BEST - (score ?? 0),
    cell: ({ kind, why }) => words(chip(kind, kinds[kind]), why) };
  const half = { title: summary.half, kind: "half", by: ({ half_sort: value }) => value,
    cell: ({ half: value, interval, certain }) => words(certain ? el("strong", value) : value, interval) };
  const curve = { title: "Curve", kind: "why", by: ({ status }) => status, cell: ({ status, reason }) => words(status, reason) };
  const shape = [number("Slope", "slope"), number("R²", "r2"), curve];
  return summary.raw ? [half, ...shape] : [verdict, half, number(summary.score, "score"), number("AUC", "auc"), ...shape];
}

export class TreatmentTable {
  /** sort: { column, down }, changed in place, so that a redrawn table keeps it. onOpen, onPoint: name of a treatment, or null. */
  constructor(view, { sort, onOpen, onPoint }) {
    Object.assign(this, { view, sort });
    this.columns = [{ title: "Treatment", by: ({ name }) => name.toLowerCase() }, ...columnsOf(view)];
    this.rows = new Map(view.treatments.map((treatment) => [treatment, this.row(treatment, { onOpen, onPoint })]));
    this.heads = this.columns.map(({ title, kind }, index) =>
      el("th", { scope: "col", class: kind === "n" ? "n" : "" }, button(title, () => this.sortBy(index))));
    this.body = el("tbody", [...this.rows.values()]);
    this.element = view.treatments.length === 0
      ? el("p", "No treatment of this screen could be fitted. The findings below say why.")
      : el("div", view.treatments.length > MANY && this.tools(),
        el("p.dim", `${view.summary.half} with its confidence interval. “>” and “<”: beyond the tested doses. “≈”: weakly determined, `,
          "or an open interval. “–”: no meaningful number."),
        scrolling("Table of treatments", el("table", el("thead", el("tr", this.heads)), this.body)));
    if (sort.column !== null) this.apply();
  }

  row(treatment, { onOpen, onPoint }) {
    const { name } = treatment;
    return el("tr", { on: { pointerenter: () => onPoint(name), pointerleave: () => onPoint(null) } },
      el("th", { scope: "row" }, button(name, () => onOpen(name), { class: "link" })),
      this.columns.slice(1).map(({ cell, kind }) => el("td", { class: kind }, cell(treatment))));
  }

  tools() {
    const find = el("input", { type: "search", autocomplete: "off" });
    const kinds = Object.entries(this.view.kinds).filter(([kind]) => this.view.treatments.some((treatment) => treatment.kind === kind));
    const only = select([["", "all"], ...kinds]);
    const shown = el("span.dim", { role: "status" });
    const filter = () => {
      for (const [{ name, kind }, row] of this.rows) {
        row.hidden = !name.toLowerCase().includes(find.value.trim().toLowerCase()) || (only.value !== "" && kind !== only.value);
      }
      shown.textContent = `${[...this.rows.values()].filter((row) => !row.hidden).length} shown`;
    };
    find.addEventListener("input", filter);
    only.addEventListener("input", filter);
    return el("div.table-tools", el("label", "Find ", find), kinds.length > 1 && el("label", "Show ", only), shown);
  }

  sortBy(column) {
    Object.assign(this.sort, { down: this.sort.column === column && !this.sort.down, column });
    this.apply();
  }

  apply() {
    const { column, down } = this.sort;
    const { by } = this.columns[column];
    for (const head of this.heads) head.removeAttribute("aria-sort");
    this.heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    this.body.append(...[...this.rows].sort(([a], [b]) => compare(by(a), by(b), down)).map(([, row]) => row));
  }
}

/** What has no value comes last, whichever way it is sorted. */
function compare(a, b, down) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "number" ? a - b : a.localeCompare(b);
  return down ? -order : order;
}
