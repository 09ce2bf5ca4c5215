// Folds with their limits, one line a treatment, on a logarithmic axis.
import { el, svg } from "../shared/dom.js";

const [NAMES, WIDTH, LINE, TOP] = [150, 720, 20, 26];
const MANY = 100; // treatments that are drawn
const LONG = 20; // letters of a name

/** The drawing of those treatments that have a fold, or nothing. rows, kinds: of GET /jobs/{job}/against/{other}; half: what is compared. */
export function foldDrawing(rows, kinds, half) {
  const all = rows.filter(({ fold_sort: fold }) => fold !== null);
  if (all.length === 0) return null;
  const known = all.slice(0, MANY);
  const ends = known.flatMap(({ fold_sort: fold, low, high }) => [fold, low ?? fold, high ?? fold]).map(Math.log10);
  const [lowest, highest] = [Math.floor(Math.min(...ends, -0.5)), Math.ceil(Math.max(...ends, 0.5))];
  const x = (value) => NAMES + ((Math.log10(value) - lowest) / (highest - lowest)) * (WIDTH - NAMES - 16);
  const bottom = TOP + LINE * known.length;
  const decades = Array.from({ length: highest - lowest + 1 }, (_, index) => 10 ** (lowest + index));
  const called = new Map(kinds);
  return [all.length > MANY && el("p.dim", `The first ${MANY} of ${all.length}; the table has all.`),
    el("div.draw", { tabindex: "0", role: "region", "aria-label": "Folds" }, svg("svg.folds",
      { viewBox: `0 0 ${WIDTH} ${bottom + 22}`, width: WIDTH, height: bottom + 22, role: "img",
        "aria-label": `${half} on the second sample over that on the first, with 95 % limits, of ${known.length} treatments. The table has every value.` },
      decades.map((value) => [svg("path", { d: `M${x(value)} ${TOP - 6}V${bottom}`, class: value === 1 ? "half" : "grid" }),
        text(x(value), bottom + 14, Number(value.toPrecision(3)), "middle")]),
      text(x(1) - 6, 12, "← more potent", "end"), text(x(1) + 6, 12, "less potent →", "start"),
      known.map((row, index) => line(row, { x, y: TOP + LINE * (index + 0.5), edges: [NAMES - 4, WIDTH - 12], called: called.get(row.kind) }))))];
}

const text = (x, y, words, anchor) => svg("text.t.halo", { x, y, "text-anchor": anchor }, String(words));

/** A limit that is open runs to the edge, and a censored fold is an arrow. */
function line({ name, kind, fold, fold_sort: value, relation, low, high, limits }, { x, y, edges, called }) {
  const at = x(value);
  const [left, right] = [low === null ? edges[0] : x(low), high === null ? edges[1] : x(high)];
  const way = relation === ">" ? 1 : -1;
  return svg("g", svg("title", `${name}: ${fold} (${limits || "no limits"}), ${called}`),
    text(NAMES - 8, y + 4, name.length <= LONG ? name : `${name.slice(0, LONG - 1)}…`, "end"),
    svg("path", { d: `M${left} ${y}H${right}`, class: `span fold ${kind}` }),
    relation === "=" ? svg("circle", { cx: at, cy: y, r: 4, class: `dot fold ${kind}` })
      : svg("path", { d: `M${at} ${y}m${-4 * way} -5l${8 * way} 5l${-8 * way} 5z`, class: `dot fold ${kind}` }));
}
