// The wells' images, fetched when they are looked at and kept for a while.
import { file, isAbort } from "../shared/api.js";
import { el, sentence } from "../shared/dom.js";

const KEPT = 200;
const PATIENCE = 120; // milliseconds that the pointer must rest, so that a sweep over the plate fetches nothing

export class WellImages {
  channel = 0; // which is shown, by its number

  constructor(job, signal) {
    Object.assign(this, { job, signal, kept: new Map(), latest: null }); // kept: path of an image -> its address, promised
    signal.addEventListener("abort", () => this.kept.forEach(forget));
  }

  /** A figure that fills itself when its image has come. */
  figure({ plate, well }) {
    const image = el("img", { alt: `Image of well ${well}`, width: "192", height: "192" });
    const figure = el("figure.well-image", image);
    this.latest = figure;
    const place = `wells/${encodeURIComponent(plate)}/${encodeURIComponent(well)}.png?channel=${this.channel}`;
    this.fill(image, figure, `jobs/${encodeURIComponent(this.job.id)}/${place}`);
    return figure;
  }

  async fill(image, figure, path) {
    try {
      if (!this.kept.has(path)) {
        await new Promise((resolve) => { setTimeout(resolve, PATIENCE); });
        if (this.latest !== figure) return; // the pointer went on
        this.keep(path);
      }
      image.src = await this.kept.get(path);
    } catch (error) {
      this.kept.delete(path);
      if (isAbort(error)) return;
      figure.replaceChildren(el("p.dim", error.status === 404 ? sentence(error.message) : "The image could not be fetched."));
    }
  }

  keep(path) {
    if (this.kept.has(path)) return; // a well that is chosen while its image is on the way
    this.kept.set(path, file(path, { signal: this.signal }).then((image) => URL.createObjectURL(image)));
    if (this.kept.size <= KEPT) return;
    const [oldest, gone] = this.kept.entries().next().value;
    forget(gone);
    this.kept.delete(oldest);
  }
}

const forget = (address) => address.then((url) => URL.revokeObjectURL(url), () => {}); // who looks at the image meets the error
