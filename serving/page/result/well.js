// One well, or those that are chosen: image, values, flags, its curve, and the form to leave it out or take it back.
import { isAbort } from "../shared/api.js";
import { el, newId, pairs, select, show } from "../shared/dom.js";
import { refusalView } from "../shared/findings.js";
import { count, unique } from "../shared/words.js";
import { curveDrawing } from "./curve.js";

const REASONS = ["bubble", "contamination", "out of focus", "debris", "pipetting error", "cells detached", "edge effect"];
const HINT = "Point at a well, or tap it, to see its image and values. Choose one to leave it out of the curves or take it back; "
  + "hold Shift, or tick “Choose several”, to choose more.";

export class WellPanel {
  /** chosen: wells of which `kept`, the panel before a change, may have a form that a person writes in: it stays, as long as it fits them. */
  constructor(view, { images, heat, exclude, kept, chosen }) {
    Object.assign(this, { view, images, heat, exclude, chosen: null, form: null, out: null });
    if (kept?.form && kept.out === areOut(chosen)) Object.assign(this, { chosen, form: kept.form, out: kept.out });
    this.element = el("aside.well-panel", { "aria-label": "The well" });
    this.channel = channelChoice(view.screen, images.channel, (channel) => {
      images.channel = channel;
      this.choose(this.chosen);
    });
    this.treatments = new Map(); // number of a well -> its treatment
    for (const treatment of view.treatments) {
      for (const [, , number] of treatment.panel?.points ?? []) this.treatments.set(number, treatment);
    }
  }

  /** Show a well in passing. */
  visit(well) {
    show(this.element, this.one(well));
  }

  /** Show the chosen wells with the form; a reason that was begun stays while the choice does. */
  choose(wells) {
    if (wells !== this.chosen) Object.assign(this, { form: wells.length > 0 ? this.newForm(wells) : null, out: areOut(wells) });
    this.chosen = wells;
    const [first, ...others] = wells;
    if (!first) show(this.element, el("p.dim", HINT));
    else if (others.length === 0) show(this.element, this.one(first), this.form, this.heat.view(first));
    else show(this.element, several(wells, this.view.colours), this.form);
  }

  isWrittenIn() {
    return Boolean(this.form?.contains(document.activeElement));
  }

  one(well) {
    const treatment = this.treatments.get(well.number);
    const value = well.value === "–" ? "none" : [well.value, well.limits && `(${well.limits})`].filter(Boolean).join(" ");
    const rows = [[this.view.colours.called, value], ["raw", well.raw.join(", ") || "none"],
      ["role", well.role]];
    if (well.flags.length > 0) rows.push(["flags", el("ul", well.flags.map((flag) => el("li", flag)))]);
    if (well.excluded) rows.push(["left out", well.reason || "no reason was given"]);
    else if (well.reason) rows.push(["note", well.reason]);
    return [
      el("h3", el("span.well-name", well.well), ` ${well.content || well.role}`),
      el("div.well-body", el("div", this.images.figure(well), this.channel), pairs(rows)),
      treatment && el("figure.well-curve", curveDrawing(treatment, this.view, { pointed: well.number }),
        el("figcaption", `${treatment.name}: ${this.view.summary.half} ${treatment.half}`,
          treatment.interval && el("span.dim", ` (${treatment.interval})`))),
    ];
  }

  /** Leave out what takes part; take back what was left out. */
  newForm(wells) {
    const out = areOut(wells);
    const many = wells.length === 1 ? wells[0].well : count(wells.length, "well");
    const list = el("datalist", { id: newId("reasons") }, REASONS.map((reason) => el("option", { value: reason })));
    const reason = el("input", { id: newId("reason"), list: list.id, required: true, maxlength: "200", autocomplete: "off" });
    const send = el("button.primary", out ? `Take ${many} back` : `Leave ${many} out`);
    const told = el("div", { role: "status" });
    const submit = async (event) => {
      event.preventDefault();
      send.disabled = true;
      show(told, el("p.dim", "Fitting again …"));
      try {
        await this.exclude(wells, !out, reason.value.trim());
        show(told);
      } catch (error) {
        if (!isAbort(error)) show(told, refusalView(error));
      }
      send.disabled = false;
    };
    return el("form.exclude", { on: { submit } },
      el("label", { for: reason.id }, out ? "Why it is taken back" : "Why it is left out"), el("div.actions", reason, list, send), told);
  }
}

const areOut = (wells) => wells.every(({ excluded }) => excluded);

/** Which channel is shown; nothing where there is only one. */
function channelChoice({ channels }, value, onChange) {
  if (channels.length < 2) return null;
  const choice = select(channels.map(({ name, stain }, number) => [number, stain || name]), { value, "aria-label": "Channel",
    on: { change: () => onChange(Number(choice.value)) } });
  return choice;
}

function several(wells, { called }) {
  const plates = unique(wells.map(({ plate }) => plate));
  const words = ({ content, role, value, excluded }) => ` ${content || role}; ${called}: ${value}${excluded ? "; left out" : ""}`;
  return [el("h3", `${count(wells.length, "well")} chosen`), el("ul.chosen", wells.map((well) =>
    el("li", el("strong", plates.length > 1 ? `${well.plate} ${well.well}` : well.well), words(well))))];
}
