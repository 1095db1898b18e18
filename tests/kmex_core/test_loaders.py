from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from kmex_core import KMEx
from kmex_core.base.errors import InputError
from kmex_core.networks.loaders import Batches

SIZE = 30


def images(count: int = SIZE) -> Tensor:
    """Each image's first pixel is its number."""
    pixels = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    pixels[:, 0, 0, 0] = torch.arange(count)
    return pixels


LABELS = torch.arange(SIZE) % 3
DATA = TensorDataset(images(), LABELS)


class EveryThird(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(torch.randperm(10).mul(3).tolist())

    def __len__(self) -> int:
        return 10


class ClassBatches(Sampler[list[int]]):
    """A batch sampler: a batch for each class, some images twice."""

    def __iter__(self) -> Iterator[list[int]]:
        for label in range(3):
            yield [label, label + 3, label]


class Forever(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        while True:
            yield 1


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter((DATA[i][0], DATA[i][1]) for i in range(12))


class Named(Dataset[Any]):
    def __init__(self, images_name: str, labels_name: str) -> None:
        self.names = images_name, labels_name

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {self.names[0]: DATA[i][0], self.names[1]: int(LABELS[i]), "id": i}


def read(loader: Any) -> tuple[Batches, list[int], list[int]]:
    batches = Batches(loader)
    pairs = [(given[:, 0, 0, 0].int().tolist(), labels.tolist()) for given, labels in batches]
    return batches, [n for numbers, _ in pairs for n in numbers], [n for _, labels in pairs for n in labels]


# tensors are taken as well, which annotations do not say
WEIGHTS = cast(Sequence[float], torch.tensor([0.0, 1.0, 3.0]).repeat(10))
NUMBERS = cast(Sequence[int], torch.tensor([5, 4]))


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        (DataLoader(DATA, 7), range(SIZE)),
        (DataLoader(DATA, 7, shuffle=True, drop_last=True), range(SIZE)),
        (DataLoader(DATA, 7, sampler=SubsetRandomSampler([9, 3, 28, 3])), [3, 9, 28]),
        (DataLoader(DATA, 7, sampler=SubsetRandomSampler(NUMBERS)), [4, 5]),
        (DataLoader(DATA, 7, sampler=WeightedRandomSampler(WEIGHTS, 100)), [i for i in range(SIZE) if i % 3]),
        (DataLoader(DATA, 7, sampler=RandomSampler(DATA, replacement=True, num_samples=90)), range(SIZE)),
        (DataLoader(DATA, 7, sampler=EveryThird()), range(0, SIZE, 3)),
        (DataLoader(DATA, batch_sampler=ClassBatches()), range(6)),
        (DataLoader(DATA, batch_sampler=BatchSampler(SubsetRandomSampler([8, 2, 1]), 2, True)), [1, 2, 8]),
        (DataLoader(DATA, batch_sampler=BatchSampler(SequentialSampler(DATA), 4, True)), range(SIZE)),
        (DataLoader(DATA, 7, sampler=[4, 2, 2, 29]), [2, 4, 29]),
        (DataLoader(DATA, 7, sampler=np.array([6, 1])), [1, 6]),
    ],
    ids=["plain", "shuffled", "subset", "subset of tensor", "weighted", "with replacement", "custom", "batch sampler",
         "batches of a subset", "batches", "a list", "an array"],
)  # fmt: skip
def test_a_sampler_says_which_images_take_part(loader: Any, expected: Any) -> None:
    random = torch.get_rng_state()
    batches, numbers, labels = read(loader)
    assert numbers == list(expected)
    assert labels == LABELS[numbers].tolist()
    assert batches.total == len(numbers)
    assert batches.index_of(np.array([0, -1, len(numbers) - 1])).tolist() == [numbers[0], -1, numbers[-1]]
    assert torch.equal(torch.get_rng_state(), random)


def test_a_random_part_is_a_part_and_leaves_its_generator_alone() -> None:
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(DATA, 4, sampler=RandomSampler(DATA, num_samples=8, generator=generator))
    before = generator.get_state()
    _, numbers, _ = read(loader)
    assert len(numbers) == 8
    assert numbers == sorted(numbers)
    assert torch.equal(generator.get_state(), before)
    assert sorted(loader.sampler) == numbers


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        (DataLoader(Stream(), 5), range(12)),
        (DataLoader(DATA, batch_size=None, sampler=[[3, 1], [2]]), [3, 1, 2]),
        (DataLoader(Subset(DATA, [20, 10]), 5), [20, 10]),
        ([(images()[:4], [0, 1, 2, 0])], range(4)),
        (iter([(images()[:2], np.array([0, 1])), (images()[2:3], (2,))]), range(3)),
        (((x[None], y[None]) for x, y in (DATA[at] for at in range(SIZE))), range(SIZE)),
        (DataLoader(Named("image", "label"), 9), range(SIZE)),
        (DataLoader(Named("pixel_values", "labels"), 9, shuffle=True, num_workers=1), range(SIZE)),
        (DataLoader(DATA, 9, pin_memory=torch.cuda.is_available(), num_workers=2), range(SIZE)),
    ],
    ids=["a stream", "without batching", "a subset", "lists", "an iterator", "a generator", "dicts", "pixel_values",
         "workers"],
)  # fmt: skip
def test_all_kinds_of_loaders_are_read(loader: Any, expected: Any) -> None:
    _, numbers, labels = read(loader)
    assert numbers == list(expected)
    assert labels == LABELS[numbers].tolist()


@pytest.mark.parametrize(
    "labels",
    [[0, 1, 2], (0, 1, 2), np.array([0, 1, 2], np.uint8), torch.tensor([0.0, 1.0, 2.0]), torch.eye(3),
     torch.eye(3, dtype=torch.bool), torch.tensor([[0], [1], [2]])],
)  # fmt: skip
def test_labels_come_in_many_forms(labels: Any) -> None:
    assert read([(images()[:3], labels)])[2] == [0, 1, 2]


BROKEN = images()[:3].clone()
BROKEN[1, 2, 3, 4] = torch.nan


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((images()[:3].byte(), [0, 1, 2]), r"images of type uint8; expected floats.*ToDtype"),
        ((images()[:3].numpy(), [0, 1, 2]), "images as numpy's ndarray; expected tensors"),
        ((images()[0], [0, 1, 2]), r"images \(3, 6, 6\); expected \(n, channels, H, W\)"),
        ((BROKEN, [0, 1, 2]), "not finite.*1 of 3, the first at place 1"),
        ((images()[:3], [0.5, 1.0, 2.0]), "not integers.*not regression"),
        ((images()[:3], torch.tensor([0, torch.nan, 1])), "not integers"),
        ((images()[:3], ["a", "b", "c"]), "not numbers"),
        ((images()[:3], [0, 1]), r"3 images and labels \(2,\)"),
        ((images()[:3], torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 1]])), "one class per image"),
        ((images()[:3], [0, 1, 3]), "Expected labels from 0 to 2 for the classifier's 3 classes, got 3"),
        ((images()[:3], [0, -1, 2]), "got -1"),
        ((images()[:3],), "pairs of images and labels; it gave 1 parts"),
        ({"picture": images()[:3], "label": [0, 1, 2]}, "dicts of picture, label; the images are expected under"),
        (images()[:3], "it gave a Tensor"),
        ((images()[:3].to("meta"), [0, 1, 2]), "'meta'"),
        ((images()[:3, :1], [0, 1, 2]), r"Sequential cannot take images \(3, 1, 6, 6\)"),
    ],
)  # fmt: skip
def test_what_is_no_batch_is_told_in_a_sentence(batch: Any, message: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(InputError, match=message):
        KMEx.convert(model, [batch], k=1)
    if "cannot take" not in message:
        with pytest.raises(InputError, match=message):
            KMEx.convert(model, [(images()[:3], [0, 1, 2]), batch], k=1)


def dropping(items: list[Any]) -> Any:
    return torch.utils.data.default_collate(items[1:])


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], "returns no images"),
        (DataLoader(TensorDataset(torch.empty(0, 3, 6, 6), torch.empty(0)), 4), "no images"),
        (DataLoader(DATA, 4, sampler=SubsetRandomSampler([])), "sampler selects no images"),
        (DataLoader(DATA, 4, sampler=[1, 30]), "index 30, but its data set has 30 images"),
        (DataLoader(DATA, 4, sampler=Forever()), "did not end"),
        (DataLoader(DATA, 5, collate_fn=dropping), "collate_fn adds or drops"),
        (5, "got a int"),
        ([(images()[:6], [0] * 6)], "at least one training image.* Classes without images: .1., .2."),
    ],
)  # fmt: skip
def test_loaders_without_images_or_end_are_refused(loader: Any, message: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(InputError, match=message):
        KMEx.convert(model, loader, k=1)


def test_prototypes_are_pictures_of_the_data_set_and_of_the_sampled_images_only() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()
    chosen = list(range(1, SIZE, 2))
    kmex = KMEx.convert(model, DataLoader(DATA, 4, sampler=SubsetRandomSampler(chosen[::-1])), k=2, metric="euclidean")
    assert kmex.details.class_size.sum() == len(chosen)
    with torch.no_grad():
        z = model[:4](images()[chosen])
    for p, centre in enumerate(kmex.prototypes):
        own = [i for i in chosen if LABELS[i] == kmex.prototype_class[p]]
        distance = (z[[chosen.index(i) for i in own]] - centre).norm(dim=1)
        order = [own[i] for i in distance.argsort()]
        assert kmex.nearest[p][: len(order)].tolist() == order[: len(kmex.nearest[p])]
        assert kmex.details.nearest_any[p] == chosen[int((z - centre).norm(dim=1).argmin())]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (images()[0].byte(), "You gave images of type uint8"),
        (images()[0].numpy(), "The image is an array of float32; expected the path of a picture"),
        (images()[0, 0], r"You gave images \(6, 6\)"),
        (images()[0, :1], r"Expected images \(N, 3, H, W\), got \(1, 1, 6, 6\)"),
        (BROKEN[1], "You gave images with values that are not finite"),
        (images(2), "Expected one image"),
        (torch.rand(3, 1, 1), "cannot take images"),
    ],
)
def test_images_to_explain_are_checked(image: Any, message: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    kmex = KMEx.convert(model, DataLoader(DATA, 9), k=1)
    with pytest.raises(InputError, match=message):
        kmex.explain(image)
    if "Expected one image" not in message and "N, 3" not in message:
        with pytest.raises(InputError):
            kmex(image[None] if getattr(image, "ndim", 0) == 3 else image)
