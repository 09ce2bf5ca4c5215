// One job: how far it is, why it was refused, or what came out.
import { Lost, get, post } from "../shared/api.js";
import { chip, el, sentence, show, tell } from "../shared/dom.js";
import { refusalView } from "../shared/findings.js";
import { watch } from "../shared/watch.js";
import { count, moment } from "../shared/words.js";
import { ResultPage } from "../result/page.js";
import { isSettled, stateOf } from "./states.js";

const [FIRST, LONGEST] = [400, 3000]; // milliseconds between two looks

/** Draw the job and follow it until it is settled. */
export function jobPage(main, { arguments: [id], signal }) {
  const path = `jobs/${encodeURIComponent(id)}`;
  // what is read out when it changes stays in its place, or a screen reader would not say it
  const head = { name: el("h1"), state: el("span", { id: "state", role: "status" }), about: el("p.dim") };
  const [told, body] = [el("div", { role: "status" }), el("div", el("p.dim", "Loading …"))];
  let wait = FIRST;
  let last = "";
  const look = async () => {
    try {
      return await get(path, { signal });
    } catch (error) {
      if (error.status === 404 && last) drawGone(head);
      throw error;
    }
  };
  show(main, el("p", el("a", { href: "#/jobs" }, "All jobs")), el("div.title", head.name, head.state), head.about, told, body);
  return watch(async () => {
    const job = await look();
    const [found, before] = [JSON.stringify(job), last];
    if (found !== before) drawHead(head, job); // what did not change is not said again
    last = found;
    if (isSettled(job.state)) {
      show(told);
      await drawEnd(body, job, { path, look, signal });
      return null;
    }
    if (found !== before) {
      show(body, ...progressBar(job));
      tell(told, inWords(job));
    }
    wait = Math.min(wait * 1.3, LONGEST);
    return wait;
  }, { place: body, signal });
}

function drawHead(head, { name, sample, state, model, version, plates, wells, created, adapt }) {
  const { words, kind } = stateOf(state);
  document.title = `${name}: ${words} · Dosewell`;
  tell(head.name, name);
  if (head.state.textContent !== words) show(head.state, chip(kind, words));
  tell(head.about, `${sample}, ${count(plates, "plate")}, ${count(wells, "well")}; sent ${moment(created)} `
    + `${adapt ? "for a model of its own, from" : "for"} ${model} version ${version}.`);
}

/** It was deleted meanwhile. */
function drawGone(head) {
  document.title = `${head.name.textContent}: deleted · Dosewell`;
  show(head.state, chip("none", "deleted"));
}

/** The bar, and the count, which is not read out: a screen reader would never stop. */
function progressBar({ state, progress: { done, total } }) {
  const counted = total > 1; // else there is nothing to count
  return [el("progress", { "aria-label": state === "queued" ? "Waiting" : "Progress", ...(counted && { max: total, value: done }) }),
    counted && el("p.dim", `${done} of ${total}`)];
}

/** How far a job is. */
function inWords({ state, progress: { stage }, note }) {
  if (state === "queued") {
    return `Accepted. It is waiting for its turn, and it is safe: you can close this page.${note ? ` ${sentence(note)}` : ""}`;
  }
  return `${sentence(stage)} You can close this page; the job goes on.`;
}

/** look(): resolves with the job as it is now. */
async function drawEnd(body, job, { path, look, signal }) {
  if (job.state !== "done") {
    show(body, refusalView({ message: job.error, findings: job.findings }),
      el("p", "Nothing was scored. ", el("a", { href: "#/" }, "Back to your entries"), ", to put it right and send it again."));
    return;
  }
  let { revision } = job; // of the view that is drawn
  const view = () => get(`${path}/view`, { signal });
  const exclude = async (wells, excluded, reason) => {
    const exclusions = wells.map(({ plate, well }) => ({ plate, well, excluded, reason }));
    try {
      const changed = await post(`${path}/exclusions`, { exclusions, revision }, { signal });
      const after = await view();
      ({ revision } = changed);
      return after;
    } catch (error) {
      if (error instanceof Lost) followInTurn(); // it may have been done all the same
      if (error.status === 409) { // others changed these wells meanwhile: they are shown as they are now
        await follow();
        show(page.said, refusalView(error));
      }
      throw error;
    }
  };
  const page = new ResultPage(body, job, { exclude, signal });
  const stale = el("div"); // why the result that is shown may be an older one
  const follow = async () => { // wells may have been left out in another tab, or the job been deleted
    const now = await look();
    if (now.revision > revision) page.draw(await view());
    revision = Math.max(revision, now.revision);
    show(stale);
    return null;
  };
  const keep = (error) => { // a mistake of the service takes no result away
    if (!(error.status >= 500) || error.status === 503) throw error;
    show(stale, refusalView(error), el("p.dim", "The result below is as it was seen last."));
    page.said.append(stale);
    return null;
  };
  const followInTurn = () => watch(() => page.inTurn(follow).catch(keep), { place: body, signal });
  page.draw(await view());
  addEventListener("focus", followInTurn, { signal });
}
