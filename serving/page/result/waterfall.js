// Treatments ranked by their score, with the threshold of a hit.
import { el, svg } from "../shared/dom.js";

const [LEFT, TOP, BOTTOM, NAMES] = [40, 14, 190, 112];
const [WIDEST, NARROWEST, USUAL] = [44, 16, 640]; // of a bar, and of the drawing where it has the choice
const LABEL = 72; // beside the last bar, for the words of the threshold
const FEW = 3; // so few are not worth ranking
const LONG = 18; // letters of a name
const MANY = 200; // bars that are drawn

/** The ranking, or nothing where it says nothing. onOpen(name): a bar was clicked. */
export function waterfallView({ treatments, summary, kinds }, { onOpen }) {
  const known = treatments.filter(({ score_sort: score }) => score !== null).sort((a, b) => b.score_sort - a.score_sort);
  if (summary.raw || known.length <= FEW) return null;
  const ranked = [...known, ...treatments.filter(({ score_sort: score }) => score === null)];
  const bars = ranked.slice(0, MANY);
  const step = Math.min(Math.max(USUAL / bars.length, NARROWEST), WIDEST);
  const edge = LEFT + Math.max(step * bars.length, 220);
  const highest = Math.max(known[0].score_sort, summary.hit_threshold * 1.5) * 1.05;
  const y = (value) => BOTTOM - (Math.max(value, 0) / highest) * (BOTTOM - TOP);
  const hits = ranked.filter(({ kind }) => kind === "hit").length;
  const drawing = svg("svg.waterfall", { viewBox: `0 0 ${edge + LABEL} ${BOTTOM + NAMES}`, width: edge + LABEL, height: BOTTOM + NAMES, role: "img",
    "aria-label": `${summary.score} of ${ranked.length} treatments, highest first; ${hits} are hits. The table has every value.` },
  ticks(highest).map((value) => [rule(y(value), edge, "grid"), text(LEFT - 5, y(value) + 3.5, value, "end")]),
  bars.map((treatment, index) => bar(treatment, { x: LEFT + step * index + 2, width: step - 4, y, kinds })),
  rule(y(summary.hit_threshold), edge, "limit"),
  text(edge + 4, y(summary.hit_threshold) + 4, `hit from ${summary.hit_threshold}`, "start"));
  drawing.addEventListener("click", ({ target }) => {
    const clicked = target.closest("[data-treatment]");
    if (clicked) onOpen(clicked.dataset.treatment);
  });
  return [ranked.length > MANY && el("p.dim", `The ${MANY} highest of ${ranked.length}; the table has all.`),
    el("ul.keys", ["hit", "unsure", "none"].map((kind) => el("li", el("span", { class: `swatch bar-${kind}` }), kinds[kind]))),
    el("div.draw", { tabindex: "0", role: "region", "aria-label": "Ranking" }, drawing)];
}

const rule = (y, edge, kind) => svg("path", { d: `M${LEFT} ${y}H${edge}`, class: kind });
const text = (x, y, words, anchor) => svg("text.t", { x, y, "text-anchor": anchor }, String(words));

function bar({ name, score, score_sort: value, kind }, { x, width, y, kinds }) {
  const middle = x + width / 2;
  const top = value === null ? BOTTOM : Math.min(y(value), BOTTOM - 1);
  return svg("g", { data: { treatment: name } }, svg("title", `${name}: ${score}, ${kinds[kind]}`),
    value === null ? svg("text.t.strong", { x: middle, y: BOTTOM - 3, "text-anchor": "middle" }, "?")
      : svg("rect", { x, y: top, width, height: BOTTOM - top, class: `bar ${kind}` }),
    svg("text.t", { "text-anchor": "end", transform: `translate(${middle + 3} ${BOTTOM + 8}) rotate(-60)` },
      name.length <= LONG ? name : `${name.slice(0, LONG - 1)}…`));
}

function ticks(highest) {
  const step = [1, 2, 5, 10, 20, 50].find((size) => highest / size <= 5) ?? 50;
  return Array.from({ length: Math.floor(highest / step) + 1 }, (_, index) => index * step);
}
