"""The only caches of the dashboard: pipeline functions, keyed by what made their results."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import streamlit as st

from app.access import check_model
from kmex_core.analysis import coverage as attributes
from kmex_core.analysis.coverage import Coverage, Curves
from kmex_core.base import cores
from kmex_core.base.devices import checked_device
from kmex_core.base.results import (
    OWN,
    Conversion,
    Embeddings,
    Evaluation,
    Explanation,
    MapScores,
    ModelInfo,
    BuiltInDetails,
    PatchConversion,
    Projection,
    RelevanceMaps,
    Summary,
)
from kmex_core.base.specs import MapScoresSpec, PrototypeSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.data.pictures import Picture, read_picture
from kmex_core.metrics.catalogue import METRICS
from kmex_core.models import catalogue as kept
from kmex_core.models.catalogue import network_input
from kmex_core.stages import pipeline, scores

if TYPE_CHECKING:
    import pandas as pd

    from kmex_core.models.kmex import KMEx

log = logging.getLogger("kmex")
_DATA = "_data"  # in the session
T = TypeVar("T")


class _Unreadable(LookupError):
    """A file of the store is damaged. It is raised, since Streamlit would remember None when the file is made again."""


@st.cache_resource
def store() -> Store:
    """The store on disk."""
    return Store()


def _stored(room: str, key: str, read: Callable[[str], T]) -> T | None:
    """What the store has under a key, as the cached function `read` finds it; None when it is missing or damaged."""
    with contextlib.suppress(_Unreadable):
        return read(key) if store().path(room, key).is_file() else None
    return None


def _readable(found: T | None, key: str) -> T:
    if found is None:
        raise _Unreadable(key)
    return found


def models() -> list[ModelInfo]:
    """All models that can be read, those of the embedded demo first."""
    return models_and_damaged()[0]


def models_and_damaged() -> tuple[list[ModelInfo], list[str]]:
    """`models`, and a message for each that cannot be read."""
    found, damaged = kept.list_models(store())
    for message in damaged:
        _log(message)
    return sorted(found, key=lambda info: (not info.embedded, info.name)), damaged


@st.cache_resource(max_entries=1000, show_spinner=False)
def _log(message: str) -> None:  # once, however often models are listed
    log.warning("%s", message)


def dataset(info: ModelInfo) -> datasets.ImageDataset:
    """The data set of a model as its files are; the same one until `look_again`, so a page shows one state of them.

    Raises:
        InputError: when pages may not open it; see `pipeline.dataset_of`.
    """
    check_model(info)
    held: dict[tuple[object, ...], datasets.ImageDataset] = st.session_state.setdefault(_DATA, {})
    key = info.dataset, info.root, info.image_size, info.class_column, info.skip_broken, info.class_names
    if key not in held:
        with st.spinner("Opening the data set …"):
            held[key] = pipeline.dataset_of(info)
    return held[key]


def look_again() -> None:
    """Take data sets as their files are now: for the beginning of a page's run."""
    st.session_state.pop(_DATA, None)


def data_warnings(info: ModelInfo) -> list[str]:
    """Why a model's numbers may mislead, in sentences; what else there is to know of its data are its notes."""
    return pipeline.data_warnings(info, dataset(info))


def is_embedded(info: ModelInfo) -> bool:
    """Whether the model's embeddings lie in the store."""
    return pipeline.is_embedded(store(), info, dataset(info))


def embedding_key(info: ModelInfo) -> str:
    """What names the embedding of a model's training images."""
    return pipeline.embedding_spec(store(), info, dataset(info), "train").key


def embeddings(info: ModelInfo, split: str) -> Embeddings:
    """A split's embedding; large, so that all sessions share it."""
    return _embeddings(pipeline.embedding_spec(store(), info, dataset(info), split).key, split, info)


@st.cache_resource(max_entries=6, show_spinner=False)
def _embeddings(key: str, split: str, _info: ModelInfo) -> Embeddings:
    return pipeline.embeddings(store(), _info, dataset(_info), split)


def conversion_spec(info: ModelInfo, k: int, seed: int) -> PrototypeSpec:
    """What names a conversion."""
    return pipeline.conversion_spec(store(), info, dataset(info), k, seed)


def conversion(info: ModelInfo, k: int, seed: int) -> Conversion:
    """A conversion: from memory, from the store, or made now."""
    return _conversion(conversion_spec(info, k, seed), info)


@st.cache_resource(max_entries=200, show_spinner="Finding prototypes …")
def _conversion(spec: PrototypeSpec, _info: ModelInfo) -> Conversion:
    found = pipeline.stored_conversion(store(), spec.key)
    if found is not None:
        return found
    return pipeline.convert(
        store(), _info, dataset(_info), spec.k, spec.seed, embedded=lambda split: embeddings(_info, split)
    )


def summary(info: ModelInfo, k: int, seed: int) -> Summary | None:
    """The summary of a conversion that lies in the store, else None."""
    return _summary(conversion_spec(info, k, seed))


def _summary(spec: PrototypeSpec) -> Summary | None:
    known = _summaries()
    if spec not in known and (found := pipeline.stored_summary(store(), spec)) is not None:
        known[spec] = found
    return known.get(spec)


@st.cache_resource
def _summaries() -> dict[PrototypeSpec, Summary]:
    return {}  # filled as a background job writes them, so that what is missing is never remembered


def similarities(info: ModelInfo, k: int, seed: int, split: str, index: int) -> np.ndarray:
    """(K,) similarities of an image of the data set to all prototypes."""
    made = conversion(info, k, seed)
    spec, z = conversion_spec(info, k, seed), embeddings(info, split).z[index : index + 1]
    head = _black_box(info.name, kept.weights_key(store(), info.name)).head if k == OWN else None
    return pipeline.similarities(made, spec, z, head)[0]


def attracted(info: ModelInfo, k: int, seed: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """The training images that a prototype attracts, of its own class and of others, nearest first."""
    return _attracted(conversion_spec(info, k, seed), p, info)


@st.cache_data(max_entries=200, show_spinner=False)
def _attracted(spec: PrototypeSpec, p: int, _info: ModelInfo) -> tuple[np.ndarray, np.ndarray]:
    from kmex_core.models.builtin import built_in_distance
    from kmex_core.prototypes.fit import attracted as found

    prototypes = conversion(_info, spec.k, spec.seed).prototypes
    if spec.k != OWN:
        return found(embeddings(_info, "train"), prototypes, p)
    head = _black_box(_info.name, kept.weights_key(store(), _info.name)).head
    device = next(head.parameters()).device
    return found(embeddings(_info, "train"), prototypes, p, lambda z: built_in_distance(head, z.to(device)).cpu())


def patch_key(info: ModelInfo, k: int, seed: int) -> str:
    """What names the patch prototypes of a model."""
    return pipeline.patch_spec(store(), info, dataset(info), k, seed).key


def patches(info: ModelInfo, k: int, seed: int) -> PatchConversion | None:
    """The patch prototypes of a model, None when they were not found yet."""
    return _stored("patches", patch_key(info, k, seed), _patches)


@st.cache_resource(max_entries=20, show_spinner=False)
def _patches(key: str) -> PatchConversion:
    return _readable(pipeline.stored_patches(store(), key), key)


def coverage(info: ModelInfo, k: int, seed: int) -> Coverage:
    """What the prototypes cover of the data set's attributes."""
    return _coverage(conversion_spec(info, k, seed), info)


@st.cache_resource(max_entries=40, show_spinner=False)
def _coverage(spec: PrototypeSpec, _info: ModelInfo) -> Coverage:
    prototypes = conversion(_info, spec.k, spec.seed).prototypes
    return attributes.coverage(dataset(_info).split("train"), prototypes)


@st.cache_data(max_entries=20, show_spinner=False)
def _accuracy_table(spec: PrototypeSpec, black_box: bool, _info: ModelInfo) -> pd.DataFrame:
    made = conversion(_info, spec.k, spec.seed)
    return attributes.accuracy_table(dataset(_info).split("test"), made, black_box)


def accuracy_table(info: ModelInfo, k: int, seed: int) -> pd.DataFrame:
    """How often predictions are right for each attribute's test images, the worst first."""
    return _accuracy_table(conversion_spec(info, k, seed), k != OWN, info)


def attribute_curves(info: ModelInfo, ks: Sequence[int], seeds: Sequence[int]) -> Curves | None:
    """What each number of prototypes per class covers, of those that were found with every seed; None for none."""
    one = conversion_spec(info, ks[0], 0)  # reads the model's file, which is not worth doing for each
    of_each = [[replace(one, k=k, seed=seed) for seed in seeds] for k in ks]
    there = [of_k for of_k in of_each if all(_summary(spec) is not None for spec in of_k)]
    specs = tuple(spec for of_k in there for spec in of_k)
    return _attribute_curves(specs, info) if specs else None


@st.cache_resource(max_entries=40, show_spinner="Reading what was found …")
def _attribute_curves(specs: tuple[PrototypeSpec, ...], _info: ModelInfo) -> Curves:
    ks, seeds = (sorted({getattr(spec, name) for spec in specs}) for name in ("k", "seed"))
    return pipeline.attribute_curves(
        store(), _info, dataset(_info), ks, seeds, embedded=lambda split: embeddings(_info, split)
    )


def built_in_attribute_curves(infos: list[ModelInfo]) -> Curves:
    """What the prototypes of models that were trained alike cover, see `results.trained_alike`."""
    return _own_attribute_curves(tuple(conversion_spec(info, OWN, 0) for info in infos), infos)


@st.cache_resource(max_entries=40, show_spinner="Reading what was found …")
def _own_attribute_curves(specs: tuple[PrototypeSpec, ...], _infos: list[ModelInfo]) -> Curves:
    return pipeline.built_in_attribute_curves(store(), _infos, dataset(_infos[0]))


def built_in_details(info: ModelInfo) -> BuiltInDetails:
    """What a prototypical model can say of its own prototypes."""
    return _own_details(info.name, kept.weights_key(store(), info.name))


@st.cache_data(max_entries=20, show_spinner=False)
def _own_details(name: str, weights: str) -> BuiltInDetails:
    from kmex_core.models.builtin import built_in_details as found

    return found(_black_box(name, weights).model)


def projection_key(info: ModelInfo) -> str:
    """What names the map of a model's embedding."""
    return pipeline.projection_spec(store(), info, dataset(info)).key


def projection(info: ModelInfo) -> Projection | None:
    """The map of a model's embedding, None when it was not drawn yet."""
    return _stored("projections", projection_key(info), _projection)


@st.cache_resource(max_entries=6, show_spinner="Reading the map …")
def _projection(key: str) -> Projection:
    return _readable(pipeline.stored_projection(store(), key), key)


def prototype_places(info: ModelInfo, k: int, seed: int) -> np.ndarray:
    """(K, 2) where the prototypes lie on the map, which must have been drawn."""
    return _prototype_places(conversion_spec(info, k, seed), projection_key(info), info)


@st.cache_data(max_entries=100, show_spinner=False)
def _prototype_places(spec: PrototypeSpec, key: str, _info: ModelInfo) -> np.ndarray:
    from kmex_core.analysis.projection import place

    return place(_projection(key), conversion(_info, spec.k, spec.seed).prototypes.centers)


def picture(digest: str, content: bytes, name: str) -> Picture:
    """The picture in a file that was uploaded, decoded once for all runs of its page.

    Args:
        digest: of its content.
        content: its bytes.
        name: what to call it in messages.

    Raises:
        InputError: see `images.read_picture`.
    """
    return _picture(digest, content, name)


@st.cache_resource(max_entries=4, show_spinner="Reading the picture …")
def _picture(digest: str, _content: bytes, _name: str) -> Picture:
    return read_picture(_content, _name)


@st.cache_resource(max_entries=3, show_spinner="Loading the network …")
def _black_box(name: str, weights: str) -> kept.BlackBox:
    return kept.load(store(), name, checked_device())


def _kmex(info: ModelInfo, spec: PrototypeSpec) -> KMEx:
    black_box = _black_box(info.name, kept.weights_key(store(), info.name))
    return pipeline.kmex(black_box, conversion(info, spec.k, spec.seed), spec)


def explanation(info: ModelInfo, k: int, seed: int, picture: str, pixels: np.ndarray, top: int) -> Explanation:
    """Why a picture is classified as it is.

    Args:
        info, k, seed: the KMEx.
        picture: what names the picture (a digest, or a place in a data set).
        pixels: the picture, (H, W) or (H, W, 3) uint8.
        top: how many prototypes get a map.
    """
    return _explanation(conversion_spec(info, k, seed), picture, top, info, pixels)


@st.cache_data(max_entries=64, show_spinner="Tracing the similarities back to the pixels …")
def _explanation(spec: PrototypeSpec, picture: str, top: int, _info: ModelInfo, _pixels: np.ndarray) -> Explanation:
    with cores.shared():
        return _kmex(_info, spec).explain(network_input(_info, _pixels), top=top)


def prototype_maps(info: ModelInfo, k: int, seed: int, prototypes: Sequence[int]) -> RelevanceMaps:
    """The relevance map of each prototype on its own picture."""
    return _prototype_maps(conversion_spec(info, k, seed), tuple(int(p) for p in prototypes), info)


@st.cache_data(max_entries=64, show_spinner=False)
def _prototype_maps(spec: PrototypeSpec, prototypes: tuple[int, ...], _info: ModelInfo) -> RelevanceMaps:
    import torch

    pictures = conversion(_info, spec.k, spec.seed).prototypes.picture
    train = dataset(_info).split("train")
    inputs = torch.cat([network_input(_info, train.image(int(pictures[p]))) for p in prototypes])
    with cores.shared():
        return _kmex(_info, spec).maps(inputs, prototypes)


def class_maps(info: ModelInfo, k: int, seed: int, images: Sequence[int]) -> tuple[RelevanceMaps, RelevanceMaps]:
    """Maps of the class that the black box predicts for some test images: by KMEx, and by the black box."""
    return _class_maps(conversion_spec(info, k, seed), tuple(int(image) for image in images), info)


@st.cache_data(max_entries=64, show_spinner="Drawing maps …")
def _class_maps(spec: PrototypeSpec, images: tuple[int, ...], _info: ModelInfo) -> tuple[RelevanceMaps, RelevanceMaps]:
    import torch

    test = dataset(_info).split("test")
    predicted = conversion(_info, spec.k, spec.seed).test_black_box
    inputs = torch.cat([network_input(_info, test.image(image)) for image in images])
    with cores.shared():
        return _kmex(_info, spec).class_maps(inputs, [int(predicted[image]) for image in images])


def map_scores_spec(info: ModelInfo, k: int, seed: int, images: int) -> MapScoresSpec:
    """What names the metrics on maps of a conversion."""
    return scores.map_scores_spec(store(), info, dataset(info), k, seed, images)


def map_scores(info: ModelInfo, k: int, seed: int, images: int) -> MapScores | None:
    """The metrics on maps image by image, None when they were not measured yet."""
    return _stored("evaluations", map_scores_spec(info, k, seed, images).key, _map_scores)


@st.cache_resource(max_entries=40, show_spinner=False)
def _map_scores(key: str) -> MapScores:
    return _readable(scores.stored_map_scores(store(), key), key)


def why_no_maps(info: ModelInfo, k: int, seed: int) -> str:
    """Why there cannot be maps, "" when there can."""
    return _why_no_maps(conversion_spec(info, k, seed), info)


@st.cache_data(max_entries=200, show_spinner=False)
def _why_no_maps(spec: PrototypeSpec, _info: ModelInfo) -> str:
    from kmex_core.metrics.on_maps import why_no_maps as why

    found = why(_kmex(_info, spec), (3, _info.image_size, _info.image_size))
    return "" if found is None else found.reason


def reference(info: ModelInfo) -> str:
    """The black box whose maps a prototypical model's own are compared with, "" for none."""
    found = scores.reference_of(store(), info)
    return found.name if found else ""


def evaluation(info: ModelInfo, k: int, seeds: Sequence[int], images: int) -> Evaluation:
    """All metrics, one run for each seed; those on maps only when they were measured in each."""
    there = all(map_scores(info, k, seed, images) is not None for seed in seeds)
    specs = tuple(map_scores_spec(info, k, seed, images) for seed in seeds)
    return _evaluation(specs, there, k, info.name, reference(info) if k == OWN else "", info)


@st.cache_data(max_entries=100, show_spinner="Measuring …")
def _evaluation(
    specs: tuple[MapScoresSpec, ...], maps: bool, k: int, name: str, reference: str, _info: ModelInfo
) -> Evaluation:
    names = [name for name, kind in METRICS.items() if maps or not kind.maps]
    seeds, images = [spec.seed for spec in specs], specs[0].images
    return scores.evaluate(
        store(), [_info], dataset(_info), k, seeds, images, names, embedded=lambda split: embeddings(_info, split)
    )
