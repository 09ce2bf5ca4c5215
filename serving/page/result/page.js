// A scored plate: what came out, where it came from, and the wells to leave out.
import { button, el, pairs, show } from "../shared/dom.js";
import { combinationsView } from "./combinations.js";
import { CurvePanels } from "./curves.js";
import { distrustView } from "./distrust.js";
import { downloadButtons } from "./downloads.js";
import { HeatMaps } from "./heat.js";
import { WellImages } from "./images.js";
import { lineageView } from "./lineage.js";
import { PlateView } from "./plates.js";
import { singleDosesView } from "./single_doses.js";
import { summaryView } from "./summary.js";
import { treatmentTable } from "./table.js";
import { waterfallView } from "./waterfall.js";

const TOLD = 3; // changed treatments that are named after a well was left out

/**
 * The result of a job in `place`.
 *
 * exclude(wells, excluded, reason): resolves with GET /jobs/{id}/view after the change; signal: ends with the page
 */
export class ResultPage {
  constructor(place, job, { exclude, signal }) {
    Object.assign(this, { place, job, exclude, signal, images: new WellImages(job, signal), heat: new HeatMaps(job, signal) });
    this.said = el("div", { role: "status", id: "changes" });
    [this.shown, this.singleShown] = [{}, {}]; // see SortableTable
    this.last = Promise.resolve(); // see inTurn
  }

  /** What `act()` gives, when all that was begun before has ended: else an older answer might be drawn last. */
  inTurn(act) {
    const turn = this.last.then(act);
    this.last = turn.catch(() => {}); // who waits for `turn` meets the error
    return turn;
  }

  /** view: GET /jobs/{id}/view. Drawn anew after each change; what was chosen, sorted, searched for and begun to write stays so. */
  draw(view) {
    const held = document.activeElement;
    this.view = view;
    const choose = (wells) => this.plates.choose(wells);
    const open = (treatment) => this.curves.open(treatment);
    this.plates = new PlateView(view, { images: this.images, heat: this.heat, kept: this.plates,
      exclude: (...change) => this.change(...change), onPoint: (well) => this.curves.point(well) });
    this.curves = new CurvePanels(view, { onChoose: choose, onPoint: (well) => this.plates.point(well) });
    const table = treatmentTable(view, { shown: this.shown, onOpen: open, onPoint: (treatment) => this.plates.pointTreatment(treatment) });
    const ranking = waterfallView(view, { onOpen: open });
    const single = singleDosesView(view, { shown: this.singleShown, onChoose: choose });
    const curved = view.treatments.length > 0 || !single;
    const combinations = combinationsView(view, { onChoose: choose });
    show(this.place, downloadButtons(this.job, this.signal), this.said, summaryView(view),
      section("plates", "Plates", this.plates.element),
      curved && section("treatments", "Treatments", table),
      curved && section("curves", "Curves", this.curves.element),
      single && section("single-doses", "Single doses", single),
      combinations && section("combinations", "Combinations", combinations),
      ranking && section("ranking", `Ranking by ${view.summary.score}`, ranking),
      section("distrust", "What to distrust", distrustView(view, { onChoose: choose })),
      section("lineage", "Model and lineage", lineageView(view)),
      section("help", "How to read this", pairs(view.help)));
    if (held.isConnected) held.focus({ preventScroll: true }); // what was moved into the new drawing lost it
  }

  /** Leave wells out or take them back, fit again, and say what that did. */
  change(wells, excluded, reason) {
    return this.inTurn(() => this.changeNow(wells, excluded, reason));
  }

  async changeNow(wells, excluded, reason) {
    const before = this.view;
    const after = await this.exclude(wells, excluded, reason);
    const at = scrollY;
    this.draw(after);
    if (document.activeElement === document.body) this.plates.focus(); // the button that was pressed is gone
    scrollTo(0, at);
    const names = wells.map(({ well }) => well).join(", ");
    show(this.said, el("p.notice", `${names} ${excluded ? `left out (${reason})` : "taken back"}. ${changes(before, after)} `,
      button("Close", () => show(this.said), { class: "quiet" })));
  }
}

function section(id, title, ...content) {
  return el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), content);
}

/** "Fitted again: alpha: IC50 3.1 µM → 2.9 µM." */
function changes(before, after) {
  const was = new Map(before.treatments.map((treatment) => [treatment.name, treatment]));
  const moved = after.treatments.filter(({ name, half, score, kind }) => {
    const old = was.get(name);
    return old && (old.half !== half || old.score !== score || old.kind !== kind);
  });
  const others = othersChanged(before, after);
  if (moved.length === 0 && others.length > 0) return `Fitted again: ${others.join("; ")}.`;
  if (moved.length === 0) return "Fitted again; no result changed in the digits shown.";
  const told = moved.slice(0, TOLD).map(({ name, half, score, kind }) => {
    const old = was.get(name);
    const value = old.half !== half ? `${after.summary.half} ${old.half} → ${half}` : `${after.summary.score} ${old.score} → ${score}`;
    return `${name} ${value}${old.kind !== kind ? `, now “${after.kinds[kind]}”` : ""}`;
  });
  return `Fitted again: ${[...told, ...others].join("; ")}${moved.length > TOLD ? `; and ${moved.length - TOLD} more changed` : ""}.`;
}

/** "A + B synergy → no evidence" of the single doses and pairs of treatments that are judged otherwise, or whose number changed. */
function othersChanged(before, after) {
  const known = (view) => [
    ...(view.single_doses?.rows ?? []).map(({ name, dose, call, inhibition }) => [`${name} ${dose}`, call, "inhibition", inhibition]),
    ...(view.combinations?.pairs ?? []).map(({ first, second, call, numbers: [[, mean]] }) => [`${first} + ${second}`, call, "mean excess", mean]),
  ];
  const was = new Map(known(before).map(([name, ...rest]) => [name, rest]));
  return known(after).filter(([name, ...rest]) => was.has(name) && String(was.get(name)) !== String(rest)).slice(0, TOLD)
    .map(([name, call, what, value]) => (was.get(name)[0] !== call ? `${name} ${was.get(name)[0]} → ${call}`
      : `${name} ${what} ${was.get(name)[2]} → ${value}`));
}
