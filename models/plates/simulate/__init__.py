"""Plates with known truth: images and read-outs made from a layout and from true dose-response curves.

Every well has its own random stream (seed, plate, well), so that any subset of a plate comes out the same.
"""

from models.plates.simulate.brightfield import CELL_LINES, MIXED_LINES, CellLine, simulate_brightfield, simulate_readout
from models.plates.simulate.spheroids import SampleLook, sample_look, simulate_spheroids
from models.plates.simulate.truth import TrueCurve, curve_table, true_viability

__all__ = [
    "CELL_LINES",
    "MIXED_LINES",
    "CellLine",
    "SampleLook",
    "TrueCurve",
    "curve_table",
    "sample_look",
    "simulate_brightfield",
    "simulate_readout",
    "simulate_spheroids",
    "true_viability",
]
