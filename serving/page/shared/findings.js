// What was found wrong or worth knowing: in words, and drawn on the plates that it is about.
import { el, fold, sentence } from "./dom.js";
import { plateGrid, wellName } from "./grid.js";
import { count, unique } from "./words.js";

const SHOWN = 12; // places that are listed; the rest is one click away
const PLATES_DRAWN = 8;

/**
 * The findings of an upload, errors first.
 *
 * plate: { rows, columns, wells } of the layout, where it is known; wells as in POST /layouts
 */
export function findingsView(findings, plate = null) {
  const errors = findings.filter(({ severity }) => severity === "error");
  const warnings = findings.filter(({ severity }) => severity !== "error");
  return el("div.findings",
    errors.length > 0 && [el("h3", "To put right"), list(errors)],
    warnings.length > 0 && [el("h3", "Worth knowing"), list(warnings)],
    plates(findings, plate));
}

function list(findings) {
  return el("ul.finding-list", group(findings).map(({ severity, message, places }) => el("li", { class: severity },
    el("span.unseen", severity === "error" ? "Error: " : "Note: "), sentence(message), placesView(places))));
}

/** Findings that differ only in their well, together. */
function group(findings) {
  const groups = new Map();
  for (const { severity, rule, message, plate, well } of findings) {
    const text = well ? message.replace(`well ${well} `, "") : message;
    const key = JSON.stringify([severity, rule, text]);
    if (!groups.has(key)) groups.set(key, { severity, message: text, places: [] });
    if (well) groups.get(key).places.push([plate, well].filter(Boolean).join(" "));
  }
  return [...groups.values()];
}

function placesView(places) {
  const named = unique(places);
  if (named.length === 0) return null;
  if (named.length <= SHOWN) return el("span.dim", ` (${named.join(", ")})`);
  return fold(count(named.length, "well"), el("span.dim", named.join(", ")));
}

/** Each plate that has findings, with the wells marked. */
function plates(findings, plate) {
  const placed = findings.filter(({ well }) => /^[A-Z]{1,2}\d\d$/.test(well));
  if (placed.length === 0) return null;
  const { rows, columns } = plate ?? formatOf(placed.map(({ well }) => well));
  const names = unique(placed.map((finding) => finding.plate)).slice(0, PLATES_DRAWN);
  return el("div.plates", names.map((name) => el("figure", el("figcaption", name ? `Where on plate ${name}` : "Where on the plate"),
    marked(name, placed, { rows, columns, wells: plate?.wells }))));
}

function marked(name, findings, { rows, columns, wells = [] }) {
  const roles = new Map(wells.filter((well) => well.plate === name).map(({ well, role }) => [well, role]));
  return plateGrid({ label: `Plate ${name}: wells with findings`, rows, columns, cell: (row, column) => {
    const well = wellName(row, column);
    const own = findings.filter((finding) => finding.plate === name && finding.well === well);
    const role = roles.get(well);
    if (own.length === 0) return role ? { label: `${well} ${role}`, attributes: { class: `role ${role}` } } : null;
    const worst = own.some(({ severity }) => severity === "error") ? "error" : "warning";
    const words = unique(own.map(({ message }) => message)).join("; ");
    return { label: `${well}: ${words}`, text: worst === "error" ? "×" : "!", attributes: { class: `marked ${worst}`, title: words } };
  } }).element;
}

const FORMATS = [[8, 12], [16, 24], [32, 48]];

/** The smallest plate that holds these wells. */
function formatOf(wells) {
  const places = wells.map((well) => {
    const [, letters, number] = /^([A-Z]+)(\d+)$/.exec(well);
    return [[...letters].reduce((row, letter) => row * 26 + letter.charCodeAt(0) - 64, 0), Number(number)];
  });
  const [rows, columns] = FORMATS.find(([r, c]) => places.every(([row, column]) => row <= r && column <= c)) ?? FORMATS.at(-1);
  return { rows, columns };
}

/** A refusal of the service: its sentence, and its findings. */
export function refusalView({ message, findings = [] }, plate = null) {
  const repeated = findings.length === 1 && findings[0].message === message;
  return el("div.alert", { role: "alert" }, el("p", el("strong", sentence(message))),
    !repeated && findings.length > 0 && findingsView(findings, plate));
}
