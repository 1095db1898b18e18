"""Who draws the map. The GPU libraries are stand-ins here that take the arguments of the real ones (cuML 26.08, TorchDR
0.5); TorchDR itself is tried on the CPU where it is installed."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from kmex_core.analysis import layout
from kmex_core.analysis.layout import Graph
from kmex_core.analysis.neighbours import nearest
from kmex_core.analysis.trustworthiness import Placed, trustworthiness
from kmex_core.base.progress import Event, silent

CALLS: list[dict[str, Any]] = []


class CumlUMAP:
    """The arguments of `cuml.manifold.UMAP`."""

    def __init__(
        self,
        *,
        n_neighbors: int = 15,
        n_components: int = 2,
        metric: str = "euclidean",
        n_epochs: int | None = None,
        learning_rate: float = 1.0,
        min_dist: float = 0.1,
        spread: float = 1.0,
        init: str = "spectral",
        random_state: int | None = None,
        precomputed_knn: tuple[np.ndarray, np.ndarray] | None = None,
        build_algo: str = "auto",
        verbose: bool = False,
        output_type: str | None = None,
    ) -> None:
        CALLS.append({**locals(), "library": "cuML"})

    def fit_transform(self, X: np.ndarray, y: None = None, *, convert_dtype: bool = True) -> np.ndarray:
        return X[:, :2].astype(np.float64)


class TorchdrUMAP:
    """The arguments of `torchdr.UMAP`."""

    def __init__(
        self,
        n_neighbors: int = 30,
        n_components: int = 2,
        min_dist: float = 0.1,
        spread: float = 1.0,
        lr: float = 1.0,
        init: str = "pca",
        max_iter: int = 1000,
        device: str = "auto",
        backend: str | None = "faiss",
        verbose: bool = False,
        random_state: float | None = None,
        metric: str = "sqeuclidean",
    ) -> None:
        CALLS.append({**locals(), "library": "TorchDR"})

    def fit_transform(self, X: np.ndarray, y: None = None) -> np.ndarray:
        return X[:, 1:3]


class _Broken(CumlUMAP):
    def fit_transform(self, X: np.ndarray, y: None = None, *, convert_dtype: bool = True) -> np.ndarray:
        raise MemoryError("std::bad_alloc: out_of_memory\nat line 7")


def graph_of(count: int) -> Graph:
    points = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    points[:, 0] += 6 * (np.arange(count) % 3)
    return Graph(points, *nearest(points, points, 15))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes libraries importable whose UMAP is a given class."""
    CALLS.clear()
    monkeypatch.setattr(layout, "FEWEST_ON_GPU", 100)
    real = importlib.util.find_spec

    def install(**classes: type) -> None:
        names = {"cuml": "cuml.manifold", "torchdr": "torchdr"}
        for name in names:
            monkeypatch.delitem(sys.modules, name, raising=False)
        for name, umap in classes.items():
            for module in {name, names[name]}:
                fake: Any = ModuleType(module)
                fake.__version__, fake.UMAP = "26.8", umap
                monkeypatch.setitem(sys.modules, module, fake)
        monkeypatch.setattr(
            "importlib.util.find_spec",
            lambda name: (name in classes or None) if name in names else real(name),  # a spec's worth: not None
        )

    return install


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """umap-learn's part by a stand-in, where it is not what is tested."""
    monkeypatch.setattr(layout, "_umap_learn", lambda graph, seed, progress: (graph.points[:, 2:4], "0.5"))


def test_cuml_draws_the_map_from_the_exact_neighbours(installed: Any) -> None:
    installed(cuml=CumlUMAP, torchdr=TorchdrUMAP)
    graph = graph_of(120)
    places, made_by = layout.layout(graph, 7, "cuda", silent)
    assert made_by == "cuML 26.8"
    np.testing.assert_array_equal(places, graph.points[:, :2])
    assert places.dtype == np.float32
    (call,) = CALLS
    assert call["precomputed_knn"] == (graph.index, graph.distance)
    assert (call["n_neighbors"], call["min_dist"], call["n_epochs"], call["random_state"]) == (15, 0.5, 200, 7)


def test_torchdr_draws_it_where_there_is_no_cuml(installed: Any) -> None:
    installed(torchdr=TorchdrUMAP)
    graph = graph_of(120)
    places, made_by = layout.layout(graph, 7, "cuda:1", silent)
    assert made_by == "TorchDR 26.8"
    np.testing.assert_array_equal(places, graph.points[:, 1:3])
    (call,) = CALLS
    assert (call["n_neighbors"], call["min_dist"], call["max_iter"]) == (15, 0.5, 200)
    assert (call["random_state"], call["device"]) == (7, "cuda:1")


@pytest.mark.parametrize(("device", "count"), [("cpu", 120), ("mps", 120), ("cuda", 99)])
def test_without_a_gpu_or_with_few_points_umap_learn_draws_it(
    installed: Any, plain: None, device: str, count: int
) -> None:
    installed(cuml=CumlUMAP, torchdr=TorchdrUMAP)
    assert layout.layout(graph_of(count), 0, device, silent)[1] == "umap-learn 0.5"
    assert CALLS == []


def test_without_a_gpu_library_umap_learn_draws_it(installed: Any, plain: None) -> None:
    installed()
    assert layout.layout(graph_of(120), 0, "cuda", silent)[1] == "umap-learn 0.5"


def test_a_gpu_library_that_fails_is_named_and_the_next_one_takes_over(installed: Any, plain: None) -> None:
    graph = graph_of(120)
    installed(cuml=_Broken)
    places, made_by = layout.layout(graph, 0, "cuda", silent)
    assert made_by == "umap-learn 0.5; cuML failed: std::bad_alloc: out_of_memory"
    np.testing.assert_array_equal(places, graph.points[:, 2:4])
    installed(cuml=_Broken, torchdr=TorchdrUMAP)
    assert layout.layout(graph, 0, "cuda", silent)[1] == "TorchDR 26.8; cuML failed: std::bad_alloc: out_of_memory"


def test_points_without_neighbours_are_in_the_middle(plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.array([[0, 0], [np.nan, np.nan], [2, 4]])
    monkeypatch.setattr(layout, "_umap_learn", lambda graph, seed, progress: (drawn, "0.5"))
    places, _ = layout.layout(graph_of(120), 0, "cpu", silent)
    np.testing.assert_array_equal(places, [[0, 0], [1, 2], [2, 4]])


def test_umap_learn_can_be_cancelled_between_epochs() -> None:
    class Cancelled(Exception):
        pass

    def stop(event: Event) -> None:
        if event.stage == "Fitting UMAP" and event.done > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        layout.layout(graph_of(2000), 0, "cpu", stop)


@pytest.mark.skipif(importlib.util.find_spec("torchdr") is None, reason="TorchDR is not installed")
def test_torchdr_itself_takes_these_arguments_and_keeps_neighbours() -> None:
    torchdr: Any = importlib.import_module("torchdr")
    graph = graph_of(300)
    places, _ = layout._torchdr(torchdr, graph, 0, "cpu")
    again, _ = layout._torchdr(torchdr, graph, 0, "cpu")
    np.testing.assert_array_equal(places, again)
    assert trustworthiness(Placed(graph.points, places), np.arange(300)) > 0.85
