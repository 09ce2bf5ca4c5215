// A file for the person's own disk.
import { el } from "./dom.js";

const KEPT = 60_000; // milliseconds that a browser may need to write the file

/** Have the browser keep a blob under a name. */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT);
}

/** A name of a screen as one of a file. */
export const fileStem = (name) => name.normalize("NFC").replace(/[^\p{L}\p{M}\p{N}_.-]+/gu, "_");
