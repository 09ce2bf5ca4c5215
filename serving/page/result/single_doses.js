// Treatments with too few doses for a curve: ranked in a drawing, and as a table.
import { button, chip, el, svg } from "../shared/dom.js";
import { SortableTable, number, words } from "../shared/sortable.js";

const [WIDTH, LEFT, RIGHT, TOP, BOTTOM] = [900, 44, 892, 14, 260];
const [LOWEST, HIGHEST] = [-50, 120]; // percent inhibition that is drawn; what lies beyond sits at the edge
const TICKS = [-50, 0, 50, 100];
const AXIS = 20; // below the drawing, for its words
const MANY = 2000; // points that are drawn

/** Nothing where every treatment has doses enough. shown: of SortableTable, kept by the caller; onChoose(wells): a row's wells are to be shown. */
export function singleDosesView({ single_doses: found }, { shown, onChoose }) {
  if (!found) return null;
  const { rows, key, chips, level } = found;
  const items = rows.map((row) => ({ ...row, kind: row.chip }));
  const { table, tools } = new SortableTable(items, columns(onChoose), { label: "Table of single doses", kinds: chips, shown, stacked: true });
  const known = items.filter(({ inhibition_sort: value }) => value !== null);
  return [el("p.dim", key), known.length > 1 && [legend(chips), ranking(known, level, onChoose)], tools, table];
}

function columns(onChoose) {
  return [
    { title: "Treatment", by: ({ name }) => name.toLowerCase(),
      cell: ({ name, dose, wells }) => button(name, () => onChoose(wells), { class: "link", "aria-label": `${name} ${dose}: show its wells` }) },
    number("Dose", "dose"),
    { ...number("Inhibition", "inhibition"), cell: ({ inhibition, limits }) => words(inhibition, limits) },
    { title: "Verdict", kind: "why", by: ({ call }) => call, cell: ({ chip: kind, call, why }) => words(chip(kind, call), why) },
    number("q", "q"), number("Robust z", "plate_z"), number("B score", "b_score"),
    { title: "Wells", kind: "n", by: ({ n }) => n, cell: ({ n }) => n },
  ];
}

function legend(chips) {
  return el("ul.keys",
    chips.map(([kind, call]) => el("li", mark(svg("circle", { cx: 7, cy: 7, r: 3.5, class: `dot ${kind}` })), call)),
    el("li", mark(svg("path", { d: "M7 0V14", class: "span hit" })), "95 % limits"));
}

const mark = (shape) => svg("svg", { width: 14, height: 14, "aria-hidden": "true" }, shape);

function ranking(known, level, onChoose) {
  const rows = known.slice(0, MANY);
  const x = (place) => LEFT + ((place + 0.5) / rows.length) * (RIGHT - LEFT);
  const y = (value) => BOTTOM - ((Math.min(Math.max(value, LOWEST), HIGHEST) - LOWEST) / (HIGHEST - LOWEST)) * (BOTTOM - TOP);
  const rule = (value, kind) => svg("path", { d: `M${LEFT} ${y(value)}H${RIGHT}`, class: kind });
  const hits = known.filter(({ kind }) => kind === "hit").length;
  const drawing = svg("svg.ranking", { viewBox: `0 0 ${WIDTH} ${BOTTOM + AXIS}`, width: WIDTH, height: BOTTOM + AXIS, role: "img",
    "aria-label": `Inhibition of ${known.length} treatments at single doses with 95 % limits, strongest first; ${hits} are hits. The table has every value.` },
  TICKS.map((value) => [rule(value, "grid"), text(LEFT - 5, y(value) + 3.5, `${value} %`, "end")]),
  rule(level, "limit"), text(RIGHT - 2, y(level) - 4, `hit: limits above ${level} %`, "end"),
  rows.map((row, place) => dot(row, { at: x(place), y, place })).reverse(), // hits on top
  text((LEFT + RIGHT) / 2, BOTTOM + 14, `${rows.length < known.length ? `the ${MANY} strongest of ` : ""}${known.length} treatments and doses, strongest first`, "middle"));
  drawing.addEventListener("click", ({ target }) => {
    const clicked = target.closest("[data-place]");
    if (clicked) onChoose(rows[Number(clicked.dataset.place)].wells);
  });
  return el("div.draw", { tabindex: "0", role: "region", "aria-label": "Ranking of single doses" }, drawing);
}

const text = (x, y, words, anchor) => svg("text.t.halo", { x, y, "text-anchor": anchor }, words);

function dot({ name, dose, inhibition, inhibition_sort: value, low, high, limits, call, kind }, { at, y, place }) {
  return svg("g", { data: { place } }, svg("title", `${name} ${dose}: ${inhibition} inhibition (${limits}), ${call}`),
    low !== null && svg("path", { d: `M${at} ${y(low)}V${y(high)}`, class: `span ${kind}` }),
    svg("circle", { cx: at, cy: y(value), r: 3, class: `dot ${kind}` }));
}
