// One job: how far it is, why it was refused, or what came out.
import { get, post } from "../shared/api.js";
import { chip, el, sentence, show } from "../shared/dom.js";
import { refusalView } from "../shared/findings.js";
import { watch } from "../shared/watch.js";
import { count, moment } from "../shared/words.js";
import { ResultPage } from "../result/page.js";
import { isSettled, stateOf } from "./states.js";

const [FIRST, LONGEST] = [400, 3000]; // milliseconds between two looks

/** Draw the job and follow it until it is settled. */
export function jobPage(main, { arguments: [id], signal }) {
  const path = `jobs/${encodeURIComponent(id)}`;
  const [head, body] = [el("div"), el("div", el("p.dim", "Loading …"))];
  let wait = FIRST;
  let last = "";
  show(main, el("p", el("a", { href: "#/jobs" }, "All jobs")), head, body);
  return watch(async () => {
    const job = await get(path, { signal });
    const found = JSON.stringify(job);
    if (found !== last) drawHead(head, job); // what did not change is not said again
    if (isSettled(job.state)) {
      await drawEnd(body, job, { path, signal });
      return null;
    }
    if (found !== last) show(body, progress(job));
    last = found;
    wait = Math.min(wait * 1.3, LONGEST);
    return wait;
  }, { place: body, signal });
}

function drawHead(head, { name, sample, state, model, version, plates, wells, created, adapt }) {
  const { words, kind } = stateOf(state);
  document.title = `${name}: ${words} · Dosewell`;
  show(head, el("div.title", el("h1", name), el("span", { id: "state", role: "status" }, chip(kind, words))),
    el("p.dim", `${sample}, ${count(plates, "plate")}, ${count(wells, "well")}; sent ${moment(created)} `,
      `${adapt ? "for a model of its own, from" : "for"} ${model} version ${version}.`));
}

function progress({ state, progress: { stage, done, total }, note }) {
  if (state === "queued") {
    return [el("progress", { "aria-label": "Waiting" }),
      el("p", "Accepted. It is waiting for its turn, and it is safe: you can close this page."), note && el("p.notice", sentence(note))];
  }
  const counted = total > 1; // else there is nothing to count
  const words = counted ? `${stage}: ${done} of ${total}` : stage;
  return [el("progress", { "aria-label": "Progress", ...(counted ? { max: total, value: done } : {}) }),
    el("p", { role: "status" }, sentence(words), " You can close this page; the job goes on.")];
}

async function drawEnd(body, job, { path, signal }) {
  if (job.state !== "done") {
    show(body, refusalView({ message: job.error, findings: job.findings }),
      el("p", "Nothing was scored. ", el("a", { href: "#/" }, "Back to your entries"), ", to put it right and send it again."));
    return;
  }
  let { revision } = job;
  const exclude = async (wells, excluded, reason) => {
    const exclusions = wells.map(({ plate, well }) => ({ plate, well, excluded, reason }));
    ({ revision } = await post(`${path}/exclusions`, { exclusions }, { signal }));
    return get(`${path}/view`, { signal });
  };
  const page = new ResultPage(body, job, { exclude, signal });
  page.draw(await get(`${path}/view`, { signal }));
  const follow = async () => { // wells may have been left out in another tab, or the job been deleted
    const now = await get(path, { signal });
    if (now.revision > revision) page.draw(await get(`${path}/view`, { signal }));
    revision = Math.max(revision, now.revision);
    return null;
  };
  addEventListener("focus", () => watch(() => page.inTurn(follow), { place: body, signal }), { signal });
}
