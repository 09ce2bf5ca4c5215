// Asking again and again, through lost connections and missing tokens, until the page is left.
import { Lost, isAbort } from "./api.js";
import { next, whenFound, whenGiven } from "./connection.js";
import { el, show } from "./dom.js";
import { refusalView } from "./findings.js";

const AGAIN = 2000; // milliseconds

/** Wait; rejects when `signal` ends. */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const leave = () => {
      clearTimeout(timer);
      reject(new DOMException("left", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", leave); // a page that is open for days pauses often
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", leave, { once: true });
  });
}

/** Wait while the tab is out of sight. */
async function inSight(signal) {
  while (document.hidden) await next(document, "visibilitychange", signal);
}

/**
 * Call `look()` until it says that nothing more will come, or the page is left.
 *
 * look: resolves with milliseconds to wait before the next look, or null at the end; what it throws is shown in `place`, but a lost
 * connection and a missing token, which are waited for: the banner says them; and, above `place`, what passes by itself (status 503: a
 * database or registry that is away), which is asked again; rests: not while the tab is out of sight
 */
export async function watch(look, { place, signal, rests = false }) {
  const passing = el("div");
  place.before(passing);
  try {
    for (let wait = 0; wait !== null; ) {
      try {
        wait = await look();
        show(passing);
        if (wait !== null) await pause(wait, signal);
        if (rests) await inSight(signal);
      } catch (error) {
        if (error.status === 401) await whenGiven(signal);
        else if (error instanceof Lost) await whenFound(signal);
        else if (error.status === 503) {
          if (passing.textContent === "") show(passing, refusalView(error)); // the same again is not read out again
          await pause(AGAIN, signal);
        } else throw error;
      }
    }
  } catch (error) {
    if (!isAbort(error)) show(place, refusalView(error));
  } finally {
    passing.remove();
  }
}
