"""Rules about behaviour: do controls and control series act as the layout says? They find layouts that lie wrong on the plate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from models.errors import Finding
from models.tables import DOSED_ROLES
from models.words import listed, number
from validation.behaviour import MeasuredPlate, balanced_accuracy, control_way, effect, rank_correlation, robust_ssmd, turned
from validation.evidence import Evidence, Rule
from validation.layout_fit import SWAPPED, Suspicion, likeliest

SEPARATION_GAIN = 0.2   # the controls speak for a turn if undoing it lets this share more of them act as their kind
EXPLAINED = 0.5         # share of what differs most between the wells that the right layout must explain
CLEARLY_APART = 0.85    # from this share of controls that act as their kind, the kinds are apart, and a single stray is told
ALL_AFFECTED = 0.95     # from this share of dosed wells that act like positive controls, no dosed well tells the controls apart
OPPOSITE = 0.7          # a plate disagrees if the cosine between its way from negative to positive and the others' lies below minus this
AGREEING = 0.5          # the others agree if the mean of their unit vectors is as long; if not, no plate is said to disagree
FAR_APART = 3.0         # from this robust SSMD, strays are told although they lower CLEARLY_APART's share: they hardly lower this
FEW_CONTROLS = 6        # wells of each kind that it takes to call one a stray
LIVING_ASSAYS = ("cck", "wst", "mtt", "mts", "xtt", "resazurin", "alamar", "prestoblue", "celltiter", "atp", "sulforhodamine",
                 "crystal violet", "neutral red")     # read-outs that rise with living cells
DEAD_ASSAYS = ("ldh", "caspase", "propidium", "sytox", "toxilight", "annexin")    # and with dying ones


def _with_controls(evidence: Evidence) -> Iterator[MeasuredPlate]:
    """Each plate with each of its sources of signals, where both kinds of controls have them."""
    return (plate for plate in evidence.measured if all(plate.controls()))


def _all_controls(plate: MeasuredPlate) -> str:
    """Control wells of both kinds, as a finding names them."""
    negative, positive = plate.controls()
    return listed(negative + positive)


def layout_lies_right(evidence: Evidence) -> Iterator[Finding]:
    """No turned or shifted layout explains controls, replicates and dose series much better than the layout as it is."""
    for plate in evidence.measured:
        found = _convincing(plate, evidence)
        if found and found[0].mistake != SWAPPED:
            yield Finding(rule="layout_turned", severity="error", plate=plate.name, well=_all_controls(plate), column="well",
                          value=found[0].mistake, message=(
                f"plate {plate.name} behaves as if its layout were {_names(found)}: by the {plate.source}, that explains "
                f"{found[0].explained:.0%} of what differs most between its wells; the layout as it stands, {found[0].as_is:.0%}; "
                "check how the plate stood in the reader or microscope, and correct the wells in the layout"))
        elif not found and (doubtful := _convincing(plate, evidence, upside_down=True)) and doubtful[0].mistake != SWAPPED:
            yield Finding(rule="layout_turned", severity="warning", plate=plate.name, well=_all_controls(plate), column="well",
                          value=doubtful[0].mistake, message=(
                f"the controls of plate {plate.name} do not fit its treated wells, by the {plate.source}: low doses should read as the "
                f"negative ones do, strong effects as the positive ones. {_in_words(plate, evidence)} would it be {_names(doubtful)}"))


def controls_not_swapped(evidence: Evidence) -> Iterator[Finding]:
    """Negative controls act like untouched wells and low doses, and read as living cells do in a known assay."""
    for plate in evidence.measured:
        found = _convincing(plate, evidence)
        reason = ""
        if found and found[0].mistake == SWAPPED:
            others = f" (or the layout is {_names(found[1:])})" if found[1:] else ""
            reason = (f"by the {plate.source}, low doses act like the positive controls and high doses like the negative ones; "
                      f"with its controls exchanged, the layout explains {found[0].explained:.0%} of what differs most between the wells, "
                      f"as it stands {found[0].as_is:.0%}{others}")
        elif not found and plate.source == "read-out":
            reason = _read_the_wrong_way(plate, evidence)
        if reason:
            yield Finding(rule="controls_swapped", severity="error", plate=plate.name, well=_all_controls(plate),
                          column="role", value=SWAPPED, message=(
                f"negative and positive controls of plate {plate.name} seem exchanged: {reason}; check the roles, the order of the doses, "
                "and how the plate stood"))
        elif not found and plate.source == "read-out" and _rises_with_life(evidence) is None and plate.apart >= CLEARLY_APART:
            living, dead = _control_readouts(plate)
            if living < dead:
                yield Finding(rule="controls_direction", severity="warning", plate=plate.name, well=_all_controls(plate), column="role",
                              value=f"{living:.4g} < {dead:.4g}", message=(
                    f"negative controls of plate {plate.name} read lower than positive ones: right in an assay of dying cells, as LDH or "
                    "caspase; in one of living cells the controls are exchanged, or the plate was turned, and no number of it is right"))


def _convincing(plate: MeasuredPlate, evidence: Evidence, *, upside_down: bool = False) -> list[Suspicion]:
    """The mistakes that explain the plate best; none unless they beat the layout by the threshold `layout_evidence`, or by twice as much
    where the controls do not speak for them.

    upside_down: looks only at the turns by which dead wells would read as living ones do; without it, only at the others. A dried edge
    can speak for such a turn: the controls there lie off the curves of the treatments, but where doses run along the rows, they lie on
    them in the mirrored layout.
    """
    found = [one for one in evidence.suspicions[plate.name, plate.source] if _upside_down(plate, one.mistake, evidence) is upside_down]
    if not found or found[0].explained < EXPLAINED:
        return []
    needed = evidence.thresholds.layout_evidence * (1 if _controls_tell(plate, found[0].mistake, evidence) else 2)
    return likeliest(found) if found[0].gain >= needed else []


def _upside_down(plate: MeasuredPlate, mistake: str, evidence: Evidence) -> bool:
    """Whether a plate's controls read the right way round for its assay as they stand, and would not with this turn undone."""
    if plate.source != "read-out" or mistake == SWAPPED:
        return False
    undone = plate.controls(turned(plate.wells, mistake, evidence.screen.plate_format))
    if not all((*undone, *plate.controls())):
        return False
    rises = _living_read_higher(evidence)
    as_it_is, otherwise = ((living > dead) is rises for living, dead in (_control_readouts(plate), _control_readouts(plate, undone)))
    return as_it_is and not otherwise


def _living_read_higher(evidence: Evidence) -> bool:
    """Whether living cells read higher in the screen's assay; taken to do so where its name does not say."""
    return _rises_with_life(evidence) is not False


def _in_words(plate: MeasuredPlate, evidence: Evidence) -> str:
    """Why the layout of a plate is taken as right, and when it would be (...)."""
    living, dead = _control_readouts(plate)
    kinds = ("living", "dying") if _living_read_higher(evidence) else ("dying", "living")
    return (f"Negative controls read {'higher' if living > dead else 'lower'} ({living:.4g}) than positive ones ({dead:.4g}), as in an "
            f"assay of {kinds[0]} cells, so the layout is taken as right: look for a dried edge, or controls without the solvent. Only in "
            f"an assay of {kinds[1]} cells")


def _controls_tell(plate: MeasuredPlate, mistake: str, evidence: Evidence) -> bool:
    """Whether clearly more controls act as their kind with the mistake undone."""
    if mistake == SWAPPED:
        return True
    undone = balanced_accuracy(plate.signals, *plate.controls(turned(plate.wells, mistake, evidence.screen.plate_format)))
    return bool(undone - plate.apart > SEPARATION_GAIN)


def _names(found: list[Suspicion]) -> str:
    return " or ".join(one.mistake for one in found)


def _read_the_wrong_way(plate: MeasuredPlate, evidence: Evidence) -> str:
    """Words for controls that read the wrong way round for the screen's assay, whose read-out rises or falls with living cells; else ""."""
    rises = _rises_with_life(evidence)
    if rises is None or not plate.apart >= CLEARLY_APART:
        return ""
    living, dead = _control_readouts(plate)
    if (living > dead) is rises:
        return ""
    return (f"they read {living:.4g} and {dead:.4g}, but in the screen's assay ({evidence.screen.assay}) living cells read "
            f"{'higher' if rises else 'lower'} than dead ones")


def _rises_with_life(evidence: Evidence) -> bool | None:
    """Whether the read-out of the screen's assay rises with living cells; None where its name does not say."""
    assay = evidence.screen.assay.casefold()
    rises, falls = (any(word in assay for word in words) for words in (LIVING_ASSAYS, DEAD_ASSAYS))
    return rises if rises != falls else None


def _control_readouts(plate: MeasuredPlate, controls: tuple[list[str], list[str]] | None = None) -> tuple[float, float]:
    """Median read-outs of negative and positive controls, as they stand or as these wells."""
    read, (negative, positive) = plate.wells.set_index("well")["readout"], controls or plate.controls()
    return float(read[negative].median()), float(read[positive].median())


def some_dosed_well_lives(evidence: Evidence) -> Iterator[Finding]:
    """Not every dosed or untreated well acts like the positive controls: else exchanged controls would look the same.

    Nothing is said where the read-outs of a known assay tell the controls apart, or are refused for it.
    """
    for plate in _with_controls(evidence):
        cells = plate.wells["role"].isin((*DOSED_ROLES, "untreated")) & plate.wells["well"].isin(plate.signals.index)
        told = plate.source == "read-out" and _rises_with_life(evidence) is not None
        few = cells.sum() < FEW_CONTROLS or not plate.wells["role"][cells].isin(DOSED_ROLES).any()
        if told or few or not plate.apart >= CLEARLY_APART:
            continue
        affected = effect(plate.signals, *plate.controls())[plate.wells["well"][cells]] > 0.5
        if affected.mean() >= ALL_AFFECTED:
            yield Finding(rule="all_affected", severity="warning", plate=plate.name, well=_all_controls(plate), column="role",
                          value=f"{affected.mean():.0%}", message=(
                f"{'all' if affected.all() else 'nearly all'} {number(int(cells.sum()), 'well')} of plate {plate.name} beside the controls "
                f"act like the positive ones, by the {plate.source}: either every dose has its full effect, or negative and positive "
                "controls are exchanged and no dose has any; check the roles, and test lower doses"))


def plates_agree(evidence: Evidence) -> Iterator[Finding]:
    """On every plate the way from negative to positive controls is the same."""
    ways: dict[str, dict[str, np.ndarray]] = {}
    wells: dict[str, str] = {}
    for plate in _with_controls(evidence):
        negative, positive = plate.controls()
        wells[plate.name] = _all_controls(plate)
        found = control_way(plate.signals, negative, positive)
        if plate.apart >= CLEARLY_APART and found.any():
            ways.setdefault(plate.source, {})[plate.name] = found / np.linalg.norm(found)
    for source, directions in ways.items():
        for name in disagreeing(directions):
            yield Finding(rule="controls_disagree", severity="error", plate=name, well=wells[name], column="role", value=source, message=(
                f"on plate {name} negative and positive controls differ the other way round than on the other plates, by the "
                f"{source}; they were probably swapped on it: check the roles, or how the plate stood in the reader"))


def disagreeing(ways: Mapping[str, np.ndarray]) -> list[str]:
    """Names whose unit vector is opposite to the others', where these agree among themselves; [] for vectors of several lengths."""
    if len(ways) < 2 or len({len(way) for way in ways.values()}) > 1:
        return []
    total = np.sum(list(ways.values()), axis=0)
    others = {name: (total - way) / (len(ways) - 1) for name, way in ways.items()}
    return [name for name, way in ways.items() if np.linalg.norm(others[name]) >= AGREEING
            and float(way @ others[name]) < -OPPOSITE * np.linalg.norm(others[name])]


def controls_act_as_their_kind(evidence: Evidence) -> Iterator[Finding]:
    """No single control well acts like the other kind, where the kinds are clearly apart."""
    for plate in _with_controls(evidence):
        negative, positive = plate.controls()
        if not plate.apart < 1 or min(len(negative), len(positive)) < FEW_CONTROLS:
            continue
        effects = effect(plate.signals, negative, positive)
        if plate.apart < CLEARLY_APART and robust_ssmd(effects[positive], effects[negative]) < FAR_APART:
            continue    # the kinds overlap; else a whole column of them may be mislabelled
        for kind, wells, wrong in (("negative", negative, effects > 0.5), ("positive", positive, effects < 0.5)):
            strays = [well for well in wells if wrong[well]]
            if 0 < len(strays) <= len(wells) / 3:
                yield Finding(rule="control_stray", severity="warning", plate=plate.name, well=listed(strays), column="role", value=kind,
                              message=f"by the {plate.source}, {number(len(strays), f'{kind} control well')} of plate {plate.name} "
                                      f"{'acts' if len(strays) == 1 else 'act'} like the other kind; check their roles and what was "
                                      "pipetted there, exclude them with a reason if that went wrong")


def control_series_fall(evidence: Evidence) -> Iterator[Finding]:
    """Viability falls along the doses of a reference compound."""
    for plate in _with_controls(evidence):
        if not (plate.wells["role"] == "reference").any() or not plate.apart >= CLEARLY_APART:
            continue
        viability = 1 - effect(plate.signals, *plate.controls())
        chosen = plate.wells[(plate.wells["role"] == "reference") & plate.wells["well"].isin(viability.index)]
        for treatment, series in chosen.groupby("treatment", sort=False):
            rho = rank_correlation(series["dose"], series["well"].map(viability)) if series["dose"].nunique() >= 3 else float("nan")
            if rho > evidence.thresholds.series_correlation:
                yield Finding(rule="control_series", severity="warning", plate=plate.name, well=listed(series["well"]), column="dose",
                              value=f"{rho:.2f}", message=(
                    f"the control series of {treatment} on plate {plate.name} does not fall with its dose (rank correlation "
                    f"{rho:.2f} by the {plate.source}, expected {evidence.thresholds.series_correlation:g} or less); "
                    "its dilution or the plate is in doubt"))


RULES = (
    Rule("layout_turned", "behaviour", "The layout lies on its plate the right way round", layout_lies_right),
    Rule("controls_swapped", "behaviour", "Positive controls act like high doses, negative ones like low doses", controls_not_swapped,
         ("controls_direction",)),
    Rule("all_affected", "behaviour", "Some dosed wells act unlike the positive controls", some_dosed_well_lives),
    Rule("controls_disagree", "behaviour", "Controls differ in the same way on every plate", plates_agree),
    Rule("control_stray", "behaviour", "Each control well acts as its kind", controls_act_as_their_kind),
    Rule("control_series", "behaviour", "Control series fall with their dose", control_series_fall),
)
