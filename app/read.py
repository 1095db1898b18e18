"""The only caches of the dashboard: what subjects and their artifacts give, keyed by what made it."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import streamlit as st

from app.access import check_model
from app.selection import SWEEP_SEEDS, Selection
from kmex_core.analysis import coverage as attributes
from kmex_core.analysis.coverage import Coverage, Curves
from kmex_core.base import cores
from kmex_core.base.artifact import Artifact
from kmex_core.base.store import Store
from kmex_core.data.dataset import ImageDataset
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.stability import Stability
from kmex_core.metrics.types import Evaluation, MapScores
from kmex_core.models import catalogue
from kmex_core.models.catalogue import BlackBox, network_input
from kmex_core.models.info import BuiltInDetails, ModelInfo, in_display_order
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.source import KMeans
from kmex_core.prototypes.suggestion import Evidence
from kmex_core.prototypes.sweep import Sweep
from kmex_core.prototypes.types import ConceptMap, Conversion, Summary
from kmex_core.relevance.catalogue import MapKind
from kmex_core.relevance.types import RelevanceMaps
from kmex_core.reproduction.report_json import reports
from kmex_core.reproduction.types import Report
from kmex_core.stages.bound import Reader
from kmex_core.stages.conversion import ModelConversion
from kmex_core.stages.curves import attribute_curves as curves_over_k
from kmex_core.stages.curves import built_in_attribute_curves
from kmex_core.stages.embedding import SplitEmbedding
from kmex_core.stages.embedding_map import EmbeddingMap
from kmex_core.stages.evaluation import evaluate
from kmex_core.stages.geometry import ModelGeometry
from kmex_core.stages.map_checks import ModelMapChecks
from kmex_core.stages.patches import ModelPatches
from kmex_core.stages.relevance_scores import RelevanceScores
from kmex_core.stages.stability import SEEDS
from kmex_core.stages.stability import stability as stability_over_seeds
from kmex_core.stages.subject import Subject, dataset_of
from kmex_core.stages.suggestion import ModelSuggestion
from kmex_core.stages.sweep import ModelSweep

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("kmex")
_SUBJECTS = "_subjects"  # in the session
# how many results of a kind are held at most by all sessions together; no spinner: routes read them, too
HELD: dict[type[Artifact[Any, Any]], int] = {
    SplitEmbedding: 6,
    ModelConversion: 200,
    ModelSweep: 20,
    ModelSuggestion: 20,
    ModelPatches: 20,
    ModelGeometry: 20,
    EmbeddingMap: 6,
    RelevanceScores: 40,
    ModelMapChecks: 20,
}
ResultT = TypeVar("ResultT")


class _Missing(LookupError):
    """The store lacks a result. It is raised, since Streamlit would remember None when the result is made later."""


@functools.cache
def _cached(kind: type[Artifact[Any, Any]]) -> Callable[[str, Artifact[Any, Any], bool], Any]:

    def read(key: str, _artifact: Artifact[Any, Any], _make: bool) -> Any:
        result = _artifact.get() if _make else _artifact.peek()
        if result is None:
            raise _Missing(key)
        return result

    read.__qualname__ = f"read_{kind.__name__}"  # by which Streamlit tells caches apart
    cached: Callable[[str, Artifact[Any, Any], bool], Any] = st.cache_resource(
        max_entries=HELD[kind], show_spinner=False
    )(read)
    return cached


def result(artifact: Artifact[Any, ResultT]) -> ResultT:
    """A result from memory, from the store, or made now."""
    read: ResultT = _cached(type(artifact))(artifact.key, artifact, True)
    return read


def peek(artifact: Artifact[Any, ResultT]) -> ResultT | None:
    """A result that was made before; None when the store lacks it, or when it is damaged."""
    if artifact.exists():
        with contextlib.suppress(_Missing):
            read: ResultT = _cached(type(artifact))(artifact.key, artifact, False)
            return read
    return None


class Shared(Reader):
    """What all sessions share."""

    def result(self, artifact: Artifact[Any, ResultT]) -> ResultT:
        return result(artifact)

    def network(self, store: Store, name: str, device: str) -> BlackBox:
        return _network(name, catalogue.weights_key(store, name), device)


@st.cache_resource(max_entries=3, show_spinner=False)
def _network(name: str, weights: str, device: str) -> BlackBox:
    return catalogue.load(store(), name, device)


@st.cache_resource
def store() -> Store:
    """The store on disk."""
    return Store()


def models() -> list[ModelInfo]:
    """All models that can be read, those of the embedded demo first."""
    return models_and_damaged()[0]


def models_and_damaged() -> tuple[list[ModelInfo], list[str]]:
    """`models`, and a message for each that cannot be read."""
    infos, damaged = catalogue.list_models(store())
    for message in damaged:
        _log(message)
    return in_display_order(infos), damaged


@st.cache_resource(max_entries=1000, show_spinner=False)
def _log(message: str) -> None:  # once, however often models are in_display_order
    log.warning("%s", message)


def subject(info: ModelInfo) -> Subject:
    """A model with its data as its files are; the same until `look_again`, so a page shows one state of them.

    Raises:
        InputError: when pages may not open the data set; see `dataset_of`.
    """
    check_model(info)
    subjects: dict[tuple[object, ...], Subject] = st.session_state.setdefault(_SUBJECTS, {})
    key = _subject_key(info)
    if key not in subjects:
        with st.spinner("Opening the data set …"):
            subjects[key] = Subject(store(), info, dataset_of(info), reader=Shared())
    return subjects[key]


def _subject_key(info: ModelInfo) -> tuple[object, ...]:
    data = info.dataset, info.root, info.image_size, info.class_column, info.image_column, info.skip_broken
    return info.name, *data, info.class_names


def is_opened(info: ModelInfo) -> bool:
    """Whether this run of the page has opened the model's data, see `subject`."""
    return _subject_key(info) in st.session_state.get(_SUBJECTS, {})


def look_again() -> None:
    """Take models and data sets as their files are now: for the beginning of a page's run."""
    st.session_state.pop(_SUBJECTS, None)


def dataset(info: ModelInfo) -> ImageDataset:
    """The data set of a model, see `subject`."""
    return subject(info).data


def conversion_of(chosen: Selection) -> ModelConversion:
    """What names, reads and makes the prototypes that are looked at."""
    return subject(chosen.model).conversion(chosen.source)


def conversion(chosen: Selection) -> Conversion:
    """The prototypes that are looked at: from memory, from the store, or made now."""
    return result(conversion_of(chosen))


def embeddings(info: ModelInfo, split: str) -> Embeddings:
    """A split's embedding."""
    return result(subject(info).embedding(split))


def summary(chosen: Selection) -> Summary | None:
    """The summary of a conversion that the store has, else None."""
    artifact, known = conversion_of(chosen), _summaries()
    if artifact.key not in known and (stored := artifact.summary()) is not None:
        known[artifact.key] = stored
    return known.get(artifact.key)


@st.cache_resource
def _summaries() -> dict[str, Summary]:
    return {}  # filled as a background job writes them, so that what is missing is never remembered


def sweeps(chosen: Selection) -> dict[int, Sweep]:
    """KMEx for every number of prototypes per class, by seed, as far as the store has them."""
    artifacts = {seed: subject(chosen.model).sweep(chosen.kmeans.seeded(seed)) for seed in SWEEP_SEEDS}
    found = {seed: peek(artifact) for seed, artifact in artifacts.items()}
    return {seed: sweep for seed, sweep in found.items() if sweep is not None}


def suggestion(chosen: Selection) -> Evidence | None:
    """How many prototypes each class needs, if the store has it."""
    return peek(subject(chosen.model).suggestion(chosen.kmeans.metric))


def scores(chosen: Selection, images: int, seed: int = 0, maps: MapKind | None = None) -> MapScores | None:
    """The metrics on relevance maps image by image, None when they were not measured yet."""
    return peek(subject(chosen.model).relevance_scores(chosen.source.seeded(seed), images, seed, maps))


# ---- what is computed from results ----------------------------------------------------------------------------------

# what names a selection and a model in the keys of the caches below; models of equal weights have equal keys
NAMES: dict[str | type[Any], Callable[[Any], Any]] = {
    Selection: lambda chosen: (chosen.model.name, conversion_of(chosen).key),
    ModelInfo: lambda info: (info.name, subject(info).key),
    RelevanceMaps: lambda maps: (maps.method, maps.target, maps.rivals.tolist(), maps.values.tobytes()),
}


@st.cache_data(max_entries=200, show_spinner=False, hash_funcs=NAMES)
def attracted(chosen: Selection, p: int) -> tuple[np.ndarray, np.ndarray]:
    """The training images that a prototype attracts, of its own class and of others, nearest first."""
    from kmex_core.prototypes.fit import attracted as attracted_images

    module = subject(chosen.model).explainer(chosen.source)
    device = module.prototypes.device
    return attracted_images(
        embeddings(chosen.model, "train"),
        conversion(chosen).prototypes,
        p,
        lambda z: module.distance(z.to(device)).detach().cpu(),
    )


@st.cache_resource(max_entries=40, show_spinner=False, hash_funcs=NAMES)
def coverage(chosen: Selection) -> Coverage:
    """What the prototypes cover of the data set's attributes."""
    return attributes.coverage(dataset(chosen.model).split("train"), conversion(chosen).prototypes)


@st.cache_data(max_entries=20, show_spinner=False, hash_funcs=NAMES)
def accuracy_table(chosen: Selection) -> pd.DataFrame:
    """How often predictions are right for each attribute's test images, the worst first."""
    from kmex_core.analysis.tables.attributes import accuracy_table

    test = dataset(chosen.model).split("test")
    return accuracy_table(test, conversion(chosen), not chosen.source.built_in)


def attribute_curves(info: ModelInfo, ks: Sequence[int], seeds: Sequence[int], metric: str) -> Curves | None:
    """What each number of prototypes per class covers, of those that were found with every seed; None for none."""
    stored = tuple(
        k for k in ks if all(summary(Selection(info, KMeans(k, seed, metric))) is not None for seed in seeds)
    )
    return _attribute_curves(info, stored, tuple(seeds), metric) if stored else None


@st.cache_resource(max_entries=40, show_spinner="Reading the curves …", hash_funcs=NAMES)
def _attribute_curves(info: ModelInfo, ks: tuple[int, ...], seeds: tuple[int, ...], metric: str) -> Curves:
    return curves_over_k(subject(info), ks, seeds, metric)


@st.cache_resource(max_entries=40, show_spinner="Reading the curves …", hash_funcs=NAMES)
def built_in_curves(infos: Sequence[ModelInfo]) -> Curves:
    """What the prototypes of models that were trained alike cover, see `info.trained_alike`."""
    return built_in_attribute_curves([subject(info) for info in infos])


def stability(chosen: Selection) -> Stability | None:
    """How far KMEx's prototypes move over seeds of k-means; None where a seed's are not stored."""
    of_seeds = [replace(chosen, source=chosen.kmeans.seeded(seed)) for seed in SEEDS]
    return _stability(chosen) if all(summary(each) is not None for each in of_seeds) else None


@st.cache_data(max_entries=100, show_spinner="Comparing seeds …", hash_funcs=NAMES)
def _stability(chosen: Selection) -> Stability:
    return stability_over_seeds(subject(chosen.model), chosen.kmeans)


@st.cache_data(max_entries=200, show_spinner=False, hash_funcs=NAMES)
def exemplars(chosen: Selection, label: int) -> np.ndarray | None:
    """(S, S) the training images nearest to the prototypes of a class, for 1 to S of them; None without a sweep."""
    from kmex_core.prototypes.sweep import class_exemplars

    sweep = peek(subject(chosen.model).sweep(chosen.kmeans.seeded(SWEEP_SEEDS[0])))
    if sweep is None:
        return None
    train = embeddings(chosen.model, "train")
    rows = np.flatnonzero(train.labels == label)
    space = conversion(chosen).metric(train.z[rows])
    found = class_exemplars(space, sweep.cluster[:, rows], sweep.counts[:, label])
    return np.where(found >= 0, rows[found], found)


@st.cache_data(max_entries=20, show_spinner=False, hash_funcs=NAMES)
def built_in_details(info: ModelInfo) -> BuiltInDetails:
    """What a prototypical model can say of its own prototypes."""
    from kmex_core.models.builtin import built_in_details as details

    return details(subject(info).network.model)


@st.cache_data(max_entries=100, show_spinner=False, hash_funcs=NAMES)
def prototype_places(chosen: Selection) -> np.ndarray:
    """(K, 2) where the prototypes are on the embedding map, which must have been drawn."""
    from kmex_core.analysis.projection import place

    projection = result(subject(chosen.model).embedding_map())
    return place(projection, conversion(chosen).embedded)


@st.cache_data(max_entries=64, show_spinner="Computing relevance maps …", hash_funcs=NAMES)
def class_maps(
    chosen: Selection, images: Sequence[int], classes: Sequence[int], maps: MapKind
) -> tuple[RelevanceMaps, RelevanceMaps | None]:
    """Maps of a class for each of some test images: by KMEx, and by the black box if there is one."""
    import torch

    test = dataset(chosen.model).split("test")
    inputs = torch.cat([network_input(chosen.model, test.image(int(image))) for image in images])
    with cores.shared():
        return subject(chosen.model).explainer(chosen.source).class_maps(inputs, classes, maps.method, maps.target)


@st.cache_data(max_entries=100, show_spinner="Looking at the network …", hash_funcs=NAMES)
def why_no_patches(info: ModelInfo, blocks: str) -> str:
    """Why a network has no patches of these blocks, see `types.BLOCKS`; "" when it has."""
    return subject(info).patches(KMeans(1), blocks).why_not()


@st.cache_data(max_entries=64, show_spinner="Computing the concept map …", hash_funcs=NAMES)
def concept_map(chosen: Selection, blocks: str, index: int) -> ConceptMap:
    """The concept map of a test image, by patch prototypes that the store has."""
    artifact, test = subject(chosen.model).patches(chosen.kmeans, blocks), dataset(chosen.model).split("test")
    with cores.shared():
        return artifact.module(result(artifact)).concept_map(network_input(chosen.model, test.image(index)))


@st.cache_data(max_entries=200, show_spinner=False, hash_funcs=NAMES)
def why_no_maps(chosen: Selection, maps: MapKind | None = None) -> str:
    """Why there cannot be relevance maps, "" when there can."""
    why = subject(chosen.model).relevance_scores(chosen.source, maps=maps).why_not()
    return why.reason if why is not None else ""


def reference(info: ModelInfo) -> str:
    """The black box whose maps a prototypical model's own are compared with, "" for none."""
    black_box = subject(info).reference()
    return black_box.name if black_box else ""


def reproductions() -> list[Report]:
    """The reproductions of the paper in the store, the newest first; as they are now, since a command may go on.

    Raises:
        InputError: when there are some, and none of them can be read.
    """
    return reports(store())


def evaluation(chosen: Selection, seeds: Sequence[int], images: int, maps: MapKind | None = None) -> Evaluation:
    """All metrics, one run for each seed; those on maps only when they were measured in each."""
    with_maps = all(scores(chosen, images, seed, maps) is not None for seed in seeds)
    beside = reference(chosen.model) if chosen.source.built_in else ""
    return _evaluation(chosen, tuple(seeds), images, with_maps, beside, maps)


@st.cache_data(max_entries=100, show_spinner="Measuring …", hash_funcs=NAMES)
def _evaluation(
    chosen: Selection, seeds: tuple[int, ...], images: int, with_maps: bool, reference: str, maps: MapKind | None
) -> Evaluation:
    names = [name for name, kind in METRICS.items() if with_maps or not kind.maps]
    return evaluate([subject(chosen.model)], chosen.source, seeds, images, names, maps)
