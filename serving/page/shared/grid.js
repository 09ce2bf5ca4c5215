// A plate as a grid of wells: one tab stop, arrow keys move, Enter or a click chooses.
import { el } from "./dom.js";

/** "A", ..., "Z", "AA", ... of a row counted from 0. */
export function rowLetters(row) {
  return row < 26 ? String.fromCharCode(65 + row) : String.fromCharCode(64 + Math.floor(row / 26)) + String.fromCharCode(65 + (row % 26));
}

/** "A01" of a row and column counted from 0. */
export const wellName = (row, column) => rowLetters(row) + String(column + 1).padStart(2, "0");

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * A plate of `rows` x `columns`.
 *
 * cell(row, column): attributes and text of a well, { label, text, attributes }, or null where there is none
 * onVisit(row, column): the pointer or the focus is on a well; onLeave(): on none; onChoose(row, column, event): clicked or Enter
 */
export function plateGrid({ label, rows, columns, cell, onVisit = () => {}, onLeave = () => {}, onChoose = null }) {
  const cells = new Map();
  const head = el("div", { role: "row", class: "plate-head" }, el("span", { role: "columnheader" }, el("span.unseen", "Row")),
    Array.from({ length: columns }, (_, column) => el("span", { role: "columnheader" }, String(column + 1))));
  const lines = Array.from({ length: rows }, (_, row) => el("div", { role: "row" }, el("span", { role: "rowheader" }, rowLetters(row)),
    Array.from({ length: columns }, (_, column) => {
      const content = cell(row, column);
      const well = el("span", { role: "gridcell", class: "well none" });
      if (!content) return well;
      const button = el("span", { role: "gridcell", tabindex: "-1", "aria-label": content.label, ...content.attributes,
        class: `well ${content.attributes?.class ?? ""}`, data: { row, column } }, content.text ?? "");
      cells.set(`${row},${column}`, button);
      return button;
    })));
  const size = columns > 24 ? "dense" : columns > 12 ? "medium" : "wide";
  const grid = el("div", { role: "grid", class: `plate-grid ${size}`, "aria-label": label, style: { "--columns": columns } }, head, lines);
  const place = (target) => target.closest?.("[data-row]");
  const at = (element) => [Number(element.dataset.row), Number(element.dataset.column)];
  let stop = cells.values().next().value;
  stop?.setAttribute("tabindex", "0");

  function visit(element) {
    stop?.setAttribute("tabindex", "-1");
    stop = element;
    stop.setAttribute("tabindex", "0");
    onVisit(...at(element));
  }

  function walk(element, [down, right]) {
    let [row, column] = at(element);
    do {
      [row, column] = [row + down, column + right];
    } while (row >= 0 && row < rows && column >= 0 && column < columns && !cells.has(`${row},${column}`));
    return cells.get(`${row},${column}`);
  }

  grid.addEventListener("pointerover", ({ target }) => place(target) && onVisit(...at(place(target))));
  grid.addEventListener("pointerleave", () => onLeave());
  grid.addEventListener("focusin", ({ target }) => place(target) && visit(place(target)));
  grid.addEventListener("click", (event) => place(event.target) && onChoose?.(...at(place(event.target)), event));
  grid.addEventListener("keydown", (event) => {
    const here = place(event.target);
    if (!here) return;
    if (event.key === "Enter" || event.key === " ") onChoose?.(...at(here), event);
    else if (STEPS[event.key]) walk(here, STEPS[event.key])?.focus();
    else if (event.key === "Home" || event.key === "End") {
      const line = [...cells.values()].filter((other) => other.dataset.row === here.dataset.row);
      line.at(event.key === "Home" ? 0 : -1).focus();
    } else return;
    event.preventDefault();
  });
  return { element: grid, cell: (row, column) => cells.get(`${row},${column}`) };
}
