// The numbered parts of a form that sends something, and what is said when it does not arrive.
import { Lost, isAbort } from "./api.js";
import { button, el, show } from "./dom.js";
import { refusalView } from "./findings.js";

/** A numbered part of a form. */
export function step(number, title, ...content) {
  const heading = el("h2", el("span.number", { "aria-hidden": "true" }, String(number)), title);
  return el("section.step", { "aria-label": title }, heading, content);
}

/**
 * An error in words, where the person looks.
 *
 * again, retry: words and act of a button that tries once more after a lost connection; without them nothing is said of one, for the
 * banner says it; stopped, kept: what a stopped and a lost upload mean here
 */
export function tellError(error, place, { again, retry, stopped, kept, plate = null } = {}) {
  if (isAbort(error)) show(place, stopped && el("p.notice", stopped));
  else if (error instanceof Lost) {
    show(place, again && el("div.alert", { role: "alert" }, el("p", el("strong", "The connection broke. "), kept), button(again, retry)));
  } else show(place, refusalView(error, plate));
}
