"""What images there are, whatever form a file gives them in."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import tifffile

from models.plates.images import write_archive
from validation.imageset_rules import take_contents
from validation.inventory import take_inventory


def test_a_stack_of_colour_planes_is_a_colour_image_of_its_planes_size(tmp_path: Path) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.random.default_rng(0).integers(0, 255, (2, 12, 16, 3)).astype(np.uint8), photometric="rgb")
    write_archive(tmp_path / "P1.zip", [("A01_s1_c0_z0.tif", file.getvalue())])
    (image,) = take_inventory([tmp_path / "P1.zip"]).images.to_dict("records")
    assert (image["height"], image["width"], image["colour"], image["readable"]) == (12, 16, True, True)
    assert take_contents(tmp_path / "P1.zip").images["colours"].tolist() == [3]
