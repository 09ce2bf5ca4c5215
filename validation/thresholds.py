"""How much is asked of a screen: the section `validate` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from models.networks.bundle import Card
from models.records import from_record


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Limits of the validation rules. "Refused" means that the screen goes no further, "marked" that it does.

    Raises ValueError, starting with the field's name, for a value out of range.
    """

    min_controls: int = 3               # wells of each declared kind on each plate; fewer: refused
    max_control_ratio: float = 4.0      # more frequent kind of control / other kind, per plate; beyond: marked
    min_doses: int = 4                  # distinct doses per treatment; fewer: marked, a curve needs as many
    min_replicates: int = 2             # wells per treatment and dose; fewer: marked
    dilution_tolerance: float = 0.25    # relative deviation of a dilution step from the treatment's median step; beyond: marked
    min_dose_decades: float = 1.0       # log10(highest dose / lowest dose) per treatment; less: marked
    max_missing_readouts: float = 0.2   # share of a plate's wells without a read-out; more: refused
    max_od: float = 4.0                 # optical density (0.01 % of the light) up to which readers measure; above: marked
    saturated_readouts: int = 3         # wells of a plate that share its exact highest read-out; as many: marked
    series_correlation: float = -0.5    # Spearman of a reference series' signal on its dose; above: marked
    layout_evidence: float = 15.0       # log-likelihood (nats) by which a turned layout must explain a plate better; refused
    uniform_range: float = 0.0          # grey values between darkest and brightest pixel of an image; at most: uniform, marked
    saturated_share: float = 0.5        # share of an image's pixels at its brightest possible value; at least: saturated, marked
    max_unusable_images: float = 0.5    # share of a plate's wells that are uniform or saturated; more: refused

    def __post_init__(self) -> None:
        whole = ("min_controls", "min_doses", "min_replicates", "saturated_readouts")
        shares = ("max_missing_readouts", "saturated_share", "max_unusable_images")
        for name in whole:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be 1 or more, got {getattr(self, name)}")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: must be between 0 and 1, got {getattr(self, name)}")
        for name in ("dilution_tolerance", "min_dose_decades", "layout_evidence", "uniform_range"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: must be 0 or more, got {getattr(self, name)}")
        if self.max_od <= 0:
            raise ValueError(f"max_od: must be above 0, got {self.max_od}")
        if self.max_control_ratio < 1:
            raise ValueError(f"max_control_ratio: must be 1 or more, got {self.max_control_ratio}")
        if not -1 <= self.series_correlation <= 1:
            raise ValueError(f"series_correlation: must be between -1 and 1, got {self.series_correlation}")


def thresholds_of(card: Card) -> Thresholds:
    """The limits of the data checks under which a model was made. Raises ParamsError for a card with one that no rule knows."""
    return from_record(Thresholds, card.validation, path=f"model {card.name}: card.json: validation")
