// A table that is sorted by its headings, and filtered by name and verdict where it is long.
import { button, el, scrolling, select, show } from "./dom.js";

const MANY = 8; // rows from which on a filter helps
const DRAWN = 500; // rows at a time: thousands fill a browser's memory

/** What a cell shows, with a smaller line below. */
export const words = (main, detail) => [main, detail && el("span.sub", detail)];

/** A column of numbers that come in words, and as `<name>_sort` to sort by. */
export const number = (title, name) => ({ title, by: (row) => row[`${name}_sort`], cell: (row) => row[name], kind: "n" });

export class SortableTable {
  /**
   * items: what the rows are about, each with a name and a kind; columns: { title, by: what sorts it, cell: what it shows, kind: its class },
   * the first of which heads the row; kinds: [kind, words] to filter by; shown: { column, down, find, only, drawn }, what it is sorted and
   * filtered by and how many rows are drawn, {} at first, changed in place, so that a redrawn table keeps it; on(item): listeners of its row;
   * stacked: on a phone the cells of a row stand under each other, each with its heading.
   */
  constructor(items, columns, { label, kinds, shown, on = () => ({}), stacked = false }) {
    Object.assign(this, { items, columns, shown, on, rows: new Map() });
    shown.drawn ??= DRAWN;
    this.heads = columns.map(({ title, kind }, index) =>
      el("th", { scope: "col", class: kind === "n" ? "n" : "" }, button(title, () => this.sortBy(index))));
    [this.body, this.more, this.told] = [el("tbody"), el("p.actions"), el("span.dim", { role: "status" })];
    this.tools = items.length > MANY && this.filters(kinds.filter(([kind]) => items.some((item) => item.kind === kind)));
    this.table = el("div", scrolling(label, el(stacked ? "table.stacked" : "table", el("thead", el("tr", this.heads)), this.body)), this.more);
    this.apply();
  }

  filters(kinds) {
    const { find: sought = "", only: wanted = "" } = this.shown;
    const find = el("input", { type: "search", autocomplete: "off", value: sought });
    const only = select([["", "all"], ...kinds], { value: kinds.some(([kind]) => kind === wanted) ? wanted : "" });
    const filter = () => {
      Object.assign(this.shown, { find: find.value, only: only.value });
      this.apply();
    };
    find.addEventListener("input", filter);
    only.addEventListener("input", filter);
    this.shown.only = only.value; // none, where no row is of the wanted kind any more
    return el("div.table-tools", el("label", "Find ", find), kinds.length > 1 && el("label", "Show ", only), this.told);
  }

  /** The items that are sought, where that is offered, in the order that is chosen. */
  wanted() {
    const { column, down } = this.shown;
    const { find = "", only = "" } = this.tools ? this.shown : {};
    const sought = find.trim().toLowerCase();
    const found = this.items.filter(({ name, kind }) => name.toLowerCase().includes(sought) && (only === "" || kind === only));
    if (column === undefined) return found;
    const { by } = this.columns[column];
    return found.sort((a, b) => compare(by(a), by(b), down));
  }

  row(item) {
    if (!this.rows.has(item)) {
      this.rows.set(item, el("tr", { on: this.on(item) }, this.columns.map(({ title, cell, kind }, column) =>
        (column === 0 ? el("th", { scope: "row" }, cell(item)) : el("td", { class: kind ?? "", data: { title } }, cell(item))))));
    }
    return this.rows.get(item);
  }

  sortBy(column) {
    Object.assign(this.shown, { down: this.shown.column === column && !this.shown.down, column });
    this.apply();
  }

  apply() {
    const { find, only, column, down, drawn } = this.shown;
    for (const head of this.heads) head.removeAttribute("aria-sort");
    this.heads[column]?.setAttribute("aria-sort", down ? "descending" : "ascending");
    const wanted = this.wanted();
    const left = wanted.length - drawn;
    show(this.body, wanted.slice(0, drawn).map((item) => this.row(item)));
    show(this.more, left > 0 && button(`Show ${Math.min(left, DRAWN)} more of ${left}`, () => {
      this.shown.drawn += DRAWN;
      this.apply();
    }));
    this.told.textContent = find || only ? `${wanted.length} found` : "";
  }
}

/** What has no value comes last, whichever way it is sorted. */
function compare(a, b, down) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
  return down ? -order : order;
}
