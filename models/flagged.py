"""What the flags of wells say to a person: of single wells, and of plates that hold many of them."""

from __future__ import annotations

import pandas as pd

from models.dose_response.doubts import STRANGE_WORDS
from models.errors import Finding

TAUGHT = "taught_left_out"      # rule of the finding
STRANGE = 0.5           # share of a plate's wells out of distribution from which on its curves are no sure ones


def strange_plates(wells: pd.DataFrame) -> dict[str, str]:
    """plate -> why its curves are in doubt, of plates half of whose wells or more the model knows nothing like."""
    odd = wells["flags"].map(lambda flags: "out_of_distribution" in flags).astype(bool)
    share = odd[wells["role"] != "empty"].groupby(wells["plate"]).mean()
    return {str(plate): f"{100 * part:.0f} % of the wells of plate {plate} {STRANGE_WORDS}"
            for plate, part in share[share >= STRANGE].items()}


def well_findings(wells: pd.DataFrame) -> list[Finding]:
    """One finding per flagged well that a person should look at."""
    words = {"no_image": "has no image; it was not scored",
             "no_readout": "has no read-out; it takes no part in any curve",
             "out_of_distribution": "gives a raw output outside the range seen in training; look at its image (contamination, empty well, "
                                    "wrong stain) before trusting it"}
    return [Finding(rule=flag, severity="warning", plate=str(plate), well=str(well), message=f"well {well} {words[flag]}")
            for plate, well, flags in zip(wells["plate"], wells["well"], wells["flags"], strict=True) for flag in flags if flag in words]


def taught_findings(wells: pd.DataFrame) -> list[Finding]:
    """A warning for each plate with control wells that are left out now and that the model has learned from."""
    taught = wells["flags"].map(lambda flags: "training_well" in flags).astype(bool)
    gone = wells[wells["excluded"] & taught & wells["role"].isin(["negative", "positive"])]
    return [Finding(rule=TAUGHT, severity="warning", plate=str(plate), well=", ".join(own["well"]), column="excluded", message=(
        f"{len(own)} control well{'s' if len(own) > 1 else ''} of plate {plate} that the model learned from "
        f"{'are' if len(own) > 1 else 'is'} left out now ({', '.join(own['well'])}): what was wrong there it has learned, whatever is "
        "left out of the curves. Train it again without: send the plates once more with these exclusions, or leave the wells out of the "
        "screen and run the pipeline")) for plate, own in gone.groupby("plate", sort=False)]
