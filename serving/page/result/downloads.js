// The result as files.
import { downloadButton } from "../shared/download.js";
import { el } from "../shared/dom.js";

const FORMATS = [["xlsx", "Excel"], ["csv", "CSV"], ["html", "Report"], ["json", "JSON"], ["parquet", "Parquet"]];

export function downloadButtons({ id }, signal) {
  const told = el("div");
  const button = ([format, words]) => downloadButton(words, `jobs/${encodeURIComponent(id)}/result?format=${format}`,
    { told, signal, data: { format } });
  return el("div.downloads",
    el("div.actions", { role: "group", "aria-label": "Download" }, el("span.dim", "Download"), FORMATS.map(button),
      el("a", { href: `#/compare/${id}/-` }, "Compare with another sample")),
    told);
}
