"""KMEx's conversion beside the paper's released procedure, and k-means per class beside other implementations.

An embedding of 60,000 images in 10 classes, k = 5 and 20. `requirements-bench.txt` has the rivals; whoever is not
installed is left out, and named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.timing import Taken, Work, alternated, compared, missing

CLASSES, SEED = 10, 0
OURS = "KMEx Explorer"
Embedding = tuple[np.ndarray, np.ndarray]  # (N, D) float32, (N,) int64


@dataclass(frozen=True)
class Sizes:
    """What is clustered.

    Attributes:
        images, dimensions: of the embedding.
        ks: prototypes per class.
        rounds: of each alternative.
    """

    images: int = 60_000
    dimensions: int = 512
    ks: tuple[int, ...] = (5, 20)
    rounds: int = 5


def measure(sizes: Sizes = Sizes()) -> list[dict[str, Any]]:  # noqa: B008 (frozen)
    """Seconds, peak memory and inertia of each alternative for each k."""
    rows = [missing({name: needs for name, (needs, _) in KMEANS.items()})]
    what = f"{sizes.images:,} × {sizes.dimensions}, {CLASSES} classes"
    for k in sizes.ks:
        whole = {
            OURS: partial(_prepared, _converted, sizes, k),
            "the released procedure": partial(_prepared, _released, sizes, k),
        }
        rows += compared(f"conversion, {what}, k = {k}", alternated(whole, sizes.rounds), OURS)
        absent = set(rows[0].get("left out", ()))
        single = {name: partial(_prepared, work, sizes, k) for name, (_, work) in KMEANS.items() if name not in absent}
        taken = alternated(single, sizes.rounds)
        rows += _with_inertia(compared(f"k-means of each class, {what}, k = {k}", taken, OURS), taken)
    return [row for row in rows if row]


def embedding(images: int, dimensions: int, classes: int = CLASSES) -> Embedding:
    """An embedding as a network with a last ReLU makes it: classes apart, half of them with eight groups.

    Args:
        images: N, as many of each class as of any other, in random order.
        dimensions: D.
        classes: how many.
    """
    random = np.random.default_rng(SEED)
    labels = random.permutation(np.arange(images) % classes)
    z = np.empty((images, dimensions), np.float32)
    for label in range(classes):
        members = np.flatnonzero(labels == label)
        hidden = random.standard_normal((len(members), 32), dtype=np.float32)
        if label % 2:
            hidden += 2 * random.standard_normal((8, 32), dtype=np.float32)[random.integers(0, 8, len(members))]
        mix = random.standard_normal((32, dimensions), dtype=np.float32) / 8
        z[members] = np.maximum(random.standard_normal(dimensions, dtype=np.float32) + hidden @ mix, 0)
    return z, labels


def _prepared(work: Callable[[np.ndarray, np.ndarray, int], Any], sizes: Sizes, k: int) -> Work:
    """The work on the embedding, after it has run on few points: it has loaded what it needs."""
    z, labels = embedding(sizes.images, sizes.dimensions)
    work(z[:2000], labels[:2000], k)
    return partial(work, z, labels, k)


# ---- the whole conversion -------------------------------------------------------------------------------------------


def _converted(z: np.ndarray, labels: np.ndarray, k: int) -> None:
    from kmex_core.networks.types import Embeddings
    from kmex_core.prototypes.fit import fit_prototypes

    fit_prototypes(Embeddings(z, labels, labels), [str(label) for label in range(CLASSES)], k, SEED)


def _released(z: np.ndarray, labels: np.ndarray, k: int) -> None:
    """What the paper's released code computes, written anew: scikit-learn's k-means for each class with the defaults of
    its time (ten starts), the image next to each prototype, and the prototype next to each image by float32 distances.
    """
    import torch
    from sklearn.cluster import KMeans

    centers = [KMeans(k, n_init=10, random_state=SEED).fit(z[labels == c]).cluster_centers_ for c in range(CLASSES)]
    distances = torch.cdist(torch.from_numpy(z), torch.from_numpy(np.concatenate(centers).astype(np.float32)))
    similarity = torch.log((distances + 1) / (distances + 1e-4))
    similarity.argmax(1)
    similarity.argmax(0)


# ---- k-means of each class ------------------------------------------------------------------------------------------


def _of_each_class(fit: Callable[[np.ndarray, int], float], z: np.ndarray, labels: np.ndarray, k: int) -> float:
    """The sum of the inertia over the classes."""
    return sum(fit(z[labels == label], k) for label in range(CLASSES))


def _ours(points: np.ndarray, k: int) -> float:
    import torch

    from kmex_core.prototypes.kmeans import kmeans

    return kmeans(torch.from_numpy(points), k, SEED).inertia


def _scikit_learn(points: np.ndarray, k: int, runs: int) -> float:
    from sklearn.cluster import KMeans

    return float(KMeans(k, n_init=runs, random_state=SEED).fit(points).inertia_)


def _intelex(points: np.ndarray, k: int) -> float:
    from sklearnex.cluster import KMeans

    return float(KMeans(k, n_init=1, random_state=SEED).fit(points).inertia_)


def _mini_batch(points: np.ndarray, k: int) -> float:
    from sklearn.cluster import MiniBatchKMeans

    return _inertia_of(points, MiniBatchKMeans(k, n_init=3, random_state=SEED).fit(points).cluster_centers_)


def _faiss(points: np.ndarray, k: int) -> float:
    import faiss

    fitted = faiss.Kmeans(points.shape[1], k, niter=25, nredo=1, seed=SEED, max_points_per_centroid=10**9)
    fitted.train(points)
    return _inertia_of(points, fitted.centroids)


def _fastkmeans(points: np.ndarray, k: int) -> float:
    from fastkmeans import FastKMeans

    fitted = FastKMeans(
        points.shape[1], k, niter=25, gpu=False, seed=SEED, max_points_per_centroid=None, use_triton=False
    )
    fitted.train(points)
    return _inertia_of(points, fitted.centroids)


def _inertia_of(points: np.ndarray, centers: np.ndarray) -> float:
    """By a matrix product, whose time is small beside that of k-means."""
    squares = np.einsum("nd,nd->n", points, points)
    least = (np.einsum("kd,kd->k", centers, centers) - 2 * points @ centers.T).min(1)
    return float(np.maximum(squares + least, 0).sum(dtype=np.float64))


# the name of each with the module that it needs
KMEANS: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray, int], float]]] = {
    OURS: ("torch", partial(_of_each_class, _ours)),
    "scikit-learn, n_init = 1": ("sklearn", partial(_of_each_class, partial(_scikit_learn, runs=1))),
    "scikit-learn, n_init = 10": ("sklearn", partial(_of_each_class, partial(_scikit_learn, runs=10))),
    "scikit-learn-intelex, n_init = 1": ("sklearnex", partial(_of_each_class, _intelex)),
    "MiniBatchKMeans, n_init = 3": ("sklearn", partial(_of_each_class, _mini_batch)),
    "faiss, 25 rounds": ("faiss", partial(_of_each_class, _faiss)),
    "fastkmeans, 25 rounds": ("fastkmeans", partial(_of_each_class, _fastkmeans)),
}


def _with_inertia(rows: list[dict[str, Any]], taken: dict[str, Taken]) -> list[dict[str, Any]]:
    best = min(of.result for of in taken.values())
    for row in rows:
        row["also"] = {"inertia above the best of this run, % ↓": round(100 * (taken[row["who"]].result / best - 1), 3)}
    return rows
