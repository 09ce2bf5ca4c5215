"""What the card keeps of the images that a model was trained on: what bfloat16 does to them, how the controls or the images of a set
look, how large they show cells.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from models.dose_response.viability import normalise_to_controls
from models.networks.bundle import Card
from models.networks.drift import make_reference
from models.networks.fitting import Fitted
from models.networks.forward import has_bf16, path_of
from models.networks.looks import fingerprint, looks_of
from models.networks.precision import effect_of_bf16
from models.networks.predict import Predictor, output_columns
from models.networks.structure import structure_of
from models.networks.trunks import Trunk
from models.plates.acquisition import image_size
from models.plates.images import WellImages

CPU = torch.device("cpu")


def observe(card: Card, fitted: Fitted, images: WellImages, layout: pd.DataFrame, *, controls: str = "both") -> Card:
    """The card with `bf16` and `reference`, measured on the CPU as it scores, wherever the training ran; and with the size of its images.

    images, layout: of the training screen, wells that were left out of it gone; controls: of the screen, as screen.yaml names them.
    """
    regression, size = card.recipe.is_regression, card.recipe.input.size
    if card.recipe.target == "label":
        card = _observe_set(card, images, layout)
    else:       # images of a set come in any size
        card = replace(card, acquisition={**card.acquisition, "image_size": image_size(images.quality)})
    network, path = copy.deepcopy(fitted.network).to(CPU).eval(), path_of(card.recipe.trunk.name, CPU)
    wells = images.wells[["plate", "well"]].assign(role="") if "role" not in layout else \
        images.wells[["plate", "well"]].merge(layout[["plate", "well", "role"]], on=["plate", "well"], how="left")
    head = Predictor(network, card, "", CPU)
    features = Trunk(network, CPU, size=size, path=path).features(images.pixels)    # (N, F)
    negative = np.flatnonzero(wells["role"] == "negative")
    reference = make_reference(features[negative], fitted.predictions, regression=regression)
    if reference is not None:
        reference = replace(reference, structure=structure_of(images.pixels[row, 0] for row in negative))
    if path != "openvino" or not has_bf16():
        return replace(card, reference=reference)
    in_bf16 = Trunk(network, CPU, size=size, path=path, precision="bf16").features(images.pixels)
    answers = [_viability(wells.assign(**output_columns(head.outputs(found), regression=regression)), card, controls=controls)
               for found in (features, in_bf16)]
    return replace(card, reference=reference, bf16=effect_of_bf16(*answers))


def _observe_set(card: Card, images: WellImages, layout: pd.DataFrame) -> Card:
    """The card of a model of labelled images, with how its set looks, and which of the images taught it."""
    taught = {(plate, well) for plate, well, part in card.training_wells if part != "test"}
    places = zip(images.wells["plate"], images.wells["well"], strict=True)
    known = {fingerprint(pixels) for place, pixels in zip(places, images.pixels, strict=True) if place in taught}
    groups = images.wells.merge(layout[["plate", "well", "group"]], on=["plate", "well"], how="left")["group"]
    return replace(card, looks=looks_of(np.asarray(images.pixels), groups), training_images=tuple(sorted(known)))


def _viability(predicted: pd.DataFrame, card: Card, *, controls: str) -> np.ndarray:
    """Viability of each well, (N,), NaN where the screen has no controls; where a model classifies images, the probability of each."""
    value = card.recipe.answer_column
    medians = predicted.groupby(["plate", "well", "role"], sort=False, dropna=False)[value].median().reset_index()
    if card.recipe.target == "label":
        return medians[value].to_numpy(float)
    if controls == "none":
        return np.full(len(medians), np.nan)
    return normalise_to_controls(medians, value=value, positive="positive" if controls == "both" else None)["viability"].to_numpy(float)
