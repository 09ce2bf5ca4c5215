// The plates coloured by viability. Pointing at a well (or moving to it) shows it; choosing keeps it, to leave it out or take it back.
import { chip, el, fold, select, show } from "../shared/dom.js";
import { PlateGrid } from "../shared/grid.js";
import { WellPanel } from "./well.js";

const ROLE_MARKS = { negative: "−", positive: "+" };
const LEGEND = [["−", "negative control"], ["+", "positive control"], ["△", "flagged"], ["×", "left out"]];

export class PlateView {
  /**
   * onPoint(number): a well of view.wells is looked at, or none (null)
   * exclude(wells, excluded, reason): as in ResultPage.change
   * kept: the PlateView before a change, whose plate and chosen wells stay
   */
  constructor(view, { images, heat, exclude, onPoint, kept }) {
    Object.assign(this, { view, onPoint });
    this.wells = view.wells.map((well, number) => ({ ...well, number }));
    this.byPlace = new Map(this.wells.map((well) => [key(well.plate, well.row, well.column), well]));
    this.plate = kept?.plate ?? view.plates[0]?.plate;
    this.chosen = (kept?.chosen ?? []).map(({ number }) => this.wells[number]);
    this.panel = new WellPanel(view, { images, heat, exclude, kept: kept?.panel, chosen: this.chosen });
    [this.heading, this.map] = [el("div.plate-words"), el("div")];
    this.several = kept?.several ?? el("input", { type: "checkbox" });
    this.choice = select(view.plates.map(({ plate }) => [plate, plate]), { on: { change: () => this.open(this.choice.value) } });
    this.element = el("div.plate-view",
      el("div", view.plates.length > 1 && el("p", el("label", "Plate ", this.choice)), this.heading, this.map, this.tools(), legend(view)),
      this.panel.element);
    this.draw();
  }

  draw() {
    const { rows, columns } = this.view.screen;
    const quality = this.view.plates.find(({ plate }) => plate === this.plate);
    this.choice.value = this.plate;
    this.shown = this.wells.filter(({ plate }) => plate === this.plate);
    show(this.heading, el("p", el("strong", this.plate), " ", chip(quality.grade, quality.grade_words), ` ${quality.words}.`),
      quality.numbers.length > 0 && fold("Numbers of the controls", el("dl.inline",
        quality.numbers.map(([name, value]) => el("div", el("dt", name), el("dd", value))))));
    this.grid = new PlateGrid({ rows, columns,
      label: `Plate ${this.plate} by ${this.view.colours.called}. Arrow keys move, Enter chooses, Shift with Enter adds.`,
      cell: (row, column) => wellCell(this.at(row, column), columns),
      onVisit: (row, column) => this.visit(this.at(row, column)), onLeave: () => this.visit(null),
      onChoose: (row, column, event) => this.pick(this.at(row, column), event) });
    this.grid.element.setAttribute("aria-multiselectable", "true");
    show(this.map, this.grid.element);
    this.mark();
  }

  at(row, column) {
    return this.byPlace.get(key(this.plate, row, column));
  }

  visit(well) {
    this.onPoint(well?.number ?? null);
    if (this.panel.isWrittenIn()) return; // the page scrolled under the mouse while a reason is being typed
    if (well && !this.chosen.includes(well)) this.panel.visit(well);
    else this.panel.choose(this.chosen);
  }

  /** Choose a well alone; with Shift, Ctrl or Cmd, or where several are to be chosen, add it to those chosen, or take it from them. */
  pick(well, { shiftKey, ctrlKey, metaKey }) {
    const others = this.chosen.filter((other) => other !== well);
    const had = others.length < this.chosen.length;
    if (shiftKey || ctrlKey || metaKey || this.several.checked) this.chosen = had ? others : [...others, well];
    else this.chosen = had && others.length === 0 ? [] : [well];
    this.mark();
  }

  /** Ways to choose that need neither a small target nor a key to hold: a well by its name, and several one after the other. */
  tools() {
    const name = el("input", { size: "6", autocomplete: "off", spellcheck: "false" });
    const told = el("span.dim", { role: "status" });
    const go = (event) => {
      event.preventDefault();
      const well = this.shown.find((one) => plainName(one.well) === plainName(name.value));
      told.textContent = well ? "" : `This plate has no well ${name.value.trim()}.`;
      if (!well) return;
      this.pick(well, event);
      this.grid.cell(well.row, well.column).focus();
    };
    return el("form.table-tools", { on: { submit: go } }, el("label", "Well ", name), el("button.quiet", "Choose"),
      el("label", this.several, " Choose several"), told);
  }

  /** Turn to a plate. */
  open(plate) {
    this.plate = plate;
    this.chosen = [];
    this.draw();
  }

  /** Choose wells by their numbers, and bring them into view. */
  choose(numbers) {
    const wells = numbers.map((number) => this.wells[number]);
    if (wells[0].plate !== this.plate) this.open(wells[0].plate);
    this.chosen = wells;
    this.mark();
    this.element.scrollIntoView({ block: "start" });
  }

  /** Where the keyboard goes on: the first chosen well of this plate. */
  focus() {
    const well = this.chosen.find(({ plate }) => plate === this.plate);
    if (well) this.grid.cell(well.row, well.column).focus({ preventScroll: true });
  }

  mark() {
    this.each((cell, well) => cell.setAttribute("aria-selected", String(this.chosen.includes(well))));
    this.panel.choose(this.chosen);
  }

  /** Make a well stand out, or none. */
  point(number) {
    this.each((cell, well) => cell.classList.toggle("pointed", well.number === number));
  }

  /** Make the wells of a treatment stand out, or none. */
  pointTreatment(name) {
    const points = this.view.treatments.find((treatment) => treatment.name === name)?.panel?.points ?? [];
    const numbers = new Set(points.map(([, , number]) => number));
    this.each((cell, well) => cell.classList.toggle("pointed", numbers.has(well.number)));
  }

  /** act(cell, well) for each well of the plate that is shown. */
  each(act) {
    for (const well of this.shown) act(this.grid.cell(well.row, well.column), well);
  }
}

/** "a1" for A01 and a1. */
const plainName = (name) => name.trim().toLowerCase().replace(/^([a-z]+)0+(?=\d)/, "$1");

const key = (plate, row, column) => `${plate}/${row},${column}`;

function wellCell(well, columns) {
  if (!well) return null;
  const mark = well.excluded ? "×" : well.doubtful ? "△" : ROLE_MARKS[well.role] ?? "";
  const state = well.excluded ? "left out" : well.doubtful ? "flagged" : "";
  const room = columns <= 24; // for letters that say why
  const shade = well.colour ? (well.dark ? "value dark" : "value light") : "unknown";
  return {
    label: [well.well, well.content || well.role, well.value === "–" ? "no value" : well.value, state].filter(Boolean).join(", "),
    text: [mark || (columns <= 12 ? well.value : ""), room && well.letters && el("small", well.letters)],
    attributes: { class: mark ? `${shade} mark` : shade, "aria-selected": "false", style: well.colour ? { "--well": well.colour } : {} },
  };
}

function legend({ colours, letters }) {
  return el("ul.keys",
    el("li", `${colours.called}: ${colours.low}`,
      el("span.ramp", { "aria-hidden": "true" }, colours.steps.map((step) => el("i", { style: { "--well": step } }))), colours.high),
    [...LEGEND, ...letters].map(([mark, words]) => el("li", el("strong", { "aria-hidden": "true" }, mark), words)),
    el("li", el("span.swatch.unknown"), "no value"));
}
