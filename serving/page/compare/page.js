// Two scored jobs side by side: how many times less potent each treatment is on the second sample.
import { get } from "../shared/api.js";
import { button, chip, el, field, select, show } from "../shared/dom.js";
import { downloadButton } from "../shared/download.js";
import { SortableTable, number, words } from "../shared/sortable.js";
import { watch } from "../shared/watch.js";
import { moment, some, unique } from "../shared/words.js";
import { foldDrawing } from "./drawing.js";

const NONE = "-"; // in the address: not chosen yet
const OFFERED = 1000; // jobs to choose from, the newest
const NAMED = 12; // treatments that only one of the two has

/** Draw the page; the address names the two jobs, as far as they are chosen. */
export function comparePage(main, { arguments: jobs, signal }) {
  const [first, second] = jobs.map((id) => (!id || id === NONE ? "" : id));
  const [chooser, place] = [el("div", el("p.dim", "Loading …")), el("div", { "aria-live": "polite" })];
  show(main, el("h1", "Compare two samples"), el("p.lead", "How many times less potent is each treatment on the second sample, ",
    "such as a resistant line, than on the first, such as its parent? Both are scored jobs, each with its own controls."), chooser, place);
  return watch(async () => {
    show(chooser, chooserView(await doneJobs([first, second], signal), { first, second }));
    if (!first || !second) return null;
    const path = `jobs/${first}/against/${second}`;
    show(place, el("p.dim", "Comparing …"));
    show(place, comparisonView(await get(path, { signal }), { path, signal }));
    return null;
  }, { place, signal });
}

/** The jobs on offer; those of the address, too, where they are older. */
async function doneJobs(chosen, signal) {
  const { jobs } = await get(`jobs?state=done&limit=${OFFERED}`, { signal });
  const missing = unique(chosen).filter((id) => id && jobs.every((job) => job.id !== id));
  const older = await Promise.allSettled(missing.map((id) => get(`jobs/${id}`, { signal }))); // one that is gone is told below
  return [...jobs, ...older.filter(({ status }) => status === "fulfilled").map(({ value }) => value)];
}

function chooserView(jobs, chosen) {
  if (jobs.length < 2) return el("p", "This needs two jobs that are done. ", el("a", { href: "#/" }, "Score a plate."));
  const open = (first, second) => { location.hash = `#/compare/${first || NONE}/${second || NONE}`; };
  const options = [["", "Choose a job"], ...jobs.map(({ id, name, sample, created }) => [id, `${sample}: ${name}, ${moment(created)}`])];
  const [first, second] = [chosen.first, chosen.second].map((value) => select(options, { value, required: true }));
  const submit = (event) => { // not as soon as one is chosen: arrow keys pass over others
    event.preventDefault();
    open(first.value, second.value);
  };
  return el("form", { on: { submit } },
    el("div.fields", field("First sample", first, "What is compared with, such as the parental line."), field("Second sample", second)),
    el("div.actions", el("button.primary", "Compare"), button("Exchange the two", () => open(second.value, first.value))));
}

function comparisonView({ first, second, view }, { path, signal }) {
  const { headline, rows, kinds, halves, only_first: onlyFirst, only_second: onlySecond } = view;
  const [told, names] = [el("div"), called(first, second)];
  const items = rows.map((row) => ({ ...row, chip: chip(row.kind, new Map(kinds).get(row.kind)) }));
  const { table, tools } = new SortableTable(items, columns(names, halves), { label: "Table of treatments on both samples", kinds, shown: {},
    stacked: true });
  return [el("h2", `${names[1]} over ${names[0]}`), el("p.big", headline),
    [first, second].map(({ warnings }, side) => warnings.map((warning) => el("p.alert", el("strong", `${names[side]}: `), warning))),
    el("p.dim", `Fold: ${halves[0]} on the second sample over that on the first, with 95 % limits. “Less” and “more potent” need q ≤ 0.05, corrected for `,
      "the number of treatments; where one lies beyond the tested doses, its limit decides. “No difference seen” is no proof of ",
      "equality: look at the limits. A treatment without any effect on one sample may not have been dispensed there."),
    rows.length > 0 && [el("div.actions", downloadButton("Download CSV", `${path}?format=csv`, { id: "fold-csv", told, signal })), told,
      foldDrawing(rows, kinds, halves[0]), tools, table],
    [onlyFirst, onlySecond].map((only, side) => only.length > 0 && el("p.dim", `Only on ${names[side]}: ${some(only, NAMED)}.`)),
    [first, second].map(sideView)];
}

const sideView = ({ job, name, sample, model, version, revision }) => el("p.dim", `${sample}: `, el("a", { href: `#/jobs/${job}` }, name),
  `, by ${model} version ${version}${revision > 0 ? `, revision ${revision}` : ""}.`);

/** What the two are called: by their samples, and where these are the same by their screens, too. */
const called = (...sides) => sides.map(({ sample, name }) => (sides[0].sample === sides[1].sample ? `${sample} (${name})` : sample));

function columns([first, second], [on, over]) {
  return [
    { title: "Treatment", by: ({ name }) => name.toLowerCase(), cell: ({ name }) => name },
    { title: "Verdict", kind: "why", by: ({ kind }) => kind, cell: ({ chip: word, why }) => words(word, why) },
    number("Fold", "fold"),
    { title: "Limits", kind: "n", by: ({ low }) => low, cell: ({ limits }) => limits || "–" },
    number(`${on} on ${first}`, "first"), number(`${over} on ${second}`, "second"), number("q", "q"),
  ];
}
