// Pairs of treatments: what both do together above what two that do not interact would do, as a matrix of their doses.
import { button, chip, el, fold, scrolling, table } from "../shared/dom.js";

/** Nothing where no well holds two treatments. combinations: of GET /jobs/{id}/view; onChoose(wells): a square was clicked. */
export function combinationsView({ combinations }, { onChoose }) {
  if (!combinations) return null;
  const { pairs, headings, scale, steps } = combinations;
  return [
    el("p.dim", "Numbers in the squares: effect of both together above what two treatments that do not interact would have ",
      "(Bliss independence), in percentage points of inhibition. ▲ ▼: beyond the noise of the wells; without a mark it is within the ",
      "noise. All limits of a pair hold together, 95 times in 100. Point at a square for its wells and ",
      "limits; choose it to see them on the plate."),
    legend(scale, steps),
    el("div.plates", pairs.map((pair) => pairView(pair, headings, onChoose))),
  ];
}

function legend(scale, steps) {
  return el("ul.keys",
    el("li", `−${scale}`, el("span.ramp", { "aria-hidden": "true" }, steps.map((step) => el("i", { style: { "--well": step } }))), `+${scale} %`),
    [["▲", "more than expected"], ["▼", "less than expected"]].map(([mark, words]) => el("li", el("strong", mark), words)),
    el("li", el("span.swatch.unknown"), "? cannot say"));
}

function pairView(pair, headings, onChoose) {
  const { first, second, call, chip: kind, why, numbers } = pair;
  return el("figure.pair",
    el("div.head", el("h3", `${first} + ${second}`), chip(kind, call)),
    el("p", why),
    matrix(pair, onChoose),
    el("figcaption", el("dl.inline", numbers.map(([name, value]) => el("div", el("dt", name), el("dd", value))))),
    fold("All dose pairs with limits and wells", table(`Dose pairs of ${first} + ${second}`, [first, second, ...headings], dosePairs(pair))));
}

function matrix({ first, second, rows, columns, cells }, onChoose) {
  const head = (axis, scope) => el("th", { scope }, axis.dose, el("span.sub", axis.alone));
  return scrolling(`Excess of ${first} + ${second}`, el("table.matrix",
    el("caption", `Rows: ${first}. Columns: ${second}.`),
    el("thead", el("tr", el("td"), columns.map((axis) => head(axis, "col")))),
    el("tbody", cells.map((line, row) => el("tr", head(rows[row], "row"), line.map((cell) => square(cell, onChoose)))))));
}

function square(cell, onChoose) {
  if (!cell) return el("td.none", el("span.unseen", "not tested"));
  const { text, colour, dark, mark, words, wells } = cell;
  return el("td", { title: words, class: colour ? (dark ? "dark" : "light") : "unknown", style: colour ? { "--cell": colour } : {} },
    button([text, mark && el("span.mark", mark)], () => onChoose(wells), { class: "square", "aria-description": words }));
}

function dosePairs({ rows, cells }) {
  return cells.flatMap((line, row) => line.filter(Boolean).map((cell) =>
    el("tr", el("td", rows[row].dose), el("td", cell.dose_2), cell.columns.map((value) => el("td", value)))));
}
