"""UMAP's layout of a neighbourhood graph: by umap-learn, or on a GPU by cuML or TorchDR where one of them is installed.

Neither is a dependency, and neither is imported where the device is no GPU. UMAP's are McInnes et al. 2018.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kmex_core.base import compiled
from kmex_core.base.progress import Event, Progress

MIN_DIST = 0.5  # with the usual 0.1 well separated classes shrink to dots; trustworthiness falls by 0.001
EPOCHS = 200
FEWEST_ON_GPU = 1000  # with fewer, umap-learn takes seconds


@dataclass(frozen=True, eq=False)
class Graph:
    """What a layout is computed from.

    Attributes:
        points: (n, P) float32.
        index, distance: (n, k), the k nearest of each point, itself first: int64, and float32 ascending.
    """

    points: np.ndarray
    index: np.ndarray
    distance: np.ndarray


def layout(graph: Graph, seed: int, device: str, progress: Progress) -> tuple[np.ndarray, str]:
    """Places on a map, and what computed them.

    Equal seeds give equal places on one machine. A GPU library that fails is named with its error, and umap-learn takes
    over.

    Args:
        graph: at least 5 points.
        seed: of the random numbers.
        device: a torch device.
        progress: called between epochs of umap-learn; it may raise to cancel.

    Returns:
        (n, 2) float32, finite, and the library with its version.
    """
    failed = ""
    if device.startswith("cuda") and len(graph.points) >= FEWEST_ON_GPU:
        for library, (module, draw) in ON_GPU.items():
            if importlib.util.find_spec(module.partition(".")[0]) is None:
                continue
            progress(Event(f"Fitting UMAP by {library}", 0, 0))
            try:
                places, version = draw(importlib.import_module(module), graph, seed, device)
                return _finite(places), f"{library} {version}{failed}"
            except (ImportError, OSError, RuntimeError, MemoryError) as error:  # another CUDA, too little memory
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                failed += f"; {library} failed: {reason}"
    places, version = _umap_learn(graph, seed, progress)
    return _finite(places), f"umap-learn {version}{failed}"


def _finite(places: Any) -> np.ndarray:
    """Places as float32; those of points without any neighbour, which umap-learn leaves out, in the middle."""
    finite = np.array(places, dtype=np.float32)
    lost = ~np.isfinite(finite).all(1)
    finite[lost] = finite[~lost].mean(0)
    return finite


# ---- umap-learn -----------------------------------------------------------------------------------------------------


class _Epochs(io.StringIO):
    """Turns the progress bar that umap-learn prints into calls of `progress`."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def write(self, text: str) -> int:
        if match := re.search(r"(\d+)/(\d+)", text):
            self._progress(Event("Fitting UMAP", int(match[1]), int(match[2])))
        return len(text)


def _umap_learn(graph: Graph, seed: int, progress: Progress) -> tuple[Any, str]:
    progress(Event("Loading UMAP (the first time it is compiled, up to a minute)", 0, 0))
    with compiled.cache():
        import umap

        model = umap.UMAP(
            n_neighbors=graph.index.shape[1],
            min_dist=MIN_DIST,
            n_epochs=EPOCHS,
            init="pca",
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(graph.index, graph.distance),
            verbose=True,
            tqdm_kwds={"file": _Epochs(progress), "mininterval": 0.3},
        )
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            # with a seed and neighbours given, it says what we know: one thread, no transform, a graph in several parts
            warnings.filterwarnings("ignore", module="umap|sklearn")
            return model.fit_transform(graph.points), str(umap.__version__)


# ---- on a GPU -------------------------------------------------------------------------------------------------------


def _cuml(module: Any, graph: Graph, seed: int, device: str) -> tuple[Any, str]:
    model = module.UMAP(
        n_neighbors=graph.index.shape[1],
        min_dist=MIN_DIST,
        n_epochs=EPOCHS,
        random_state=seed,
        precomputed_knn=(graph.index, graph.distance),
        output_type="numpy",
    )
    return model.fit_transform(graph.points), str(importlib.import_module("cuml").__version__)


def _torchdr(module: Any, graph: Graph, seed: int, device: str) -> tuple[Any, str]:
    """It searches neighbours itself, exactly: by FAISS where installed, else by all distances at once."""
    model = module.UMAP(
        n_neighbors=graph.index.shape[1],
        min_dist=MIN_DIST,
        max_iter=EPOCHS,
        init="pca",
        device=device,
        backend="faiss" if importlib.util.find_spec("faiss") else None,
        random_state=seed,
    )
    return model.fit_transform(graph.points), str(module.__version__)


ON_GPU: dict[str, tuple[str, Callable[[Any, Graph, int, str], tuple[Any, str]]]] = {
    "cuML": ("cuml.manifold", _cuml),
    "TorchDR": ("torchdr", _torchdr),
}
