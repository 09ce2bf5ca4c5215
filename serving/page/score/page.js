// The start: images and layout, what was screened, which model; then send.
import { get, isAbort } from "../shared/api.js";
import { button, el, field, fold, select, show, tell } from "../shared/dom.js";
import { step, tellError } from "../shared/steps.js";
import { catchStrayDrops, dropZone } from "./drop.js";
import { exampleButtons } from "./examples.js";
import { watch } from "../shared/watch.js";
import { addFiles, onlyPlate, sortFiles, strayPlates } from "./files.js";
import { foundView } from "./found.js";
import { isUsable, layoutView, readLayout } from "./layout.js";
import { ModelChooser, sampleIn, samplesOf } from "./model.js";
import { readoutsView } from "./readouts.js";
import { ScreenForm } from "./screen.js";
import { progressView, sendJob } from "./send.js";

const CURVES = [["4pl", "4 parameters (usual)"], ["auto", "whichever of 2 to 5 parameters fits best"],
  ["5pl", "5 parameters, asymmetric"], ["brain_cousens", "hormesis (Brain-Cousens)"]];

let page = null; // kept while the tab is open, so that nothing entered is lost by looking elsewhere

/** Draw the page. */
export function scorePage(main, { signal }) {
  page ??= new ScorePage();
  return page.enter(main, signal);
}

class ScorePage {
  sorted = null; // of sortFiles()
  layout = null; // the File that is the layout
  answer = null; // of POST /layouts
  plates = ""; // names of those that the form was filled in for
  asked = 0; // how often a layout was sent to be read
  models = []; // of GET /models
  sending = null; // AbortController of an upload

  constructor() {
    [this.examples, this.found, this.read, this.outcome] = [el("div"), el("div", { "aria-live": "polite" }), el("div"), el("div")];
    this.screen = new ScreenForm({ onSample: () => this.suggest(), onPlate: () => this.readAgain() });
    this.chooser = new ModelChooser({ onChange: (model) => this.modelChosen(model) });
    this.curve = select(CURVES, { value: "4pl" });
    this.send = button("Score", () => this.submit(), { class: "primary", id: "send" });
    this.missing = el("p.dim", { id: "missing", role: "status" });
    const drop = dropZone({ title: "Drop the plate here",
      hint: "A folder with its images, or a zip per plate, together with the layout (CSV or XLSX). Of a plate reader, the table alone.",
      onFiles: (files) => this.take(files), onTrouble: (error) => this.tell(error, this.found) });
    this.later = [step(2, "What was screened", this.screen.element), step(3, "Model", this.chooser.element),
      step(4, "Score", fold("Curve options", field("Curve", this.curve)), el("div.actions", this.send, this.missing))];
    this.steps = el("div.steps", step(1, "Images and layout", drop, this.examples, this.found, this.read), this.later, this.outcome);
  }

  /** The page comes into view. */
  enter(main, signal) {
    this.signal = signal;
    show(main, el("h1", "Score a plate"), el("p.lead", "Images of drug-treated cells and the layout of the plate give viability per well, ",
      "a dose-response curve per treatment, and hits."), this.steps);
    catchStrayDrops(signal);
    this.ready();
    if (!this.answer) this.readFirst(this.layout); // it was left, or asked for a token, before the layout was read
    return watch(() => this.load(), { place: this.examples, signal });
  }

  async load() {
    const { models } = await get("models", { signal: this.signal });
    this.models = models.filter(({ serving }) => !serving?.classes.length); // the others tell classes of single images
    this.screen.offer(samplesOf(this.models));
    this.suggest();
    show(this.examples, await exampleButtons({ signal: this.signal, turn: () => this.screen.turn, onFiles: (files) => this.take(files),
      onTrouble: (error) => isAbort(error) || this.tell(error, this.examples) }));
    return null;
  }

  suggest() {
    this.chooser.suggest(this.models, this.screen.sample);
  }

  modelChosen(model) {
    if (model) this.screen.expect(model.serving);
    this.ready();
  }

  /** Files were dropped or chosen. */
  take(files) {
    this.sorted = addFiles(this.sorted, sortFiles(files));
    this.screen.turn += 1;
    if (!this.sending) show(this.outcome);
    show(this.found, foundView(this.sorted, { onLayout: (layout) => this.readFirst(layout) }));
    return this.readFirst(this.sorted.layouts[0]?.file ?? null);
  }

  /** Have the service read a layout that is new here, and fill in what it tells of the screen. */
  async readFirst(layout) {
    this.layout = layout;
    if (layout) await this.readBy(this.sorted.screens[0]?.file ?? "", (answer) => this.fill(answer));
    else {
      this.asked += 1; // what is being read is no longer wanted
      this.answer = null;
      show(this.read);
    }
    if (this.answer && this.screen.readsOtherwise(this.answer.screen)) await this.readAgain();
    this.ready();
  }

  /** The form changed what the layout is read by. */
  async readAgain() {
    if (!this.layout) return;
    await this.readBy(JSON.stringify({ ...this.screen.values(), sample: this.screen.sample || "not stated" }), () => {});
    this.ready();
  }

  async readBy(screen, onAnswer) {
    const { layout } = this;
    const plate = onlyPlate(this.sorted);
    const asked = (this.asked += 1);
    this.answer = null; // nothing is sent by an older reading
    this.ready();
    try {
      const answer = await readLayout(layout, { screen, plate, signal: this.signal });
      if (asked !== this.asked) return; // it is read anew meanwhile, or another one is
      this.answer = answer;
      onAnswer(answer);
      const stray = strayPlates(this.sorted, answer.plates);
      show(this.read, stray && el("p.alert", { role: "alert" }, el("strong", `Images and layout do not belong together: ${stray}.`),
        " Name each zip or folder like its plate, or correct the plate in the layout, and drop it again."), layoutView(answer),
        answer.readouts > 0 && isUsable(answer) && readoutsView(layout, answer, { model: () => this.curve.value }));
    } catch (error) {
      if (!isAbort(error) && asked === this.asked) this.tell(error, this.read, { again: "Read the layout again", retry: () => this.readFirst(layout) });
    }
  }

  fill({ screen, plates, given }) {
    const { archives, folders } = this.sorted;
    const names = [...plates, ...archives.map(({ path }) => path), ...folders.map(({ name }) => name), this.layout.name];
    const name = given.includes("name") ? screen.name : plates[0];
    const isOther = this.plates !== String(plates);
    this.plates = String(plates);
    this.screen.fill({ ...screen, sample: screen.sample || sampleIn(names, this.models), name }, given, { isOther });
    this.suggest();
  }

  /** What still has to be done before sending; the button says so instead of failing. */
  lacking() {
    const { sorted, layout, answer, screen, chooser } = this;
    if (!sorted || sorted.archives.length + sorted.folders.length === 0) {
      return answer?.readouts > 0 ? "Images are missing; the report of the read-outs, above, needs none." : "Images are missing.";
    }
    if (!layout) return "The layout is missing.";
    if (!answer) return "The layout has not been read yet.";
    if (!isUsable(answer)) return "The layout has to be put right first.";
    if (strayPlates(sorted, answer.plates)) return "Images and layout must name the same plates.";
    if (!screen.sample) return "Say what was screened.";
    if (!chooser.chosen) return "Choose a model.";
    return chooser.fits || chooser.way ? "" : "The model is of another sample: say what to do.";
  }

  ready() {
    for (const section of this.later) section.classList.toggle("later", !this.sorted);
    tell(this.missing, this.lacking());
    this.send.disabled = Boolean(this.lacking() || this.sending);
  }

  async submit() {
    this.sending = new AbortController();
    this.ready();
    const progress = progressView({ onStop: () => this.sending.abort() });
    show(this.outcome, progress.element);
    this.outcome.scrollIntoView({ block: "nearest" });
    try {
      const job = await sendJob({ sorted: this.sorted, layout: this.layout, texts: this.texts() },
        { onStep: progress.step, signal: this.sending.signal });
      const result = `#/jobs/${job.id}`;
      if (this.signal.aborted) show(this.outcome, el("p.notice", "The plate was sent: ", el("a", { href: result }, job.name))); // looks elsewhere
      else {
        show(this.outcome);
        location.hash = result;
      }
    } catch (error) {
      this.tell(error, this.outcome, { again: "Send again", retry: () => this.send.click() });
    }
    this.sending = null;
    this.ready();
  }

  texts() {
    const { chosen, way } = this.chooser;
    const options = { fit: { model: this.curve.value }, force: way === "force" };
    return { model: chosen.name, screen: JSON.stringify(this.screen.values()), options: JSON.stringify(options),
      adapt: String(way === "adapt") };
  }

  /** An error in words, where the person looks; after a lost connection with a button that tries again. */
  tell(error, place, { again, retry } = {}) {
    tellError(error, place, { again, retry, plate: this.answer,
      stopped: "Stopped. Nothing was scored; your files and entries are still here.",
      kept: "Your files and entries are still here. When the service answers again, send them once more; "
        + "a plate that did arrive is recognised and not scored twice." });
  }
}
