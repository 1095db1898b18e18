"""Every number of prototypes at once, beside single conversions and other implementations of k-means.

Those that are not installed are left out, and named. MNIST is that of the folder that KMEX_TEST_DATA names, embedded
by a ResNet-18 of one epoch.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import rivals
from benchmarks.timing import Work, alternated, compared, missing, times
from kmex_core.base.progress import silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import opened
from kmex_core.models import training
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.fit import fit_prototypes
from kmex_core.prototypes.kmeans import clusterings, kmeans
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.suggestion import evidence
from kmex_core.stages import training_runs
from kmex_core.stages.subject import Subject, subject_of
from kmex_core.stages.sweep import swept

KS = range(1, 21)
LARGE = 162_770
GROUPS, WEAK = 20, 8
PLANTED_SEEDS = 10
ROUNDS = 3


def measure() -> list[dict[str, Any]]:
    """Time, peak memory and inertia of k-means for each k, whole sweeps, and suggestions on planted groups."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = {"smooth, 20,000 × 512": smooth(20_000), "20 groups, 20,000 × 512": grouped(20_000, 512, 0.3, 0)}
        subjects = {"digits": subject_of(Store(), "digits")} | mnist(folder)
        if "MNIST" in subjects:
            digits = subjects["MNIST"].embedding("train").get()
            sets["a class of MNIST"] = digits.z[digits.labels == 0]
        rows: list[dict[str, Any]] = [row for title, points in sets.items() for row in _compared(title, points, folder)]
        for title, subject in subjects.items():
            train, test = (subject.embedding(split).get() for split in ("train", "test"))
            rows += _swept(title, train, test, subject.geometry().get().metric("auto"))
        large = smooth(LARGE + 20_000)
        halves = (np.arange(len(large)) % 5 < 3).astype(np.int64)
        train, test = (
            Embeddings(large[part], halves[part], halves[part]) for part in (slice(LARGE), slice(LARGE, None))
        )
        rows += _swept("two classes, 162,770 × 512", train, test, EmbeddingMetric())
        return [*rows, *_suggested()]


def smooth(n: int) -> np.ndarray:
    """(n, 512) points without groups, like the embedding of one class."""
    random = np.random.default_rng(0)
    mix = random.standard_normal((64, 512)).astype(np.float32)
    return np.maximum(random.standard_normal((n, 64)).astype(np.float32) @ mix, 0)


def grouped(n: int, d: int, apart: float, seed: int) -> np.ndarray:
    """(n, d) points in `GROUPS` groups, `WEAK` of which have a fifth as many points."""
    random = np.random.default_rng(seed)
    size = np.where(np.arange(GROUPS) < GROUPS - WEAK, 1.0, 0.2)
    groups = random.choice(GROUPS, n, p=size / size.sum())
    spread = np.linspace(1.5, 0.2, d) if d < 512 else np.ones(d)
    points = apart * random.standard_normal((GROUPS, d))[groups] + random.standard_normal((n, d)) * spread
    return points.astype(np.float32)


def mnist(folder: Path) -> dict[str, Subject]:
    """MNIST by a network that was trained for one epoch in a store in `folder`; nothing without the data."""
    root = os.environ.get("KMEX_TEST_DATA", "")
    if not root:
        return {}
    store, spec = Store(folder / "store"), DatasetSpec("mnist", root)
    data = opened.dataset(spec)
    recipe = training.default_recipe(data, False, epochs=1)
    info = training_runs.train(store, training_runs.TrainRequest("mnist", spec, "resnet18", recipe, "cpu", ""))
    return {"MNIST": Subject(store, info, data)}


# ---- k-means for each k ---------------------------------------------------------------------------------------------


def _ours_at_once(points: np.ndarray) -> list[float]:
    return [found.inertia for found in clusterings(torch.from_numpy(points), KS, 0)]


def _ours_one_by_one(points: np.ndarray) -> list[float]:
    return [kmeans(torch.from_numpy(points), k, 0).inertia for k in KS]


def _each(fit: Callable[[np.ndarray, int], float], points: np.ndarray) -> list[float]:
    return [fit(points, k) for k in KS]


OURS = "KMEx Explorer, all at once"
# the name of each with the module that it needs
METHODS: dict[str, tuple[str, Callable[[np.ndarray], list[float]]]] = {
    OURS: ("torch", _ours_at_once),
    "our k-means, one number after the other": ("torch", _ours_one_by_one),
    "scikit-learn, n_init = 1": ("sklearn", partial(_each, partial(rivals.scikit_learn, runs=1))),
    "scikit-learn-intelex, n_init = 1": ("sklearnex", partial(_each, rivals.intelex)),
    "MiniBatchKMeans, n_init = 3": ("sklearn", partial(_each, rivals.mini_batch)),
    "faiss, 25 rounds": ("faiss", partial(_each, rivals.faiss)),
    "fastkmeans, 25 rounds": ("fastkmeans", partial(_each, rivals.fastkmeans)),
}


def _compared(title: str, points: np.ndarray, folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / "points.npy"
    np.save(path, points)
    left_out = missing({name: needs for name, (needs, _) in METHODS.items()})
    if left_out:
        yield left_out
    prepared = {name: partial(_prepared, name, path) for name in METHODS if name not in left_out.get("left out", ())}
    taken = alternated(prepared, ROUNDS)
    best = np.min([of.result for of in taken.values()], axis=0)  # of each k
    for row in compared(f"k-means for k = 1 to 20, {title}", taken, OURS):
        above = 100 * (np.array(taken[row["who"]].result) / best - 1)
        yield row | {"also": {"inertia above the best of this run, worst k, % ↓": round(float(above.max()), 3)}}


def _prepared(name: str, path: Path) -> Work:
    """The work on the points, after it has run on few: it has loaded what it needs."""
    points = np.load(path)
    work = METHODS[name][1]
    work(points[:1000])
    return partial(work, points)


# ---- sweeps and suggestions -----------------------------------------------------------------------------------------


def _swept(title: str, train: Embeddings, test: Embeddings, metric: EmbeddingMetric) -> Iterator[dict[str, Any]]:
    names = [str(label) for label in range(int(train.labels.max()) + 1)]
    space = train.in_space(metric)
    z = torch.from_numpy(space.z)
    labels = torch.from_numpy(train.labels)

    def single() -> None:
        for label in range(len(names)):
            kmeans(z[labels == label], 20, 0)

    def conversion() -> None:
        fit_prototypes(space, names, 20)

    def every() -> None:
        for label in range(len(names)):
            clusterings(z[labels == label], KS, 0)

    for what, work in (
        ("conversion for k = 20", conversion),
        ("k-means for k = 20", single),
        ("k-means for k = 1 to 20", every),
        ("sweep for k = 1 to 20 with its measures", lambda: swept(train, test, names, metric, 20, 0, "cpu", silent)),
        ("suggested numbers", lambda: evidence(z, train.labels, 20, 0)),
    ):
        seconds = times(work, ROUNDS)
        median = round(statistics.median(seconds), 3)
        yield {
            "what": f"{title}: {what}",
            "median": median,
            "worst": round(max(seconds), 3),
            "runs": len(seconds),
            "unit": "s",
        }


def _suggested() -> Iterator[dict[str, Any]]:
    cases = {
        "no groups, Gaussian": lambda seed: np.random.default_rng(seed).standard_normal((3000, 64)),
        "20 groups (8 weak), 64 dimensions, 1.5 apart": lambda seed: grouped(3000, 64, 1.5, seed),
        "20 groups (8 weak), 64 dimensions, 1 apart": lambda seed: grouped(3000, 64, 1.0, seed),
        "20 groups (8 weak), 512 dimensions, 1 apart": lambda seed: grouped(3000, 512, 1.0, seed),
    }
    for title, made in cases.items():
        found = []
        for seed in range(PLANTED_SEEDS):
            points = torch.from_numpy(np.asarray(made(seed), dtype=np.float32))
            found.append(int(evidence(points, np.zeros(len(points), dtype=np.int64), 25, seed).suggested[0]))
        planted = 1 if title.startswith("no") else GROUPS
        near = sum(abs(k - planted) <= (2 if planted > 1 else 0) for k in found)
        what = f"suggested number for {title}: seeds within 2 of the planted number"
        yield {"what": what, "median": float(near), "suggested": found, "unit": f"of {PLANTED_SEEDS}"}
