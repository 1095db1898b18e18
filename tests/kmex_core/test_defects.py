"""Defects of the paper's released code: each figure against a slow computation by hand that shares no code with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import entropy
from torch import Tensor, nn

from kmex_core import KMEx
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data.dataset import ArraySplit
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.metrics.types import MapScores, image_means
from kmex_core.models import catalogue as models
from kmex_core.models import training
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import KMeans
from kmex_core.relevance.catalogue import METHODS, PUBLISHED
from kmex_core.relevance.choices import of_prototypes
from kmex_core.relevance.lrp import lrp_of
from kmex_core.reproduction import defects
from kmex_core.reproduction.over_images import OverImages
from kmex_core.reproduction.released_maps import PRPFromOnes, ReleasedScores, released_scores
from kmex_core.reproduction.types import DefectRow
from kmex_core.stages import training_runs
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.datasets import write_folder
from tests.helpers.pictures import striped
from tests.helpers.stores import net

SIDE = 8
PUBLISHED_FIVE = KMeans(5, metric="euclidean")


@pytest.fixture
def subject(demo: Store, digits: ModelInfo) -> Subject:
    return Subject(demo, digits, dataset_of(digits))


def only(found: defects.Rows) -> DefectRow:
    """The row of a defect that has one."""
    assert not isinstance(found, str), found
    (row,) = found
    return row


def embedded(subject: Subject, split: str) -> tuple[np.ndarray, np.ndarray]:
    found = subject.embedding(split).get()
    return found.z.astype(np.float64), found.labels


# ---- prototypes -------------------------------------------------------------------------------------------------


def test_eq1_as_printed_is_the_same_for_any_prototypes(subject: Subject) -> None:
    random = np.random.default_rng(0)
    for k in (2, 7, 50):
        counts = random.multinomial(1000, random.dirichlet(np.full(k, 0.2)))
        assert (counts == 0).any() or k == 2, "some are ghosts, which it does not see"
        assert defects.eq1_as_printed(counts) == pytest.approx(1 - 1 / k)
    row = only(defects.constant_transparency(subject, PUBLISHED_FIVE))
    # counted anew: prototypes that are the nearest of no image of their class
    prototypes, (z, labels) = subject.conversion(PUBLISHED_FIVE).get().prototypes, embedded(subject, "train")
    nearest = cdist(z, prototypes.centers.astype(np.float64)).argmin(1)
    used = {int(p) for p, label in zip(nearest, labels, strict=True) if prototypes.classes[p] == label}
    assert row.with_defect == pytest.approx(0.98)
    assert row.without == 1 - len(used) / 50
    assert f"{50 - len(used)} of them are ghosts" in row.says


def test_diversity_with_and_without_rounding(subject: Subject) -> None:
    row = only(defects.rounded_diversity(subject, PUBLISHED_FIVE))
    centers = subject.conversion(PUBLISHED_FIVE).get().prototypes.centers

    def diversity(distance: np.ndarray) -> float:
        shares = (distance + 1) / (distance + 1e-4)  # softmax of log((d + 1) / (d + ε))
        return float(np.mean([entropy(row) for row in shares]) / np.log(len(distance)))

    rounded = torch.cdist(torch.from_numpy(centers), torch.from_numpy(centers)).double().numpy()
    assert row.without == pytest.approx(diversity(cdist(centers.astype(float), centers.astype(float))), rel=1e-6)
    assert row.with_defect == pytest.approx(diversity(rounded), rel=1e-4)
    assert row.with_defect > row.without
    assert f"instead of {row.without:.3f}" in row.says
    apart = defects.self_distances(centers)
    np.testing.assert_allclose(apart, np.diag(rounded))
    assert 0 < apart.max() < 0.1
    assert (defects.self_distances(centers[:25]) == 0).all(), "torch.cdist takes differences of so few"


def test_prototypes_of_the_test_split(subject: Subject) -> None:
    row = only(defects.prototypes_of_the_test_split(subject, KMeans(1, metric="euclidean")))
    (train, of_train), (test, of_test) = embedded(subject, "train"), embedded(subject, "test")

    def accuracy(z: np.ndarray, labels: np.ndarray) -> float:
        means = np.stack([z[labels == c].mean(0) for c in range(10)])  # what k-means finds for one prototype
        return float(np.mean(cdist(test, means).argmin(1) == of_test))

    assert row.with_defect == accuracy(test, of_test)
    assert row.without == accuracy(train, of_train)
    assert row.chance == np.bincount(of_test).max() / len(of_test)
    assert f"{(row.with_defect - row.without) * 100:+.2f} points" in row.says


# ---- relevance maps ---------------------------------------------------------------------------------------------


def images(count: int) -> tuple[Tensor, Tensor]:
    """Of three classes."""
    pixels = np.concatenate([striped(label, count, SIDE + 4, 3) for label in range(3)])[:, :SIDE, :SIDE]
    return torch.from_numpy(pixels / 255).permute(0, 3, 1, 2).float(), torch.arange(3).repeat_interleave(count)


@pytest.fixture
def kmex() -> KMEx:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 3),
    ).eval()
    return KMEx.convert(network, [images(12)], k=2, metric="euclidean")


def in_batches(x: Tensor, y: Tensor, size: int) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    order = np.arange(len(x))[::-1].copy()
    for start in range(0, len(x), size):
        rows = order[start : start + size]
        yield rows, x[torch.from_numpy(rows)], y[torch.from_numpy(rows)]


def test_released_scores_against_slow_loops(kmex: KMEx) -> None:
    x, y = images(3)
    base = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    found = released_scores(kmex, in_batches(x, y, 5), base, 3, seed=3)
    assert kmex.pixel_range is not None
    lrp = lrp_of(kmex.encoder, *kmex.pixel_range, (3, SIDE, SIDE))
    pixels = SIDE * SIDE

    def embedding(image: Tensor) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(kmex.encoder(image[None])[0].double())

    def similarities(image: Tensor) -> np.ndarray:
        """(K,) of the released code: by the distance, not its square."""
        d = np.sqrt(((embedding(image) - kmex.prototypes.double().numpy()) ** 2).sum(1))
        return np.asarray(np.log((d + 1) / (d + 1e-4)))

    def propagated(image: Tensor, start: np.ndarray) -> np.ndarray:
        return lrp.maps(image[None], torch.from_numpy(start)[None].float())[0][0].sum(0).double().numpy().ravel()

    def prp(image: Tensor, p: int) -> np.ndarray:
        share = 1 / ((embedding(image) - kmex.prototypes[p].double().numpy()) ** 4 + 1e-12)
        return propagated(image, share / share.sum())

    def with_pixels(image: Tensor, kept: np.ndarray) -> Tensor:
        out = base.clone().reshape(3, -1)
        out[:, kept] = image.reshape(3, -1)[:, kept]
        return out.reshape(3, SIDE, SIDE)

    def drop(image: Tensor, kept: np.ndarray, p: int) -> float:
        before, after = similarities(image)[p], similarities(with_pixels(image, kept))[p]
        return float(max(0.0, before - after) / before)

    half = pixels // 2
    assert found.images.tolist() == list(range(len(x)))
    for i in range(len(x)):
        own = [p for p in range(6) if kmex.prototype_class[p] == y[i]]
        ones = propagated(x[i], np.ones(24))
        at_random = np.random.default_rng([3, i]).permutation(pixels)  # the rank of each pixel
        for slot, p in enumerate(own):
            relevance = prp(x[i], p)
            most, least = (
                np.argsort(-relevance, kind="stable")[:half],
                np.argsort(np.abs(relevance), kind="stable")[:half],
            )
            expected = {
                "ones": drop(x[i], np.argsort(-ones, kind="stable")[:half], p),
                "mask": drop(x[i], least, p),
                "first_class": drop(x[i], most, slot),  # prototypes are in the order of their class
                "mask_and_class": drop(x[i], least, slot),
                "all": drop(x[i], np.argsort(np.abs(ones), kind="stable")[:half], slot),
                "random": drop(x[i], np.flatnonzero(at_random < half), p),
                "random_first_class": drop(x[i], np.flatnonzero(at_random < half), slot),
            }
            for name, value in expected.items():
                assert getattr(found, f"drop_{name}")[i, slot] == pytest.approx(value, abs=2e-4), (i, slot, name)
        distance = np.linalg.norm(embedding(x[i]) - kmex.prototypes.double().numpy(), axis=1)
        nearest = min(own, key=lambda p: distance[p])
        rival = min((p for p in range(6) if p not in own), key=lambda p: distance[p])
        maps = [
            lrp.maps(x[i : i + 1], torch.from_numpy(start)[None].float())[0].double().numpy().ravel()
            for start in (
                1 / ((embedding(x[i]) - kmex.prototypes[p].double().numpy()) ** 4 + 1e-12) for p in (nearest, rival)
            )
        ]
        cosine = maps[0] @ maps[1] / np.linalg.norm(maps[0]) / np.linalg.norm(maps[1])
        assert found.alike[i] == pytest.approx(cosine, abs=1e-4)
    np.testing.assert_allclose(found.alike_ones, 1, atol=1e-9)
    assert (found.alike < 0.9999).any(), "PRP's own start tells prototypes apart"
    assert set(np.unique(found.increase_all)) <= {0.0, 1.0}


def test_batches_change_only_the_other_image(kmex: KMEx) -> None:
    x, y = images(3)
    base = torch.zeros(3, SIDE, SIDE)
    one, other = (released_scores(kmex, in_batches(x, y, size), base, 3) for size in (2, 9))
    for each in dataclasses.fields(ReleasedScores):
        if each.name != "alike_other_image":
            np.testing.assert_allclose(getattr(one, each.name), getattr(other, each.name), atol=2e-4)
    alone = released_scores(kmex, in_batches(x[:1], y[:1], 1), base, 3)
    assert np.isnan(alone.alike_other_image).all()


def test_a_start_of_ones_in_one_layer_by_hand() -> None:
    """One convolution over the whole image: the zB rule, written out."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 5, SIDE), nn.Flatten(), nn.Linear(5, 3)).eval()
    x, y = images(8)
    kmex = KMEx.convert(network, [(x, y)], k=2, metric="euclidean")
    assert kmex.pixel_range is not None
    image, prototypes = x[:1], torch.tensor([0, 4])
    both = of_prototypes(
        "similarity", kmex, torch.zeros(2, dtype=torch.int64), kmex.encode(image).expand(2, -1), prototypes
    )
    maps = PRPFromOnes().maps(kmex, image, kmex.encode(image), both)
    convolution = network[0]
    assert isinstance(convolution, nn.Conv2d)
    w = convolution.weight.detach().double().numpy().reshape(5, 3, -1)
    low, high = (np.array(values)[None, :, None] for values in kmex.pixel_range)
    parts = w * image.double().numpy().reshape(1, 3, -1) - w.clip(0) * low - w.clip(max=0) * high
    by_hand = (parts / parts.sum((1, 2), keepdims=True)).sum(0).reshape(3, SIDE, SIDE)
    for values in maps.values:  # the same for both prototypes
        np.testing.assert_allclose(values.double().numpy(), by_hand, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(maps.expected.numpy(), 5)
    prp = METHODS["prp"].make().maps(kmex, image, kmex.encode(image), both).values
    assert not torch.allclose(prp[0], prp[1])


def test_rows_of_relevance_stand_beside_the_products_own(subject: Subject) -> None:
    rows = defects.relevance(subject, PUBLISHED_FIVE, 4, 0)
    assert not isinstance(rows, str)
    right = subject.relevance_scores(PUBLISHED_FIVE, 4, 0, PUBLISHED).get()
    assert isinstance(right, MapScores)
    drop, increase = (image_means(values).mean() for values in (right.drop_reference, right.increase_reference))
    assert [row.without for row in rows[1:]] == pytest.approx([drop, drop, increase, drop, increase])
    assert rows[0].with_defect == pytest.approx(1)
    assert rows[0].without < 1
    assert len({row.chance for row in rows if row.metric.startswith("AD")}) == 1
    assert all(row.says and 0 <= row.with_defect <= 1.0001 for row in rows)
    assert "The mask alone gives" in rows[2].says


def test_words_for_a_figure_over_images() -> None:
    without, chance = np.array([0.1, 0.3, 0.2, 0.4]), np.array([0.5, 0.7, 0.6, 0.8])
    worse = OverImages(without + np.array([0.4, 0.5, 0.5, 0.6]), without, chance, lower=True)
    assert worse.means == pytest.approx((0.75, 0.25))
    assert worse.chance_mean == pytest.approx(0.65)
    # 0.5 over the standard deviation of the four, √0.0125
    assert worse.change() == "The defect changes the mean by +0.500, 4.5 standard deviations over images."
    assert worse.beside_chance("chance") == (
        "With it, the figure is worse than chance (0.650), without it better than that."
    )
    apart = OverImages(worse.with_defect, without, chance, lower=True, chance_with_defect=chance + 0.3)
    assert apart.beside_chance("random") == (
        "Random gives 0.950 with it and 0.650 without; with and without it, the figure is better than that."
    )
    worst = dataclasses.replace(apart, chance_with_defect=chance - 0.3)
    assert worst.beside_chance("random") == (
        "Random gives 0.350 with it and 0.650 without; with it, the figure is worse than that, without it better "
        "than that."
    )
    same = OverImages(without + np.array([0.01, -0.01, 0.01, -0.01]), without, chance, lower=False)
    assert same.change() == "The change of the mean by +0.000 is within what chance makes of 4 images."
    assert same.beside_chance("chance") == "With and without it, the figure is worse than chance (0.650)."
    none = OverImages(np.full(2, np.nan), without[:2], chance[:2], lower=True)
    assert "of 0 images" in none.change()
    assert np.isnan(none.means[0])


# ---- normalisation ----------------------------------------------------------------------------------------------


@pytest.fixture
def cifar(store: Store, tmp_path: Path) -> Subject:
    """A small network, hardly trained, on a folder by the name of the paper's data set."""
    spec = DatasetSpec(str(write_folder(tmp_path / "cifar10", ("a", "b", "c"), 10, 6, size=32)))
    data = dataset_of(net(store, spec, "untrained"))
    recipe = training.default_recipe(data, False, epochs=1, batch_size=15)
    info = training_runs.train(store, training_runs.TrainRequest("small", spec, "resnet20", recipe, "cpu", "test"))
    return Subject(store, info, dataset_of(info))


def test_released_constants_at_conversion_and_in_training(cifar: Subject) -> None:
    constants, source = defects.RELEASED["CIFAR-10"], KMeans(1, metric="euclidean")
    row = only(defects.normalisation(cifar, source, constants))
    assert row.dataset == "CIFAR-10"
    assert cifar.embedding("train").exists(), "the model's own results stay where they are"

    def accuracy(mean: tuple[float, ...], std: tuple[float, ...]) -> float:
        shape, z = (1, 3, 1, 1), {}
        for split in ("train", "test"):
            pixels = cifar.data.pixels(split, np.arange(len(cifar.data.split(split)))).double() / 255
            given = (pixels - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
            with torch.no_grad():
                z[split] = cifar.network.encoder(given.float()).double().numpy()
        train, test = (cifar.data.split(split).labels for split in ("train", "test"))
        means = np.stack([z["train"][train == c].mean(0) for c in range(3)])
        return float(np.mean(cdist(z["test"], means).argmin(1) == test))

    preprocessing = cifar.info.preprocessing
    assert row.with_defect == accuracy(constants.mean, constants.std)
    assert row.without == accuracy(preprocessing.mean, preprocessing.std)

    assert "for which there was no time" in defects.normalised_training(cifar, source, constants, 0)
    row = only(defects.normalised_training(cifar, source, constants, 1))
    again = models.describe(cifar.store, "reproduce-normalisation-small")
    assert again.preprocessing.mean == constants.mean
    assert again.made_by["recipe"] == cifar.info.made_by["recipe"]
    assert row.without == accuracy(preprocessing.mean, preprocessing.std)
    assert defects.normalised_training(cifar, source, constants, 0) == [row], "nothing is trained twice"
    untrained = dataclasses.replace(cifar, info=models.describe(cifar.store, "untrained"))
    assert "was not trained here" in defects.normalised_training(untrained, source, constants, 1)


def test_quickdraws_constants_are_of_bytes() -> None:
    wrong = defects.RELEASED["QuickDraw"].of(Preprocessing.plain(32, 1, (0.2,), (0.3,)))
    from kmex_core.data.network_input import normalise

    pixels = torch.tensor([[[[0, 100], [200, 255]]]], dtype=torch.uint8)
    by_hand = (np.array([0, 100, 200, 255]) - 1.218) / 7.768
    np.testing.assert_allclose(normalise(pixels, wrong)[0, 0].flatten().numpy(), by_hand, rtol=1e-5)


# ---- together ---------------------------------------------------------------------------------------------------


def test_all_defects_of_a_model_and_what_is_left(subject: Subject) -> None:
    found = defects.defects(subject, PUBLISHED_FIVE, images=4)
    assert [row.metric.split(",")[0] for row in found.rows] == [
        "D_tsp",
        "D_dvs over all prototypes by the unsquared distance",
        "Accuracy of KMEx",
        "Cosine between an image's maps for prototypes of two classes",
        *("AD", "AD", "AI", "AD", "AI"),
    ]
    assert {row.model for row in found.rows} == {"digits (resnet20) + KMEx, 5 prototypes per class"}
    (left,) = found.left
    assert left.startswith("Wrong normalisation constants: there are none of ")
    nothing = defects.defects(subject, PUBLISHED_FIVE, images=4, minutes=0)
    assert not nothing.rows
    assert len(nothing.left) == 5
    assert nothing.left[1] == "The constant Eq. 1: there was no time left."


def test_mnists_constants_are_right(subject: Subject) -> None:
    mnist = dataclasses.replace(subject, data=dataclasses.replace(subject.data, name="mnist"))
    assert defects.defects(mnist, PUBLISHED_FIVE, minutes=0).left[0] == (
        "Wrong normalisation constants: those of MNIST are right; wrong are those of CIFAR-10 and QuickDraw."
    )


def test_a_test_split_without_a_class_is_said(subject: Subject) -> None:
    test = subject.data.split("test")
    rows = np.flatnonzero(test.labels != 3)[:40]
    fewer = ArraySplit(np.stack([test.image(int(row)) for row in rows]), test.labels[rows])
    data = dataclasses.replace(subject.data, splits={**subject.data.splits, "test": fewer}, fingerprint="other")
    assert defects.prototypes_of_the_test_split(dataclasses.replace(subject, data=data), PUBLISHED_FIVE) == (
        "a class has no test images."
    )
