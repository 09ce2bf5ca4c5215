"""Counting by image processing: living and dead cells, nuclei, and the reactivity grade of ISO 10993-5.

Needs numpy, scipy, pandas and, imported on first use, scikit-image.
"""

from models.counting.attached import AttachedOptions, segment_attached
from models.counting.cells import CellCount, count_cells, count_nuclei
from models.counting.grades import Grade, reactivity_grade
from models.counting.matching import BoxMatch, match_boxes
from models.counting.segment import CellOptions, NucleusOptions, segment_nuclei

__all__ = ["AttachedOptions", "BoxMatch", "CellCount", "CellOptions", "Grade", "NucleusOptions", "count_cells", "count_nuclei",
           "match_boxes", "reactivity_grade", "segment_attached", "segment_nuclei"]
