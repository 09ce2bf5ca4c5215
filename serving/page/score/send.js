// Sending a plate: one form with everything, and how far it has come.
import { upload } from "../shared/api.js";
import { button, el, tell } from "../shared/dom.js";
import { duration, size } from "../shared/words.js";
import { zipFiles } from "./zip.js";

const LOOSE_LIMIT = 4000; // images sent one by one; the service takes 5,000 parts

/** The image files as the service takes them: archives as they are; one folder's images; else a zip per folder. */
async function imageFiles({ archives, folders }, { onPacked, signal }) {
  if (archives.length > 0) return archives.map(({ file }) => file);
  if (folders.length === 1 && folders[0].files.length <= LOOSE_LIMIT) return folders[0].files.map(({ file }) => file);
  const packed = [];
  for (const { name, files } of folders) packed.push(await zipFiles(name, files, { onFile: onPacked, signal }));
  return packed;
}

/** Images of one folder carry its name: a layout without a plate column is that of the folder. */
function nameIn({ archives, folders }, file) {
  return archives.length === 0 && folders.length === 1 && folders[0].name ? `${folders[0].name}/${file.name}` : file.name;
}

/**
 * POST the job; resolves with its record.
 *
 * sorted: of sortFiles(); layout: a File; texts: the other fields; onStep(words, part, counted): how far it is, part in 0-1
 */
export const sendJob = (job, options) => guarded(() => packAndSend(job, options));

async function packAndSend({ sorted, layout, texts }, { onStep, signal }) {
  const total = sorted.folders.reduce((sum, { files }) => sum + files.length, 0);
  let packed = 0;
  const onPacked = () => {
    packed += 1;
    onStep("Packing the images", packed / total, `${packed} of ${total}`);
  };
  const form = new FormData();
  for (const file of await imageFiles(sorted, { onPacked, signal })) form.append("images", file, nameIn(sorted, file));
  form.set("layout", layout, layout.name);
  for (const [name, text] of Object.entries(texts)) form.set(name, text);
  const sources = [...sorted.archives, ...sorted.folders.flatMap(({ files }) => files)].map(({ file }) => file);
  return upload("jobs", form, { signal, sources: [...sources, layout], onProgress: sending(onStep, "Sent; the service is checking it") });
}

/** What `send()` gives; until then the browser asks before it closes the tab, for what has not arrived would be lost. */
export async function guarded(send) {
  const ask = (event) => event.preventDefault();
  addEventListener("beforeunload", ask);
  try {
    return await send();
  } finally {
    removeEventListener("beforeunload", ask);
  }
}

/** An `onProgress` that tells `onStep` how much has gone and how long it will take; all: what is said when all of it has. */
export function sending(onStep, all) {
  const started = performance.now();
  return (sent, total) => {
    const left = (total - sent) * (performance.now() - started) / Math.max(sent, 1) / 1000;
    if (sent < total) onStep("Sending", sent / total, `${size(sent)} of ${size(total)}, ${duration(left)} left`);
    else onStep(all, 1, "");
  };
}

/** A progress bar with words, a count that is not read out, for a screen reader would never stop, and a way to give up. */
export function progressView({ onStop }) {
  const bar = el("progress", { max: "1", value: "0", "aria-label": "Upload" });
  const [words, count] = [el("p", { role: "status" }, "Getting ready …"), el("p.dim")];
  const step = (text, part, counted) => {
    tell(words, text);
    count.textContent = counted;
    bar.value = part;
  };
  return { element: el("div.sending", bar, words, count, button("Stop", onStop)), step };
}
