// Says when the service no longer answers, and tries again until it does; and when it waits for a token.
import { connection, get } from "./api.js";
import { button, el, show } from "./dom.js";
import { access, askForToken } from "./token.js";

const AGAIN = 2000; // milliseconds
const THANKS = 4000; // for which the good news stays
let since = null;
let declined = false; // whether the banner says that a token is missing

/** Show the state of the connection in `place`. */
export function watchConnection(place) {
  connection.addEventListener("lost", () => {
    if (since) return;
    since = new Date();
    const time = since.toLocaleTimeString(undefined, { timeStyle: "short" });
    show(place, el("p.alert", { id: "lost" }, el("strong", "The service does not answer"), ` (since ${time}). `,
      "What it has accepted is safe, and your entries on this page are kept. ",
      "Trying again by itself; if it lasts, ask whoever runs the service."));
    setTimeout(tryAgain, AGAIN);
  });
  connection.addEventListener("found", () => {
    if (!since) return;
    since = null;
    const thanks = el("p.notice", "The service answers again.");
    show(place, thanks);
    setTimeout(() => thanks.remove(), THANKS); // and nothing that was said since
  });
  access.addEventListener("declined", () => {
    declined = true;
    if (!since) show(place, el("p.notice", "The service answers only to those who have an access token. ",
      button("Give the token", () => askForToken(), { class: "quiet" })));
  });
  for (const event of ["given", "admitted"]) {
    access.addEventListener(event, () => {
      if (declined && !since) show(place);
      declined = false;
    });
  }
}

/** Resolves when a token is given, or an answer shows that none is needed. Rejects when `signal` ends the wait. */
export const whenGiven = (signal) => Promise.race([next(access, "given", signal), next(access, "admitted", signal)]);

/** Resolves when the service answers again; at once where it does. Rejects when `signal` ends the wait. */
export function whenFound(signal) {
  return since ? next(connection, "found", signal) : Promise.resolve();
}

/** Resolves at the next event. Rejects when `signal` ends the wait. */
export function next(source, event, signal) {
  return new Promise((resolve, reject) => {
    const leave = () => reject(new DOMException("left", "AbortError"));
    const come = () => {
      signal.removeEventListener("abort", leave); // a page that is open for days waits often
      resolve();
    };
    source.addEventListener(event, come, { once: true, signal });
    signal.addEventListener("abort", leave, { once: true });
  });
}

function tryAgain() {
  if (since) get("models").catch(() => setTimeout(tryAgain, AGAIN));
}
