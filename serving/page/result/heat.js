// Where the model looks in a well: what raises its answer and what lowers it, laid over what it reads. Made when a person asks for it.
import { get, isAbort } from "../shared/api.js";
import { button, el, newId, sentence, show } from "../shared/dom.js";
import { refusalView } from "../shared/findings.js";
import { planeWords } from "../shared/words.js";

export class HeatMaps {
  constructor(job, signal) {
    Object.assign(this, { job, signal, asked: new Map() }); // place of a well -> its maps, promised
  }

  /** The maps of a well where they were asked for, else a button that does so. */
  view(well) {
    const place = el("div.heat", { "aria-live": "polite" });
    const path = `jobs/${encodeURIComponent(this.job.id)}/wells/${encodeURIComponent(well.plate)}/${encodeURIComponent(well.well)}/heat`;
    if (this.asked.has(path)) this.ask(path, place);
    else show(place, button("Show where the model looks", () => this.ask(path, place), { class: "quiet" }));
    return place;
  }

  async ask(path, place) {
    show(place, el("p.dim", "Asking the model; this takes a few seconds …"));
    try {
      if (!this.asked.has(path)) this.asked.set(path, get(path, { signal: this.signal }));
      show(place, maps(await this.asked.get(path)));
    } catch (error) {
      this.asked.delete(path);
      if (!isAbort(error)) show(place, error.status === 404 ? el("p.dim", sentence(error.message)) : refusalView(error));
    }
  }
}

function maps({ seen, raises, lowers, words, reads, model, version, method }) {
  const layers = { raises: layer(raises), lowers: layer(lowers) };
  const picture = el("div.heat-image", { role: "img", "aria-label": "Heat map: where the model sees life, and where it sees death" },
    el("img", { src: seen, alt: "" }), layers.raises, layers.lowers);
  return el("figure", el("h4", "Where the model looks"), picture,
    el("div.heat-keys", toggle("raises", "raises viability", layers), toggle("lowers", "lowers viability", layers)),
    el("figcaption.dim", `${words} ${model} version ${version}, ${method}; the picture is what it reads (${reads.map(planeWords).join("; ")}).`));
}

const layer = (address) => address && el("img.layer", { src: address, alt: "" });

function toggle(way, words, layers) {
  const hide = () => { layers[way].hidden = !box.checked; };
  const there = Boolean(layers[way]);
  const box = el("input", { type: "checkbox", checked: there, disabled: !there, id: newId("heat"), on: { change: hide } });
  return el("span.check", box, el("label", { for: box.id }, el("span", { class: `swatch heat-${way}`, "aria-hidden": "true" }),
    ` ${words}${there ? "" : ": nothing"}`));
}
