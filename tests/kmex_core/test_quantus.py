"""The sanity suite's measures against those of Quantus (Hedström et al., JMLR 24, 2023), whose names it uses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from quantus.functions.similarity_func import correlation_spearman
from quantus.metrics.faithfulness.pixel_flipping import PixelFlipping
from quantus.metrics.robustness.max_sensitivity import MaxSensitivity
from torch import Tensor, nn

from kmex_core import KMEx
from kmex_core.metrics.map_checks import DRAWS, NOISE, map_checks, rank_correlation
from kmex_core.metrics.randomisation import Reference
from kmex_core.relevance.catalogue import MapKind
from kmex_core.relevance.choices import of_prototypes
from kmex_core.relevance.methods.gradient_input import GradientInput
from kmex_core.relevance.removal import class_margin, relevance_rank, removal
from tests.helpers.small_kmex import CLASSES, SIDE, images_of, model_of

COUNT = 4
HIGHEST, LOWEST = 2.0, -1.0


class Margins(nn.Module):
    """What Quantus takes for a classifier: images to the margin of each class, (N, C)."""

    def __init__(self, kmex: KMEx) -> None:
        super().__init__()
        self.kmex = kmex

    def forward(self, images: Tensor) -> Tensor:
        z = self.kmex.encode(images.double())
        classes = torch.arange(CLASSES)
        return torch.stack([class_margin(self.kmex, z, one.expand(len(z))) for one in classes], 1)


def gradient_maps(kmex: KMEx, images: Tensor, prototypes: Tensor, rivals: Tensor) -> Tensor:
    each = torch.arange(len(images))
    with torch.no_grad():
        z = kmex.encode(images)
    wanted = of_prototypes("margin", kmex, each, z, prototypes, rivals)
    return GradientInput().maps(kmex, images, z, wanted).values


@pytest.fixture
def kmex() -> KMEx:
    return model_of().eval()


@pytest.fixture
def images() -> Tensor:
    return images_of(COUNT)


@pytest.fixture
def pairs(kmex: KMEx, images: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest prototype of each image, and its rival."""
    with torch.no_grad():
        z = kmex.encode(images)
        nearest = kmex.distance(z).argmin(1)
        return nearest, kmex.rivals(z, nearest)


def test_deletion_is_pixel_flipping(kmex: KMEx, images: Tensor, pairs: tuple[Tensor, Tensor]) -> None:
    maps = gradient_maps(kmex, images, *pairs).sum(1, keepdim=True).detach()
    predicted = kmex.prototype_class[pairs[0]]
    steps = 12
    pixels = SIDE * SIDE // steps
    # in Quantus a pixel has as many features as channels, of equal relevance here
    options = {"perturb_baseline": LOWEST, "disable_warnings": True}
    flipping = PixelFlipping(features_in_step=3 * pixels, abs=False, normalise=False, **options)  # type: ignore[arg-type]
    said = images.numpy(), predicted.numpy(), maps.numpy()
    theirs = flipping(Margins(kmex).eval(), *said, softmax=False, channel_first=True)
    shares = [(step + 1) / steps for step in range(steps)]
    black = torch.full_like(images, LOWEST)
    ours = removal(kmex, images, predicted, relevance_rank(maps), [black], shares, insertion=False)
    with torch.no_grad():
        whole = class_margin(kmex, kmex.encode(images), predicted)
    np.testing.assert_allclose(ours.margin[:, 0] * whole[:, None], np.array(theirs), rtol=1e-6, atol=1e-8)


def test_noise_is_max_sensitivity(kmex: KMEx, images: Tensor, pairs: tuple[Tensor, Tensor]) -> None:
    train = images_of(12, seed=5)
    with torch.no_grad():
        labels = kmex.predict(kmex.encode(train))
    kind = MapKind("margin", "gradient-input")
    checks = map_checks(kmex, [images], [kind], Reference(train, labels), COUNT)

    def drawn() -> Iterator[Tensor]:
        # the same uniform noise of 1% of the range of pixels for Quantus
        for draw in range(DRAWS):
            noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(draw)) * 2 - 1
            yield images + noise.double() * NOISE * (HIGHEST - LOWEST)

    noisy = drawn()
    sensitivity = MaxSensitivity(
        nr_samples=DRAWS,
        abs=False,
        normalise=False,
        lower_bound=NOISE,
        disable_warnings=True,
        perturb_func=lambda arr, **_: next(noisy).numpy().reshape(arr.shape),
    )
    theirs = sensitivity(
        Margins(kmex).eval(),
        images.numpy(),
        kmex.prototype_class[pairs[0]].numpy(),
        gradient_maps(kmex, images, *pairs).detach().numpy(),
        explain_func=lambda inputs, **_: gradient_maps(kmex, torch.as_tensor(inputs), *pairs).detach().numpy(),
        channel_first=True,
    )
    np.testing.assert_allclose(checks.sensitivity[0], np.array(theirs), rtol=1e-6)


def test_rank_correlation_is_spearmans() -> None:
    one, other = torch.randn(3, 2, 5, 6), torch.randn(3, 2, 5, 6)
    pairs = zip(one.sum(1).flatten(1).numpy(), other.sum(1).flatten(1).numpy(), strict=True)
    expected = [correlation_spearman(first, second) for first, second in pairs]
    np.testing.assert_allclose(rank_correlation(one, other), expected, rtol=1e-5)
