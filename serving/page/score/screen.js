// What was screened and how it was imaged: the fields of screen.yaml, filled in as far as they are known.
import { el, field, fold, newId, select } from "../shared/dom.js";
import { sameSample, unique } from "../shared/words.js";

const KINDS = [["cell_line", "a cell line"], ["patient", "a patient sample"]];
const FORMATS = [6, 12, 24, 48, 96, 384, 1536].map((wells) => [wells, `${wells} wells`]);
const CONTROLS = [["both", "negative and positive controls"], ["negative", "negative controls only"], ["none", "no controls"]];
const DEPTHS = [8, 10, 12, 14, 16].map((bits) => [bits, `${bits} bit`]);
const CHANGE_THE_LAYOUT = ["plate_format", "controls"]; // how the layout is read depends on them

/** The form. onSample(): the sample was changed; onPlate(): what the layout is read by was changed. */
export class ScreenForm {
  known = {}; // fields that the form does not show come back as they were given
  stated = []; // names of the fields that a screen file states
  touched = new Map(); // names of inputs that a person wrote in, and in which turn
  turn = 0; // how often files were dropped

  constructor({ onSample, onPlate }) {
    this.onSample = onSample;
    this.samples = el("datalist", { id: newId("samples") });
    const text = (attributes) => el("input", { autocomplete: "off", spellcheck: "false", ...attributes });
    const number = () => el("input", { type: "number", min: "0", step: "any" });
    this.inputs = { sample: text({ required: true, list: this.samples.id }), name: text(), kind: select(KINDS),
      plate_format: select(FORMATS, { value: 96 }), controls: select(CONTROLS), channels: text(), bit_depth: select(DEPTHS),
      magnification: number(), pixel_size_um: number() };
    for (const [name, input] of Object.entries(this.inputs)) {
      input.name = name;
      input.addEventListener("input", () => {
        this.touched.set(name, this.turn);
        if (name === "sample") onSample();
        if (CHANGE_THE_LAYOUT.includes(name)) onPlate();
      });
    }
    this.element = this.fields();
  }

  fields() {
    const { inputs } = this;
    return el("div.fields", this.samples,
      field("Cell line or patient sample", inputs.sample, "As the model calls it, like A549. A model is valid for its own sample only."),
      field("It is", inputs.kind),
      field("Name of this screen", inputs.name, "For the report and the list of jobs."),
      field("Plate", inputs.plate_format), field("Every plate has", inputs.controls),
      el("div.wide", fold("How it was imaged", el("div.fields",
        field("Channels", inputs.channels, "By name, in the order of the channel numbers in the file names (c0, c1, …)."),
        field("Bit depth", inputs.bit_depth),
        field("Magnification", inputs.magnification, "Leave it empty if it is not known; it is then not compared with the model's."),
        field("Pixel size, µm", inputs.pixel_size_um)))));
  }

  get sample() {
    return this.inputs.sample.value.trim();
  }

  /** Offer these names of samples. */
  offer(names) {
    this.samples.replaceChildren(...names.map((name) => el("option", { value: name })));
  }

  /**
   * Put in what is known of the screen, where the person has not written: what a file newly states, and of another plate its sample and
   * name as far as they are known, count more than what was written for the plate before. stated: which fields a file states.
   */
  fill(screen, stated, { isOther }) {
    const value = ({ channels, ...fields }, name) => (name === "channels" ? channelNames(channels) : fields[name]);
    for (const name of Object.keys(this.inputs)) {
      const isNew = stated.includes(name) && value(screen, name) !== value(this.known, name);
      const isOf = isOther && ["sample", "name"].includes(name) && screen[name];
      if ((isNew || isOf) && this.touched.get(name) < this.turn) this.touched.delete(name);
      this.put(name, value(screen, name));
    }
    Object.assign(this, { known: screen, stated });
  }

  /** Whether the layout is read in another way than by this screen. */
  readsOtherwise(screen) {
    return CHANGE_THE_LAYOUT.some((name) => this.inputs[name].value !== String(screen[name]));
  }

  /** A model was chosen: where nobody said how it was imaged, it was as the model expects; what its own sample is, it knows. */
  expect({ acquisition, planes, sample, kind }) {
    const read = unique(planes.map((plane) => plane.split(/[.:]/)[0]));
    const channels = acquisition.channels ? channelNames(acquisition.channels) : read.join(", ");
    const isOf = sameSample(sample, this.sample);
    for (const [name, value] of Object.entries({ channels, bit_depth: acquisition.bit_depth, kind: isOf ? kind : this.known.kind })) {
      if (value && !this.stated.includes(name)) this.put(name, value);
    }
  }

  /** What is not known goes: it was of the plate before. An empty field that somebody has the cursor in is left alone until they go on. */
  put(name, value) {
    const input = this.inputs[name];
    if (this.touched.has(name)) return;
    if (input !== document.activeElement || input.value !== "") input.value = value ?? "";
    else {
      input.addEventListener("blur", () => {
        this.put(name, value);
        if (name === "sample") this.onSample();
      }, { once: true });
    }
  }

  /** The screen as the service wants it. */
  values() {
    const { inputs, known } = this;
    const number = (input) => (input.value === "" ? null : Number(input.value));
    const stains = new Map((known.channels ?? []).map(({ name, stain }) => [name, stain]));
    const channels = inputs.channels.value.split(",").map((name) => name.trim()).filter(Boolean);
    return { ...known, sample: this.sample, name: inputs.name.value.trim() || "screen", kind: inputs.kind.value,
      plate_format: Number(inputs.plate_format.value), controls: inputs.controls.value, bit_depth: Number(inputs.bit_depth.value),
      magnification: number(inputs.magnification), pixel_size_um: number(inputs.pixel_size_um),
      ...(channels.length > 0 ? { channels: channels.map((name) => ({ name, stain: stains.get(name) ?? "" })) } : {}) };
  }
}

const channelNames = (channels) => (channels ?? []).map((channel) => channel.name ?? channel).join(", ");
