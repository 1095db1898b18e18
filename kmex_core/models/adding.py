"""From Python to the pages: a KMEx's network, and its images where they are not there yet."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.base.provenance import versions
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store, checked_name, demand_writable
from kmex_core.data import registry, uploads
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.display import png
from kmex_core.data.network_input import normalise, pictures_of
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.data.written import encoded_images, place_of, written
from kmex_core.models import catalogue
from kmex_core.models.from_python import Origin
from kmex_core.models.info import AT_CHANCE, RANDOM, TEST_IS_TRAINING, ModelInfo
from kmex_core.networks import passes, recognised, splitting, trust
from kmex_core.networks.heads import has_scores
from kmex_core.networks.loaders import Batches
from kmex_core.networks.recognised import Recognised

EXAMPLES = 3
CLOSE, ROUGH = 1e-3, 1e-2  # of the largest value of an embedding; where values were rounded to 8 bits
WHOLE = 0.02  # levels: how far from whole ones floats of 8-bit pictures are


class Added(Protocol):
    """What is needed of a `KMEx`."""

    encoder: nn.Module
    head: nn.Module
    class_names: tuple[str, ...]
    made_by: dict[str, object]


def add(store: Store, kmex: Added, origin: Origin, name: str, overwrite: bool, source: str | None) -> ModelInfo:
    """See `KMEx.add_to_store`."""
    name = checked_name(name)
    network, preprocessing = _checked(origin)
    demand_writable("The model cannot be kept")
    head_path, command = str(kmex.made_by["head_path"]), f'KMEx.from_model(…).add_to_store("{name}")'
    example = _example(origin, preprocessing).to(passes.device_of(network))
    with catalogue.claimed(store, name):
        catalogue.check_free(store, name, name if overwrite else "", "Choose another name, or pass overwrite=True.")
        found = _network(network, head_path, origin.outputs, example, source)
        info = origin.described(found, kmex.class_names, preprocessing, name)
        parts = _rebuilt(info, found, kmex, example)
        with _images(store, origin, preprocessing, info) as (data, place, tolerance):
            _compare(parts, info, data, origin, tolerance)
            info = dataclasses.replace(
                info,
                dataset=place,
                accuracy=origin.accuracy,
                class_column=data.class_column,
                made_by={
                    "command": command,
                    "imported": {"file": found.backbone, "command": command},
                    "data": data.fingerprint,
                    TEST_IS_TRAINING: bool(origin.class_outputs) and _held_out(origin),
                    RANDOM: False,
                    **({AT_CHANCE: origin.at_chance} if origin.class_outputs else {}),
                    "versions": versions(),
                    "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                },
            )
        catalogue.save(store, info, found.module)
        catalogue.remove_run(store, name)
    return catalogue.describe(store, name)


def _checked(origin: Origin) -> tuple[nn.Module, Preprocessing]:
    if origin.network is None or origin.prepared is None:
        raise InputError(
            "The pages need to know how pictures become this network's input. Make the KMEx by KMEx.from_model(model, "
            "images, preprocess=…), and add that."
        )
    if origin.prepared.preprocessing is None:
        raise InputError(
            "preprocess is a function of your own, which the store does not keep. Describe it: "
            "kmex_core.data.preprocessing.Preprocessing(height, width, channels, mean, std, …), and make the KMEx with "
            "that."
        )
    if "test" not in origin.sample:
        raise InputError(
            "The pages measure every model on held-out images, and this KMEx was made without. Pass some: "
            "KMEx.from_model(…, test=…)."
        )
    return origin.network, origin.prepared.preprocessing


def _held_out(origin: Origin) -> bool:
    return origin.data is not None and origin.data.test_from == "held out"


def _network(network: nn.Module, head_path: str, outputs: int, example: Tensor, source: str | None) -> Recognised:
    if source is not None:
        if trust.is_function(source):
            trust.allow(source, Path.cwd())
        return recognised.from_source(network, source, head_path, outputs, example)
    found = recognised.recognised(network, head_path, outputs, example)
    return found or recognised.exported(network, head_path, example)


# ---- the images -----------------------------------------------------------------------------------------------------


def _example(origin: Origin, preprocessing: Preprocessing) -> Tensor:
    """(`EXAMPLES`, channels, H, W) of the network's input; it repeats where there are fewer."""
    if origin.data is not None:
        rows = range(min(EXAMPLES, len(origin.data.split("train"))))
        first = normalise(origin.data.pixels("train", rows, preprocessing), preprocessing)
    else:
        first = Batches(_again(origin.loaders["train"])).first[:EXAMPLES]
    return first.repeat(EXAMPLES, 1, 1, 1)[:EXAMPLES].contiguous()


def _again(loader: Iterable[object]) -> Iterable[object]:
    if iter(loader) is loader:
        raise InputError(
            "The images came from an iterator, which can be read once, so they cannot be kept for the pages. Pass a "
            "DataLoader, or a list of batches."
        )
    return loader


@contextlib.contextmanager
def _images(
    store: Store, origin: Origin, preprocessing: Preprocessing, info: ModelInfo
) -> Iterator[tuple[ImageDataset, str, float]]:
    """The data set as the pages will read it, its place, and how close embeddings have to be."""
    if origin.spec is not None:
        data = registry.load(dataclasses.replace(origin.spec, image_size=info.image_size))
        yield data, data.name, CLOSE
        return
    place = _place(store, info.name)
    away = [0.0]  # from whole levels, at most
    if origin.data is not None:
        splits = {split: encoded_images(of) for split, of in origin.data.splits.items()}
        total = sum(map(len, origin.data.splits.values()))
    else:
        loaders = {split: Batches(_again(loader)) for split, loader in origin.loaders.items()}
        total = sum(batches.total for batches in loaders.values())
        splits = {split: _from_input(batches, preprocessing, away) for split, batches in loaders.items()}
    with written(place, splits, total, info.class_names) as part:
        data = registry.load(DatasetSpec(str(part), image_size=info.image_size))
        if away[0] > WHOLE:
            warnings.warn(
                "The loader's images are not of 8 bits per channel; they were rounded, so results on the pages may "
                "differ in the last digits.",
                stacklevel=6,
            )
        yield data, str(place.resolve()), CLOSE if away[0] <= WHOLE else ROUGH


def _place(store: Store, name: str) -> Path:
    """Where the images of a model are kept: not where those of another one are, which had this name before, nor what
    somebody has uploaded."""
    others = {info.dataset for info in catalogue.list_models(store)[0] if info.name != name}
    numbered = (name if number == 1 else f"{name[:60]}-{number}" for number in itertools.count(1))
    places = (place_of(store.root, each) for each in numbered)
    return next(
        place for place in places if str(place.resolve()) not in others and not uploads.record_of(place).exists()
    )


def _from_input(batches: Batches, preprocessing: Preprocessing, away: list[float]) -> Iterator[tuple[bytes, int]]:
    for images, labels in batches:
        pixels, deviation = pictures_of(images, preprocessing)
        away[0] = max(away[0], deviation)
        yield from zip(map(png, pixels), labels.tolist(), strict=True)


# ---- the comparison -------------------------------------------------------------------------------------------------


def _rebuilt(info: ModelInfo, found: Recognised, kmex: Added, example: Tensor) -> splitting.SplitModel:
    """The network as the pages will load it.

    Raises:
        InputError: when it has other embeddings or class scores.
    """
    arrays = catalogue.state_arrays(found.module)
    model = catalogue.build(info, arrays)
    catalogue.load_state(model, arrays, "The network's weights")
    parts = catalogue.split(info, model.eval())
    with torch.no_grad(), passes.evaluating(kmex.head):
        z, mine = parts.encoder(example.cpu()), kmex.encoder(example)
        same = _close(z, mine, CLOSE)
        if same and has_scores(kmex.head):
            same = has_scores(parts.head) and _close(parts.head(z), kmex.head(mine), CLOSE)
    if same:
        return parts
    if info.backbone.startswith("export:"):
        raise InputError(
            "The network would be kept as its graph, whose embedding is what comes before its last Linear layer, but "
            "the head here is another part. Write a function that returns the network into a module, and name it: "
            'add_to_store(…, source="my_networks:make").'
        )
    raise InputError(
        f"As {found.backbone}, the network would have other embeddings or class scores on the pages. Does it compute "
        "in 16 bits? Convert model.float()."
    )


def _compare(
    parts: splitting.SplitModel, info: ModelInfo, data: ImageDataset, origin: Origin, tolerance: float
) -> None:
    """Whether the pages will have the same images.

    Raises:
        InputError: when not.
    """
    if data.class_names != info.class_names:
        raise InputError(
            f"On the pages the images have the classes {first_few(data.class_names)}, but here "
            f"{first_few(info.class_names)}."
        )
    for split, expected in origin.sample.items():
        rows = range(min(len(expected), len(data.split(split))))
        images = normalise(data.pixels(split, rows, info.preprocessing), info.preprocessing)
        with torch.no_grad():
            z = parts.encoder(images)
        if _close(z, torch.from_numpy(expected), tolerance):
            continue
        why = (
            "Either the loader gives other images each time (turn random augmentation off), or preprocess is not what "
            "its images were made with."
            if origin.data is None
            else "They have changed since the KMEx was made."
        )
        raise InputError(f"On the pages, the first {split} images would have other embeddings than here. {why}")


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    a, b = a.cpu().float(), b.cpu().float()
    return a.shape == b.shape and bool((a - b).abs().amax() <= tolerance * b.abs().amax())
