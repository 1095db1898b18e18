"""Planted groups that k-means finds, beside scikit-learn, and exact distances beside inexact ones."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans

from benchmarks.timing import pair
from kmex_core.prototypes.fit import pairwise
from kmex_core.prototypes.kmeans import kmeans


def measure() -> list[dict[str, Any]]:
    """k-means (time and quality), and distances."""
    return [*_kmeans(), *_distances()]


def _kmeans() -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    mix = random.standard_normal((64, 512)).astype(np.float32)
    smooth = np.maximum(random.standard_normal((6000, 64)).astype(np.float32) @ mix, 0)
    return [
        *_clusterings("smooth, k = 10", smooth, 10),
        *(row for name, points, groups in _grouped() for row in _clusterings(f"{name}, k = 20", points, 20, groups)),
    ]


def _grouped() -> list[tuple[str, np.ndarray, np.ndarray]]:
    """20 groups each, 8 of them weak: a fifth as many points; of full rank (near and far), and of rank 16."""
    random = np.random.default_rng(0)
    size = np.where(np.arange(20) < 12, 1.0, 0.2)
    groups = random.choice(20, 6000, p=size / size.sum())
    noise = random.standard_normal((6000, 512))
    far, near = (apart * random.standard_normal((20, 512))[groups] + noise for apart in (1, 0.3))
    flat = (3 * random.standard_normal((20, 16))[groups] + random.standard_normal((6000, 16))) / 4
    flat = flat @ random.standard_normal((16, 512)) + 0.1 * noise
    sets = (("20 groups", far), ("20 near groups", near), ("20 groups of rank 16", flat))
    return [(name, points.astype(np.float32), groups) for name, points in sets]


def _clusterings(name: str, points: np.ndarray, k: int, groups: np.ndarray | None = None) -> Iterator[dict[str, Any]]:
    """CPU time, inertia above the best of 50 runs of scikit-learn, and how many of the groups are found."""
    tensor, name = torch.from_numpy(points), f"k-means, 6,000 × 512, {name}"
    best = KMeans(k, n_init=50, random_state=1).fit(points).inertia_
    for who, seeds, fit in (
        ("ours", 10, lambda seed: _ours(tensor, k, seed)),
        ("scikit-learn, n_init = 1", 10, lambda seed: _theirs(points, k, seed, 1)),
        ("scikit-learn, n_init = 10", 3, lambda seed: _theirs(points, k, seed, 10)),
    ):
        fit(0)  # not counted
        seconds, inertia, found = [], [], []
        for seed in range(seeds):
            started = time.process_time()  # over all cores: the same on a busy machine
            labels, value = fit(seed)
            seconds.append(time.process_time() - started)
            inertia.append(value)
            found.append(0 if groups is None else _found(groups, labels))
        above = (float(np.mean(inertia)) / best - 1) * 100
        runs = {"runs": seeds}
        yield {"what": f"{name}: {who}", "median": round(statistics.median(seconds), 4), **runs, "unit": "s CPU"}
        what = f"{name}, inertia above the best of 50 runs: {who}"
        yield {"what": what, "median": round(above, 3), **runs, "unit": "%"}
        if groups is not None:
            what = f"{name}, groups found: {who}"
            yield {"what": what, "median": round(float(np.mean(found)), 2), **runs, "unit": "of 20"}


def _ours(points: torch.Tensor, k: int, seed: int) -> tuple[np.ndarray, float]:
    clusters = kmeans(points, k, seed)
    return clusters.labels.numpy(), clusters.inertia


def _theirs(points: np.ndarray, k: int, seed: int, runs: int) -> tuple[np.ndarray, float]:
    fitted = KMeans(k, n_init=runs, random_state=seed).fit(points)
    return fitted.labels_, fitted.inertia_


def _found(groups: np.ndarray, labels: np.ndarray) -> int:
    """How many groups make up most of the cluster that most of them is in."""
    counts = np.zeros((groups.max() + 1, labels.max() + 1), dtype=int)
    np.add.at(counts, (groups, labels), 1)
    return sum(counts[:, counts[group].argmax()].argmax() == group for group in range(len(counts)))


def _distances() -> list[dict[str, Any]]:
    z, p = torch.randn(60_000, 512).relu(), torch.randn(50, 512).relu()
    return pair(
        "exact distances, 60,000 × 50 × 512 (straightforward: float32 product, inexact)",
        lambda: pairwise(z, p),
        lambda: torch.cdist(z, p, compute_mode="use_mm_for_euclid_dist"),
    )
