// The classes of images: how many of each, every image with its class and probability, and what to distrust.
import { csv } from "../shared/csv.js";
import { button, card, chip, el, fold, pairs, select, show } from "../shared/dom.js";
import { findingList } from "../shared/findings.js";
import { save } from "../shared/save.js";
import { count } from "../shared/words.js";

const FLAGS = { training_image: "training image", out_of_distribution: "unlike the training images", flat_image: "one grey value" };
const ORDERS = [["name", "by name"], ["doubt", "undecided first"], ["first", "most likely first class first"]];
const LINEAGE = ["model", "version", "run_id", "git_commit", "data_md5", "bundle_sha256", "service_version"];
const DRAWN = 120; // images drawn at a time

const isUnknown = ({ flags }) => flags.includes("out_of_distribution") || flags.includes("flat_image"); // its class does not count
const isUnsure = (image) => image.flags.includes("unsure") && !isUnknown(image);
const isCalled = (image) => !isUnsure(image) && !isUnknown(image);
const bound = (part) => `${Math.round(100 * part)} %`;
const percent = (part) => (part > 0.999 ? "> 99.9 %" : `${(100 * part).toFixed(part > 0.99 ? 1 : 0)} %`); // of the likelier class

/** answer: of POST /classify with thumbnails. */
export function classesView(answer) {
  const { images, classes, flags, lineage, calibration, sure } = answer;
  const of = (name) => images.filter((image) => image.class === name && isCalled(image)).length;
  const [unsure, unknown] = [isUnsure, isUnknown].map((is) => images.filter(is).length);
  const grid = new Gallery(images, classes);
  return [el("h2", { id: "classes" }, "Classes"),
    el("div.cards",
      card("h3", "Result", [...classes.map((name) => `${of(name)} ${name}`), unsure > 0 && `${unsure} undecided`,
        unknown > 0 && `${unknown} unknown`].filter(Boolean).join(", "),
      unsure > 0 && el("p.dim", `Undecided: neither class has a probability of ${bound(sure)}.`),
      unknown > 0 && el("p.dim", "Unknown: unlike all that the model learned from, so that its class is a guess, however sure."),
      unsure + unknown === 0 && el("p.dim", `Every image has a class with a probability of ${bound(sure)} or more.`)),
      card("h3", "Model", `${lineage.model} version ${lineage.version}`, el("p.dim", calibration
        ? `Probabilities are calibrated on ${count(calibration.images, "image")} that the model had not learned from.`
        : "Probabilities are the network's own: no calibration made them more accurate on held-out images."))),
    flags.length > 0 && [el("h3", "Worth knowing"), findingList(flags)],
    el("div.actions", button("Download CSV", () => saveTable(answer), { id: "classes-csv" })),
    grid.element,
    fold("Where the answer comes from", el("div.card", pairs(LINEAGE.map((name) =>
      [name.replaceAll("_", " "), el("code", lineage[name] || "not recorded")]))))];
}

/** The images, some at a time, filtered by class and in an order that a person chooses. */
class Gallery {
  constructor(images, classes) {
    Object.assign(this, { images, classes, shown: DRAWN });
    this.only = select([["", "all images"], ...classes.map((name) => [name, `only ${name}`]), ["unsure", "only undecided"],
      ["unknown", "only unknown"], ["flagged", "only flagged"]],
      { "aria-label": "Which images", on: { change: () => this.draw() } });
    this.order = select(ORDERS.map(([value, words]) => [value, value === "first" ? `most likely ${classes[0]} first` : words]),
      { "aria-label": "Order", on: { change: () => this.draw() } });
    [this.list, this.more] = [el("ul.gallery"), el("div.actions")];
    this.element = el("div", el("div.table-tools", this.only, this.order), this.list, this.more);
    this.draw();
  }

  chosen() {
    const wanted = this.only.value;
    const isWanted = { "": () => true, flagged: ({ flags }) => flags.length > 0, unsure: isUnsure, unknown: isUnknown }[wanted]
      ?? ((image) => image.class === wanted && isCalled(image));
    const kept = this.images.filter(isWanted);
    const by = { name: () => 0, doubt: (a, b) => Math.abs(a.probability - 0.5) - Math.abs(b.probability - 0.5),
      first: (a, b) => b.probability - a.probability }[this.order.value];
    return [...kept].sort(by);
  }

  draw() {
    const images = this.chosen();
    show(this.list, images.slice(0, this.shown).map((image) => this.item(image)));
    show(this.more, images.length === 0 && el("p.dim", "No image matches."), images.length > this.shown
      && button(`Show more (${images.length - this.shown} left)`, () => { this.shown += DRAWN; this.draw(); }));
  }

  item(image) {
    const { image_id: name, class: found, probability, flags, thumbnail } = image;
    const words = `${found} ${percent(found === this.classes[0] ? probability : 1 - probability)}`;
    const others = flags.filter((flag) => flag !== "unsure");
    return el("li.card", { data: { image: name } },
      el("img", { src: thumbnail, alt: `Image ${name}`, loading: "lazy", width: "192", height: "192" }),
      el("div.gallery-words", el("strong.gallery-name", { title: name }, name),
        !isCalled(image) ? el("span", chip("unsure", isUnsure(image) ? "undecided" : "unknown"), el("span.dim", ` ${words}`))
          : el("span", chip(found === this.classes[0] ? "first" : "second", words)),
        others.length > 0 && el("span.sub", others.map((flag) => FLAGS[flag] ?? flag).join(", "))));
  }
}

/** The table as a file, made here: the answer holds all of it. */
function saveTable({ images, lineage }) {
  const columns = ["image_id", "class", "probability", "logit", "unlikeness", "flags", "model", "version"];
  const table = csv([columns, ...images.map((image) => columns.map((name) => image[name]))]);
  save(new File([table], `classes-${lineage.model}.csv`, { type: "text/csv" }));
}
