// Wells that a rule flagged or a person left out, what was changed by hand, and what the checks of the data said.
import { button, el, fold, table } from "../shared/dom.js";
import { findingList } from "../shared/findings.js";
import { count, moment } from "../shared/words.js";

const MANY = 24; // wells from which on they are folded away

/** onChoose([well]): a well's name was clicked. */
export function distrustView({ doubts, summary, findings, changes, wells }, { onChoose }) {
  const numbers = new Map(wells.map(({ plate, well }, number) => [`${plate} ${well}`, number]));
  const wellButton = (plate) => ([well, content]) =>
    button(well, () => onChoose([numbers.get(`${plate} ${well}`)]), { class: "link", title: content });
  return [
    doubts.length === 0 ? el("p", "No well was flagged or left out.")
      : table("Flagged wells", ["Plate", "Why", "Use", "Wells"], doubts.map(({ plate, words, used, wells: own }) => el("tr",
        el("th", { scope: "row" }, plate), el("td.why", words.join("; ")), el("td", used), el("td", folded(own.map(wellButton(plate))))))),
    summary.training && el("p", summary.training),
    changes.length > 0 && [el("h3", "Changed by hand"), changesView(changes)],
    el("h3", "Findings"),
    findings.length === 0 ? el("p", "The data checks found nothing to remark on.")
      : findingList(findings),
  ];
}

function changesView(changes) {
  const row = ({ at, plate, well, excluded, reason, by }) => el("tr", el("td.when", moment(at)),
    el("th", { scope: "row" }, `${plate} ${well}`), el("td", excluded ? "left out" : "taken back"), el("td.why", reason), el("td", by || "–"));
  return table("Changed by hand", ["When", "Well", "Change", "Why", "By"], changes.map(row));
}

function folded(buttons) {
  const row = el("div.well-list", buttons);
  return buttons.length <= MANY ? row : fold(count(buttons.length, "well"), row);
}
