"""The engine's own code beside a straightforward way of doing the same, in one run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans

from benchmarks.timing import pair
from kmex_core import KMEx
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.models.catalogue import network_input
from kmex_core.prototypes.fit import pairwise
from kmex_core.prototypes.kmeans import kmeans
from kmex_core.stages.subject import Subject, dataset_of


def measure() -> list[dict[str, Any]]:
    """k-means (time and quality), distances, and maps of many prototypes."""
    return [*_kmeans(), *_distances(), *_maps()]


def _kmeans() -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    mix = random.standard_normal((64, 512)).astype(np.float32)
    points = np.maximum(random.standard_normal((6000, 64)).astype(np.float32) @ mix, 0)
    tensor = torch.from_numpy(points)
    rows = pair(
        "k-means, 6,000 × 512, k = 10 (straightforward: scikit-learn, n_init = 10)",
        lambda: kmeans(tensor, 10, 0),
        lambda: KMeans(10, n_init=10, random_state=0).fit(points),
        3,
    )
    best = KMeans(10, n_init=50, random_state=1).fit(points).inertia_
    for name, inertia in (
        ("ours", [kmeans(tensor, 10, seed).inertia for seed in range(5)]),
        ("scikit-learn, n_init = 1", [KMeans(10, n_init=1, random_state=s).fit(points).inertia_ for s in range(5)]),
        ("scikit-learn, n_init = 10", [KMeans(10, n_init=10, random_state=s).fit(points).inertia_ for s in range(3)]),
    ):
        above = (float(np.mean(inertia)) / best - 1) * 100
        rows.append({"what": f"inertia above the best of 50 runs: {name}", "median": round(above, 3), "unit": "%"})
    return rows


def _distances() -> list[dict[str, Any]]:
    z, p = torch.randn(60_000, 512).relu(), torch.randn(50, 512).relu()
    return pair(
        "exact distances, 60,000 × 50 × 512 (straightforward: float32 product, inexact)",
        lambda: pairwise(z, p),
        lambda: torch.cdist(z, p, compute_mode="use_mm_for_euclid_dist"),
    )


def _maps() -> list[dict[str, Any]]:
    store = Store()
    info = models.describe(store, "digits")
    data = dataset_of(info)
    kmex: KMEx = Subject(store, info, data).explainer(KMeans(5))
    image = network_input(info, data.split("test").image(0))
    return pair(
        "PRP maps of one image for 50 prototypes (straightforward: one pass each)",
        lambda: kmex.maps(image.expand(50, -1, -1, -1), range(50)),
        lambda: [kmex.maps(image, [p]) for p in range(50)],
        3,
    )
