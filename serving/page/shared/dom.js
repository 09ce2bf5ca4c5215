// Elements from values. Texts are always set as text, so nothing that a user wrote is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element: el("p.dim", { id: "here" }, "text", other, [more]). Attributes may be left out, and so may what is null or false.
 * `on` holds listeners, `style` properties, `data` the dataset.
 */
export function el(selector, ...rest) {
  const [name, ...classes] = selector.split(".");
  return fill(document.createElement(name), classes, rest);
}

/** The same in SVG. */
export function svg(selector, ...rest) {
  const [name, ...classes] = selector.split(".");
  return fill(document.createElementNS(SVG, name), classes, rest);
}

const isAttributes = (value) => value?.constructor === Object;
const isThere = (child) => child !== null && child !== undefined && child !== false;

function fill(element, classes, [first, ...others]) {
  const [attributes, children] = isAttributes(first) ? [first, others] : [{}, [first, ...others]];
  element.classList.add(...classes);
  for (const [key, value] of Object.entries(attributes)) {
    if (!isThere(value)) continue;
    if (key === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (key === "style") for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key === "class") element.classList.add(...value.split(" ").filter(Boolean));
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(isThere));
  return element;
}

/** Replace what a place holds. */
export function show(place, ...children) {
  place.replaceChildren(...children.flat(Infinity).filter(isThere));
}

/** Put words into a place that is read out when it changes (role "status"); the same again is not said again. */
export function tell(place, words) {
  if (place.textContent !== words) place.textContent = words;
}

let counter = 0;

/** An id that no other element has. */
export function newId(prefix) {
  counter += 1;
  return `${prefix}-${counter}`;
}

/** A labelled control with an optional hint, tied together for screen readers. */
export function field(label, control, hint = "") {
  const id = control.id || newId("field");
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return el("div.field", el("label", { for: id }, label), control,
    hint && el("p.hint", { id: `${id}-hint` }, hint));
}

/** A <select> of [value, words] pairs. */
export function select(options, { value, ...attributes } = {}) {
  const control = el("select", attributes, options.map(([key, words]) => el("option", { value: key }, words)));
  if (value !== undefined) control.value = value;
  return control;
}

/** A button that does something here. */
export function button(words, onClick, attributes = {}) {
  return el("button", { type: "button", ...attributes, on: { click: onClick } }, words);
}

/** A word in a coloured frame: pass, fail, hit, unsure, none ... */
export const chip = (kind, words) => el("span", { class: `chip ${kind}` }, words);

/** A part of the page in a frame; level: of its title, "h2" or "h3". */
export const card = (level, title, headline, ...content) =>
  el("section.card", { "aria-label": title }, el(`${level}.card-title`, title), el("p.big", headline), content);

/** What can be opened to read more. */
export const fold = (summary, ...content) => el("details", el("summary", summary), content);

/** Something wide that scrolls by itself where the page is too narrow. */
export function scrolling(label, ...content) {
  return el("div.scroll", { tabindex: "0", role: "region", "aria-label": label }, content);
}

/** A table with plain headings. */
export function table(label, headings, rows) {
  const head = headings.map((words) => el("th", { scope: "col" }, words));
  return scrolling(label, el("table", el("thead", el("tr", head)), el("tbody", rows)));
}

/** Terms and what they are. */
export const pairs = (rows) => el("dl.pairs", rows.map(([term, value]) => [el("dt", term), el("dd", value)]));

const FIRST = /^[a-z](?=[a-z]*([ ,;:]|$))/; // of a plain word, not of a name such as "layout.csv"

/** The first letter large, and a full stop. */
export const sentence = (text) => text.replace(FIRST, (letter) => letter.toUpperCase()) + (/[.!?]$/.test(text) ? "" : ".");
