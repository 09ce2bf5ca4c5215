// What was found wrong or worth knowing: in words, and drawn on the plates that it is about.
import { el, fold, sentence } from "./dom.js";
import { PlateGrid, wellName } from "./grid.js";
import { count, unique } from "./words.js";

const SHOWN = 12; // places that are listed; the rest is one click away
const PLATES_DRAWN = 8;
const WELL = /^[A-Z]{1,2}\d\d$/;

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

const list = (findings) => findingList(group(findings));

/** Findings as { severity, message, places } in a list; places may be left out. What a colour says is read out, too. */
export function findingList(findings) {
  return el("ul.finding-list", findings.map(({ severity, message, places = [] }) => el("li", { class: severity },
    el("span.unseen", severity === "error" ? "Error: " : "Note: "), sentence(message), placesView(places))));
}

/** The wells that a finding is about: it names one, several as "A01, B02", or none. */
const wellsOf = ({ well }) => (well ? well.split(", ") : []);

/** Findings that differ only in their well, together. */
function group(findings) {
  const groups = new Map();
  const many = unique(findings.filter(({ well }) => well).map(({ plate }) => plate)).length > 1;
  for (const finding of findings) {
    const { severity, rule, plate, well } = finding;
    const message = well ? finding.message.replace(`well ${well} `, "") : finding.message;
    const key = JSON.stringify([severity, rule, message]);
    if (!groups.has(key)) groups.set(key, { severity, message, whole: [], places: [] });
    groups.get(key).whole.push(finding.message);
    groups.get(key).places.push(...wellsOf(finding).map((name) => (many ? `${plate} ${name}` : name)));
  }
  return [...groups.values()].map(({ whole, ...rest }) => (whole.length > 1 ? rest : { ...rest, message: whole[0],
    places: rest.places.filter((place) => !whole[0].includes(`well ${place} `)) }));
}

function placesView(places) {
  const named = unique(places);
  if (named.length === 0) return null;
  if (named.length <= SHOWN) return el("span.dim", ` (${named.join(", ")})`);
  return fold(count(named.length, "well"), el("span.dim", named.join(", ")));
}

/** Each plate that has findings, with the wells marked. */
function plates(findings, plate) {
  const placed = findings.flatMap((finding) => wellsOf(finding).filter((well) => WELL.test(well)).map((well) => ({ ...finding, well })));
  if (placed.length === 0) return null;
  const size = plate ?? formatOf(placed.map(({ well }) => well));
  const names = unique(placed.map((finding) => finding.plate));
  const roles = new Map((plate?.wells ?? []).map((well) => [`${well.plate} ${well.well}`, well.role]));
  return [el("div.plates", names.slice(0, PLATES_DRAWN).map((name) => el("figure",
    el("figcaption", name ? `Where on plate ${name}` : "Where on the plate"),
    marked(name, placed.filter((finding) => finding.plate === name), { ...size, roles })))),
  names.length > PLATES_DRAWN && el("p.dim", `and ${names.length - PLATES_DRAWN} more plates`)];
}

function marked(name, findings, { rows, columns, roles }) {
  const cell = (row, column) => {
    const well = wellName(row, column);
    const own = findings.filter((finding) => finding.well === well);
    if (own.length > 0) return markedCell(well, own);
    const role = roles.get(`${name} ${well}`);
    if (role) return { label: `${well} ${role}`, attributes: { class: `role ${role}` } };
    return roles.size === 0 ? { label: well, attributes: { class: "role" } } : null; // of a layout that is not at hand
  };
  return new PlateGrid({ label: `Plate ${name}: wells with findings`, rows, columns, cell }).element;
}

function markedCell(well, findings) {
  const wrong = findings.some(({ severity }) => severity === "error");
  const words = unique(findings.map(({ message }) => message)).join("; ");
  const kind = wrong ? "marked error" : "marked warning";
  return { label: `${well}: ${words}`, text: wrong ? "×" : "!", attributes: { class: kind, title: words } };
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
