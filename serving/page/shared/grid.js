// A plate as a grid of wells: one tab stop, arrow keys move, Enter or a click chooses.
import { el } from "./dom.js";

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** "A", ..., "Z", "AA", ... of a row counted from 0. */
function rowLetters(row) {
  return (row < 26 ? "" : String.fromCharCode(64 + Math.floor(row / 26))) + String.fromCharCode(65 + (row % 26));
}

/** "A01" of a row and column counted from 0. */
export const wellName = (row, column) => rowLetters(row) + String(column + 1).padStart(2, "0");

export class PlateGrid {
  /**
   * cell(row, column): what a well shows, { label, text, attributes }, or null where there is none; text may be elements, too
   * onVisit(row, column): the pointer or the focus is on a well; onLeave(): on none
   * onChoose(row, column, event): a well was clicked, or Enter was pressed on it
   */
  constructor({ label, rows, columns, cell, onVisit = () => {}, onLeave = () => {}, onChoose = () => {} }) {
    Object.assign(this, { rows, columns, onVisit, onChoose, cells: new Map() });
    const size = columns > 24 ? "dense" : columns > 12 ? "medium" : "wide";
    this.element = el("div", { role: "grid", class: `plate-grid ${size}`, "aria-label": label, style: { "--columns": columns } },
      this.head(), Array.from({ length: rows }, (_, row) => this.line(row, cell)));
    [this.stop] = this.cells.values();
    this.stop?.setAttribute("tabindex", "0");
    const on = (event, act) => this.element.addEventListener(event, (happened) => {
      const well = happened.target.closest("[data-row]");
      if (well) act(well, happened);
    });
    on("pointerover", (well) => onVisit(...at(well)));
    on("focusin", (well) => this.focused(well));
    on("click", (well, event) => onChoose(...at(well), event));
    on("keydown", (well, event) => this.pressed(well, event));
    this.element.addEventListener("pointerleave", () => onLeave());
  }

  head() {
    const words = (column) => (this.columns <= 24 || column % 2 === 0 ? String(column) : ""); // no room for more
    return el("div.plate-head", { role: "row" }, el("span", { role: "columnheader" }, el("span.unseen", "Row")),
      Array.from({ length: this.columns }, (_, column) => el("span", { role: "columnheader" }, words(column + 1))));
  }

  line(row, cell) {
    return el("div", { role: "row" }, el("span", { role: "rowheader" }, rowLetters(row)),
      Array.from({ length: this.columns }, (_, column) => this.well(row, column, cell(row, column))));
  }

  well(row, column, content) {
    if (!content) return el("span.well.none", { role: "gridcell" });
    const well = el("span.well", { role: "gridcell", tabindex: "-1", "aria-label": content.label, ...content.attributes,
      data: { row, column } }, content.text);
    this.cells.set(`${row},${column}`, well);
    return well;
  }

  /** The element of a well, if there is one. */
  cell(row, column) {
    return this.cells.get(`${row},${column}`);
  }

  focused(well) {
    this.stop.setAttribute("tabindex", "-1");
    this.stop = well;
    well.setAttribute("tabindex", "0");
    this.onVisit(...at(well));
  }

  pressed(well, event) {
    if (event.key === "Enter" || event.key === " ") this.onChoose(...at(well), event);
    else if (event.key in STEPS) this.next(well, STEPS[event.key])?.focus();
    else if (event.key === "Home" || event.key === "End") this.edge(event.ctrlKey ? null : well, event.key).focus();
    else return;
    event.preventDefault();
  }

  /** The nearest well in a direction; nothing at the edge of the plate. */
  next(well, [down, right]) {
    let [row, column] = at(well);
    const inside = () => row >= 0 && row < this.rows && column >= 0 && column < this.columns;
    do [row, column] = [row + down, column + right];
    while (inside() && !this.cell(row, column));
    return this.cell(row, column);
  }

  /** The first or last well of the same row, or of the plate (null). */
  edge(well, key) {
    const line = [...this.cells.values()].filter((other) => !well || other.dataset.row === well.dataset.row);
    return line.at(key === "Home" ? 0 : -1);
  }
}

const at = (well) => [Number(well.dataset.row), Number(well.dataset.column)];
