"""What a network sees in a well beyond its viability: penultimate activations, their map, and phenotypes that complement each other.

Berker et al., section IV-E: activations of the layer before the output, reduced to the principal components that hold 95 % of their
variance, drawn in two dimensions by t-SNE; top hits whose phenotypes lie far apart are candidates for a combination.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from models.errors import InputError
from models.networks.forward import PASS
from models.networks.predict import Predictor
from models.plates.images import WellImages
from models.tables import combined, left_out

Array = npt.NDArray[np.float64]
VARIANCE = 0.95         # share that the principal components keep (seeds/004)


@torch.no_grad()
def penultimate_features(predictor: Predictor, images: WellImages) -> Array:
    """Activations that enter the last layer, (N, F): 4096 for VGG19 with its dense layers, the trunk's features for a linear head."""
    layers = predictor.network.head[:-1]
    parts = [np.empty((0, 0))]
    for start in range(0, len(images), PASS):
        batch = torch.from_numpy(images.pixels[start:start + PASS]).to(predictor.device, torch.float32)  # (B, C, H, W)
        features = predictor.network.features(batch.contiguous(memory_format=torch.channels_last))
        parts.append(layers(features).double().cpu().numpy())
    return np.concatenate(parts[1:]) if len(parts) > 1 else parts[0]


def principal_components(features: Array, *, variance: float = VARIANCE) -> Array:
    """(N, F) -> (N, K): scores of the fewest principal components that hold `variance` of the variance, most important first.

    By singular values, whose signs are fixed (largest loading positive), so that the same features give the same scores anywhere.
    Raises InputError for fewer than 2 rows or rows without variance.
    """
    if len(features) < 2:
        raise InputError(f"principal components need at least 2 wells, got {len(features)}")
    centred = features - features.mean(axis=0)
    left, singular, right = np.linalg.svd(centred, full_matrices=False)
    if not singular[0] > 0:
        raise InputError("all wells have the same features; principal components cannot be told apart")
    kept = int(np.searchsorted(np.cumsum(singular**2) / np.sum(singular**2), variance - 1e-12)) + 1
    signs = np.sign(right[np.arange(kept), np.abs(right[:kept]).argmax(axis=1)])
    return np.asarray(left[:, :kept] * singular[:kept] * signs)


def t_sne(components: Array, *, perplexity: float = 30.0, seed: int = 0) -> Array:
    """(N, K) -> (N, 2) by t-SNE from the first two principal components; a smaller perplexity than asked for few wells.

    Distances between far groups and group sizes on a t-SNE map mean little; neighbours do. Raises InputError for fewer than 4 rows.
    """
    from sklearn.manifold import TSNE

    if len(components) < 4:
        raise InputError(f"a t-SNE map needs at least 4 wells, got {len(components)}")
    fitted = TSNE(perplexity=min(perplexity, (len(components) - 1) / 3), init="pca", random_state=seed, learning_rate="auto")
    return np.asarray(fitted.fit_transform(components.astype(np.float32)), dtype=float)


def top_dose_wells(wells: pd.DataFrame) -> npt.NDArray[np.intp]:
    """Rows to map (positions): wells of one treatment alone at its highest dose, and all control and untreated wells."""
    treated = (wells["role"] == "treated") & ~combined(wells)
    top = wells[treated].groupby("treatment")["dose"].transform("max")
    chosen = wells["role"].isin(["negative", "positive", "untreated"]) | (treated & (wells["dose"] == top.reindex(wells.index)))
    return np.flatnonzero(chosen & ~left_out(wells))


def complementary_hits(components: Array, wells: pd.DataFrame, scored: pd.DataFrame, *, kind: str = "dss_asym",
                       count: int = 10) -> pd.DataFrame:
    """Pairs of hits with distant phenotypes, the most distant first: candidates for a combination, not a prediction of synergy.

    components (N, K): principal components of the rows of `wells` (role, treatment) at the top dose; scored: curves with treatment, `kind`
    and hit. Columns: treatment_1, treatment_2, score_1, score_2 (the higher score first), distance (between the mean phenotypes),
    distance_over_duplicates (over the median distance of a treatment's own replicates: near 1 = no more apart than duplicates).
    """
    columns = ["treatment_1", "treatment_2", "score_1", "score_2", "distance", "distance_over_duplicates"]
    treated = (wells["role"] == "treated").to_numpy()
    names = wells["treatment"].to_numpy(dtype=object)
    scores = scored.loc[scored["hit"], ["treatment", kind]].set_index("treatment")[kind].sort_values(ascending=False, kind="stable")
    means = {name: components[treated & (names == name)].mean(axis=0) for name in scores.index if (treated & (names == name)).any()}
    spread = _duplicate_distance(components[treated], names[treated])
    rows = [(one, other, scores[one], scores[other], float(np.linalg.norm(means[one] - means[other])))
            for one, other in combinations(means, 2)]
    table = pd.DataFrame([(*row, row[-1] / spread) for row in rows], columns=columns)
    return table.sort_values("distance", ascending=False, kind="stable").head(count).reset_index(drop=True)


def _duplicate_distance(components: Array, names: npt.NDArray[np.object_]) -> float:
    """Median distance between replicates of a treatment; NaN without any."""
    found = [float(np.linalg.norm(components[one] - components[other]))
             for name in dict.fromkeys(names) for one, other in combinations(np.flatnonzero(names == name), 2)]
    return float(np.median(found)) if found else float("nan")
