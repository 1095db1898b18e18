"""The shared pass of the published rules, against zennit's composite, one pass for each start."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision.models
from torch import Tensor, nn
from zennit.composites import SpecialFirstLayerMapComposite
from zennit.layer import Sum
from zennit.rules import AlphaBeta, Epsilon, Pass, ZBox
from zennit.types import Activation, AvgPool, Convolution, Linear

from kmex_core.networks import architectures
from kmex_core.networks.splitting import split
from kmex_core.relevance.composites import PoolEpsilon
from kmex_core.relevance.layers import layers_of
from kmex_core.relevance.lrp import LRP

LOW, HIGH, SIZE = (-1.0, -1.5, -2.0), (1.0, 2.0, 1.5), (3, 32, 32)


def encoder_of(name: str) -> nn.Module:
    """With random weights and normalisations that do something, in float64."""
    torch.manual_seed(0)
    built = architectures.build(name, 3, 32) if name == "resnet20" else getattr(torchvision.models, name)(num_classes=3)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
            nn.init.normal_(module.bias, 0, 0.1)
    encoder: nn.Module = split(built).encoder
    return encoder.double().eval()


def by_zennit(network: nn.Module, images: Tensor, relevance: Tensor) -> Tensor:
    """One row after the other."""
    network = copy.deepcopy(network)
    low, high = (torch.tensor(end, dtype=torch.float64).view(1, 3, 1, 1) for end in (LOW, HIGH))
    rules = [
        (Activation, Pass()),
        (Convolution, AlphaBeta(1, 0, zero_params=["bias"])),
        (Linear, Epsilon(1e-6, zero_params=["bias"])),
        (AvgPool, PoolEpsilon()),
        (Sum, Epsilon(1e-6)),
    ]
    first = [(kind, ZBox(low, high, zero_params=["bias"])) for kind in (Convolution, Linear)]
    SpecialFirstLayerMapComposite(rules, first).register(network)
    found = []
    for row in range(len(images)):
        inputs = images[row : row + 1].clone().requires_grad_()
        found.append(torch.autograd.grad(network(inputs), inputs, relevance[row : row + 1])[0])
    return torch.cat(found)


@pytest.mark.parametrize("name", ["resnet20", "resnet18", pytest.param("vgg11_bn", marks=pytest.mark.slow)])
def test_starts_that_share_images_are_as_by_zennit(name: str) -> None:
    encoder = encoder_of(name)
    images = torch.rand(3, *SIZE, dtype=torch.float64) * 2 - 1
    layers = layers_of(encoder, images)
    lrp = LRP(layers, LOW, HIGH, SIZE)
    with torch.no_grad():
        z = encoder(images)
    # starts of some images, of either sign, in any order
    for index in (torch.tensor([1, 0, 1, 2, 1]), torch.tensor([2])):
        relevance = torch.randn(len(index), z.shape[1], dtype=torch.float64)
        expected = by_zennit(layers.network, images[index], relevance)
        found, absorbed = lrp.maps(images, relevance, z, index)
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10 * float(expected.abs().amax()))
        assert not absorbed.any()
    one = torch.randn(4, z.shape[1], dtype=torch.float64)
    torch.testing.assert_close(
        lrp.maps(images[:1], one, z[:1], torch.zeros(4, dtype=torch.int64))[0],
        by_zennit(layers.network, images[:1].expand(4, -1, -1, -1), one),
    )


def test_negative_inputs_of_a_convolution_pass_by_negative_weights() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, stride=2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(45, 6)
    )
    encoder, images = network.double(), torch.rand(2, 3, 14, 14, dtype=torch.float64) - 0.5
    layers = layers_of(encoder, images)
    relevance, index = torch.randn(3, 6, dtype=torch.float64), torch.tensor([0, 1, 0])
    found, _ = LRP(layers, LOW, HIGH, (3, 14, 14)).maps(images, relevance, None, index)
    torch.testing.assert_close(found, by_zennit(layers.network, images[index], relevance))
