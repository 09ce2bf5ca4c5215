// Simulated plates to start from, where a model in service fits them.
import { file, get } from "../shared/api.js";
import { button, el } from "../shared/dom.js";
import { count } from "../shared/words.js";

/**
 * Buttons for the examples on offer, or nothing. `onFiles` gets the files of the last one that was asked for as if they were dropped,
 * unless `turn()` tells that others were, meanwhile.
 */
export async function exampleButtons({ onFiles, onTrouble, turn, signal }) {
  const { examples } = await get("examples", { signal });
  if (examples.length === 0) return null;
  let asked = 0;
  return el("div.examples", el("span.dim", "Or start from a simulated plate:"), examples.map((example) => {
    const words = [`${example.sample}: ${count(example.plates, "plate")}`, count(example.wells, "well"),
      example.single > 0 && `${count(example.single, "treatment")} at one dose`,
      example.pairs > 0 && `${count(example.pairs, "pair")} of drugs`].filter(Boolean).join(", ");
    const start = async ({ currentTarget: pressed }) => {
      Object.assign(pressed, { disabled: true, textContent: "Making it …" });
      const mine = String([asked += 1, turn()]);
      const isWanted = () => mine === String([asked, turn()]);
      await fetchExample(example, signal).then((files) => isWanted() && onFiles(files), (error) => isWanted() && onTrouble(error));
      Object.assign(pressed, { disabled: false, textContent: words });
    };
    return button(words, start, { class: "quiet", data: { example: example.name } });
  }));
}

function fetchExample({ name, files }, signal) {
  return Promise.all(files.map(async (title) => {
    const blob = await file(`examples/${encodeURIComponent(name)}/${encodeURIComponent(title)}`, { signal });
    return { path: `${name}/${title}`, file: new File([blob], title) };
  }));
}
