// A file for the person's own disk.
import { el } from "./dom.js";

const KEPT = 60_000; // milliseconds that a browser may need to write the file

/** Have the browser keep a File under its name. */
export function save(file) {
  const address = URL.createObjectURL(file);
  el("a", { href: address, download: file.name }).click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT);
}
