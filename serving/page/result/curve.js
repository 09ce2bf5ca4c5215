// One dose-response curve: points and fitted line, each with its interval, and an arrow where the half-effect lies beyond the doses.
import { el, svg } from "../shared/dom.js";

const [WIDTH, HEIGHT] = [300, 200];
const BOX = { left: 36, right: WIDTH - 8, top: 18, bottom: HEIGHT - 28 };

/** The drawing of a treatment of a view. pointed: number of the well that stands out. */
export function curveDrawing({ panel, ok, half }, { wells, summary, colours }, { pointed = null } = {}) {
  if (!panel) return el("p.dim", "No dosed well to draw.");
  const at = scales(panel);
  return svg("svg.curve", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": panel.words },
    axes(panel, at), halfDose(panel, at, { ok, words: `${summary.half} ${half}` }),
    panel.line.length > 0 && svg("path", { class: ok ? "fit" : "fit weak", d: fitted(panel.line, at) }),
    panel.bars.map(([dose, low, high]) => line(at.x(dose), at.y(low), at.x(dose), at.y(high), "well-interval")),
    points(panel, at, { wells, pointed, called: colours.called }),
    panel.points.length === 0 && label(WIDTH / 2, HEIGHT / 2, "no value to draw", { kind: "t dim", anchor: "middle" }));
}

/** Functions from the data of a panel to the drawing, kept inside the box. */
function scales({ x, y }) {
  const part = (value, [low, high]) => Math.min(Math.max((value - low) / (high - low), 0), 1);
  return { x: (value) => BOX.left + part(value, x) * (BOX.right - BOX.left),
    y: (value) => BOX.bottom - part(value, y) * (BOX.bottom - BOX.top) };
}

const line = (x1, y1, x2, y2, kind) => svg("path", { d: `M${x1} ${y1}L${x2} ${y2}`, class: kind });
const label = (x, y, words, { kind = "t", anchor = "start" } = {}) => svg("text", { x, y, class: kind, "text-anchor": anchor }, words);
const fitted = (values, at) => `M${values.map(([x, y]) => `${at.x(x).toFixed(1)} ${at.y(y).toFixed(1)}`).join("L")}`;

function axes({ x_ticks: doses, y_ticks: responses, y_title: title, half_line: half }, at) {
  return [
    svg("rect.box", { x: BOX.left, y: BOX.top, width: BOX.right - BOX.left, height: BOX.bottom - BOX.top }),
    responses.map(([value, words]) => [line(BOX.left, at.y(value), BOX.right, at.y(value), value === half ? "half" : "grid"),
      label(BOX.left - 4, at.y(value) + 3.5, words, { anchor: "end" })]),
    half !== null && !responses.some(([value]) => value === half) && line(BOX.left, at.y(half), BOX.right, at.y(half), "half"),
    doses.map(([value, words]) => [line(at.x(value), BOX.bottom, at.x(value), BOX.bottom + (words ? 4 : 2), "axis"),
      words && label(Math.min(Math.max(at.x(value), BOX.left), WIDTH - 20), BOX.bottom + 16, words, { anchor: "middle" })]),
    label(BOX.left, BOX.top - 6, title, { kind: "t dim" })];
}

function halfDose({ mark, half_line: half }, at, { ok, words }) {
  if (!mark) return null;
  const x = at.x(mark.at);
  if (mark.relation === "=") return [interval(mark, at), line(x, BOX.top, x, BOX.bottom, ok ? "mid" : "mid weak")];
  const out = mark.relation === ">" ? 1 : -1;
  const [y, start, tip] = [half === null ? (BOX.top + BOX.bottom) / 2 : at.y(half), x - out * 14, x + out * 12];
  return [interval(mark, at), line(x, BOX.top, x, BOX.bottom, "limit"),
    svg("path.arrow", { d: `M${start} ${y}H${tip}M${tip - out * 6} ${y - 5}L${tip} ${y}L${tip - out * 6} ${y + 5}` }),
    label(start - out * 4, y - 5, words, { kind: "t strong halo", anchor: out > 0 ? "end" : "start" })];
}

/** The confidence interval; a limit that is open runs to the edge of the plot, of a dose beyond the tested ones the arrow says it. */
function interval({ low, high, relation }, at) {
  if (low === null && high === null && relation !== "=") return null;
  const [left, right] = [low === null ? BOX.left : at.x(low), high === null ? BOX.right : at.x(high)];
  return svg("rect.band", { x: left, y: BOX.top, width: Math.max(right - left, 1), height: BOX.bottom - BOX.top });
}

/** Wells: filled; hollow if left out; a triangle if flagged but used. These, and the one that stands out, lie on top. */
function points({ points: all }, at, { wells, pointed, called }) {
  const height = ([, , number]) => (number === pointed ? 2 : wells[number].excluded || wells[number].doubtful ? 1 : 0);
  return [...all].sort((a, b) => height(a) - height(b)).map(([dose, value, number]) => {
    const [well, x, y] = [wells[number], at.x(dose), at.y(value)];
    const title = svg("title", `${well.plate} ${well.well}: ${well.content}; ${called}: ${well.value}${well.excluded ? "; left out" : ""}`);
    const kind = `point ${number === pointed ? "pointed" : ""}`;
    if (well.doubtful && !well.excluded) {
      return svg("path", { d: `M${x} ${y - 4.5}l4.5 8h-9z`, class: `${kind} flagged`, data: { well: number } }, title);
    }
    return svg("circle", { cx: x, cy: y, r: number === pointed ? 5 : 3.5, class: `${kind} ${well.excluded ? "hollow" : "pt"}`,
      data: { well: number } }, title);
  });
}
