// The result as files.
import { file, isAbort } from "../shared/api.js";
import { button, el, show } from "../shared/dom.js";
import { refusalView } from "../shared/findings.js";
import { fileStem, save } from "../shared/save.js";

const FORMATS = [["xlsx", "Excel"], ["csv", "CSV"], ["html", "Report"], ["json", "JSON"], ["parquet", "Parquet"]];

export function downloadButtons(job, signal) {
  const told = el("div");
  return el("div.downloads",
    el("div.actions", { role: "group", "aria-label": "Download" }, el("span.dim", "Download"), FORMATS.map(([format, words]) =>
      button(words, ({ currentTarget }) => fetchAndSave(job, format, { button: currentTarget, told, signal }), { data: { format } })),
    el("a", { href: `#/compare/${job.id}/-` }, "Compare with another sample")),
    told);
}

/** Fetched rather than linked to, because a link cannot carry the access token. */
async function fetchAndSave(job, format, { button: pressed, told, signal }) {
  pressed.disabled = true;
  show(told);
  try {
    const blob = await file(`jobs/${encodeURIComponent(job.id)}/result?format=${format}`, { signal });
    save(blob, fileName(job, format, blob));
  } catch (error) {
    if (!isAbort(error)) show(told, refusalView(error));
  }
  pressed.disabled = false;
}

/** Several tables come as one zip. */
function fileName({ name }, format, { type }) {
  const title = fileStem(name);
  return type === "application/zip" ? `${title}-${format}.zip` : `${title}.${format}`;
}
