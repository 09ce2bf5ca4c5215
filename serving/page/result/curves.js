// All curves of a result, in the order of its table.
import { chip, el, sentence, svg } from "../shared/dom.js";
import { curveDrawing } from "./curve.js";

const MANY = 200; // curves that are drawn at once; of more, each when it comes near the window: thousands fill a browser's memory

export class CurvePanels {
  /** onChoose([well]): a point was clicked; onPoint(well): the pointer is on one, or on none (null). Wells by number. */
  constructor(view, { onChoose, onPoint }) {
    this.points = new Map(); // number of a well -> its points, as far as they are drawn
    this.pointed = [];
    const later = view.treatments.length > MANY ? new Later() : null;
    this.figures = new Map(view.treatments.map((treatment) => {
      const draw = () => [this.drawn(treatment, view), caption(treatment, view.summary)];
      return [treatment.name, el("figure", { tabindex: "-1" }, head(treatment, view), later ? later.place(draw) : draw())];
    }));
    const few = view.treatments.length <= 3;
    const panels = el("div", { class: few ? "panels few" : "panels" }, [...this.figures.values()]);
    this.element = el("div", key(view.summary.half, view.wells), panels);
    const well = ({ target }) => {
      const point = target.closest?.("[data-well]");
      return point ? Number(point.dataset.well) : null;
    };
    this.element.addEventListener("click", (event) => well(event) !== null && onChoose([well(event)]));
    this.element.addEventListener("pointerover", (event) => onPoint(well(event)));
  }

  /** Bring a treatment's curve into view. */
  open(name) {
    const figure = this.figures.get(name);
    figure.scrollIntoView({ block: "center" });
    figure.focus({ preventScroll: true });
  }

  /** Make a well's points stand out, or none. */
  point(number) {
    for (const point of this.pointed) point.classList.remove("pointed");
    this.pointed = this.points.get(String(number)) ?? [];
    for (const point of this.pointed) point.classList.add("pointed");
  }

  /** The drawing of a treatment, whose points are known from now on. */
  drawn(treatment, view) {
    const drawing = curveDrawing(treatment, view);
    for (const point of drawing.querySelectorAll(".point")) {
      const { well } = point.dataset;
      this.points.set(well, [...(this.points.get(well) ?? []), point]);
    }
    return drawing;
  }
}

/** Places of drawings that are made when they come near the window. */
class Later {
  draws = new WeakMap();

  observer = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      if (!isIntersecting) continue;
      this.observer.unobserve(target);
      target.replaceWith(...this.draws.get(target)());
    }
  }, { rootMargin: "100%" });

  place(draw) {
    const place = el("div.undrawn");
    this.draws.set(place, draw);
    this.observer.observe(place);
    return place;
  }
}

const head = ({ name, kind }, { summary, kinds }) => el("div.head", el("h3", name), !summary.raw && chip(kind, kinds[kind]));

function caption({ why, half, interval, status, ok, reason, doses, unseen, score }, { half: called, raw }) {
  return el("figcaption",
    el("p", el("strong", `${called} ${half}`), interval && el("span.dim", ` (${interval})`)),
    !raw && score !== "–" && el("p", sentence(why)),
    (!ok || reason) && el("p", sentence(`curve ${status}${reason ? `: ${reason}` : ""}`)),
    el("p.dim", [doses, unseen].filter(Boolean).join("; ")));
}

function key(half, wells) {
  const item = (width, words, ...shapes) => el("li",
    svg("svg", { width, height: 14, viewBox: `0 0 ${width} 14`, "aria-hidden": "true" }, shapes), words);
  const bend = (kind) => svg("path", { d: "M1 3C12 3 12 11 23 11", class: kind });
  return el("ul.keys",
    item(14, "well", svg("circle.pt", { cx: 7, cy: 7, r: 3.5 })),
    wells.some(({ limits }) => limits) && item(14, "interval of a well", svg("path.well-interval", { d: "M7 0V14" })),
    item(14, "left out", svg("circle.hollow", { cx: 7, cy: 7, r: 3.5 })),
    item(14, "flagged, but used", svg("path.flagged", { d: "M7 2.5l4.5 8h-9z" })),
    item(24, "fitted curve", bend("fit")),
    item(24, "flat or weakly determined", bend("fit weak")),
    item(24, `${half} and its interval`, svg("rect.band", { x: 2, width: 20, height: 14 }), svg("path.mid", { d: "M12 0V14" })),
    item(24, `${half} beyond the tested doses`, svg("path.arrow", { d: "M2 7H20M15 3L20 7L15 11" })));
}
