// All jobs, newest first.
import { get, remove } from "../shared/api.js";
import { ask } from "../shared/dialog.js";
import { button, chip, el, select, show, table } from "../shared/dom.js";
import { refusalView } from "../shared/findings.js";
import { watch } from "../shared/watch.js";
import { moment, unique } from "../shared/words.js";
import { STATES, stateOf } from "./states.js";

const AGAIN = 2000; // milliseconds

/** Draw the page and keep it up to date. Which jobs are shown stands in the address, so that "back" leads to the same. */
export function listPage(main, { arguments: [query], signal }) {
  const asked = new URLSearchParams(query);
  const [told, place] = [el("div"), el("div", el("p.dim", "Loading …"))]; // what is told outlasts a list that is drawn anew
  let last = "";
  let before = asked.get("before") ?? ""; // what the shown jobs follow; empty for the newest
  const states = Object.entries(STATES).map(([state, { words }]) => [state, words]);
  const only = select([["", "all"], ...states], { value: asked.get("state") ?? "", on: { change: () => turn("") } });
  const address = () => `jobs?${new URLSearchParams({ before, ...(only.value && { state: only.value }) })}`;
  async function look() {
    const path = address();
    const { jobs, next } = await get(path, { signal });
    if (path !== address() || document.querySelector("dialog")) return AGAIN; // turned meanwhile, or the focus goes back to a button of it
    const found = JSON.stringify([path, jobs]);
    const { tagName, parentElement } = document.activeElement;
    const held = parentElement?.closest("[data-job]")?.dataset.job; // the job whose link or button has the focus
    if (found !== last) show(place, content(jobs, { before, state: only.value, told }), turning({ before, next, turn }));
    if (held && found !== last) place.querySelector(`[data-job="${held}"] ${tagName}`)?.focus({ preventScroll: true });
    last = found;
    return AGAIN;
  }
  function turn(to) {
    before = to;
    history.replaceState(history.state, "", `#/${address()}`);
    look().catch(() => {}); // the watch below meets the same fault, and tells it
  }
  show(main, el("h1", "Jobs"), el("p.lead", "Every plate that was sent, until someone deletes it. ",
    el("a", { href: "#/compare" }, "Compare two samples")), el("div.table-tools", el("label", "Show ", only)), told, place);
  return watch(look, { place, signal, rests: true });
}

function content(jobs, { before, state, told }) {
  const headings = ["Screen", "State", "Model", "Sent", el("span.unseen", "Delete")];
  const several = unique(jobs.map(({ by }) => by)).length > 1; // who sees everybody's is told whose each is
  if (jobs.length > 0) return table("Jobs", headings, jobs.map((job) => line(job, { several, told })));
  if (before) return el("p", "No older jobs are left.");
  if (state) return el("p", `No job is ${stateOf(state).words}.`);
  return el("p", "No plate has been sent yet. ", el("a", { href: "#/" }, "Score the first one."));
}

function turning({ before, next, turn }) {
  if (!before && !next) return null;
  return el("p.actions", before && button("Newest jobs", () => turn("")), next && button("Older jobs", () => turn(next)));
}

function line({ id, name, sample, state, model, version, adapt, created, error, by }, { several, told }) {
  const { words, kind } = stateOf(state);
  const row = el("tr", { data: { job: id } },
    el("th", { scope: "row" }, el("a", { href: `#/jobs/${id}` }, name), el("span.sub", sample)),
    el("td", chip(kind, words), error && el("span.sub", error)),
    el("td", adapt ? "its own, from " : "", `${model} version ${version}`),
    el("td.when", moment(created), several && by && el("span.sub", `by ${by}`)),
    el("td", button("Delete", () => confirmDelete(row, { id, name, told }), { class: "quiet danger", "aria-label": `Delete ${name}` })));
  return row;
}

async function confirmDelete(row, { id, name, told }) {
  const answer = await ask(el("dialog.dialog", { "aria-labelledby": "delete-title" }, el("form", { method: "dialog" },
    el("h2", { id: "delete-title" }, `Delete ${name}?`), el("p", "Its images and results are removed from the service for good."),
    el("div.actions", el("button.danger", { value: "delete" }, "Delete"), el("button", { value: "" }, "Keep")))));
  if (answer !== "delete") return;
  try {
    await remove(`jobs/${encodeURIComponent(id)}`);
    const neighbour = row.nextElementSibling ?? row.previousElementSibling;
    (neighbour?.querySelector("a") ?? row.closest("main")).focus(); // for the keyboard: its own button goes
    row.remove();
    show(told);
  } catch (error) {
    show(told, refusalView(error));
  }
}
