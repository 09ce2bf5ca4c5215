// A table that is sorted by its headings, and filtered by name and verdict where it is long.
import { button, el, scrolling, select } from "../shared/dom.js";

const MANY = 8; // rows from which on a filter helps

/** What a cell shows, with a smaller line below. */
export const words = (main, detail) => [main, detail && el("span.sub", detail)];

export class SortableTable {
  /**
   * items: what the rows are about, each with a name and a kind; columns: { title, by: what sorts it, cell: what it shows, kind: its class },
   * the first of which heads the row; kinds: [kind, words] to filter by; shown: { column, down, find, only }, what it is sorted and
   * filtered by, {} at first, changed in place, so that a redrawn table keeps it; on(item): listeners of its row.
   */
  constructor(items, columns, { label, kinds, shown, on }) {
    Object.assign(this, { columns, shown });
    this.rows = new Map(items.map((item) => [item, el("tr", { on: on(item) }, columns.map(({ cell, kind }, column) =>
      (column === 0 ? el("th", { scope: "row" }, cell(item)) : el("td", { class: kind ?? "" }, cell(item)))))]));
    this.heads = columns.map(({ title, kind }, index) =>
      el("th", { scope: "col", class: kind === "n" ? "n" : "" }, button(title, () => this.sortBy(index))));
    this.body = el("tbody", [...this.rows.values()]);
    this.tools = items.length > MANY && this.filters(kinds.filter(([kind]) => items.some((item) => item.kind === kind)));
    this.table = scrolling(label, el("table", el("thead", el("tr", this.heads)), this.body));
    if (shown.column !== undefined) this.apply();
  }

  filters(kinds) {
    const { find: sought = "", only: wanted = "" } = this.shown;
    const find = el("input", { type: "search", autocomplete: "off", value: sought });
    const only = select([["", "all"], ...kinds], { value: kinds.some(([kind]) => kind === wanted) ? wanted : "" });
    const told = el("span.dim", { role: "status" });
    const filter = () => {
      Object.assign(this.shown, { find: find.value, only: only.value });
      for (const [{ name, kind }, row] of this.rows) {
        row.hidden = !name.toLowerCase().includes(find.value.trim().toLowerCase()) || (only.value !== "" && kind !== only.value);
      }
      told.textContent = `${[...this.rows.values()].filter((row) => !row.hidden).length} shown`;
    };
    find.addEventListener("input", filter);
    only.addEventListener("input", filter);
    if (sought || wanted) filter();
    return el("div.table-tools", el("label", "Find ", find), kinds.length > 1 && el("label", "Show ", only), told);
  }

  sortBy(column) {
    Object.assign(this.shown, { down: this.shown.column === column && !this.shown.down, column });
    this.apply();
  }

  apply() {
    const { column, down } = this.shown;
    const { by } = this.columns[column];
    for (const head of this.heads) head.removeAttribute("aria-sort");
    this.heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    this.body.append(...[...this.rows].sort(([a], [b]) => compare(by(a), by(b), down)).map(([, row]) => row));
  }
}

/** What has no value comes last, whichever way it is sorted. */
function compare(a, b, down) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
  return down ? -order : order;
}
