// The place where images and layout are dropped or chosen.
import { button, el } from "../shared/dom.js";
import { chosenFiles, droppedFiles } from "./files.js";

/** The drop zone, with its words; `onFiles(files)` gets [{ path, file }], `onTrouble(error)` an Error where they cannot be read. */
export function dropZone({ title, hint, onFiles, onTrouble }) {
  const [folder, single] = [picker({ webkitdirectory: true }, onFiles), picker({ id: "files" }, onFiles)];
  const zone = el("div.drop", el("p.big", title), el("p.dim", hint),
    el("div.actions", button("Choose a folder", () => folder.click()), button("Choose files", () => single.click()), folder, single));
  const over = (event) => {
    event.preventDefault();
    zone.classList.add("over");
  };
  zone.addEventListener("dragenter", over);
  zone.addEventListener("dragover", over);
  zone.addEventListener("dragleave", ({ relatedTarget }) => zone.contains(relatedTarget) || zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    try {
      onFiles(await droppedFiles(event.dataTransfer));
    } catch (error) {
      onTrouble(new Error(`The browser could not read what was dropped (${error.message}). Try the button “Choose a folder”.`));
    }
  });
  return zone;
}

/** A hidden <input type=file>; the buttons beside it are what people and screen readers meet. */
function picker(attributes, onFiles) {
  const input = el("input.unseen", { type: "file", multiple: true, tabindex: "-1", "aria-hidden": "true", ...attributes });
  input.addEventListener("change", () => {
    if (input.files.length > 0) onFiles(chosenFiles(input.files));
    input.value = ""; // the same choice can be made again
  });
  return input;
}

/** A drop beside the zone must not make the browser leave the page. Ends with `signal`. */
export function catchStrayDrops(signal) {
  for (const event of ["dragover", "drop"]) addEventListener(event, (stray) => stray.preventDefault(), { signal });
}
