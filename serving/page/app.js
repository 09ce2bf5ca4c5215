// Which page is shown: the address after "#/" names it.
import { watchConnection } from "./shared/connection.js";
import { el, show } from "./shared/dom.js";
import { access, askForToken, hasToken } from "./shared/token.js";
import { classifyPage } from "./classify/page.js";
import { comparePage } from "./compare/page.js";
import { listPage } from "./jobs/list.js";
import { jobPage } from "./jobs/job.js";
import { modelsPage } from "./registry/models.js";
import { scorePage } from "./score/page.js";

const PAGES = [
  { pattern: /^\/?$/, name: "score", title: "Score plates", draw: scorePage },
  { pattern: /^\/classify$/, name: "classify", title: "Classify images", draw: classifyPage },
  { pattern: /^\/jobs(?:\?(.*))?$/, name: "jobs", title: "Jobs", draw: listPage },
  { pattern: /^\/jobs\/([\w-]+)$/, name: "jobs", title: "Job", draw: jobPage },
  { pattern: /^\/compare(?:\/(\w+|-)\/(\w+|-))?$/, name: "jobs", title: "Compare two samples", draw: comparePage },
  { pattern: /^\/models$/, name: "models", title: "Models", draw: modelsPage },
];

const main = document.getElementById("main");
const PATIENCE = 20_000; // milliseconds: a page that is shorter now must not jump for ever
const places = new Map(); // address -> where it was scrolled to when it was left
let leave = new AbortController(); // ends what the page that is left still waits for

function route() {
  const path = location.hash.startsWith("#/") ? location.hash.slice(1) : "/";
  const page = PAGES.find(({ pattern }) => pattern.test(path));
  leave.abort();
  leave = new AbortController();
  history.replaceState({ seen: true }, ""); // an entry of the history that comes into view again is known by it
  for (const link of document.querySelectorAll("[data-page]")) {
    if (link.dataset.page === page?.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${page?.title ?? "Not found"} · Dosewell`;
  if (page) page.draw(main, { arguments: page.pattern.exec(path).slice(1), signal: leave.signal });
  else show(main, el("h1", "There is no such page"), el("p", el("a", { href: "#/" }, "Score plates")));
}

function followSkipLink(event) {
  event.preventDefault(); // "#main" must not change the page's address
  main.focus();
}

/** The page that a person comes back to is where it was left, once that much of it has been fetched; unless they scroll by themselves. */
function returnTo(place, signal) {
  const grown = new ResizeObserver(() => {
    scrollTo(0, place);
    if (scrollY > place - 1) grown.disconnect();
  });
  grown.observe(main);
  for (const act of ["wheel", "touchmove", "pointerdown", "keydown"]) addEventListener(act, () => grown.disconnect(), { once: true, signal });
  for (const end of [signal, AbortSignal.timeout(PATIENCE)]) end.addEventListener("abort", () => grown.disconnect());
}

function moved({ oldURL }) {
  places.set(new URL(oldURL).hash, scrollY);
  const isBack = history.state?.seen;
  route();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
  if (isBack) returnTo(places.get(location.hash) ?? 0, leave.signal);
}

document.querySelector(".skip").addEventListener("click", followSkipLink);
history.scrollRestoration = "manual"; // the browser's own comes before the page is drawn
addEventListener("hashchange", moved);
const token = document.getElementById("token");
const showToken = () => { token.hidden = !hasToken(); };
token.addEventListener("click", async () => { if (await askForToken()) route(); }); // other jobs may be seen now
access.addEventListener("given", showToken);
showToken();
watchConnection(document.getElementById("connection"));
route();
