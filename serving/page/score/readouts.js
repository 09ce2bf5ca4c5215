// A table that holds read-outs needs no images: its curves come as a report.
import { file } from "../shared/api.js";
import { button, el, show } from "../shared/dom.js";
import { save } from "../shared/save.js";
import { tellError } from "../shared/steps.js";
import { count } from "../shared/words.js";

/** What can be had without images, for a layout (a File) and what the service says of it. model: of the curve. */
export function readoutsView(layout, answer, { model }) {
  const told = el("div", { "aria-live": "polite" });
  return el("div.readouts",
    el("p", `${count(answer.readouts, "well")} of this table ${answer.readouts === 1 ? "has" : "have"} a read-out. `
      + "Curves of these need neither images nor a model."),
    el("div.actions", button("Report of the read-outs", ({ currentTarget }) => report(currentTarget), { id: "readouts" })), told);

  async function report(pressed) {
    const form = new FormData();
    form.set("layout", layout);
    form.set("options", JSON.stringify({ fit: { model: model() } }));
    pressed.disabled = true;
    show(told);
    try {
      save(await file("curves?format=html", { form }));
      show(told, el("p.dim", "Done: the report is among your downloads."));
    } catch (error) {
      tellError(error, told, { again: "Try again", retry: () => report(pressed), plate: answer });
    }
    pressed.disabled = false;
  }
}
