// A model's card: what it is for, what it reads, how good it was, and where it comes from.
import { el, fold, pairs } from "../shared/dom.js";
import { moment, planeWords, unique } from "../shared/words.js";

const SYSTEMS = { viability: "viability of a cell line", profile: "drug profile of a patient sample or line",
  treatment: "treated or not", toxicity: "toxic or not", tumour: "tumour or not" };
const ACQUISITION = [["magnification", (value) => `${value}×`], ["pixel_size_um", (value) => `${value} µm pixels`],
  ["bit_depth", (value) => `${value} bit`], ["camera", (value) => `camera ${value}`], ["assay", (value) => `assay ${value}`]];

/** The card of a model of GET /models that serves. */
export function modelCard({ serving }) {
  const { acquisition, metrics } = serving;
  const imaged = ACQUISITION.filter(([key]) => acquisition[key]).map(([key, words]) => words(acquisition[key]));
  return el("div.model-card",
    pairs([
      ["what for", `${SYSTEMS[serving.system] ?? serving.system}, sample ${serving.sample}`],
      ["reads", `${unique(serving.planes).map(planeWords).join("; ")}; at ${serving.size} × ${serving.size} pixels`],
      ["trained on images of", imaged.join(", ") || "not recorded"],
      ["gives", serving.output],
      ["its own checks", serving.gates === "pass" ? "passed" : serving.gates || "not recorded"],
      ["version", `${serving.version}, in service since ${moment(serving.since)}`],
      ["run", code(serving.run_id)], ["git commit", code(serving.git_commit)], ["training data md5", code(serving.data_md5)],
      ["bundle sha256", code(serving.bundle_sha256)]]),
    Object.keys(metrics).length > 0 && fold("Evaluation", pairs(Object.entries(metrics).map(([name, value]) =>
      [name.replaceAll("_", " "), value === null ? "–" : String(value)]))));
}

const code = (text) => el("code", text || "not recorded");
