"""The engine's own code beside a straightforward way of doing the same, in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans

from kmex_core import KMEx, models, pipeline
from kmex_core.kmeans import kmeans
from kmex_core.prototypes import pairwise
from kmex_core.store import Store


def _times(work: Callable[[], object], runs: int) -> list[float]:
    work()
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return found


def _pair(what: str, ours: Callable[[], object], plain: Callable[[], object], runs: int = 5) -> list[dict[str, Any]]:
    fast, slow = _times(ours, runs), _times(plain, runs)
    ratio = statistics.median(slow) / statistics.median(fast)
    return [
        {"what": f"{what}: ours", "median": round(statistics.median(fast), 4), "runs": runs, "unit": "s"},
        {"what": f"{what}: straightforward", "median": round(statistics.median(slow), 4), "runs": runs, "unit": "s"},
        {"what": f"{what}: times faster", "median": round(ratio, 2), "unit": "×"},
    ]


def measure() -> list[dict[str, Any]]:
    """k-means (time and quality), distances, and maps of many prototypes."""
    return [*_kmeans(), *_distances(), *_maps()]


def _kmeans() -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    mix = random.standard_normal((64, 512)).astype(np.float32)
    points = np.maximum(random.standard_normal((6000, 64)).astype(np.float32) @ mix, 0)
    tensor = torch.from_numpy(points)
    rows = _pair(
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
    return _pair(
        "exact distances, 60,000 × 50 × 512 (straightforward: float32 product, inexact)",
        lambda: pairwise(z, p),
        lambda: torch.cdist(z, p, compute_mode="use_mm_for_euclid_dist"),
    )


def _maps() -> list[dict[str, Any]]:
    store = Store()
    info = models.describe(store, "digits")
    data = pipeline.dataset_of(info)
    converted = pipeline.convert(store, info, data, 5)
    spec = pipeline.conversion_spec(store, info, data, 5, 0)
    kmex: KMEx = pipeline.kmex(models.load(store, "digits"), converted, spec)
    image = pipeline.network_input(info, data.split("test").image(0))
    return _pair(
        "PRP maps of one image for 50 prototypes (straightforward: one pass each)",
        lambda: kmex.maps(image.expand(50, -1, -1, -1), range(50)),
        lambda: [kmex.maps(image, [p]) for p in range(50)],
        3,
    )
