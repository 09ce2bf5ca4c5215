// How far a challenger agrees with the version in service, over plates that both scored: evidence for whoever promotes.
import { el, fold, pairs } from "../shared/dom.js";
import { count, moment } from "../shared/words.js";

/** The agreement of a model of GET /models; null where no challenger was compared. */
export function agreementView(agreement) {
  if (!agreement) return null;
  const { challenger, plates, wells, curves, ic50_both_stated: both, ic50_one_sided: oneSided } = agreement;
  return fold(`Version ${challenger} on the same plates: viability R ${number(agreement.viability_r, 3)}`, el("div",
    el("p", `The challenger scored ${count(plates, "plate")} in silence, since ${moment(agreement.since)}; nobody was given its numbers.`),
    pairs([
      ["viability R", `${number(agreement.viability_r, 3)} over ${count(wells, "well")}`],
      ["mean difference", `${number(agreement.viability_bias, 3)} of viability, challenger less champion`],
      ["largest", number(agreement.viability_largest, 3)],
      ["IC50 ratio", both > 0 ? `${ratio(agreement.ic50_ratio)} in the median of ${count(both, "curve")}, challenger over champion; nine of `
        + `ten between ${ratio(agreement.ic50_ratio_low)} and ${ratio(agreement.ic50_ratio_high)}` : "no curve has an IC50 by both"],
      ["IC50 by one", `${oneSided} of ${count(curves, "curve")}: only one of the two states one`]])));
}

const ratio = (value) => (value === null ? "–" : Number(value.toPrecision(2)).toString());
const number = (value, digits) => (value === null ? "–" : value.toFixed(digits));
