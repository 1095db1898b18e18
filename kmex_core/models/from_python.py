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

from kmex_core.base.chance import above_chance, chance_accuracy
from kmex_core.base.devices import checked_device
from kmex_core.base.errors import InputError
from kmex_core.base.progress import Progress, silent
from kmex_core.base.provenance import versions
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.from_python import by_split, is_pictures, picture_of, pictures
from kmex_core.data.network_input import pixel_bounds
from kmex_core.data.opened import dataset
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.data.splits import SPLITS
from kmex_core.models.info import ModelInfo
from kmex_core.models.output_classes import Classes, for_classes
from kmex_core.networks import passes, splitting
from kmex_core.networks.encoders import kept_path
from kmex_core.networks.extraction import extract
from kmex_core.networks.given_preprocessing import IMAGENET, WAYS, Prepared, imagenet, prepared
from kmex_core.networks.heads import has_scores
from kmex_core.networks.loaders import Batches
from kmex_core.networks.recognised import Recognised
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
        at_chance: whether guessing would reach that accuracy, too.
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
    at_chance: bool = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # images are not copied with a module

    def described(
        self, found: Recognised, class_names: tuple[str, ...], preprocessing: Preprocessing, name: str = ""
    ) -> ModelInfo:
        """The network as the store describes it, without its images and what it came of."""
        return ModelInfo(
            name=name,
            kind="blackbox",
            dataset="",
            root="",
            backbone=found.backbone,
            class_names=class_names,
            preprocessing=preprocessing,
            accuracy=None,
            made_by={},
            details=found.details,
            head_path=found.head_path,
            outputs=self.outputs,
            class_outputs=self.class_outputs,
        )

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How pictures become the network's input, as data; None if that is unknown, or a function."""
        return None if self.prepared is None else self.prepared.preprocessing

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
    network = _checked(model)
    if isinstance(images, str | Path) or is_pictures(images):
        ways = prepared(preprocess, network)
        data, spec = _data(images, test, request)
        if spec is None and not _labels_named(images) and not isinstance(request.classes, str | Mapping):
            request = dataclasses.replace(request, classes=None)  # they have named the labels
        reads = {split: Batches(_inputs(data, split, ways)) for split in data.splits}
        return _fitted(network, reads, data.class_names, request, Origin(network, prepared=ways, data=data, spec=spec))
    loaders = _loaders(images, test)
    if preprocess is None:
        raise InputError(
            f"A loader's images are preprocessed already. Say with preprocess= how, so that pictures can be explained "
            f"and the model can be kept: {WAYS}."
        )
    reads = {split: Batches(loader) for split, loader in loaders.items()}
    if isinstance(preprocess, str) and preprocess == IMAGENET:
        preprocess = imagenet(*reads["train"].first.shape[-2:])
    names = getattr(getattr(loaders["train"], "dataset", None), "classes", None)
    named = tuple(map(str, names)) if isinstance(names, list | tuple) and names else None
    origin = Origin(network, prepared=prepared(preprocess, network), loaders=loaders)
    return _fitted(network, reads, named, request, origin)


def from_loader(model: nn.Module, loader: Iterable[Any], held_out: Iterable[Any] | None, request: Request) -> Fitted:
    """Fit a KMEx on batches of a network's input whose preprocessing is not known, see `KMEx.convert`.

    Raises:
        InputError: see there.
    """
    network = _checked(model)
    reads = {"train": Batches(loader)} | ({} if held_out is None else {"test": Batches(held_out)})
    return _fitted(network, reads, None, request, Origin(network))


def _fitted(
    network: nn.Module,
    reads: Mapping[str, Batches],
    names: Sequence[str] | None,
    request: Request,
    origin: Origin,
) -> Fitted:
    """Fit a KMEx.

    Args:
        network: the user's.
        reads: images and labels by split.
        names: of the classes; None where the labels are numbers alone.
        request: how to fit.
        origin: what is known of the images.
    """
    network, place, head = _placed(network, request)
    train = reads["train"]
    _check_shape(train.first, origin.preprocessing)
    parts = splitting.split(network, train.first.to(place), head)
    outputs = parts.head.out_features if has_scores(parts.head) else 0
    parts, names, class_outputs = for_classes(parts, outputs, names, request.classes, network)
    embedded = {
        split: _embedded(parts, reads[split], origin.data, split, network, place, request.progress)
        for split in SPLITS
        if split in reads
    }
    pixel_range, pixel_mean = _pixels(train, origin.preprocessing)
    test, validation = embedded.get("test"), embedded.get("validation")
    accuracy = float((test.black_box == test.labels).mean()) if test is not None and class_outputs else None
    at_chance = False
    if test is not None and accuracy is not None:
        chance = chance_accuracy(test.labels, len(names))
        at_chance = not above_chance(accuracy, chance, len(test))
        if at_chance and origin.prepared is not None:
            _warn_of_chance(accuracy, chance, len(test))
    prototypes, metric, counts = _prototypes(embedded, names, request, str(place))
    nearest, nearest_any = train.index_of(prototypes.nearest), train.index_of(prototypes.nearest_any)
    made_by = {
        "k": counts,
        "seed": request.seed,
        "head_path": kept_path(parts.encoder, parts.head_path),
        "versions": versions(),
    }
    return Fitted(
        parts,
        dataclasses.replace(prototypes, nearest=nearest, nearest_any=nearest_any),
        tuple(names),
        metric,
        pixel_range,
        pixel_mean,
        made_by,
        place,
        test,
        validation,
        dataclasses.replace(
            origin,
            network=network,
            outputs=outputs,
            class_outputs=class_outputs,
            sample={split: each.z[:SAMPLE].copy() for split, each in embedded.items()},
            accuracy=accuracy,
            at_chance=at_chance,
        ),
    )


def _prototypes(
    embedded: Mapping[str, Embeddings], names: Sequence[str], request: Request, device: str
) -> tuple[Prototypes, EmbeddingMetric, int | list[int]]:
    """The prototypes as a conversion in the store finds them, their metric, and the numbers per class."""
    train = embedded["train"]
    metric = chosen_metric(request.metric, train, embedded.get("test"), names, device, embedded.get("validation"))
    space = train.in_space(metric)
    counts = numbers(request.k, space, names, device, request.progress)
    prototypes = swept_prototypes(space, names, counts, request.seed, device, request.progress)
    if isinstance(counts, int) and (few := fewer_prototypes(prototypes, names, counts)):
        warnings.warn(few, stacklevel=5)
    return prototypes, metric, counts


# ---- network and images ---------------------------------------------------------------------------------------------


def _checked(model: nn.Module) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise InputError(f"Expected a classifier (torch.nn.Module), got a {type(model).__name__}.")
    return passes.unwrapped(model)


def _placed(network: nn.Module, request: Request) -> tuple[nn.Module, torch.device, str | nn.Module | None]:
    """The network where it computes, and its head: a copy where that is another device than the user's."""
    head, device = request.head, request.device
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
    # a data set of tensors is read in batches
    return {
        split: torch.utils.data.DataLoader(part, BATCH) if isinstance(part, torch.utils.data.Dataset) else part
        for split, part in by_split(images, test).items()
    }


def _check_shape(images: Tensor, preprocessing: Preprocessing | None) -> None:
    if preprocessing is None:
        return
    expected = (preprocessing.inputs, *preprocessing.size)
    if tuple(images.shape[1:]) != expected:
        raise InputError(
            f"The loader gives images {tuple(images.shape[1:])}, but those of preprocess are {expected} (channels, "
            "height, width)."
        )


def _pixels(
    train: Batches, preprocessing: Preprocessing | None
) -> tuple[tuple[Sequence[float], Sequence[float]], Sequence[float] | None]:
    """The range and the mean of each input channel: by the preprocessing, whose mean is 0, else as measured.

    Raises:
        InputError: for values that the preprocessing cannot give.
    """
    if preprocessing is None:
        return train.pixel_range(), train.pixel_mean()
    possible = pixel_bounds(preprocessing)
    (low, high), (least, most) = ((min(lowest), max(highest)) for lowest, highest in (train.pixel_range(), possible))
    slack = SLACK * (most - least)
    if low < least - slack or high > most + slack:
        raise InputError(
            f"The images have values from {low:.3g} to {high:.3g}, but a preprocessing with {preprocessing.words()} "
            f"gives {least:.3g} to {most:.3g}. Pass the one that they were made with."
        )
    return possible, None


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


def _warn_of_chance(accuracy: float, chance: float, images: int) -> None:
    """Warn that the network itself is no better than guessing on held-out images."""
    warnings.warn(
        f"The network itself classifies {accuracy:.1%} of {images:,} held-out images correctly, hardly more than "
        f"by guessing ({chance:.1%}). Usual causes: another preprocessing than in training, or another order of the "
        "classes (name its outputs with classes).",
        stacklevel=5,
    )
