"""The embedding map of 60,000 images beside umap-learn and PaCMAP: seconds, peak memory, trustworthiness.

Ours fits all images, with exact neighbours, and places and judges them. An embedding is generated; if the store has the
model `mnist18` of the README with its embedding, MNIST's is mapped as well. PaCMAP is measured where it is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.rivals import embedding
from benchmarks.timing import Taken, Work, alternated, compared, missing
from kmex_core.analysis import projection
from kmex_core.analysis.layout import ON_GPU, Graph, layout
from kmex_core.analysis.neighbours import nearest
from kmex_core.analysis.trustworthiness import Placed, trustworthiness
from kmex_core.base import compiled
from kmex_core.base.errors import InputError
from kmex_core.base.progress import silent
from kmex_core.base.specs import ProjectionSpec
from kmex_core.base.store import Store
from kmex_core.networks.types import Embeddings
from kmex_core.stages.subject import subject_of

OURS, SEED = "KMEx Explorer", 0
IMAGES, DIMENSIONS = 60_000, 512
FEW = 5000  # points of the run that is not counted: umap-learn searches more than 4,096 by other code
MODEL = "mnist18"
MOST_SECONDS = 60


def measure(images: int = IMAGES, dimensions: int = DIMENSIONS) -> list[dict[str, Any]]:
    """Seconds, peak memory and trustworthiness of each alternative, one run of each."""
    sets = {f"generated, {images:,} × {dimensions}": embedding(images, dimensions)[0]} | mnist()
    needs = {"PaCMAP": "pacmap"}
    rows = [row for row in [missing(needs)] if row]
    installed = [name for name in RIVALS if importlib.util.find_spec(needs.get(name, "umap"))]
    with TemporaryDirectory() as folder:
        for number, (title, z) in enumerate(sets.items(), 1):
            # of two sets, the first has the fast rival alone: a part takes six minutes at most
            names = installed if number == len(sets) else [OURS, "umap-learn, no seed"]
            rows += _compared(title, z, {name: RIVALS[name] for name in names}, Path(folder))
    return rows


def mnist() -> dict[str, np.ndarray]:
    """MNIST's embedding in the store, if it is there."""
    try:
        stored = subject_of(Store(), MODEL).embedding("train").peek()
    except (InputError, FileNotFoundError):
        return {}
    return {} if stored is None else {f"MNIST, {len(stored):,} × {stored.z.shape[1]}": stored.z}


def on_gpu(device: str = "cuda", images: int = IMAGES, dimensions: int = DIMENSIONS) -> list[dict[str, Any]]:
    """Seconds and trustworthiness of UMAP's layout by each GPU library that is installed, beside umap-learn on the CPU.

    All start from the same neighbours; TorchDR searches its own.
    """
    z, _ = embedding(images, dimensions)
    mean, axes = projection.principal_components(z, projection.COMPONENTS, SEED)
    points = (z - mean) @ axes.T
    graph = Graph(points, *nearest(points, points, projection.NEIGHBORS, device))
    draw: dict[str, Work] = {"umap-learn, CPU": lambda: layout(graph, SEED, "cpu", silent)[0]}
    for name, (module, fit) in ON_GPU.items():
        if importlib.util.find_spec(module.partition(".")[0]):
            draw[name] = partial(_by_library, fit, module, graph, device)
    what = f"UMAP's layout, generated, {images:,} × {dimensions}"
    taken = alternated({name: partial(_itself, work) for name, work in draw.items()}, rounds=1, apart=False)
    rows = [row for row in [missing({name: module.partition(".")[0] for name, (module, _) in ON_GPU.items()})] if row]
    return rows + compared(what, taken, "umap-learn, CPU") + _trusted(what, z, taken)


def _by_library(fit: Callable[..., tuple[Any, str]], module: str, graph: Graph, device: str) -> np.ndarray:
    return np.asarray(fit(importlib.import_module(module), graph, SEED, device)[0])


def _itself(work: Work) -> Work:
    return work


# ---- alternatives ---------------------------------------------------------------------------------------------------


def _ours(z: np.ndarray) -> np.ndarray:
    labels = np.zeros(len(z), np.int64)
    train, test = Embeddings(z, labels, labels), Embeddings(z[:0], labels[:0], labels[:0])
    return projection.fit(train, test, ProjectionSpec("", len(z), SEED)).train


def _umap(seed: int | None, z: np.ndarray) -> np.ndarray:
    import umap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about threads, which the name of the alternative says
        return np.asarray(umap.UMAP(random_state=seed).fit_transform(z))


def _pacmap(z: np.ndarray) -> np.ndarray:
    return np.asarray(importlib.import_module("pacmap").PaCMAP(random_state=SEED).fit_transform(z))


RIVALS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    OURS: _ours,
    "umap-learn, no seed": partial(_umap, None),
    "umap-learn, a seed": partial(_umap, SEED),
    "PaCMAP": _pacmap,
}


def _compared(
    title: str, z: np.ndarray, rivals: dict[str, Callable[[np.ndarray], np.ndarray]], folder: Path
) -> list[dict[str, Any]]:
    np.save(folder / "z.npy", z)
    what = f"embedding map, {title}"
    taken = alternated({name: partial(_prepared, work, folder / "z.npy") for name, work in rivals.items()}, rounds=1)
    rows = compared(what, taken, OURS)
    rows[0]["target"] = MOST_SECONDS
    return rows + _trusted(what, z, taken)


def _prepared(work: Callable[[np.ndarray], np.ndarray], path: Path) -> Work:
    """The work on the embedding, after it has run on few points: it has compiled and loaded what it needs."""
    z = np.load(path)
    with compiled.cache():
        work(z[:FEW])
    return partial(work, z)


def _trusted(what: str, z: np.ndarray, taken: dict[str, Taken]) -> list[dict[str, Any]]:
    step = f"{what}: trustworthiness"
    judged = np.random.default_rng(SEED).permutation(len(z))[: projection.JUDGED]
    rows = []
    for who, of in taken.items():
        value = trustworthiness(Placed(z, np.asarray(of.result, dtype=np.float32)), judged)
        about = {"what": f"{step}: {who}", "step": step, "who": who, "unit": "0 to 1", "better": "higher", "runs": 1}
        rows.append(about | {"median": round(value, 4)})
    return rows
