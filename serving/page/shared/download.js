// Files that the service makes of a job.
import { file, isAbort } from "./api.js";
import { button, show } from "./dom.js";
import { refusalView } from "./findings.js";
import { save } from "./save.js";

/** A button that fetches a file and has the browser keep it: a link could not carry the access token. told: where it is said why not. */
export function downloadButton(words, path, { told, signal, ...attributes }) {
  return button(words, async ({ currentTarget: pressed }) => {
    pressed.disabled = true;
    show(told);
    try {
      save(await file(path, { signal }));
    } catch (error) {
      if (!isAbort(error)) show(told, refusalView(error));
    }
    pressed.disabled = false;
  }, attributes);
}
