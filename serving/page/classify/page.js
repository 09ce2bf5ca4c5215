// Images without a layout: which class each is of. For models of systems that tell classes of single images.
import { get, upload } from "../shared/api.js";
import { button, el, field, fold, newId, show, tell } from "../shared/dom.js";
import { step, tellError } from "../shared/steps.js";
import { watch } from "../shared/watch.js";
import { count, sameSample, size, unique } from "../shared/words.js";
import { modelCard } from "../registry/card.js";
import { catchStrayDrops, dropZone } from "../score/drop.js";
import { setAside } from "../score/found.js";
import { guarded, progressView, sending } from "../score/send.js";
import { classesView } from "./result.js";
import { chooseImages, isArchive } from "./files.js";

const THUMBNAILS = 192; // pixels

let page = null; // kept while the tab is open, so that nothing entered or answered is lost by looking elsewhere

/** Draw the page. */
export function classifyPage(main, { signal }) {
  page ??= new ClassifyPage();
  return page.enter(main, signal);
}

class ClassifyPage {
  images = null; // of chooseImages()
  models = []; // of GET /models, those that tell classes
  sending = null; // AbortController of an upload

  constructor() {
    [this.card, this.outcome, this.none] = [el("div"), el("div"), el("div")];
    [this.found, this.note] = [el("div", { "aria-live": "polite" }), el("div", { "aria-live": "polite" })];
    this.samples = el("datalist", { id: newId("samples") });
    this.model = el("select", { id: newId("model"), on: { change: () => this.ready() } });
    this.sample = el("input", { name: "sample", list: this.samples.id, autocomplete: "off", spellcheck: "false", required: true,
      on: { input: () => this.ready() } });
    [this.magnification, this.pixel] = [number("magnification"), number("pixel_size_um")];
    this.force = el("input", { type: "checkbox", id: newId("force"), on: { change: () => this.ready() } });
    this.send = button("Classify", () => this.submit(), { class: "primary", id: "classify" });
    this.missing = el("p.dim", { id: "missing", role: "status" });
    const drop = dropZone({ title: "Drop the images here",
      hint: "A folder of TIFF, PNG or JPEG images, or one zip of them. No layout is needed.",
      onFiles: (files) => this.take(files), onTrouble: (error) => tellError(error, this.found) });
    this.steps = el("div.steps", step(1, "Images", drop, this.found), step(2, "What they are, and which model", this.fields()),
      step(3, "Classify", el("div.actions", this.send, this.missing)), this.outcome);
  }

  fields() {
    return el("div", this.samples, el("div.fields", field("Model", this.model),
      field("Cell line, tissue or patient", this.sample, "As the model calls it. A model is valid for its own sample only.")),
    this.note, fold("How they were imaged", el("div.fields",
      field("Magnification", this.magnification, "Leave it empty if it is not known; it is then not compared with the model's."),
      field("Pixel size, µm", this.pixel))), this.card);
  }

  enter(main, signal) {
    show(main, el("h1", "Classify images"), el("p.lead", "Single images without a layout: treated or not, toxic or not, malignant or not, ",
      "by a model that was trained on such images."), this.none, this.steps);
    catchStrayDrops(signal);
    this.ready();
    return watch(async () => {
      const { models } = await get("models", { signal });
      this.offer(models.filter(({ serving }) => serving?.classes.length));
      return null;
    }, { place: this.none, signal });
  }

  offer(models) {
    const kept = this.model.value;
    this.models = models;
    show(this.model, models.map(({ name, serving: { version, classes } }) =>
      el("option", { value: name }, `${name} (version ${version}: ${classes.join(" or ")})`)));
    if (models.some(({ name }) => name === kept)) this.model.value = kept;
    show(this.samples, unique(models.map(({ serving }) => serving.sample)).map((name) => el("option", { value: name })));
    show(this.none, models.length === 0 && el("p.notice", el("strong", "No model of single images is in service. "),
      "Whoever runs the service trains one on labelled images (systems treatment, toxicity, tumour) and promotes it; ",
      "plates with a layout are scored under ", el("a", { href: "#/" }, "Score"), "."));
    this.steps.hidden = models.length === 0;
    this.ready();
  }

  get chosen() {
    return this.models.find(({ name }) => name === this.model.value) ?? null;
  }

  take(files) {
    this.sending?.abort(); // or the answer for other images would come to stand below these
    this.images = chooseImages(files);
    const { chosen, aside } = this.images;
    const bytes = size(chosen.reduce((sum, { file }) => sum + file.size, 0));
    const what = isArchive(chosen) ? `Archive ${chosen[0].file.name}` : count(chosen.length, "image");
    show(this.found, el("ul.found",
      chosen.length > 0 ? el("li.have", `${what} (${bytes})`)
        : el("li.lack", "No image among these: drop TIFF, PNG or JPEG files, or one zip."),
      setAside(aside)));
    show(this.outcome);
    this.ready();
  }

  lacking() {
    if (!this.images?.chosen.length) return "Images are missing.";
    if (!this.chosen) return "Choose a model.";
    if (!this.sample.value.trim()) return "Say what the images are of.";
    return this.fits || this.force.checked ? "" : "The model is of another sample: say whether to go on.";
  }

  get fits() {
    return Boolean(this.chosen) && sameSample(this.chosen.serving.sample, this.sample.value);
  }

  ready() {
    const { chosen } = this;
    if (chosen !== this.shown) show(this.card, chosen && fold(`About ${chosen.name}`, modelCard(chosen)));
    this.shown = chosen;
    const other = chosen && this.sample.value.trim() && !this.fits;
    if (!other) this.force.checked = false;
    show(this.note, other ? this.warning() : this.fits && el("p.good", `Trained on ${chosen.serving.sample}: fits.`));
    tell(this.missing, this.lacking());
    this.send.disabled = Boolean(this.lacking() || this.sending);
  }

  warning() {
    const { name, serving: { sample } } = this.chosen;
    return el("div.alert", el("p", el("strong", `${name} was trained on ${sample}, not on ${this.sample.value.trim()}. `),
      "Its classes are not valid for another sample."),
    el("p.check", this.force, el("label", { for: this.force.id }, "Classify all the same; the result will be marked as such")));
  }

  async submit() {
    this.sending = new AbortController();
    this.ready();
    const progress = progressView({ onStop: () => this.sending.abort() });
    show(this.outcome, progress.element);
    this.outcome.scrollIntoView({ block: "nearest" });
    try {
      const answer = await guarded(() => upload("classify", this.form(), { signal: this.sending.signal,
        onProgress: sending(progress.step, "Sent; the model looks at the images …") }));
      show(this.outcome, classesView(answer));
      this.outcome.scrollIntoView({ block: "start" });
    } catch (error) {
      tellError(error, this.outcome, { again: "Send again", retry: () => this.send.click(),
        stopped: "Stopped. Your images and entries are still here.",
        kept: "Your images and entries are still here; send them once more when the service answers again." });
    }
    this.sending = null;
    this.ready();
  }

  form() {
    const form = new FormData();
    for (const { file, path } of this.images.chosen) form.append("images", file, path);
    const given = (input) => (input.value === "" ? {} : { [input.name]: Number(input.value) });
    form.set("model", this.chosen.name);
    form.set("imageset", JSON.stringify({ sample: this.sample.value.trim(),
      ...given(this.magnification), ...given(this.pixel) }));
    form.set("options", JSON.stringify({ force: this.force.checked, thumbnails: THUMBNAILS }));
    return form;
  }
}

const number = (name) => el("input", { name, type: "number", min: "0", step: "any" });
