"""What a KMEx is made of in Python: a user's network, and images as users have them."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.base.devices import checked_device
from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Progress, silent
from kmex_core.base.provenance import versions
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.from_python import is_pictures, picture_of, pictures
from kmex_core.data.network_input import pixel_bounds
from kmex_core.data.opened import dataset
from kmex_core.data.splits import SPLITS, word_of
from kmex_core.networks import passes, splitting
from kmex_core.networks.extraction import extract
from kmex_core.networks.given_preprocessing import IMAGENET, WAYS, Prepared, imagenet, prepared
from kmex_core.networks.heads import SelectedHead, has_scores
from kmex_core.networks.loaders import Batches
from kmex_core.networks.output_names import matched, plain
from kmex_core.networks.splitting import SplitModel
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.metric import AUTO, EmbeddingMetric
from kmex_core.prototypes.metric_choice import chosen_metric
from kmex_core.prototypes.suggestion import numbers
from kmex_core.prototypes.sweep import swept_prototypes
from kmex_core.prototypes.types import Prototypes, fewer_prototypes

BATCH = 64
SAMPLE = 16  # embeddings of each split that are kept, to compare with
SLACK = 0.1  # of the range that values can have, for interpolation that overshoots
NO_CLASSES = "none"
Classes = Sequence[str] | Mapping[int, str] | str | None


@dataclass(frozen=True, eq=False)
class Origin:
    """What a KMEx was made of; it shares the user's network, images and loaders.

    Attributes:
        network: the user's; None where the KMEx was not made by `from_model` or `convert`.
        outputs: how many class scores it gives; 0 for an encoder.
        class_outputs: (C,) the number of each class among them; empty if it predicts none of them.
        prepared: how pictures become its input; None if that is unknown.
        data: the images as pictures; None where they came as the network's input.
        spec: where these are; None where they came from Python.
        loaders: what gave the network's input, by split.
        sample: the embeddings (n, D) of the first images of each split.
        accuracy: share of the test images that the network itself classifies correctly; None if it predicts none of
            the classes, or without test images.
    """

    network: nn.Module | None = None
    outputs: int = 0
    class_outputs: tuple[int, ...] = ()
    prepared: Prepared | None = None
    data: ImageDataset | None = None
    spec: DatasetSpec | None = None
    loaders: Mapping[str, Iterable[Any]] = field(default_factory=dict)
    sample: Mapping[str, np.ndarray] = field(default_factory=dict)
    accuracy: float | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # images are not copied with a module

    def input(self, picture: Any) -> Tensor:
        """One picture, see `picture_of`, as the network's input (1, channels, H, W).

        Raises:
            InputError: when it is none, or its preprocessing is not known.
        """
        pixels = picture_of(picture)
        if self.prepared is None:
            raise InputError(
                "How a picture becomes this network's input is not known. Make the KMEx by KMEx.from_model(…, "
                "preprocess=…), or pass a tensor that is preprocessed."
            )
        return self.prepared.input([pixels])

    def titles(self, exemplars: np.ndarray) -> tuple[str, ...]:
        """What the training images with these numbers are called; "" for none (−1)."""
        train = None if self.data is None else self.data.split("train")
        return tuple(
            "" if index < 0 else f"image {index}" if train is None else train.title(index)
            for index in exemplars.tolist()
        )


UNKNOWN = Origin()


@dataclass(frozen=True, eq=False)
class Fitted:
    """The parts of a KMEx, and the held-out embeddings that its temperature is fitted on."""

    parts: SplitModel
    prototypes: Prototypes
    class_names: tuple[str, ...]
    metric: EmbeddingMetric
    pixel_range: tuple[Sequence[float], Sequence[float]]
    pixel_mean: Sequence[float] | None
    made_by: dict[str, Any]
    place: torch.device
    test: Embeddings | None
    validation: Embeddings | None
    origin: Origin


@dataclass(frozen=True, eq=False)
class Request:
    """How to fit, see `KMEx.from_model`."""

    head: str | nn.Module | None = None
    classes: Classes = None
    k: int | Sequence[int] | str = 5
    metric: str = AUTO
    seed: int = 0
    device: str | torch.device | None = None
    progress: Progress = silent


def from_images(model: nn.Module, images: Any, preprocess: Any, test: Any, request: Request) -> Fitted:
    """Fit a KMEx on images of any kind, see `KMEx.from_model`.

    Raises:
        InputError: see there.
    """
    network, _, _ = _placed(model, request)
    if isinstance(images, str | Path) or is_pictures(images):
        ways = prepared(preprocess, network)
        data, spec = _data(images, test, request)
        given: dict[str, Iterable[Any]] = {split: _inputs(data, split, ways) for split in data.splits}
        if spec is None and not _labels_named(images) and not isinstance(request.classes, str | Mapping):
            request = dataclasses.replace(request, classes=None)  # they have named the labels
        return _fitted(model, given, data.class_names, request, ways, data, spec)
    loaders = _loaders(images, test)
    if preprocess is None:
        raise InputError(
            f"A loader's images are preprocessed already. Say with preprocess= how, so that pictures can be explained "
            f"and the model can be kept: {WAYS}."
        )
    if isinstance(preprocess, str) and preprocess == IMAGENET:
        preprocess = imagenet(*Batches(loaders["train"]).first.shape[-2:])
    names = getattr(getattr(loaders["train"], "dataset", None), "classes", None)
    named = tuple(map(str, names)) if isinstance(names, list | tuple) and names else None
    return _fitted(model, loaders, named, request, prepared(preprocess, network))


def from_loader(model: nn.Module, loader: Iterable[Any], held_out: Iterable[Any] | None, request: Request) -> Fitted:
    """Fit a KMEx on batches of a network's input whose preprocessing is not known, see `KMEx.convert`.

    Raises:
        InputError: see there.
    """
    return _fitted(model, {"train": loader} | ({} if held_out is None else {"test": held_out}), None, request)


def _fitted(
    model: nn.Module,
    given: Mapping[str, Iterable[Any]],
    names: Sequence[str] | None,
    request: Request,
    ways: Prepared | None = None,
    data: ImageDataset | None = None,
    spec: DatasetSpec | None = None,
) -> Fitted:
    network, place, head = _placed(model, request)
    train = Batches(given["train"])
    _check_shape(train.first, ways)
    parts = splitting.split(network, train.first.to(place), head)
    outputs = parts.head.out_features if has_scores(parts.head) else 0
    parts, names, class_outputs = _for_classes(parts, outputs, names, request.classes, network)
    embedded = {"train": _embedded(parts, train, data, "train", network, place, request.progress)}
    for split in SPLITS[1:]:
        if split in given:
            others = Batches(given[split])
            embedded[split] = _embedded(parts, others, data, split, network, place, request.progress)
    test, validation = embedded.get("test"), embedded.get("validation")
    if test is not None and class_outputs and ways is not None:
        _warn_of_chance(test, len(names))
    metric = chosen_metric(request.metric, embedded["train"], test, names, str(place), validation)
    space = embedded["train"].in_space(metric)
    counts = numbers(request.k, space, names, str(place), request.progress)
    prototypes = swept_prototypes(space, names, counts, request.seed, str(place), request.progress)
    if isinstance(counts, int) and (few := fewer_prototypes(prototypes, names, counts)):
        warnings.warn(few, stacklevel=4)
    prototypes = dataclasses.replace(
        prototypes, nearest=train.index_of(prototypes.nearest), nearest_any=train.index_of(prototypes.nearest_any)
    )
    preprocessing = None if ways is None else ways.preprocessing
    pixel_range, pixel_mean = train.pixel_range(), train.pixel_mean()
    if preprocessing is not None:
        _check_range(pixel_range, pixel_bounds(preprocessing), preprocessing.words())
    origin = Origin(
        network,
        outputs,
        class_outputs,
        ways,
        data,
        spec,
        {} if data is not None or ways is None else dict(given),
        {split: each.z[:SAMPLE].copy() for split, each in embedded.items()},
        float((test.black_box == test.labels).mean()) if test is not None and class_outputs else None,
    )
    return Fitted(
        parts,
        prototypes,
        tuple(names),
        metric,
        pixel_range if preprocessing is None else pixel_bounds(preprocessing),
        pixel_mean if preprocessing is None else None,
        {
            "k": counts,
            "seed": request.seed,
            "head_path": parts.head_path or splitting.NONE,
            "versions": versions(),
        },
        place,
        test,
        validation,
        origin,
    )


# ---- network and images ---------------------------------------------------------------------------------------------


def _placed(model: nn.Module, request: Request) -> tuple[nn.Module, torch.device, str | nn.Module | None]:
    """The network where it computes, and its head: a copy where that is another device than the model's."""
    if not isinstance(model, nn.Module):
        raise InputError(f"Expected a classifier (torch.nn.Module), got a {type(model).__name__}.")
    network, head, device = passes.unwrapped(model), request.head, request.device
    place = passes.device_of(network)
    if device is not None and torch.empty(0, device=checked_device(str(device))).device != place:
        if isinstance(head, nn.Module):
            head = next((name for name, part in network.named_modules() if part is head), head)
        network = copy.deepcopy(network).to(device)
        place = torch.empty(0, device=device).device
    return network, place, head


def _data(images: Any, test: Any, request: Request) -> tuple[ImageDataset, DatasetSpec | None]:
    if isinstance(images, str | Path):
        if test is not None:
            raise InputError("A data set by its path has its own test images: put them beside train/ in test/.")
        spec = DatasetSpec(str(images))
        return dataset(spec, request.progress), spec
    named, classes = _labels_named(images), request.classes
    if isinstance(classes, Mapping):
        classes = [str(classes[number]) for number in sorted(classes)]
    names = None if named or isinstance(classes, str) else classes
    return pictures(images, test, names, request.progress), None


def _labels_named(images: Any) -> bool:
    """Whether pictures from Python name their classes themselves."""
    part = next(iter(images.values())) if isinstance(images, Mapping) and images else images
    return bool(getattr(part, "classes", None)) or any(
        hasattr(feature, "names") for feature in getattr(part, "features", {}).values()
    )


def _inputs(data: ImageDataset, split: str, ways: Prepared) -> Iterator[tuple[Tensor, Tensor]]:
    of = data.split(split)
    for start in range(0, len(of), BATCH):
        rows = np.arange(start, min(start + BATCH, len(of)))
        yield ways.input(of.images(rows)), torch.from_numpy(of.labels[rows])


def _loaders(images: Any, test: Any) -> dict[str, Iterable[Any]]:
    found = {}
    for name, part in images.items() if isinstance(images, Mapping) else [("train", images)]:
        split = word_of(str(name))
        if not split or split in found:
            raise InputError(
                f"Expected splits named {', '.join(SPLITS)}, each once; got {', '.join(map(str, images))}."
            )
        found[split] = part
    if test is not None:
        found["test"] = test
    if "train" not in found:
        raise InputError("There are no training images.")
    # a data set of tensors is read in batches
    return {
        split: torch.utils.data.DataLoader(part, BATCH) if isinstance(part, torch.utils.data.Dataset) else part
        for split, part in found.items()
    }


def _check_shape(images: Tensor, ways: Prepared | None) -> None:
    preprocessing = None if ways is None else ways.preprocessing
    if preprocessing is None:
        return
    expected = (preprocessing.inputs, *preprocessing.size)
    if tuple(images.shape[1:]) != expected:
        raise InputError(
            f"The loader gives images {tuple(images.shape[1:])}, but those of preprocess are {expected} (channels, "
            "height, width)."
        )


def _check_range(
    got: tuple[Sequence[float], Sequence[float]], possible: tuple[Sequence[float], Sequence[float]], words: str
) -> None:
    low, high = min(got[0]), max(got[1])
    least, most = min(possible[0]), max(possible[1])
    slack = SLACK * (most - least)
    if low < least - slack or high > most + slack:
        raise InputError(
            f"The images have values from {low:.3g} to {high:.3g}, but a preprocessing with {words} gives {least:.3g} "
            f"to {most:.3g}. Pass the one that they were made with."
        )


def _embedded(
    parts: SplitModel,
    batches: Batches,
    data: ImageDataset | None,
    split: str,
    network: nn.Module,
    place: torch.device,
    progress: Progress,
) -> Embeddings:
    batches.classes = parts.head.out_features
    total = batches.total if data is None else len(data.split(split))
    try:
        return extract(parts.encoder, parts.head, batches, total, place, progress=progress)
    except RuntimeError as error:
        raise splitting.not_run(network, batches.last, error) from error


# ---- classes --------------------------------------------------------------------------------------------------------


def _for_classes(
    parts: SplitModel, outputs: int, names: Sequence[str] | None, classes: Classes, network: nn.Module
) -> tuple[SplitModel, tuple[str, ...], tuple[int, ...]]:
    """The network for the classes of the images, their names, and the number of each among its outputs.

    Args:
        parts: the network.
        outputs: how many it has; 0 for an encoder.
        names: of the images' classes; None where the labels are numbers alone.
        classes: see `KMEx.from_model`.
        network: the user's.
    """
    if isinstance(classes, str):
        if classes != NO_CLASSES:
            raise InputError(f"Expected a list of class names, a mapping, or \"{NO_CLASSES}\", got '{classes}'.")
        return _encoder_alone(parts, names or (), outputs, warn=False)
    if names is None and isinstance(classes, Sequence):  # of the labels, and of as many outputs
        names, classes = tuple(map(str, classes)), None
    if outputs == 0:
        return _encoder_alone(parts, names or (), outputs, warn=False)
    given = _by_output(classes, outputs)
    if names is None:
        names = tuple(given.values()) or tuple(map(str, range(outputs)))
        chosen = tuple(given) or tuple(range(outputs))
        return (parts.predicting(chosen, len(names)) if given else parts), names, chosen
    if len(names) == 1 and isinstance(parts.head, SelectedHead):  # the second class of one score
        return parts.predicting([1], 1), tuple(names), (1,)
    known = given or _own_names(network, outputs)
    found = matched(names, list(known.values())) if known else None
    if found is not None:
        chosen = tuple(list(known)[at] for at in found)
        return parts.predicting(chosen, len(names)), tuple(names), chosen
    if given:
        there = {plain(name) for name in given.values()}
        missing = [name for name in names if plain(name) not in there] or ["two outputs have one name"]
        raise InputError(f"The given classes lack some of the images: {first_few(missing)}.")
    if len(names) != outputs:
        return _encoder_alone(parts, names, outputs)
    return parts, tuple(names), tuple(range(outputs))


def _by_output(classes: Sequence[str] | Mapping[int, str] | None, outputs: int) -> dict[int, str]:
    """The names of outputs by their numbers, ascending."""
    if classes is None:
        return {}
    if not isinstance(classes, Mapping):
        if len(classes) != outputs:
            raise InputError(f"{len(classes)} names of classes are given, but the network has {outputs} outputs.")
        return {number: str(name) for number, name in enumerate(classes)}
    wrong = [key for key in classes if not isinstance(key, int) or not 0 <= key < outputs]
    if wrong:
        raise InputError(f"The network has the outputs 0 to {outputs - 1}, so classes cannot name {wrong[0]!r}.")
    return {number: str(classes[number]) for number in sorted(classes)}


def _own_names(network: nn.Module, outputs: int) -> dict[int, str]:
    """The names that a network of transformers has for its outputs."""
    names = getattr(getattr(network, "config", None), "id2label", None)
    if not isinstance(names, Mapping) or len(names) != outputs:
        return {}
    return {int(key): str(names[key]) for key in sorted(names, key=int)}


def _encoder_alone(
    parts: SplitModel, names: Sequence[str], outputs: int, warn: bool = True
) -> tuple[SplitModel, tuple[str, ...], tuple[int, ...]]:
    if not names:
        raise InputError(
            "An encoder predicts no classes: name those of the labels with class_names, classes of from_model."
        )
    if warn:
        warnings.warn(
            f"The network has {outputs} outputs and the images have {len(names)} classes, so only its encoder is used, "
            "and no black box stands beside KMEx. If its outputs are the classes by other names, name them with "
            "classes.",
            stacklevel=6,
        )
    return parts.predicting(None, len(names)), tuple(names), ()


def _warn_of_chance(test: Embeddings, classes: int) -> None:
    """Warn where the network itself is no better than guessing on held-out images."""
    accuracy = float((test.black_box == test.labels).mean())
    chance = max(1 / classes, float(np.bincount(test.labels).max()) / len(test))
    if accuracy > min(chance + 3 * np.sqrt(chance * (1 - chance) / len(test)), (1 + chance) / 2):
        return
    warnings.warn(
        f"The network itself classifies {accuracy:.1%} of {len(test):,} held-out images correctly, hardly more than by "
        f"guessing ({chance:.1%}). Usual causes: another preprocessing than in training, or another order of the "
        "classes (name its outputs with classes).",
        stacklevel=5,
    )
