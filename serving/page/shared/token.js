// The access token, where the service asks for one. It is kept until the tab is closed, and sent as a header only.
import { ask } from "./dialog.js";
import { el, field } from "./dom.js";

const KEY = "token";
let token = "";
try {
  token = sessionStorage.getItem(KEY) ?? "";
} catch { /* no storage: kept as long as the page */ }
let asking = null; // while a person is asked: the promise that all who need the answer wait for

export const access = new EventTarget(); // "given", "declined" by a person who was asked, and "admitted": an answer came, with or without one

/** The header that carries the token. */
export const bearer = () => (token ? { Authorization: `Bearer ${token}` } : {});

/** Whether there is a token. */
export const hasToken = () => token !== "";

/** The service did not take `used`, a header of bearer(): resolves with whether there is another token by now to try again with. */
export async function anotherToken(used) {
  if (bearer().Authorization !== used.Authorization || await askForToken({ isRefused: true })) return true;
  access.dispatchEvent(new Event("declined"));
  return false;
}

/** Ask the person for a token; resolves with whether one was given. isRefused: the service did not take the one that there is. */
export function askForToken({ isRefused = false } = {}) {
  asking ??= askOnce(token && isRefused).finally(() => { asking = null; });
  return asking;
}

async function askOnce(isRefused) {
  const input = el("input", { type: "password", autocomplete: "off", required: true, spellcheck: "false" });
  const dialog = el("dialog.dialog", { "aria-labelledby": "token-title" }, el("form", { method: "dialog" },
    el("h2", { id: "token-title" }, "Access token"),
    el("p", isRefused ? "The service does not take the token that this tab has: it may have been replaced. "
      : "This service answers only to those who have a token. ", "Whoever runs it can give you one."),
    field("Token", input, "Kept until this tab is closed."),
    el("div.actions", el("button.primary", { value: "use" }, "Use it"),
      el("button", { type: "button", on: { click: () => dialog.close() } }, "Not now"))));
  const given = (await ask(dialog)) === "use";
  if (given) {
    token = input.value.trim();
    try {
      sessionStorage.setItem(KEY, token);
    } catch { /* kept as long as the page */ }
    access.dispatchEvent(new Event("given"));
  }
  return given;
}
