"""A map of an embedding in two dimensions: UMAP (McInnes et al. 2018) on a sample, everything else placed among it."""

from __future__ import annotations

import contextlib
import io
import re
import time
import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from kmex_core.analysis.few_neighbours import FEW, nearest_of_few
from kmex_core.analysis.types import Projection
from kmex_core.base import compiled
from kmex_core.base.errors import InputError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import ProjectionSpec
from kmex_core.networks.types import Embeddings

COMPONENTS = 50
NEIGHBORS = 15
MIN_DIST = 0.5  # with the usual 0.1 well separated classes shrink to dots; trustworthiness falls by 0.001
EPOCHS = 200
JUDGED = 2000
ROWS = 2048
FEWEST = 5
HALVINGS = 64
USUAL = 0.99


def fit(
    train: Embeddings,
    test: Embeddings,
    spec: ProjectionSpec,
    progress: Progress = silent,
) -> Projection:
    """Draw the map of an embedding.

    PCA, exact nearest neighbours and UMAP on a stratified sample of the training images; all other images take the mean
    place of their nearest neighbours in the sample (`place`). Equal seeds give equal maps on one machine.

    Args:
        train: the training split's, finite.
        test: the test split's, finite; it may be empty.
        spec: sample size and seed.
        progress: called between steps; it may raise to cancel.

    Raises:
        InputError: when there are fewer than 5 training images, or values are not finite.
    """
    if len(train) < FEWEST:
        raise InputError(f"An embedding map needs at least {FEWEST} training images; there are {len(train)}.")
    if not (np.isfinite(train.z).all() and np.isfinite(test.z).all()):
        raise InputError("The embedding is not finite (NaN or infinite values), so that it has no map.")
    started = time.perf_counter()
    random = np.random.default_rng(spec.seed)
    sample = stratified_sample(train.labels, spec.sample, random)
    progress(Event("Finding principal components", 0, 1))
    mean, axes = principal_components(train.z[sample], COMPONENTS, spec.seed)
    anchors = (train.z[sample] - mean) @ axes.T
    neighbors = min(NEIGHBORS, len(sample) - 1)
    index, distance = nearest(anchors, anchors, neighbors)
    places = _umap(anchors, index, distance, spec, progress)
    fitted = Projection(
        train=np.empty((0, 2), np.float32),
        test=np.empty((0, 2), np.float32),
        sample=sample,
        mean=mean,
        axes=axes,
        anchors=anchors,
        labels=np.concatenate([train.labels, test.labels]).astype(np.int32),
        black_box=np.concatenate([train.black_box, test.black_box]).astype(np.int32),
        far=np.empty(0, dtype=bool),
        limit=0.0,
        trustworthiness=0.0,
        placed_trustworthiness=None,
        seconds=0.0,
    )
    # how far from others is usual: of the fitted images, to the nearest other one
    own = _remoteness(fitted, train.z[sample], 1)
    limit = float(np.quantile(own, USUAL))
    remote = remoteness(fitted, train.z)
    remote[sample] = own
    all_train = _place(fitted, places, train.z, progress)
    all_train[sample] = places
    all_test = _place(fitted, places, test.z, progress)
    progress(Event("Judging the map", 0, 1))
    judged = random.permutation(len(sample))[:JUDGED]
    rows = random.permutation(len(test))[:JUDGED]
    return replace(
        fitted,
        train=all_train,
        test=all_test,
        far=np.concatenate([remote, remoteness(fitted, test.z)]) > limit,
        limit=limit,
        trustworthiness=_trustworthiness(train.z[sample[judged]], places[judged]),
        placed_trustworthiness=_trustworthiness(test.z[rows], all_test[rows]) if len(rows) >= FEWEST else None,
        seconds=time.perf_counter() - started,
    )


def place(projection: Projection, points: np.ndarray) -> np.ndarray:
    """Where points of the embedding lie on a map.

    UMAP's transform without its random refinement: the mean of the places of the nearest fitted images, weighted by
    UMAP's membership strengths. So a point's place depends on nothing but the point, and takes no time.

    Args:
        projection: a fitted map.
        points: (n, D) float32.

    Returns:
        (n, 2) float32, within the hull of the map.
    """
    return _place(projection, projection.train[projection.sample], points, silent)


def remoteness(projection: Projection, points: np.ndarray) -> np.ndarray:
    """(n,) how far points of the embedding are from the nearest fitted image, ≥ 0, in the unit of the embedding.

    √(d² + r²), with d the distance in the map's principal components and r the point's distance from the space that
    they span: a map shows neither, since it places any point among the fitted images.

    Args:
        projection: a fitted map.
        points: (n, D) float32.
    """
    return _remoteness(projection, points, 0)


def _remoteness(projection: Projection, points: np.ndarray, rank: int) -> np.ndarray:
    """See `remoteness`; to the nearest image with `rank` 0, to the second nearest with 1."""
    if len(points) == 0:
        return np.empty(0, dtype=np.float32)
    centred = points - projection.mean
    within = centred @ projection.axes.T
    outside = np.maximum((centred**2).sum(1) - (within**2).sum(1), 0)
    find = nearest_of_few if len(points) <= FEW else nearest
    _, distance = find(within, projection.anchors, rank + 1)
    remote: np.ndarray = np.sqrt(distance[:, rank] ** 2 + outside)
    return remote


def _place(projection: Projection, places: np.ndarray, points: np.ndarray, progress: Progress) -> np.ndarray:
    neighbors, find = min(NEIGHBORS, len(places)), nearest_of_few if len(points) <= FEW else nearest
    placed = np.empty((len(points), 2), dtype=np.float32)
    for start in range(0, len(points), ROWS):
        progress(Event("Placing the other images", start, len(points)))
        rows = (points[start : start + ROWS] - projection.mean) @ projection.axes.T
        index, distance = find(rows, projection.anchors, neighbors)
        weight = memberships(distance)
        placed[start : start + ROWS] = (places[index] * weight[..., None]).sum(1)
    return placed


def memberships(distance: np.ndarray) -> np.ndarray:
    """UMAP's membership strengths of a new point in its neighbours, normalised to a sum of 1.

    exp(−d/σ), with σ such that those after the first sum to log₂ k (McInnes et al. 2018, Algorithm 3; with ρ = 0 and
    the first left out, as in umap-learn's transform).

    Args:
        distance: (n, k) to the k nearest, ascending.

    Returns:
        (n, k) float64.
    """
    k = distance.shape[1]
    values = distance.astype(np.float64)
    if k < 3:  # one strength below 1 cannot be log₂ 2
        return np.eye(1, k).repeat(len(values), 0)
    scale = values.mean(1)
    low, high = np.full(len(values), 1e-3) * scale, np.full(len(values), 1e3) * scale
    for _ in range(HALVINGS):
        middle = np.sqrt(low * high)
        with np.errstate(divide="ignore", invalid="ignore"):
            total = np.nan_to_num(np.exp(-values[:, 1:] / middle[:, None]), nan=1.0).sum(1)
        low, high = np.where(total < np.log2(k), middle, low), np.where(total < np.log2(k), high, middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.nan_to_num(np.exp(-values / high[:, None]), nan=1.0)
    same = values == 0
    weight = np.where(same.any(1, keepdims=True), same, weight)
    return np.asarray(weight / weight.sum(1, keepdims=True))


def stratified_sample(labels: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Indices of about `size` images, ascending, of each class in proportion (one at least, all of few)."""
    if len(labels) <= size:
        return np.arange(len(labels))
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen.append(random.permutation(members)[: max(1, round(size * len(members) / len(labels)))])
    return np.sort(np.concatenate(chosen))


def principal_components(points: np.ndarray, components: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and the first principal axes (P, D) of points (n, D), P ≤ `components`."""
    from sklearn.decomposition import PCA

    pca = PCA(min(components, *points.shape), random_state=seed).fit(points)
    return pca.mean_.astype(np.float32), pca.components_.astype(np.float32)


def nearest(points: np.ndarray, anchors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest anchors of each point: indices (n, k) int64 and exact distances (n, k) float32, ascending."""
    import torch

    targets = torch.from_numpy(np.ascontiguousarray(anchors))
    squares = targets.square().sum(1)
    indices, distances = [], []
    for start in range(0, len(points), ROWS):
        rows = torch.from_numpy(np.ascontiguousarray(points[start : start + ROWS]))
        rough = squares - 2 * rows @ targets.T
        index = rough.topk(min(k + 8, len(targets)), largest=False).indices
        exact = (rows[:, None] - targets[index]).square().sum(-1).sqrt()
        distance, order = exact.sort(dim=1, stable=True)
        indices.append(index.gather(1, order)[:, :k].numpy())
        distances.append(distance[:, :k].numpy())
    return np.concatenate(indices), np.concatenate(distances)


class _Epochs(io.StringIO):
    """Turns the progress bar that umap-learn prints into calls of `progress`."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def write(self, text: str) -> int:
        if match := re.search(r"(\d+)/(\d+)", text):
            self._progress(Event("Fitting UMAP", int(match[1]), int(match[2])))
        return len(text)


def _umap(
    points: np.ndarray,
    index: np.ndarray,
    distance: np.ndarray,
    spec: ProjectionSpec,
    progress: Progress,
) -> np.ndarray:
    progress(Event("Loading UMAP (the first time it is compiled, up to a minute)", 0, 0))
    with compiled.cache():
        from umap import UMAP

        return _fitted(UMAP, points, index, distance, spec, progress)


def _fitted(
    umap: Any, points: np.ndarray, index: np.ndarray, distance: np.ndarray, spec: ProjectionSpec, progress: Progress
) -> np.ndarray:
    model = umap(
        n_neighbors=index.shape[1],
        min_dist=MIN_DIST,
        n_epochs=EPOCHS,
        init="pca",
        random_state=spec.seed,
        n_jobs=1,
        precomputed_knn=(index, distance),
        verbose=True,
        tqdm_kwds={"file": _Epochs(progress), "mininterval": 0.3},
    )
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # with a seed and neighbours given, it says what we know: one thread, no transform, a graph in several parts
        warnings.filterwarnings("ignore", module="umap|sklearn")
        places = np.asarray(model.fit_transform(points), dtype=np.float32)
    lost = ~np.isfinite(places).all(1)
    places[lost] = np.nanmean(places, 0)
    return places


def _trustworthiness(points: np.ndarray, places: np.ndarray) -> float:
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(points, places, n_neighbors=min(12, (len(points) - 1) // 2)))
