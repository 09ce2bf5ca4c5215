// All jobs, newest first.
import { get, remove } from "../shared/api.js";
import { button, chip, el, show, table } from "../shared/dom.js";
import { refusalView } from "../shared/findings.js";
import { watch } from "../shared/watch.js";
import { moment } from "../shared/words.js";
import { stateOf } from "./states.js";

const AGAIN = 2000; // milliseconds

/** Draw the page and keep it up to date. */
export function listPage(main, { signal }) {
  const place = el("div", el("p.dim", "Loading …"));
  let last = "";
  let before = ""; // what the shown jobs follow; empty for the newest
  async function look() {
    const asked = before;
    const { jobs, next } = await get(`jobs?before=${encodeURIComponent(asked)}`, { signal });
    if (asked !== before) return AGAIN; // the page was turned meanwhile
    const found = JSON.stringify([before, jobs]);
    if (found !== last) show(place, content(jobs, before), turning({ before, next, turn })); // an unchanged list keeps the focus where it is
    last = found;
    return AGAIN;
  }
  function turn(to) {
    before = to;
    look().catch(() => {}); // the watch below meets the same fault, and tells it
  }
  show(main, el("h1", "Jobs"), el("p.lead", "Every plate that was sent, until someone deletes it."), place);
  return watch(look, { place, signal });
}

function content(jobs, before) {
  if (jobs.length > 0) return table("Jobs", ["Screen", "State", "Model", "Sent", el("span.unseen", "Delete")], jobs.map(line));
  if (before) return el("p", "No older jobs are left.");
  return el("p", "No plate has been sent yet. ", el("a", { href: "#/" }, "Score the first one."));
}

function turning({ before, next, turn }) {
  if (!before && !next) return null;
  return el("p.actions", before && button("Newest jobs", () => turn("")), next && button("Older jobs", () => turn(next)));
}

function line({ id, name, sample, state, model, version, adapt, created, error }) {
  const { words, kind } = stateOf(state);
  const row = el("tr", { data: { job: id } },
    el("th", { scope: "row" }, el("a", { href: `#/jobs/${id}` }, name), el("span.sub", sample)),
    el("td", chip(kind, words), error && el("span.sub", error)), el("td", adapt ? "its own, from " : "", `${model} version ${version}`),
    el("td.when", moment(created)),
    el("td", button("Delete", () => confirmDelete(row, id, name), { class: "quiet danger", "aria-label": `Delete ${name}` })));
  return row;
}

function confirmDelete(row, id, title) {
  const dialog = el("dialog.dialog", { "aria-labelledby": "delete-title" }, el("form", { method: "dialog" },
    el("h2", { id: "delete-title" }, `Delete ${title}?`), el("p", "Its images and results are removed from the service for good."),
    el("div.actions", el("button.danger", { value: "delete" }, "Delete"), el("button", { value: "" }, "Keep"))));
  dialog.addEventListener("close", async () => {
    dialog.remove();
    if (dialog.returnValue !== "delete") return;
    try {
      await remove(`jobs/${encodeURIComponent(id)}`);
      row.remove();
    } catch (error) {
      row.cells[1].append(refusalView(error));
    }
  });
  document.body.append(dialog);
  dialog.showModal();
}
