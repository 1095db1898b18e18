"""A map of an embedding in two dimensions: UMAP (McInnes et al. 2018), and further points placed among its images."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from kmex_core.analysis.few_neighbours import FEW, nearest_of_few
from kmex_core.analysis.layout import Graph, layout
from kmex_core.analysis.neighbours import nearest
from kmex_core.analysis.trustworthiness import Placed, trustworthiness
from kmex_core.analysis.types import Projection
from kmex_core.base.errors import InputError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import ProjectionSpec
from kmex_core.networks.types import Embeddings

COMPONENTS = 50
NEIGHBORS = 15
JUDGED = 2000
ROWS = 16_384
FEWEST = 5
HALVINGS = 64
USUAL = 0.99


def fit(
    train: Embeddings,
    test: Embeddings,
    spec: ProjectionSpec,
    progress: Progress = silent,
    device: str = "cpu",
) -> Projection:
    """Draw the map of an embedding.

    PCA, exact nearest neighbours and UMAP on the training images, or on a stratified sample of more than `spec.sample`;
    all other images take the mean place of their nearest neighbours among these (`place`). Equal seeds give equal maps
    on one machine.

    Args:
        train: the training split's, finite.
        test: the test split's, finite; it may be empty.
        spec: sample size and seed.
        progress: called between steps; it may raise to cancel.
        device: a torch device; for who draws the map there see `layout`.

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
    fitted = train.z if len(sample) == len(train) else train.z[sample]
    progress(Event("Finding principal components", 0, 1))
    mean, axes = principal_components(fitted, COMPONENTS, spec.seed)
    anchors = (fitted - mean) @ axes.T
    index, distance = nearest(anchors, anchors, min(NEIGHBORS, len(sample) - 1), device, progress)
    places, made_by = layout(Graph(anchors, index, distance), spec.seed, device, progress)
    projection = Projection(
        train=np.empty((len(train), 2), np.float32),
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
        made_by=made_by,
    )
    # how far from others is usual: of the fitted images, to the nearest other one
    own = np.sqrt(distance[:, 1] ** 2 + _outside(projection, fitted))
    limit = float(np.quantile(own, USUAL))
    remote = np.empty(len(train), dtype=np.float32)
    projection.train[sample], remote[sample] = places, own
    others = np.setdiff1d(np.arange(len(train)), sample, assume_unique=True)
    projection.train[others], remote[others] = located(projection, train.z[others], progress, device)
    placed, remote_test = located(projection, test.z, progress, device)
    judge = Placed(fitted, places)
    rows = random.permutation(len(sample))[:JUDGED]
    placed_rows = random.permutation(len(test))[:JUDGED]
    return replace(
        projection,
        test=placed,
        far=np.concatenate([remote, remote_test]) > limit,
        limit=limit,
        trustworthiness=trustworthiness(judge, rows, device=device, progress=progress),
        placed_trustworthiness=trustworthiness(
            judge, Placed(test.z, placed)[placed_rows], device=device, progress=progress
        )
        if len(test)
        else None,
        seconds=time.perf_counter() - started,
    )


def place(projection: Projection, points: np.ndarray) -> np.ndarray:
    """Where points of the embedding lie on a map, (n, 2) float32: see `located`."""
    return located(projection, points)[0]


def located(
    projection: Projection, points: np.ndarray, progress: Progress = silent, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Where points of the embedding lie on a map, and how remote they are from its images.

    Places are UMAP's transform without its random refinement: the mean of the places of the nearest fitted images,
    weighted by UMAP's membership strengths. So a point's place depends on nothing but the point, and takes no time.

    Remoteness is √(d² + r²), with d the distance to the nearest fitted image in the map's principal components and r
    the point's distance from the space that they span: a map shows neither, since it places any point among the fitted
    images.

    Args:
        projection: a fitted map.
        points: (n, D) float32.
        progress: called between blocks; it may raise to cancel.
        device: where neighbours of many points are searched.

    Returns:
        Places (n, 2) float32, within the hull of the map, and remoteness (n,) float32 ≥ 0, in the embedding's unit.
    """
    fitted = projection.train[projection.sample]
    k = min(NEIGHBORS, len(fitted))
    places, remote = np.empty((len(points), 2), np.float32), np.empty(len(points), np.float32)
    for start in range(0, len(points), ROWS):
        progress(Event("Placing the other images", start, len(points)))
        rows = slice(start, start + ROWS)
        within = (points[rows] - projection.mean) @ projection.axes.T
        if len(points) <= FEW and device == "cpu":
            index, distance = nearest_of_few(within, projection.anchors, k)
        else:
            index, distance = nearest(within, projection.anchors, k, device)
        places[rows] = (fitted[index] * memberships(distance)[..., None]).sum(1)
        remote[rows] = np.sqrt(distance[:, 0] ** 2 + _outside(projection, points[rows]))
    return places, remote


def _outside(projection: Projection, points: np.ndarray) -> np.ndarray:
    """(n,) float32, the squared distance of points from the space of the map's principal components."""
    outside = np.empty(len(points), np.float32)
    for start in range(0, len(points), ROWS):
        centred = points[start : start + ROWS] - projection.mean
        within = (centred @ projection.axes.T) ** 2
        outside[start : start + ROWS] = np.maximum((centred**2).sum(1) - within.sum(1), 0)
    return outside


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
