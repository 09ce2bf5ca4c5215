// Which model scores: suggested by the sample, chosen by the person.
import { el, field, fold, newId, show } from "../shared/dom.js";
import { sameSample, unique } from "../shared/words.js";
import { modelCard } from "../registry/card.js";

const serving = (models) => models.filter((model) => model.serving);

/** The samples that have a model in service. */
export const samplesOf = (models) => unique(serving(models).map((model) => model.serving.sample));

/** The sample of a served model that one of these texts (plate, folder and file names) holds, the longest name first; "" for none. */
export function sampleIn(texts, models) {
  const longestFirst = samplesOf(models).sort((a, b) => b.length - a.length);
  return longestFirst.find((sample) => texts.some((text) => asWord(sample).test(text))) ?? "";
}

/** The name as a word of its own, in any case: A549 is in "a549-plate-1", not in "A5490". */
const asWord = (name) => new RegExp(`(^|[^a-z0-9])${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}([^a-z0-9]|$)`, "i");

/** The chooser; onChange(model): another model of GET /models was chosen, or none (null). */
export class ModelChooser {
  models = [];
  sample = "";
  touched = false; // a person chose, so a suggestion must not overrule it
  way = ""; // with a model of another sample: "force" scores all the same, "adapt" trains one of this sample from it

  constructor({ onChange }) {
    this.onChange = onChange;
    this.choice = el("select", { id: newId("model"), on: { change: () => this.choose() } });
    [this.note, this.card] = [el("div", { "aria-live": "polite" }), el("div")];
    this.element = el("div", field("Model", this.choice), this.note, this.card);
  }

  get chosen() {
    return this.models.find(({ name }) => name === this.choice.value) ?? null;
  }

  /** Whether the chosen model is of the sample. */
  get fits() {
    return Boolean(this.chosen) && sameSample(this.chosen.serving.sample, this.sample);
  }

  /** Offer the models, those of the sample first, and choose one unless a person did. */
  suggest(models, sample) {
    const kept = this.touched ? this.choice.value : "";
    Object.assign(this, { models: serving(models), sample });
    const fitting = this.models.filter((model) => sameSample(model.serving.sample, sample));
    const others = this.models.filter((model) => !fitting.includes(model));
    show(this.choice, el("option", { value: "" }, "Choose a model"), options(`For ${sample}`, fitting),
      options(fitting.length > 0 ? "For other samples" : "All models", others));
    this.choice.value = kept || (fitting[0]?.name ?? "");
    if (!this.chosen) this.choice.value = "";
    this.draw();
  }

  choose() {
    this.touched = this.choice.value !== "";
    this.draw();
  }

  draw() {
    const about = `${this.chosen?.name} for ${this.sample}`;
    if (about !== this.about) this.way = ""; // an answer to another question
    this.about = about;
    show(this.note, this.advice());
    show(this.card, this.chosen && fold(`About ${this.chosen.name}`, modelCard(this.chosen)));
    this.onChange(this.chosen);
  }

  advice() {
    if (!this.sample) return el("p.dim", "Say above what was screened; the model of that sample is then suggested.");
    if (!this.chosen) {
      return el("p.alert", el("strong", `No model of ${this.sample} is in service. `),
        "A model is valid for the sample that it was trained on, so another one's numbers would mean little. ",
        "Choose the model of a related sample, to train one of this sample from it on the controls of these plates.");
    }
    if (this.fits) return el("p.good", `Trained on ${this.chosen.serving.sample}: fits.`);
    const { name, serving: { sample, system } } = this.chosen;
    const other = `${name} was trained on ${sample}, not on ${this.sample}. `;
    const train = `Train a model of ${this.sample} from it, on the controls of these plates (takes minutes)`;
    return el("fieldset.alert", el("legend.unseen", "A model of another sample"),
      el("p", el("strong", other), "Its viabilities are not valid for another sample."),
      system === "profile" && this.option("adapt", train),
      this.option("force", "Score with it all the same; the result will be marked as such"));
  }

  option(way, words) {
    const input = el("input", { type: "radio", name: "way", value: way, checked: way === this.way, id: newId("way"), on: { change: () => {
      this.way = way;
      this.onChange(this.chosen);
    } } });
    return el("p.check", input, el("label", { for: input.id }, words));
  }
}

function options(label, models) {
  return models.length > 0 && el("optgroup", { label }, models.map(({ name, serving: { version, sample } }) =>
    el("option", { value: name }, `${name} (version ${version}, ${sample})`)));
}
