from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from kmex_core import KMEx
from kmex_core.analysis import export as report
from kmex_core.base import cores
from kmex_core.base.errors import InputError, KMExError
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.models.catalogue import network_input
from kmex_core.models.info import ModelInfo
from kmex_core.networks import architectures, splitting
from kmex_core.prototypes.source import KMeans
from kmex_core.relevance import lrp as lrp_module
from kmex_core.relevance.catalogue import METHODS
from kmex_core.relevance.composites import RULES
from kmex_core.relevance.layers import layers_of
from kmex_core.relevance.lrp import LRP, PUBLISHED, ZennitLRP, class_relevance, lrp_of
from kmex_core.relevance.recording import NoRules
from kmex_core.relevance.starts import similarity_relevance
from kmex_core.stages.explainer import explainer
from kmex_core.stages.subject import Subject, dataset_of

LOW, HIGH = (-0.4, -0.5, -0.6), (1.6, 1.5, 1.7)


def has_rules(encoder: nn.Module, size: tuple[int, ...]) -> bool:
    try:
        lrp_of(encoder, LOW, HIGH, size)
    except NoRules:
        return False
    return True


def small_network() -> nn.Sequential:
    shortcut = nn.Sequential(nn.Conv2d(5, 6, 1, 2, bias=False), nn.BatchNorm2d(6))
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1, bias=False),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        BasicBlock(5, 6, 2, shortcut),
        BasicBlock(6, 6),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 7),
        nn.ReLU(),
        nn.Dropout(),
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.3)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.double().eval()


def parts_of(network: nn.Sequential) -> tuple[nn.Conv2d, nn.BatchNorm2d, BasicBlock, BasicBlock, nn.Linear]:
    """The parts of `small_network` that have weights."""
    conv, bn, _, _, one, two, _, _, linear, _, _ = network
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(bn, nn.BatchNorm2d)
    assert isinstance(one, BasicBlock)
    assert isinstance(two, BasicBlock)
    assert isinstance(linear, nn.Linear)
    return conv, bn, one, two, linear


def shortcut_of(block: BasicBlock) -> tuple[nn.Conv2d, nn.BatchNorm2d] | None:
    if block.downsample is None:
        return None
    conv, bn = block.downsample
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(bn, nn.BatchNorm2d)
    return conv, bn


# ---- an independent, slow implementation of the rules: explicit sums over patches, no autograd, no zennit


def signed(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, -1.0, 1.0)


Contribution = Callable[[np.ndarray, np.ndarray], np.ndarray]
Back = Callable[[np.ndarray], np.ndarray]
Bias = Callable[[np.ndarray], np.ndarray | float]


def no_bias(_: np.ndarray) -> float:
    return 0.0


def padding(conv: nn.Conv2d) -> int:
    assert not isinstance(conv.padding, str)
    return conv.padding[0]


class Slow:
    """LRP by hand for `small_network`: one image (3, H, W), relevance (D,) at its output, and what biases absorb."""

    EPS, GAMMA = 1e-6, 0.25

    def __init__(self, rule: str = "alpha1-beta0") -> None:
        self.rule = rule
        self.absorbed = 0.0

    def conv(
        self, conv: nn.Conv2d, bn: nn.BatchNorm2d | None, x: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Merged weights and bias, and the output."""
        weight = conv.weight.detach().numpy()
        bias = np.zeros(len(weight))
        if bn is not None:
            assert bn.running_mean is not None
            assert bn.running_var is not None
            scale = (bn.weight / torch.sqrt(bn.running_var + bn.eps)).detach().numpy()
            weight = weight * scale[:, None, None, None]
            bias = bn.bias.detach().numpy() - bn.running_mean.numpy() * scale
        out = self.apply(weight, x, conv) + bias[:, None, None]
        return weight, bias, out

    def places(self, conv: nn.Conv2d, shape: tuple[int, ...]) -> Iterator[tuple[int, int, slice, slice]]:
        size, stride, pad = conv.kernel_size[0], conv.stride[0], padding(conv)
        height = (shape[1] + 2 * pad - size) // stride + 1
        width = (shape[2] + 2 * pad - size) // stride + 1
        for i in range(height):
            for j in range(width):
                yield i, j, slice(i * stride, i * stride + size), slice(j * stride, j * stride + size)

    def apply(self, weight: np.ndarray, x: np.ndarray, conv: nn.Conv2d) -> np.ndarray:
        pad = padding(conv)
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        found = {
            (i, j): (weight * padded[:, rows, cols]).sum((1, 2, 3)) for i, j, rows, cols in self.places(conv, x.shape)
        }
        height, width = max(found)[0] + 1, max(found)[1] + 1
        return np.array([[found[i, j] for j in range(width)] for i in range(height)]).transpose(2, 0, 1)

    def spread(
        self, conv: nn.Conv2d, x: np.ndarray, relevance: np.ndarray, contribution: Contribution, bias: Bias = no_bias
    ) -> np.ndarray:
        """Each output's relevance over its patch, in proportion to `contribution(patch, inside)`, (O, C, k, k), and to
        the bias (O,) beside it, which absorbs its share."""
        pad = padding(conv)
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        inside = np.pad(np.ones(x.shape), ((0, 0), (pad, pad), (pad, pad)))
        out = np.zeros_like(padded)
        for i, j, rows, cols in self.places(conv, x.shape):
            parts = contribution(padded[:, rows, cols], inside[:, rows, cols])
            own = bias(padded[:, rows, cols])
            total = parts.sum((1, 2, 3)) + own
            total = total + signed(total) * self.EPS
            self.absorbed += float((own * relevance[:, i, j] / total).sum())
            out[:, rows, cols] += (parts * (relevance[:, i, j] / total)[:, None, None, None]).sum(0)
        return out[:, pad : pad + x.shape[1], pad : pad + x.shape[2]]

    def inner(
        self, conv: nn.Conv2d, weight: np.ndarray, bias: np.ndarray, x: np.ndarray, relevance: np.ndarray
    ) -> np.ndarray:
        """All convolutions but the first; their inputs are not negative."""
        if self.rule == "alpha1-beta0":
            return self.spread(conv, x, relevance, lambda patch, _: np.maximum(weight * patch, 0))
        if self.rule == "epsilon":
            return self.spread(conv, x, relevance, lambda patch, _: weight * patch, lambda _: bias)

        def favoured(values: np.ndarray, patch: np.ndarray) -> np.ndarray:
            # γ adds to what has the sign of the output
            output = (weight * patch).sum((1, 2, 3)) + bias
            sign = output.reshape(-1, *[1] * (values.ndim - 1))
            return values + self.GAMMA * np.where(sign > 0, np.maximum(values, 0), np.minimum(values, 0))

        return self.spread(
            conv, x, relevance, lambda patch, _: favoured(weight, patch) * patch, lambda patch: favoured(bias, patch)
        )

    def z_box(self, conv: nn.Conv2d, weight: np.ndarray, x: np.ndarray, relevance: np.ndarray) -> np.ndarray:
        low, high = (np.array(v)[:, None, None] for v in (LOW, HIGH))
        return self.spread(
            conv,
            x,
            relevance,
            lambda patch, inside: (
                weight * patch - np.maximum(weight, 0) * low * inside - np.minimum(weight, 0) * high * inside
            ),
        )

    def block(self, block: BasicBlock, x: np.ndarray) -> tuple[np.ndarray, Back]:
        w1, b1, a = self.conv(block.conv1, block.bn1, x)
        a = np.maximum(a, 0)
        w2, b2, b = self.conv(block.conv2, block.bn2, a)
        shortcut = shortcut_of(block)
        w3, b3, skip = (None, None, x) if shortcut is None else self.conv(*shortcut, x)

        def back(relevance: np.ndarray) -> np.ndarray:
            total = skip + b
            share = relevance / (total + signed(total) * self.EPS)
            inner = self.inner(block.conv2, w2, b2, a, b * share)
            inner = self.inner(block.conv1, w1, b1, x, inner)
            outer = skip * share
            if shortcut is None or w3 is None or b3 is None:
                return inner + outer
            return inner + self.inner(shortcut[0], w3, b3, x, outer)

        return np.maximum(skip + b, 0), back

    def relevance(self, network: nn.Sequential, image: np.ndarray, at_output: np.ndarray) -> np.ndarray:
        conv, bn, one, two, linear = parts_of(network)
        w0, _, a0 = self.conv(conv, bn, image)
        a0 = np.maximum(a0, 0)
        channels, height, width = a0.shape
        pooled = a0.reshape(channels, height // 2, 2, width // 2, 2).max((2, 4))
        a1, back1 = self.block(one, pooled)
        a2, back2 = self.block(two, a1)
        mean = a2.mean((1, 2))
        # ε rule through the Linear layer, under α1β0 without its bias
        weight, bias = linear.weight.detach().numpy(), linear.bias.detach().numpy()
        total = weight @ mean + (0 if self.rule == "alpha1-beta0" else bias)
        share = at_output / (total + signed(total) * self.EPS)
        self.absorbed += 0 if self.rule == "alpha1-beta0" else float((bias * share).sum())
        r = (weight * mean).T @ share
        # average pooling: ε added to every input
        area = a2.shape[1] * a2.shape[2]
        small = signed(mean) * self.EPS
        r = (a2 + small[:, None, None]) / area * (r / (mean + small))[:, None, None]
        r = back1(back2(r))
        # the winner takes all
        unpooled = np.zeros_like(a0)
        for c in range(channels):
            for i in range(height // 2):
                for j in range(width // 2):
                    window = a0[c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                    k = int(window.reshape(-1).argmax())
                    unpooled[c, 2 * i + k // 2, 2 * j + k % 2] = r[c, i, j]
        return self.z_box(conv, w0, image, unpooled)


def rows(network: nn.Sequential, count: int = 3) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, 3, 8, 8, dtype=torch.float64) * 2 - 0.4
    with torch.no_grad():
        z = network(images)
        p = z + torch.randn_like(z) * 0.3
        distance = (z - p).square().sum(1).sqrt()
        s = torch.log((distance.square() + 1) / (distance.square() + 1e-4))
    return images, similarity_relevance(z, p, s)


@pytest.mark.parametrize("rule", [PUBLISHED, *RULES])
@pytest.mark.parametrize("seed", range(4))
def test_maps_agree_with_a_slow_implementation_of_the_rules(seed: int, rule: str) -> None:
    torch.manual_seed(seed)
    network = small_network()
    images, relevance = rows(network)
    lrp = lrp_of(network, LOW, HIGH, images.shape[1:], rule)
    maps, absorbed = lrp.maps(images, relevance)
    for row, (image, at_output, found) in enumerate(zip(images, relevance, maps, strict=True)):
        slow = Slow(rule)
        by_hand = slow.relevance(network, image.numpy(), at_output.numpy())
        scale = np.abs(by_hand).max()
        np.testing.assert_allclose(found.numpy() / scale, by_hand / scale, atol=1e-6)
        assert float(absorbed[row]) == pytest.approx(slow.absorbed, rel=1e-5, abs=1e-9)
        assert (slow.absorbed == 0) == (rule == "alpha1-beta0")
    again, absorbed_again = lrp.maps(images, relevance)  # a pass leaves nothing behind
    torch.testing.assert_close((again, absorbed_again), (maps, absorbed))


def test_the_slow_implementation_computes_the_network() -> None:
    torch.manual_seed(0)
    network = small_network()
    image = torch.rand(3, 8, 8, dtype=torch.float64)
    slow = Slow()
    conv, bn, one, _, _ = parts_of(network)
    _, _, a0 = slow.conv(conv, bn, image.numpy())
    np.testing.assert_allclose(np.maximum(a0, 0), network[:3](image[None])[0].detach().numpy(), atol=1e-12)
    a1, _ = slow.block(one, network[:4](image[None])[0].detach().numpy())
    np.testing.assert_allclose(a1, network[:5](image[None])[0].detach().numpy(), atol=1e-12)


def test_relevance_of_a_dead_channel_is_not_lost_in_pooling() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3, padding=1)
    network = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight[1] = conv.weight[1].abs()
        conv.bias[1] = -100
    images = torch.rand(2, 3, 8, 8) * 2 - 0.4
    assert (network(images)[:, 1] == 0).all()
    relevance = torch.zeros(2, 4)
    relevance[:, 1] = 3.0
    sums = lrp_of(network, LOW, HIGH, images.shape[1:]).maps(images, relevance)[0].sum((1, 2, 3))
    torch.testing.assert_close(sums, torch.full((2,), 3.0), rtol=1e-3, atol=0)


class ByFunctions(nn.Module):
    """`small_network` as timm or a user might write it: functions, sums in place, means, nothing called as a module."""

    def __init__(self, network: nn.Sequential, first: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.first = network, first

    def conv(self, conv: nn.Conv2d, bn: nn.BatchNorm2d, x: Tensor) -> Tensor:
        x = nn.functional.conv2d(x, conv.weight, None, conv.stride, conv.padding)
        return nn.functional.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias)

    def block(self, block: BasicBlock, x: Tensor) -> Tensor:
        parts = shortcut_of(block)
        shortcut = x if parts is None else self.conv(*parts, x)
        x = self.conv(block.conv2, block.bn2, torch.relu(self.conv(block.conv1, block.bn1, x)))
        x += shortcut
        return x.relu_()

    def forward(self, x: Tensor) -> Tensor:
        conv, bn, one, two, linear = parts_of(self.network)
        x = self.block(two, self.block(one, nn.functional.max_pool2d(self.first(self.conv(conv, bn, x)), 2)))
        return (x.mean((-1, -2), keepdim=True).view(len(x), -1) @ linear.weight.T + linear.bias).relu()


def test_what_runs_counts_not_which_modules_run_it() -> None:
    torch.manual_seed(0)
    network = small_network()
    images, relevance = rows(network)
    expected = lrp_of(network, LOW, HIGH, images.shape[1:]).maps(images, relevance)
    twin = ByFunctions(network, torch.relu)
    torch.testing.assert_close(twin(images), network(images))
    maps = lrp_of(twin, LOW, HIGH, images.shape[1:]).maps(images, relevance)
    torch.testing.assert_close(maps, expected, rtol=1e-6, atol=1e-9)
    assert not has_rules(ByFunctions(network, lambda x: x.clamp(min=0)), images.shape[1:])  # the same, but has no rule
    assert not has_rules(ByFunctions(network, nn.functional.gelu), images.shape[1:])


class Depending(nn.Module):
    """Other layers run on bright images than on dark ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.dark, self.bright = nn.Conv2d(3, 4, 3), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        z = self.conv(x).relu().mean((2, 3))
        return self.bright(z) if x.mean() > 2 else self.dark(z)


def test_layers_that_depend_on_the_image_are_noticed() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(Depending(), nn.Linear(4, 3)).eval()
    images = torch.rand(12, 3, 8, 8)
    images[6:] += 4
    kmex = KMEx.convert(network, [(images[:6], torch.arange(6) % 3), (images[6:], torch.arange(6) % 3)], k=1)
    assert kmex.explain(images[0], method="prp").maps.exact.all()
    # the paths cross the jump between the layers, which gradients do not see: the check says so
    assert not kmex.explain(images[8], method="integrated-gradients").maps.exact.all()
    with pytest.raises(InputError, match="use masked-gradients"):
        kmex.explain(images[8], method="prp")


def test_prp_shares_by_hand() -> None:
    z, p = torch.tensor([[1.0, 2.0, 5.0]]), torch.tensor([[1.5, 2.0, 4.0]])
    raw = [1 / (0.5**4 + 1e-12), 1 / 1e-12, 1 / (1 + 1e-12)]
    expected = [3.0 * part / sum(raw) for part in raw]
    torch.testing.assert_close(similarity_relevance(z, p, torch.tensor([3.0]))[0], torch.tensor(expected))
    raw = [math.log((d * d + 1) / (d * d + 1e-4)) for d in (0.5, 0.0, 1.0)]
    expected = [3.0 * part / sum(raw) for part in raw]
    by_similarity = similarity_relevance(z, p, torch.tensor([3.0]), "similarity")
    torch.testing.assert_close(by_similarity[0], torch.tensor(expected))
    with pytest.raises(InputError, match="Unknown rule 'other'"):
        similarity_relevance(z, p, torch.tensor([3.0]), "other")


def test_class_relevance_by_hand() -> None:
    head = nn.Linear(3, 2)
    z = torch.tensor([[1.0, -2.0, 0.5]])
    found = class_relevance(head, z, torch.tensor([1]))
    torch.testing.assert_close(found[0], z[0] * head.weight[1].detach(), rtol=1e-4, atol=1e-6)


# ---- on the trained demo


@pytest.fixture
def kmex(demo: Store, digits: ModelInfo) -> KMEx:
    data = dataset_of(digits)
    converted = Subject(demo, digits, data).conversion(KMeans(5)).get()
    return explainer(
        models.load(demo, "digits"), KMeans(5), converted, Subject(demo, digits, data).conversion(KMeans(5)).spec
    )


def input_of(digits: ModelInfo, index: int) -> Tensor:
    return network_input(digits, dataset_of(digits).split("test").image(index))


def test_maps_of_the_trained_network_conserve(kmex: KMEx, digits: ModelInfo) -> None:
    for index in range(0, 500, 50):
        found = kmex.explain(input_of(digits, index), top=5, method="prp", target="similarity", judged=False)
        assert (found.maps.method, found.maps.target) == ("prp", "similarity")
        assert found.maps.error.max() < 2e-3
        np.testing.assert_allclose(found.maps.values.sum((1, 2)), found.similarity[found.prototypes], rtol=3e-3)
        np.testing.assert_allclose(found.maps.numbers, found.similarity[found.prototypes], rtol=1e-6)
        assert found.black_box_map is not None
        assert found.black_box_map.error[0] < 2e-3
        assert found.maps.exact.all()


@pytest.mark.parametrize("method", METHODS)
def test_maps_of_the_margin_add_up_to_it(kmex: KMEx, digits: ModelInfo, method: str) -> None:
    for index in (0, 50):
        found = kmex.explain(input_of(digits, index), top=3, method=method, judged=False)
        distance = found.distance.astype(float)
        margin = distance[found.maps.rivals] ** 2 - distance[found.prototypes] ** 2
        np.testing.assert_allclose(found.maps.numbers, margin, rtol=1e-4)
        assert found.maps.exact.all()
        assert (kmex.prototype_class[found.maps.rivals] != kmex.prototype_class[found.prototypes]).all()
        if method in ("prp", "lrp-gamma", "lrp-epsilon"):
            total = found.maps.total + found.maps.absorbed
            np.testing.assert_allclose(total, margin, atol=2e-3 * float(found.maps.magnitude.max()))
            assert (found.maps.absorbed == 0).all() == (method == "prp")


def test_maps_of_two_prototypes_of_one_image_differ(demo: Store, digits: ModelInfo) -> None:
    kmex = Subject(demo, digits, dataset_of(digits)).explainer(KMeans(5, metric="euclidean"))
    found = kmex.explain(input_of(digits, 0), top=4, method="prp", target="similarity", judged=False)
    flat = found.maps.values.reshape(4, -1)
    correlation = np.corrcoef(flat)[np.triu_indices(4, 1)]
    assert correlation.max() < 0.95
    assert len(np.unique(flat.argmax(1))) > 1


def test_a_batch_gives_the_maps_of_single_passes(kmex: KMEx, digits: ModelInfo) -> None:
    image = input_of(digits, 3)
    together = kmex.explain(image, prototypes=[40, 2, 17])
    assert together.prototypes.tolist() == sorted([40, 2, 17], key=lambda p: together.distance[p])
    for p, values in zip(together.prototypes, together.maps.values, strict=True):
        alone = kmex.maps(image, [int(p)])
        np.testing.assert_allclose(alone.values[0], values, rtol=1e-3, atol=1e-5 * np.abs(values).max())


def test_a_class_map_is_made_of_its_prototypes_maps(kmex: KMEx, digits: ModelInfo) -> None:
    image = input_of(digits, 3)
    by_kmex, by_black_box = kmex.class_maps(image.expand(2, -1, -1, -1), [4, 7], method="prp", target="similarity")
    assert by_kmex.exact.all()
    assert by_black_box is not None
    assert by_black_box.exact.all()
    found = kmex.explain(image, list(range(len(kmex.prototypes))), method="prp", target="similarity", judged=False)
    assert kmex.temperature is not None
    shares = torch.from_numpy(-(found.distance.astype(float) ** 2) / kmex.temperature.value).softmax(0).numpy()
    for row, c in enumerate((4, 7)):
        own = [(p, at) for at, p in enumerate(found.prototypes) if kmex.prototype_class[p] == c]
        parts = [shares[p] / found.similarity[p] * found.maps.values[at] for p, at in own]
        np.testing.assert_allclose(by_kmex.values[row], np.sum(parts, 0), rtol=1e-3, atol=1e-7)
        assert by_kmex.values[row].sum() == pytest.approx(found.kmex[c], rel=2e-3)
    assert found.predicted_black_box is not None
    assert found.black_box_map is not None
    _, again = kmex.class_maps(image, [found.predicted_black_box], method="prp", target="similarity")
    assert again is not None
    np.testing.assert_allclose(again.values, found.black_box_map.values, rtol=1e-4, atol=1e-6)
    for wrong in ([10], [-1], [1, 2]):
        with pytest.raises(InputError, match="Expected one class from 0 to 9"):
            kmex.class_maps(image, wrong)


def test_predictions_of_an_explanation_are_the_models(kmex: KMEx, digits: ModelInfo) -> None:
    data = dataset_of(digits)
    converted = Subject(Store(), digits, data).conversion(KMeans(5)).get()
    for index in (0, 7, 100):
        found = kmex.explain(input_of(digits, index), top=1)
        assert found.prototypes[0] == converted.test_activated[index]
        assert found.predicted == converted.test_predicted[index]
        assert found.predicted_black_box == converted.test_black_box[index]
        assert found.black_box is not None
        assert found.black_box.sum() == pytest.approx(1, abs=1e-5)
        assert found.kmex.sum() == pytest.approx(1, abs=1e-5)


def test_noise_is_unlike_the_training_data_and_training_images_are_not(kmex: KMEx, digits: ModelInfo) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    assert kmex.explain(network_input(digits, noise), top=1).unusual
    train = dataset_of(digits).split("train")
    images = torch.cat([network_input(digits, train.image(i)) for i in range(60)])
    unusual = kmex.distance(kmex.encode(images)).amin(1) > kmex.details.typical_distance
    assert unusual.sum() <= 3
    explained = [kmex.explain(images[i : i + 1], prototypes=[]).unusual for i in range(5)]
    assert explained == unusual[:5].tolist()


def test_threads_do_not_disturb_each_other_or_the_weights(kmex: KMEx, digits: ModelInfo) -> None:
    before = splitting.fingerprint(kmex)
    images = range(3)
    alone = {i: kmex.explain(input_of(digits, i), top=3, judged=False).maps.values for i in images}
    found: dict[tuple[int, int], np.ndarray] = {}
    errors: list[Exception] = []

    def work(thread: int) -> None:
        try:
            for i in images:
                found[thread, i] = kmex.explain(input_of(digits, i), top=3, judged=False).maps.values
        except Exception as error:  # shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(found) == 4 * len(images)
    for (_, i), values in found.items():
        np.testing.assert_allclose(values, alone[i], rtol=1e-3, atol=1e-5 * np.abs(alone[i]).max())
    assert splitting.fingerprint(kmex) == before


def test_new_weights_give_new_maps(kmex: KMEx, digits: ModelInfo) -> None:
    image = input_of(digits, 0)
    before = kmex.maps(image, [0]).values
    with torch.no_grad():
        kmex.encoder.get_parameter("model.layer1.0.conv1.weight").mul_(0.5)
    assert np.abs(kmex.maps(image, [0]).values - before).max() > 1e-3 * np.abs(before).max()


def test_prototypes_that_do_not_exist_are_refused(kmex: KMEx, digits: ModelInfo) -> None:
    image = input_of(digits, 0)
    with pytest.raises(InputError, match="numbered 0 to 49"):
        kmex.explain(image, prototypes=[50])
    with pytest.raises(InputError, match="no relevance method named 'magic'"):
        kmex.explain(image, method="magic")
    with pytest.raises(InputError, match="Expected one prototype per image"):
        kmex.maps(image, [1, 2])
    with pytest.raises(InputError, match="Expected one image"):
        kmex.explain(torch.zeros(2, 3, 32, 32))


# ---- networks without rules


@pytest.mark.parametrize(
    ("name", "rules"),
    [("resnet20", True), ("resnet18", True), ("resnet50", True), ("vgg11_bn", True), ("vgg11", True),
     ("regnet_x_400mf", True), ("googlenet", False),
     ("convnext_tiny", False), ("vit_b_32", False), ("mobilenet_v2", False), ("densenet121", False),
     ("efficientnet_b0", False)],
)  # fmt: skip
def test_which_families_have_rules(name: str, rules: bool) -> None:
    encoder = splitting.split(architectures.build(name, 4, 32)).encoder
    assert has_rules(encoder, (3, 32, 32)) is rules
    if not rules:
        with pytest.raises(NoRules):
            lrp_of(encoder, LOW, HIGH, (3, 32, 32))


def test_batch_norm_that_cannot_be_merged_has_no_rules() -> None:
    assert not has_rules(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)), (3, 8, 8))
    assert not has_rules(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), (3, 8, 8))
    assert not has_rules(nn.Sequential(nn.Flatten()), (3, 8, 8))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg11_bn", "regnet_x_400mf"])
def test_families_with_rules_conserve(name: str) -> None:
    torch.manual_seed(0)
    parts = splitting.split(architectures.build(name, 4, 32))
    encoder = parts.encoder.eval()
    images = torch.rand(2, 3, 32, 32) * 2 - 0.4
    z = encoder(images).detach()
    maps, _ = lrp_of(encoder, LOW, HIGH, images.shape[1:]).maps(images, z)
    torch.testing.assert_close(maps.sum((1, 2, 3)), z.sum(1), rtol=0.03, atol=0)


@pytest.fixture
def transformer() -> tuple[KMEx, Tensor]:
    torch.manual_seed(0)
    model = architectures.build("vit_b_32", 3, 32)
    images = torch.randn(12, 3, 32, 32)
    with torch.no_grad():
        model.get_parameter("heads.head.weight").normal_()
    return KMEx.convert(model, [(images, torch.arange(12) % 3)], k=2), images


def test_a_transformer_is_explained_by_gradients(transformer: tuple[KMEx, Tensor]) -> None:
    kmex, images = transformer
    found = kmex.explain(images[0] + 0.1, top=2)
    assert found.maps.method == "masked-gradients"
    assert found.maps.values.shape == (2, 32, 32)
    assert np.isfinite(found.maps.error).all()
    assert len(found.verdicts) == 2
    for maps in kmex.class_maps(images[:2], [0, 2]):
        assert maps is not None
        assert maps.method == "masked-gradients"
        assert maps.values.shape == (2, 32, 32)
    for method in ("prp", "lrp-gamma"):
        with pytest.raises(InputError, match=f"LRP has no rules for .* Instead of {method}, use masked-gradients"):
            kmex.explain(images[0], method=method)
    assert kmex.explain(images[0], method="lrp-epsilon").maps.exact.all()


def test_a_map_that_does_not_conserve_is_labelled(
    kmex: KMEx, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = LRP.maps

    def short(
        self: LRP, images: Tensor, relevance: Tensor, z: Tensor | None = None, index: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        made, absorbed = maps(self, images, relevance, z, index)
        return made * 0.9, absorbed

    monkeypatch.setattr(LRP, "maps", short)
    found = kmex.explain(input_of(digits, 0), top=2, method="prp", target="similarity", judged=False)
    np.testing.assert_allclose(found.maps.error, 0.1 / 0.9, atol=0.01)
    assert METHODS["prp"].tolerance < 0.1
    assert not found.maps.exact.any()


def test_an_empty_map_of_a_score_of_zero_is_exact_and_json_says_null(kmex: KMEx, digits: ModelInfo) -> None:
    nn.init.zeros_(kmex.get_parameter("head.weight"))
    found = kmex.explain(input_of(digits, 0), top=1, method="prp", target="similarity", judged=False)
    assert found.black_box_map is not None
    assert np.isnan(found.black_box_map.error[0])
    assert found.black_box_map.exact[0]
    answer = report.explanation(found, kmex.details, digits, dataset_of(digits), np.zeros((8, 8), np.uint8))
    assert answer["black_box_error"] is None
    json.dumps(answer, allow_nan=False)


def test_maps_that_overflow_are_refused(kmex: KMEx, digits: ModelInfo) -> None:
    nn.init.constant_(kmex.get_parameter("head.weight"), 1e38)
    with pytest.raises(KMExError, match="not finite"):
        kmex.explain(input_of(digits, 0), top=1, method="prp", target="similarity")


@pytest.mark.parametrize(("threads", "copies_at_once"), [(2, 2), (6, 3), (6, 1)])
def test_passes_at_once_give_what_they_give_alone(
    monkeypatch: pytest.MonkeyPatch, threads: int, copies_at_once: int
) -> None:
    monkeypatch.setattr(lrp_module, "copies", lambda network: copies_at_once)
    torch.manual_seed(0)
    network = small_network().float()
    before = [value.clone() for value in network.state_dict().values()]
    layers = layers_of(network, torch.rand(2, 3, 8, 8))
    lrp = ZennitLRP(layers, LOW, HIGH, (3, 8, 8), "gamma")
    given = [(torch.rand(1 + i % 3, 3, 8, 8), torch.rand(1 + i % 3, 7)) for i in range(24)]
    alone = [ZennitLRP(layers, LOW, HIGH, (3, 8, 8), "gamma").maps(*one) for one in given]
    with ThreadPoolExecutor(threads) as pool:
        together = list(pool.map(lambda one: lrp.maps(*one), given))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert 1 <= len(lrp._idle) <= copies_at_once
    assert all(torch.equal(one, other) for one, other in zip(before, network.state_dict().values(), strict=True))


def test_a_pass_that_fails_spoils_no_other() -> None:
    torch.manual_seed(0)
    lrp = lrp_of(small_network().float(), LOW, HIGH, (3, 8, 8), "gamma")
    images, relevance = torch.rand(2, 3, 8, 8), torch.rand(2, 7)
    right = lrp.maps(images, relevance)
    for _ in range(8):  # more often than there are copies
        with pytest.raises(RuntimeError):
            lrp.maps(images, torch.rand(2, 5))
    torch.testing.assert_close(lrp.maps(images, relevance), right, rtol=0, atol=0)


def test_a_large_network_gets_fewer_copies_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "count", lambda: 16)
    network = small_network()
    size = sum(value.numel() * value.element_size() for value in network.parameters())
    assert lrp_module.copies(network) == 16
    monkeypatch.setattr(lrp_module, "COPIED_BYTES", 5 * size)
    assert lrp_module.copies(network) == 5
    monkeypatch.setattr(lrp_module, "COPIED_BYTES", size // 2)
    assert lrp_module.copies(network) == 1
