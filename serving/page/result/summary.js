// The top of a result: what came out, whether the plate can be trusted, what was scored.
import { button, card, el } from "../shared/dom.js";
import { count } from "../shared/words.js";

const PLATES = 6; // whose quality is said at the top

export function summaryView(view) {
  return [failedGates(view), badPlates(view), el("div.cards", resultCard(view), qualityCard(view), scoredCard(view))];
}

function failedGates({ summary: { failed_gates: reasons } }) {
  return reasons.length > 0 && el("div.alert", el("strong", "The model did not pass its own checks."),
    " Its numbers are exploratory and nothing is called a hit.", el("ul", reasons.map((reason) => el("li", reason))));
}

function badPlates({ plates }) {
  const bad = plates.filter(({ grade }) => grade === "bad").map(({ plate }) => plate);
  return bad.length > 0 && el("p.alert", el("strong", `Do not use ${bad.length === 1 ? "plate" : "plates"} ${bad.join(", ")}.`),
    " Living and dead controls overlap there (Z′ below 0), so nothing on it is called a hit or a miss.");
}

const resultCard = ({ summary }) => card("h2", "Result", summary.headline, summary.hit_rule && el("p.dim", summary.hit_rule));

function qualityCard({ summary, plates }) {
  return card("h2", "Plate quality", summary.plate_words,
    el("ul", plates.slice(0, PLATES).map(({ plate, words }) => el("li", el("strong", plate), ` ${words}`))),
    plates.length > PLATES && el("p.dim", `and ${plates.length - PLATES} more below`),
    summary.read_first && el("p", button(summary.read_first, () => document.getElementById("distrust").scrollIntoView(), { class: "link" })));
}

function scoredCard({ summary, screen, plates, wells }) {
  const doubtful = wells.filter((well) => well.doubtful || well.excluded).length;
  const sample = `${screen.kind === "patient" ? "Patient sample" : "Cell line"} ${screen.sample}`;
  return card("h2", "Scored", summary.model, el("p.dim", `${sample}; ${count(wells.length, "well")} on ${count(plates.length, "plate")}; `,
    `${doubtful || "none"} flagged or left out.`));
}
