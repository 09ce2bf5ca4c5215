"""Do the tests and intervals of the dose-response engine keep what they promise? By simulation, seeded.

    python -m benchmarks.dose_response_statistics [--curves 4000] [--screens 250]

Prints tables for docs/curve_accuracy.md: false positives and power of the flat test, coverage of the profile interval of
EC50, and of that of IC50 where the truth has another shape or slope or wells of a dose are off together, the error of EC50 with
and without an outlier by loss, what is said of single wells off their curve, of plates that agree, and of plates that do not, and
what limits of scores hold.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from benchmarks.truth import held
from models.dose_response import FitOptions, fit_arrays, fit_curves, score_curves
from models.dose_response.between_plates import with_between_plates
from models.dose_response.doubts import ALONE_WORDS, BENT_LEVEL, BEYOND_WORDS, DEADER_WORDS, MISFIT_WORDS, SKIPPED_WORDS
from models.dose_response.options import Interval
from models.dose_response.plate_agreement import LEVEL, Disagreement, with_disagreements
from models.dose_response.score_limits import score_limits
from models.dose_response.stray_wells import stray_wells
from models.effects import plate_differences, treatment_curves, with_viability
from pipelines.command import run_command

SEED = 7
DESIGNS = {6: (6, 1), 8: (8, 1), 10: (10, 1), 16: (8, 2), 20: (10, 2), 40: (10, 4)}     # n: doses, replicates
BARE = FitOptions(interval="none")


def inhibition(dose: np.ndarray, ec50: float, *, top: float = 100.0, slope: float = 1.0) -> np.ndarray:
    return top / (1.0 + (ec50 / dose) ** slope)


def long_table(dose: np.ndarray, responses: np.ndarray) -> pd.DataFrame:
    """Responses (curves, wells) as wells in rows."""
    curves, wells = responses.shape
    return pd.DataFrame({"curve": np.repeat(np.arange(curves), wells), "dose": np.tile(dose, curves), "y": responses.ravel()})


def flat_test(curves: int) -> pd.DataFrame:
    """Share of curves called not flat: pure noise, and a 30 % effect in noise of 10 %."""
    rows = []
    for n, (doses, replicates) in DESIGNS.items():
        rng = np.random.default_rng(SEED + n)
        dose = np.repeat(np.logspace(-3, 1, doses), replicates)
        noise = rng.standard_normal((curves, n)) * 10.0
        effect = inhibition(dose, 0.1, top=30.0)
        called = [(fit_curves(long_table(dose, y), by="curve", response="y", options=BARE)["p_flat"] < 0.05).mean()
                  for y in (noise, noise + effect)]
        rows.append({"n": n, "doses": doses, "replicates": replicates, "false positives at 0.05": called[0],
                     "power, 30 % effect, noise 10 %": called[1]})
    return pd.DataFrame(rows)


def coverage(curves: int) -> pd.DataFrame:
    """Share of 95 % profile intervals that hold the true EC50, an open side counted as unbounded."""
    rows = []
    dose = np.logspace(-3, 1, 10)
    for name, ec50, slope in (("complete curve", 0.1, 1.0), ("EC50 at half the top dose", 5.0, 1.0),
                              ("EC50 at 3 x the top dose", 30.0, 1.0), ("all or nothing, close above a dose", 0.065, 100.0)):
        for sd in (3.0, 8.0):
            rng = np.random.default_rng(SEED)
            y = inhibition(dose, ec50, slope=slope) + sd * rng.standard_normal((curves, len(dose)))
            found = fit_curves(long_table(dose, y), by="curve", response="y")
            low, high = found["ec50_low"].fillna(0.0), found["ec50_high"].fillna(np.inf)
            rows.append({"case": name, "noise SD %": sd, "coverage": held(low, ec50, high).mean(),
                         "misses above": (low > ec50).mean(), "misses below": (high < ec50).mean(),
                         "open side": (found["ec50_low"].isna() | found["ec50_high"].isna()).mean(),
                         "flat": (found["status"] == "flat").mean()})
    return pd.DataFrame(rows)


def two_phases(x: np.ndarray) -> np.ndarray:
    """60 % of the cells die half a decade below 1 nM, the others at 16 nM: the effect stands still at 60 %."""
    return 60.0 / (1.0 + 10.0 ** (-2.0 * (x + 0.7))) + 40.0 / (1.0 + 10.0 ** (-2.0 * (x - 1.2)))


# percent inhibition by log10 dose, and the SD of what all wells of a dose are off by together
SHAPES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "4PL": (lambda x: inhibition(10.0**x, 1.0), 0.0),
    "4PL, wells of a dose off together by 4 %": (lambda x: inhibition(10.0**x, 1.0), 4.0),
    "Gompertz, steep": (lambda x: 100.0 * np.exp(-np.exp(-2.5 * x)), 0.0),
    "5PL, exponent 4": (lambda x: 100.0 * (1.0 + 10.0**-x) ** -4.0, 0.0),
    "5PL, exponent 3": (lambda x: 100.0 * (1.0 + 10.0**-x) ** -3.0, 0.0),
    "5PL, exponent 0.3": (lambda x: 100.0 * (1.0 + 10.0 ** (-2.5 * x)) ** -0.3, 0.0),
    "two phases": (two_phases, 0.0)}
INTERVALS: tuple[Interval, ...] = ("profile", "asymmetric")


def shapes(curves: int, *, doses: int = 9, replicates_of: Sequence[int] = (1, 2, 3)) -> pd.DataFrame:
    """What 95 % limits of an IC50 hold where the truth is no 4PL, or wells of a dose are off together: 4 decades, noise 4 %. With limits of
    the 4PL alone ("profile"), and with those that let it bend otherwise."""
    rows = []
    x = np.linspace(-2.0, 2.0, doses)
    for (name, (effect, together)), replicates, interval in product(SHAPES.items(), replicates_of, INTERVALS):
        rng = np.random.default_rng(SEED)
        true = 10.0 ** brentq(lambda at, effect=effect: float(effect(np.array([at]))[0]) - 50.0, -2.0, 2.0)
        of_doses = effect(x) + together * rng.standard_normal((curves, len(x)))
        y = np.repeat(of_doses, replicates, axis=1) + 4.0 * rng.standard_normal((curves, replicates * len(x)))
        found = fit_curves(long_table(np.repeat(10.0**x, replicates), y), by="curve", response="y", options=FitOptions(interval=interval))
        inside = held(found["ic50_low"], true, found["ic50_high"])
        ok = found["status"] == "ok"
        wide = found["ic50_high"].fillna(np.inf) / found["ic50_low"].fillna(0.0).clip(lower=1e-12)
        bent = found["p_lack_of_fit"] < BENT_LEVEL
        rows.append({"truth": name, "replicates": replicates, "limits": interval,
                     "ok": ok.mean(), "held": inside.mean(), "held, of the ok": inside[ok].mean(),
                     "ok and missed": (ok & ~inside).mean(), "upper over lower": wide[ok].median(), "replicates disagree less": bent.mean(),
                     "upper over lower then": wide[bent].median()})
    return pd.DataFrame(rows)


def steepness(curves: int) -> pd.DataFrame:
    """How many curves of any slope, whose IC50 lies within the doses, are called weak, and what their limits hold: 8 doses of 4 decades."""
    rows = []
    x = np.linspace(0.0, 4.0, 8)
    for slope, replicates, noise in product((0.4, 0.7, 1.0, 2.0, 4.0, 6.0, 10.0), (2, 3), (5.0, 10.0)):
        rng = np.random.default_rng(SEED)
        true = rng.uniform(x[1], x[-2], curves)
        effect = 100.0 / (1.0 + 10.0 ** (slope * (true[:, None] - x)))
        y = np.repeat(effect, replicates, axis=1) + noise * rng.standard_normal((curves, replicates * len(x)))
        found = fit_curves(long_table(np.repeat(10.0**x, replicates), y), by="curve", response="y")
        inside = held(found["ic50_low"], pd.Series(10.0**true), found["ic50_high"])
        ok = found["status"] == "ok"
        rows.append({"slope": slope, "replicates": replicates, "noise SD %": noise, "weak": 1 - ok.mean(), "held": inside.mean(),
                     "held, of the ok": inside[ok].mean(), "upper over lower": (found["ic50_high"] / found["ic50_low"]).median()})
    return pd.DataFrame(rows)


def doubts(curves: int) -> pd.DataFrame:
    """How often a doubt is told of sound curves, and of such as it is meant for: 8 doses of 4 decades."""
    x = np.linspace(0.0, 4.0, 8)
    said = {"skipped": SKIPPED_WORDS, "misfit": MISFIT_WORDS, "deader": DEADER_WORDS, "beyond": BEYOND_WORDS, "one well": ALONE_WORDS}
    rows = []
    for kind, replicates, noise in product(("sound", "a dose above the midpoint skipped", "dead wells read 143 %", "dead wells read 167 %",
                                            "living wells read 200 %"), (2, 3), (5.0, 10.0, 15.0)):
        rng = np.random.default_rng(SEED)
        middle, slope = rng.uniform(x[1], x[-2], curves), rng.uniform(0.8, 3.0, curves)
        effect = 100.0 / (1.0 + 10.0 ** (slope[:, None] * (middle[:, None] - x)))
        if "skipped" in kind:
            effect[np.arange(curves), np.clip(np.searchsorted(x, middle) + 1, 1, 6)] = 0.0
        elif "dead" in kind:
            effect *= float(kind.split()[-2]) / 100
        elif "living" in kind:
            effect -= 100.0 - effect
        y = np.repeat(effect, replicates, axis=1) + noise * rng.standard_normal((curves, replicates * len(x)))
        reason = fit_curves(long_table(np.repeat(10.0**x, replicates), y), by="curve", response="y", options=BARE)["reason"]
        rows.append({"curves": kind, "replicates": replicates, "noise SD %": noise,
                     **{name: reason.str.contains(words, regex=False).mean() for name, words in said.items()}})
    return pd.DataFrame(rows)


def robustness(curves: int) -> pd.DataFrame:
    """Median |error of log10 EC50| of ten-point curves, clean and with one gross outlier (50-100 % off)."""
    rng = np.random.default_rng(SEED)
    dose = np.logspace(-3, 1, 10)
    clean = inhibition(dose, 0.1) + 4.0 * rng.standard_normal((curves, len(dose)))
    dirty = clean.copy()
    at = rng.integers(0, len(dose), curves)
    dirty[np.arange(curves), at] += rng.uniform(50.0, 100.0, curves) * rng.choice([-1.0, 1.0], curves)
    rows = []
    for loss in ("squares", "cauchy", "tukey", "power1.5"):
        options = FitOptions(loss=loss, interval="none")
        errors = [np.abs(np.log10(fit_arrays(dose, y, options=options).ec50) + 1.0) for y in (clean, dirty)]
        flagged = fit_curves(long_table(dose, dirty), by="curve", response="y", options=options)["n_outliers"]
        rows.append({"loss": loss, "no outlier": np.median(errors[0]), "one outlier": np.median(errors[1]),
                     "curves with a flag": (flagged > 0).mean()})
    return pd.DataFrame(rows)


def single_wells(curves: int) -> pd.DataFrame:
    """Share of curves with a well that is called stray, of sound ones and of those with a well 60 points off, and dragged."""
    rows = []
    for (doses, replicates), noise in product(((8, 1), (8, 2), (8, 3), (5, 2), (10, 1)), (4.0, 10.0)):
        rng = np.random.default_rng(SEED)
        dose = np.repeat(np.logspace(-2, 2, doses), replicates)
        sound = inhibition(dose, 1.0) + noise * rng.standard_normal((curves, len(dose)))
        wild = sound.copy()
        wild[np.arange(curves), rng.integers(0, len(dose), curves)] += 60.0 * rng.choice([-1.0, 1.0], curves)
        row: dict[str, object] = {"doses": doses, "replicates": replicates, "noise SD %": noise}
        for name, responses in (("sound", sound), ("one well off", wild)):
            table = long_table(dose, responses).rename(columns={"curve": "treatment", "y": "response"})
            table = table.assign(plate="P1", dose_unit="nM", well=table.groupby("treatment").cumcount().astype(str))
            fitted = score_curves(fit_curves(table, by=["treatment"], response="response", options=BARE))
            found = stray_wells(fitted, table, BARE)
            row |= {f"{name}: named": len(found) / curves, f"{name}: drags": sum(one.drags for one in found) / curves}
        rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True, kw_only=True)
class Plates:
    """Simulated plates. noise: SD of a well in percent of the window; uneven: twice that at half effect; controls: of each kind;
    wander: SD of a drug's log10 IC50 between plates."""

    plates: int = 2
    doses: int = 8
    replicates: int = 1
    noise: float = 5.0
    controls: int = 8
    uneven: bool = False
    wander: float = 0.0
    drugs: int = 4

    def simulate(self, rng: np.random.Generator, *, apart: float) -> pd.DataFrame:
        """Wells with the read-out. IC50s are 1 nM but for the wander; apart: those of the last plate from the others, in log10."""
        dose = np.repeat(np.logspace(-2, 2, self.doses), self.replicates)
        parts = []
        for plate in range(self.plates):
            rows = [("negative", "", np.nan, 0.0)] * self.controls + [("positive", "", np.nan, 100.0)] * self.controls
            for drug in range(self.drugs):
                log_ic50 = rng.normal(0.0, self.wander) + apart * (plate == self.plates - 1)
                rows += [("treated", f"drug {drug}", x, y) for x, y in zip(dose, inhibition(dose, 10**log_ic50), strict=True)]
            table = pd.DataFrame(rows, columns=["role", "treatment", "dose", "effect"])
            scatter = self.noise * (1 + (table["effect"] * (100 - table["effect"]) / 2500 if self.uneven else 0))
            parts.append(table.assign(plate=f"P{plate + 1}", readout=100 - table["effect"] + scatter * rng.standard_normal(len(table))))
        return pd.concat(parts, ignore_index=True).assign(dose_unit="nM", excluded=False)


PLATES = {
    "2 plates, noise 2 %": Plates(noise=2.0), "2 plates, noise 5 %": Plates(), "2 plates, noise 10 %": Plates(noise=10.0),
    "2 plates of 16 controls, noise 10 %": Plates(noise=10.0, controls=16),
    "2 plates of 4 controls, noise 5 %": Plates(controls=4), "3 plates, noise 5 %": Plates(plates=3),
    "3 plates, noise 10 %": Plates(plates=3, noise=10.0), "6 plates, noise 5 %": Plates(plates=6),
    "2 plates, 8 doses twice": Plates(replicates=2), "2 plates, 5 doses": Plates(doses=5), "2 plates, 4 doses": Plates(doses=4),
    "2 plates, uneven noise 5-10 %": Plates(uneven=True), "2 plates, 4 doses, uneven noise": Plates(doses=4, uneven=True)}
WANDER = {"all alike": 0.0, "1.4-fold (SD)": 0.15, "2-fold (SD)": 0.3, "4-fold (SD)": 0.6}


def curves_of(kind: Plates, screen: int, *, apart: float, options: FitOptions) -> tuple[pd.DataFrame, list[Disagreement], pd.DataFrame]:
    """(the pooled curves of a simulated screen, the treatments whose plates are called apart, the curves after a look at the plates)."""
    wells = kind.simulate(np.random.default_rng([SEED, screen]), apart=apart)
    wells = with_viability(wells, controls="both", value="readout")
    curves = treatment_curves(wells, options, controls="both", value="readout")
    found, between = plate_differences(curves, wells, options, controls="both", value="readout")
    return curves, found, with_disagreements(with_between_plates(curves, between, level=options.level), found)


def judged(kind: Plates, screens: int, *, apart: float, options: FitOptions = BARE) -> pd.DataFrame:
    """A row per curve: whether its plates are called apart, perhaps apart, and the curve weak for it; limits before and after."""
    rows = []
    for screen in range(screens):
        curves, found, looked = curves_of(kind, screen, apart=apart, options=options)
        after, by_name = looked.set_index("treatment"), {one.treatment: one for one in found}
        for name, before in curves.set_index("treatment").iterrows():
            one = by_name.get(str(name))
            rows.append({"apart": one is not None and one.p < LEVEL, "perhaps": one is not None and one.p >= LEVEL,
                         "matters": one is not None and one.matters,
                         **{f"{end} {when}": row[f"ic50_{end}"] for end in ("low", "high")
                            for when, row in (("before", before), ("after", after.loc[[name]].iloc[0]))}})
    return pd.DataFrame(rows)


def plate_disagreement(screens: int) -> pd.DataFrame:
    """What is said of plates that agree, and of a plate on which all IC50s are 3 or 10 times those of the others."""
    rows = []
    for name, kind in PLATES.items():
        row: dict[str, object] = {"plates": name}
        for called, apart in (("agree", 0.0), ("3-fold", np.log10(3.0)), ("10-fold", 1.0)):
            found = judged(kind, screens if not apart else max(screens // 5, 1), apart=apart)
            row |= {f"{called}: apart": found["apart"].mean(), f"{called}: weak": found["matters"].mean(),
                    f"{called}: perhaps": found["perhaps"].mean()}
        rows.append(row)
    return pd.DataFrame(rows)


def plate_limits(screens: int) -> pd.DataFrame:
    """Whether the limits of a pooled IC50 hold the drug's own one (1 nM), about which those of plates wander, without and with a look at
    the plates."""
    rows = []
    for name, wander in WANDER.items():
        for plates, drugs in ((2, 4), (3, 4), (2, 20)):
            kind = Plates(plates=plates, wander=wander, drugs=drugs)
            found = judged(kind, max(screens * 4 // drugs, 1), apart=0.0, options=FitOptions())
            inside = {when: held(found[f"low {when}"], 1.0, found[f"high {when}"]) for when in ("before", "after")}
            rows.append({"IC50s of plates": name, "plates": plates, "drugs": drugs,
                         "held before": inside["before"].mean(), "held now": inside["after"].mean(),
                         "weakly identified": found["matters"].mean(), "before, of those": inside["before"][found["matters"]].mean(),
                         "held now, of the ok": inside["after"][~found["matters"]].mean(),
                         **{f"width {when}": (found[f"high {when}"] / found[f"low {when}"]).median() for when in ("before", "after")}})
    return pd.DataFrame(rows)


SCORES = {"2 plates of 8 controls of each kind": Plates(), "1 plate of 16 controls": Plates(plates=1, controls=16),
          "1 plate of 4 controls": Plates(plates=1, controls=4),
          "1 plate of 4 controls, noise 8 %": Plates(plates=1, controls=4, noise=8.0),
          "2 plates 1.4-fold (SD) apart, 4 drugs": Plates(wander=0.15), "20 drugs": Plates(wander=0.15, drugs=20),
          "3 plates, 20 drugs": Plates(wander=0.15, drugs=20, plates=3), "2 plates 2-fold apart, 20 drugs": Plates(wander=0.3, drugs=20)}


def true_score() -> float:
    """DSS_asym of the drugs of `Plates`, whose IC50 is 1 nM."""
    dose = np.logspace(-2, 2, 9)
    exact = fit_curves(long_table(dose, inhibition(dose, 1.0)[None]), by="curve", response="y", options=BARE)
    return float(score_curves(exact)["dss_asym"].iloc[0])


def score_coverage(screens: int) -> pd.DataFrame:
    """How often the limits of a score of a sound curve hold that of the drug itself (1 nM): by the scatter of wells alone, and with what
    controls and plates may be wrong by. Promised: 80 %.
    """
    rows, true = [], true_score()
    for name, kind in SCORES.items():
        found = pd.concat([curves_of(kind, screen, apart=0.0, options=FitOptions())[2] for screen in range(screens * 4 // kind.drugs)])
        found = found[found["status"] == "ok"]
        row: dict[str, object] = {"screen": name, "curves": len(found)}
        for when, curves in (("wells alone", found.drop(columns=["control_error", "plates_error"], errors="ignore")), ("now", found)):
            low, high = (score_limits(curves)[f"dss_asym_{end}"] for end in ("low", "high"))
            row |= {f"{when}: held": ((low <= true) & (true <= high)).mean(), f"{when}: half-width": ((high - low) / 2).median()}
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=4000)
    parser.add_argument("--screens", type=int, default=250)
    arguments = parser.parse_args()
    curves, screens = arguments.curves, arguments.screens
    for title, run, count, unit in (
            ("Flat test", flat_test, curves, "curves"), ("Coverage of the 95 % profile interval of EC50", coverage, curves, "curves"),
            ("Limits of an IC50 of other shapes", shapes, curves // 4, "curves"),
            ("The same with five doses", partial(shapes, doses=5, replicates_of=(2, 3)), curves // 4, "curves"),
            ("Steep and shallow curves", steepness, curves // 4, "curves"), ("Doubts", doubts, curves // 4, "curves"),
            ("Error of log10 EC50 by loss", robustness, curves, "curves"),
            ("Single wells off their curve", single_wells, curves, "curves"),
            ("Plates that agree and that do not", plate_disagreement, screens, "screens of 4 curves"),
            ("Limits of an IC50 pooled over plates", plate_limits, screens, "screens of 4 curves"),
            ("Limits of a score", score_coverage, screens, "screens of 4 curves")):
        start = time.perf_counter()
        table = run(count)
        print(f"\n{title} ({count} {unit} a row, {time.perf_counter() - start:.1f} s)\n")
        print(table.to_string(index=False, float_format=lambda value: f"{value:.4f}"))


if __name__ == "__main__":
    run_command(main)
