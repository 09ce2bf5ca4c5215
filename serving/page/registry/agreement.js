// How far a challenger agrees with the version in service, over plates that both scored: evidence for whoever promotes.
import { el, fold, pairs } from "../shared/dom.js";
import { moment } from "../shared/words.js";

/** The agreement of a model of GET /models; null where no challenger was compared. */
export function agreementView(agreement) {
  if (!agreement) return null;
  const { challenger, plates, wells, curves, ic50_both_stated: both, ic50_one_sided: oneSided } = agreement;
  return fold(`Version ${challenger} on the same plates`, el("div",
    el("p", `The challenger scored ${count(plates, "plate")} in silence, since ${moment(agreement.since)}; nobody was given its numbers.`),
    pairs([
      ["viability, R", `${number(agreement.viability_r, 3)} over ${count(wells, "well")}`],
      ["viability, mean difference", `${number(agreement.viability_bias, 3)} (challenger minus champion)`],
      ["viability, largest difference", number(agreement.viability_largest, 3)],
      ["IC50, challenger over champion", both > 0 ? `${number(agreement.ic50_ratio, 2)}-fold in the median of ${count(both, "curve")}; nine of `
        + `ten between ${number(agreement.ic50_ratio_low, 2)} and ${number(agreement.ic50_ratio_high, 2)}` : "no curve has one by both"],
      ["IC50 stated by one alone", `${oneSided} of ${count(curves, "curve")}`]])));
}

const number = (value, digits) => (value === null ? "–" : value.toFixed(digits));
const count = (many, word) => `${many} ${word}${many === 1 ? "" : "s"}`;
