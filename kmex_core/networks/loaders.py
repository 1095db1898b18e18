"""Users' data loaders: read once in the data set's order, with clear errors for invalid batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from kmex_core.base.errors import InputError
from kmex_core.networks.passes import same_random_numbers

IMAGES = ("image", "images", "pixel_values", "img", "inputs", "input", "x")
LABELS = ("label", "labels", "target", "targets", "y")
ENDLESS = 8


class Batches:
    """The images and labels of a loader, checked as they are read, with the range and the mean of their pixels.

    A `DataLoader` is read in its data set's order, each image once, regardless of the order and repetitions of its
    sampler: a sampler only selects images. Any other iterable is read as it is.

    Args:
        loader: batches of images and labels.

    Raises:
        InputError: when nothing can be read, or the sampler has no end.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self.indices: np.ndarray | None = None
        if isinstance(loader, DataLoader) and type(loader).__iter__ is DataLoader.__iter__:
            loader = self._in_order(loader)
        try:
            self._iterator = iter(loader)
        except TypeError:
            raise InputError(f"Expected a DataLoader or a list of batches, got a {type(loader).__name__}.") from None
        self._low: Tensor | None = None
        self._high: Tensor | None = None
        self._sum: Tensor | float = 0.0  # of the images' means
        self._count = 0
        self.classes = 0
        self.last = torch.empty(0)
        self._first = next(iter(self._checked()), None)
        if self._first is None:
            raise InputError("The loader returns no images.")

    @property
    def total(self) -> int:
        """The number of images; 0 if it is only known at the end."""
        return 0 if self.indices is None else len(self.indices)

    @property
    def first(self) -> Tensor:
        """The images of the first batch."""
        assert self._first is not None
        return self._first[0]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches, once: images (n, channels, H, W) of some type of float, labels (n,) int64."""
        assert self._first is not None
        for images, labels in itertools.chain([self._first], self._checked()):
            wrong = labels[(labels < 0) | (labels >= self.classes)] if self.classes else labels[:0]
            if len(wrong):
                raise InputError(
                    f"Expected labels from 0 to {self.classes - 1} for the classifier's {self.classes} classes, got "
                    f"{int(wrong[0])}."
                )
            self.last = images
            yield images, labels

    def pixel_range(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The lowest and the highest value of each channel in what was read."""
        assert self._low is not None
        assert self._high is not None
        return tuple(self._low.tolist()), tuple(self._high.tolist())

    def pixel_mean(self) -> tuple[float, ...]:
        """The mean of each channel over the images that were read, each with the same say."""
        assert isinstance(self._sum, Tensor)
        return tuple((self._sum / self._count).tolist())

    def index_of(self, rows: np.ndarray) -> np.ndarray:
        """Indices into the data set for numbers of images in the order they were read; negative ones stay."""
        if self.indices is None:
            return rows
        return np.where(rows >= 0, self.indices[rows], rows)

    # ---- which images ------------------------------------------------------------------------------------------------

    def _in_order(self, loader: DataLoader[Any]) -> Iterable[Any]:
        if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
            return loader
        with same_random_numbers(torch.device("cpu")):
            indices = _indices(loader)
        if indices is None:
            return loader
        if len(indices) == 0:
            raise InputError("The loader's sampler selects no images.")
        self.indices = np.array(indices, np.int64)
        options: dict[str, Any] = {}
        if loader.num_workers:
            options = {
                "worker_init_fn": loader.worker_init_fn,
                "multiprocessing_context": loader.multiprocessing_context,
                "timeout": loader.timeout,
                "prefetch_factor": loader.prefetch_factor,
            }
        size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
        return DataLoader(
            loader.dataset,
            size if isinstance(size, int) else 64,
            sampler=indices,
            collate_fn=loader.collate_fn,
            num_workers=loader.num_workers,
            generator=torch.Generator(),  # else each pass takes a number from torch's own
            **options,
        )

    # ---- what a batch is ---------------------------------------------------------------------------------------------

    def _checked(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self._iterator:
            images, labels = _pair(batch)
            check_images(images, "The loader gave")
            classes = _class_numbers(labels, len(images))
            self._count += len(images)
            self._check_count()
            if not len(images):
                continue
            low, high = (of((0, 2, 3)).detach().float().cpu() for of in (images.amin, images.amax))
            self._low = low if self._low is None else torch.minimum(self._low, low)
            self._high = high if self._high is None else torch.maximum(self._high, high)
            self._sum = self._sum + images.detach().double().mean((2, 3)).sum(0).cpu()
            yield images, classes
        self._check_count(exactly=True)

    def _check_count(self, exactly: bool = False) -> None:
        asked = self._count if self.indices is None else len(self.indices)
        if self._count > asked or (exactly and self._count < asked):
            raise InputError(
                f"The loader gave {self._count:,} images for {asked:,} indices of its data set: its collate_fn adds or "
                "drops some, so images cannot be identified. Filter the data set instead."
            )


def _indices(loader: DataLoader[Any]) -> Sequence[int] | None:
    """The indices that a loader's sampler can give, each once, in order; None when they are no whole numbers."""
    sampler: Any = loader.batch_sampler
    if type(sampler) is BatchSampler:
        sampler = sampler.sampler
    size = len(loader.dataset)  # type: ignore[arg-type]
    if type(sampler) is SequentialSampler or (type(sampler) is RandomSampler and sampler.num_samples >= size):
        return range(size)
    if type(sampler) is SubsetRandomSampler:
        given: Any = sampler.indices
    elif type(sampler) is WeightedRandomSampler:
        given = torch.nonzero(sampler.weights > 0)[:, 0]
    else:
        given = _drawn(sampler, size)
    flat = [index for entry in given for index in (entry if isinstance(entry, list | tuple) else [entry])]
    try:
        numbers = sorted({int(index) for index in flat if int(index) == index})
    except (TypeError, ValueError):
        return None
    wrong = [number for number in numbers if not -size <= number < size]
    if wrong:
        raise InputError(f"The loader's sampler gives index {wrong[0]}, but its data set has {size:,} images.")
    return sorted({number % size for number in numbers})


def _drawn(sampler: Any, size: int) -> list[Any]:
    """What a sampler gives in one pass; its own generator stands where it stood afterwards."""
    owned = [getattr(part, "generator", None) for part in (sampler, getattr(sampler, "sampler", None))]
    generators = [generator for generator in owned if isinstance(generator, torch.Generator)]
    states = [generator.get_state() for generator in generators]
    limit = ENDLESS * max(size, 1)
    try:
        given = list(itertools.islice(iter(sampler), limit + 1))
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
    if len(given) > limit:
        raise InputError(
            f"The loader's {type(sampler).__name__} gave {limit:,} indices for {size:,} images and did not end. Give a "
            "loader that goes through the training images once."
        )
    return given


def check_images(images: Any, who: str) -> None:
    """Whether something is a batch of images for a network.

    Args:
        images: (n, channels, H, W) floats are expected.
        who: the beginning of the message.

    Raises:
        InputError: for anything else.
    """
    if not isinstance(images, Tensor):
        raise InputError(
            f"{who} images as {type(images).__module__.partition('.')[0]}'s {type(images).__name__}; expected tensors "
            "(n, channels, H, W), normalised as in training. In torchvision, v2.ToImage(), "
            "v2.ToDtype(torch.float32, scale=True) and v2.Normalize(…) make them."
        )
    kind = str(images.dtype).removeprefix("torch.")
    if images.ndim != 4:
        raise InputError(f"{who} images {tuple(images.shape)}; expected (n, channels, H, W).")
    if not images.is_floating_point():
        raise InputError(
            f"{who} images of type {kind}; expected floats, normalised as in training: "
            "v2.ToDtype(torch.float32, scale=True), then v2.Normalize(…)."
        )
    if images.is_meta:
        raise InputError(f"{who} images on the device 'meta', which keeps no values.")
    finite = images.detach().isfinite().flatten(1).all(1)
    if not bool(finite.all()):
        raise InputError(
            f"{who} images with values that are not finite (NaN or infinite): {int((~finite).sum())} of {len(images)}, "
            f"the first at place {int((~finite).nonzero()[0])} of its batch."
        )


def _pair(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        images = [key for key in IMAGES if key in batch]
        labels = [key for key in LABELS if key in batch]
        if len(images) == 1 and len(labels) == 1:
            return batch[images[0]], batch[labels[0]]
        raise InputError(
            f"The loader gives dicts of {', '.join(map(str, batch))}; the images are expected under one of "
            f"{', '.join(IMAGES)}, the labels under one of {', '.join(LABELS)}."
        )
    if not isinstance(batch, list | tuple) or len(batch) < 2:
        got = f"{len(batch)} parts" if isinstance(batch, list | tuple) else f"a {type(batch).__name__}"
        raise InputError(f"The loader must give pairs of images and labels; it gave {got}.")
    return batch[0], batch[1]


def _class_numbers(labels: Any, count: int) -> Tensor:
    """Labels as (n,) int64: numbers, a list of them, or one-hot rows."""
    try:
        values = labels if isinstance(labels, Tensor) else torch.as_tensor(np.asarray(labels))
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"The loader gave labels as {type(labels).__name__} that are not numbers; expected class numbers "
            "from 0, one per image."
        ) from None
    values = values.detach().cpu()
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape[:1] != (count,) or values.ndim > 2:
        raise InputError(f"The loader gave {count} images and labels {tuple(values.shape)}; expected (n,) integers.")
    if values.ndim == 2:
        ones = (values == 1).sum(1)
        if not bool((((values == 0) | (values == 1)).all(1) & (ones == 1)).all()):
            raise InputError(
                f"The loader gave labels {tuple(values.shape)}, which are not one class per image (one-hot). KMEx "
                "does not support multiple or soft labels."
            )
        return values.float().argmax(1)
    whole = values.to(torch.int64)
    if values.dtype.is_complex or (values.is_floating_point() and not bool((whole == values).all())):
        raise InputError(
            "The loader gave labels that are not integers. KMEx explains classes, not regression: pass class numbers "
            "from 0, one per image."
        )
    return whole
