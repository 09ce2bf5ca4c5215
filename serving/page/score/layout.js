// The layout as the service reads it, before any image is sent.
import { post } from "../shared/api.js";
import { el, fold, sentence } from "../shared/dom.js";
import { findingsView } from "../shared/findings.js";
import { PlateGrid } from "../shared/grid.js";
import { count } from "../shared/words.js";

const ROLES = { negative: "negative control", positive: "positive control", reference: "reference", treated: "treated",
  untreated: "untreated", empty: "empty" };
const ASKED = { format_doubtful: "Is this the right plate?", unit_default: "Is this the right unit?",
  decimal_point: "Are these the right doses?" }; // guesses that make every IC50 wrong where they are
const PLATES_SHOWN = 6;

/** Ask the service what the layout says. screen: a screen file or its text, or ""; plate: name where the layout gives none. */
export async function readLayout(layout, { screen, plate, signal }) {
  const form = new FormData();
  form.set("layout", layout);
  if (screen) form.set("screen", screen instanceof File ? await screen.text() : screen);
  if (plate) form.set("plate", plate);
  return post("layouts", form, { signal });
}

/** Whether a layout can be scored. */
export const isUsable = ({ findings }) => findings.every(({ severity }) => severity !== "error");

/** The layout in words and drawn; what is wrong with it comes first. */
export function layoutView(answer) {
  const { wells, plates, treatments, roles, findings } = answer;
  const wrong = findings.filter(({ severity }) => severity === "error").length;
  const named = ([role, number]) => (ROLES[role].endsWith("control") ? count(number, ROLES[role]) : `${number} ${ROLES[role]}`);
  const counted = Object.entries(roles).map(named).join(", ") || "no roles";
  return el("div.layout",
    wrong > 0 && el("p.alert", { role: "alert" }, el("strong", `The layout cannot be used yet: ${count(wrong, "thing")} to put right.`),
      " Correct the table and drop it again."),
    wrong === 0 && findings.filter(({ rule }) => rule in ASKED)
      .map(({ rule, message }) => el("p.alert", { role: "alert" }, el("strong", `${ASKED[rule]} `), sentence(message))),
    el("p", `${count(wells.length, "well")} on ${count(plates.length, "plate")}: ${counted}; ${count(treatments.length, "treatment")}.`),
    wrong > 0 && findingsView(findings, answer),
    wrong === 0 && findings.length > 0 && fold(`${count(findings.length, "note")} on the layout`, findingsView(findings, answer)),
    wrong === 0 && fold("Show the plate as it was read", preview(answer)));
}

function preview({ wells, plates, rows, columns }) {
  const byPlace = new Map(wells.map((well) => [`${well.plate}/${well.row},${well.column}`, well]));
  const cell = (plate) => (row, column) => {
    const well = byPlace.get(`${plate}/${row},${column}`);
    if (!well) return null;
    const words = [well.well, ROLES[well.role] ?? "role not understood", well.content].filter(Boolean).join(" · ");
    return { label: words, attributes: { class: `role ${well.role}`, title: words } };
  };
  const used = Object.entries(ROLES).filter(([role]) => wells.some((well) => well.role === role));
  return [
    el("ul.keys", used.map(([role, words]) => el("li", el("span", { class: `swatch role ${role}` }), words))),
    el("div.plates", plates.slice(0, PLATES_SHOWN).map((plate) => el("figure", el("figcaption", plate),
      new PlateGrid({ label: `Layout of plate ${plate}`, rows, columns, cell: cell(plate) }).element))),
    plates.length > PLATES_SHOWN && el("p.dim", `and ${plates.length - PLATES_SHOWN} more plates`)];
}
