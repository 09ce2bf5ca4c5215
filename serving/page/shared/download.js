// Files that the service makes of a job.
import { file, isAbort } from "./api.js";
import { button, show } from "./dom.js";
import { refusalView } from "./findings.js";
import { save } from "./save.js";

/**
 * A button that fetches a file and has the browser keep it: a link could not carry the access token.
 *
 * name(blob): of the file; told: the place where it is said why there is none
 */
export function downloadButton(words, path, { name, told, signal, ...attributes }) {
  return button(words, async ({ currentTarget: pressed }) => {
    pressed.disabled = true;
    show(told);
    try {
      const blob = await file(path, { signal });
      save(blob, name(blob));
    } catch (error) {
      if (!isAbort(error)) show(told, refusalView(error));
    }
    pressed.disabled = false;
  }, attributes);
}
