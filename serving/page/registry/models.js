// The models: which version answers for each, why another does not, and every change of a champion.
import { get } from "../shared/api.js";
import { chip, el, fold, show, table } from "../shared/dom.js";
import { watch } from "../shared/watch.js";
import { moment } from "../shared/words.js";
import { agreementView } from "./agreement.js";
import { modelCard } from "./card.js";

const AGAIN = 3000; // milliseconds: a promotion shows by itself
const EVENTS = { serving: ["pass", "in service"], refused: ["fail", "refused"], withdrawn: ["none", "withdrawn"] };

/** Draw the page and keep it up to date. */
export function modelsPage(main, { signal }) {
  const place = el("div", el("p.dim", "Loading …"));
  let last = "";
  show(main, el("h1", "Models"), el("p.lead", "A person promotes a model in MLflow, by moving the alias “champion” to another version. ",
    "The service follows within seconds. Moving the alias back is the rollback."), place);
  return watch(async () => {
    const [{ models, registry }, { promotions }] = await Promise.all([get("models", { signal }), get("promotions", { signal })]);
    const now = JSON.stringify([models, registry.unreachable_since, promotions]);
    if (now !== last) draw(place, { models, registry, promotions }); // an unchanged page keeps what is open and focused
    last = now;
    return AGAIN;
  }, { place, signal, rests: true });
}

/** What was opened to read stays open, and keeps the focus. */
function draw(place, { models, registry, promotions }) {
  const [opened, held] = [[...place.querySelectorAll("details[open]")].map(nameOf), nameOf(document.activeElement.closest("details"))];
  show(place,
    !registry.reachable && el("p.alert", { role: "status" },
      el("strong", `The registry has been unreachable since ${moment(registry.unreachable_since)}. `),
      "Loaded models keep answering; promotions will be noticed again once it is back."),
    models.length === 0 ? el("p", "No model is registered yet.") : el("div.model-list", models.map(modelView)),
    el("h2", "Promotions"), history(promotions));
  for (const details of place.querySelectorAll("details")) {
    details.open = opened.includes(nameOf(details));
    if (nameOf(details) === held) details.firstChild.focus({ preventScroll: true });
  }
}

/** What can be opened, by its model and its title without the numbers, which change. */
const nameOf = (details) => details && `${details.closest("section")?.getAttribute("aria-label")}: ${details.firstChild.textContent.replace(/[\d.]+/g, "")}`;

function modelView(model) {
  const { name, aliases, serving, refused } = model;
  const waiting = aliases.challenger && aliases.challenger !== serving?.version;
  return el("section.card", { "aria-label": name },
    el("div.head", el("h2.model-name", name), serving ? chip("pass", `version ${serving.version}`) : chip("none", "not in service")),
    el("p", serving ? `${serving.sample}, in service since ${moment(serving.since)}.` : "No version is promoted."),
    waiting && el("p", `Version ${aliases.challenger} is waiting as challenger.`),
    refused && el("p.alert", el("strong", `Version ${refused.version} was promoted but must not serve: `), refused.reason,
      serving && ` Version ${serving.version} goes on answering.`),
    agreementView(model.agreement),
    serving && fold("Card and lineage", modelCard(model)));
}

function history(promotions) {
  if (promotions.length === 0) return el("p.dim", "No change has been seen yet.");
  return table("Promotions", ["When", "Model", "Change", "From version", "To version", "Why"], [...promotions].reverse().map((change) => el("tr",
    el("td.when", moment(change.at)), el("th", { scope: "row" }, change.model),
    el("td", chip(...(EVENTS[change.event] ?? ["none", change.event]))),
    el("td", change.version_from ?? "–"), el("td", change.version_to ?? "–"), el("td.why", change.reason))));
}
