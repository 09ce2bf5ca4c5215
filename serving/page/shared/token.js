// The access token, where the service asks for one. It is kept until the tab is closed, and sent as a header only.
import { el, field } from "./dom.js";

const KEY = "token";
let token = "";
try {
  token = sessionStorage.getItem(KEY) ?? "";
} catch { /* no storage: kept as long as the page */ }
let told = () => {};

/** The header that carries the token. */
export const bearer = () => (token ? { Authorization: `Bearer ${token}` } : {});

/** Call `listener` when a token was given. */
export function watchToken(listener) {
  told = listener;
  document.getElementById("token").hidden = !token;
}

/** The service did not take the token, or asks for one. */
export function refuseToken() {
  document.getElementById("token").hidden = false;
  askForToken();
}

/** Ask the person for a token. */
export function askForToken() {
  if (document.querySelector("dialog[open]")) return;
  const input = el("input", { type: "password", autocomplete: "off", required: true, spellcheck: "false" });
  const dialog = el("dialog.dialog", { "aria-labelledby": "token-title" }, el("form", { method: "dialog" },
    el("h2", { id: "token-title" }, "Access token"),
    el("p", "This service answers only to those who have a token. Whoever runs it can give you one."),
    field("Token", input, "Kept until this tab is closed."),
    el("div.actions", el("button.primary", { value: "use" }, "Use it"),
      el("button", { type: "button", on: { click: () => dialog.close() } }, "Not now"))));
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (dialog.returnValue !== "use") return;
    token = input.value.trim();
    try {
      sessionStorage.setItem(KEY, token);
    } catch { /* kept as long as the page */ }
    document.getElementById("token").hidden = !token;
    told();
  });
  document.body.append(dialog);
  dialog.showModal();
}
