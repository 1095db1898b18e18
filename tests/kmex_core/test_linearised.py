"""The ε rule in the linearised network, against rules written by hand."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

from kmex_core import KMEx
from kmex_core.base.errors import InputError
from kmex_core.relevance.catalogue import METHODS
from kmex_core.relevance.linearised import LinearisedLRP, check_rules, linearised_at, seed
from kmex_core.relevance.recording import NoRules
from kmex_core.relevance.remembered import remembered

SWIN = partial(
    models.SwinTransformer, [2, 2], 12, [2, 2], [2, 4], [4, 4], num_classes=6
)  # 4×4 windows on 16×16 patches, so that they shift
MOBILE = [[1, 8, 1, 1], [6, 12, 2, 2], [6, 16, 2, 1]]
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "vit": lambda: models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=6),
    "swin": SWIN,
    "swin_v2": partial(SWIN, block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2),
    "convnext": lambda: models.ConvNeXt([CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 2)], num_classes=6),
    "maxvit": lambda: models.MaxVit((32, 32), 8, 2, [8, 16], [1, 1], 4, 0.0, num_classes=6),
    "mobilenet_v2": lambda: models.MobileNetV2(6, inverted_residual_setting=MOBILE),
    "mobilenet_v3_small": lambda: models.mobilenet_v3_small(num_classes=6),
    "efficientnet_b0": lambda: models.efficientnet_b0(num_classes=6),
    "densenet": lambda: models.DenseNet(8, (2, 2), 16, num_classes=6),
    "regnet_y": lambda: models.regnet_y_400mf(num_classes=6),
    "resnet18": lambda: models.resnet18(num_classes=6),
}


def images_of(count: int = 3, dtype: torch.dtype = torch.float64, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)).to(dtype) * 2 - 0.4


def network_of(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A network with random weights and biases, and batch statistics near those of `images_of`."""
    torch.manual_seed(0)
    network = NETWORKS[name]().to(dtype)
    for part, value in network.named_parameters():
        if value.ndim == 1 or "layer_scale" in part:
            nn.init.uniform_(value, *((-0.2, 0.3) if "bias" in part else (0.5, 1.5)))
        elif "head" in part:
            nn.init.normal_(value, std=0.3)
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train().momentum = 1.0
    with torch.no_grad():
        network(images_of(16, dtype))
    return network.eval()


def start_of(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings, and some relevance of them."""
    with torch.no_grad():
        z = network(images)
    return z, torch.randn(z.shape, generator=torch.Generator().manual_seed(2)).to(z) * z.abs()


def error_of(maps: Tensor, absorbed: Tensor, relevance: Tensor) -> float:
    """|Σ input + Σ absorbed − Σ start| / Σ |input|, as `RelevanceMaps.error`."""
    deviation = maps.sum((1, 2, 3)) + absorbed - relevance.sum(1)
    return float((deviation.abs() / maps.abs().sum((1, 2, 3))).max())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("name", NETWORKS)
def test_relevance_is_conserved(name: str, dtype: torch.dtype, tolerance: float) -> None:
    network, images = network_of(name, dtype), images_of(dtype=dtype)
    z, relevance = start_of(network, images)
    check_rules(network, images, images.flip(3) + 0.2)
    maps, absorbed = LinearisedLRP(network).maps(images, relevance, z)
    assert maps.dtype == dtype
    assert error_of(maps, absorbed, relevance) < tolerance
    assert (maps.abs().sum((1, 2, 3)) > 1e-3 * relevance.abs().sum(1)).all()
    # an image of the batch has the map that it has alone
    alone, _ = LinearisedLRP(network).maps(images[1:2], relevance[1:2], z[1:2])
    torch.testing.assert_close(alone[0], maps[1], rtol=1e-3, atol=float(1e-4 * maps[1].abs().max()))


def test_the_linearised_network_is_affine_and_gives_the_embedding() -> None:
    network, images = network_of("swin"), images_of()
    linearised = linearised_at(network, images)
    with torch.no_grad():
        torch.testing.assert_close(linearised(images), network(images))
        one, other = torch.randn_like(images), torch.randn_like(images)
        torch.testing.assert_close(
            linearised(0.3 * one + 0.7 * other), 0.3 * linearised(one) + 0.7 * linearised(other), rtol=1e-9, atol=1e-9
        )


# ---- an independent, slow implementation: numpy, every contribution an entry of a matrix, no autograd


class Block(nn.Module):
    """A small Transformer on tokens of one pixel each: attention and a perceptron, both behind layer normalisation."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(3, width)
        self.place = nn.Parameter(torch.randn(9, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.up, self.down = nn.Linear(width, 6), nn.Linear(6, width)

    def forward(self, images: Tensor) -> Tensor:
        x = self.embed(images.flatten(2).transpose(1, 2)) + self.place
        y = self.norms[0](x)
        x = x + functional.scaled_dot_product_attention(self.query(y), self.key(y), self.value(y))
        x = x + self.down(functional.gelu(self.up(self.norms[1](x))))
        return self.norms[2](x).mean(1)


def by_hand(block: Block, image: np.ndarray, relevance: np.ndarray) -> tuple[np.ndarray, float]:
    """The ε rule (ε = 0) layer by layer: R_i = Σ_j x_i w_ij / z_j R_j, the bias taking its own share b_j / z_j R_j."""
    weights = {name: value.detach().numpy() for name, value in block.named_parameters()}
    absorbed = 0.0

    def of(name: str) -> tuple[np.ndarray, np.ndarray]:
        return weights[f"{name}.weight"], weights[f"{name}.bias"]

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        weight, bias = of(name)
        return np.array([[sum(weight[j] * row) + bias[j] for j in range(len(bias))] for row in x])

    def linear_back(name: str, x: np.ndarray, received: np.ndarray) -> np.ndarray:
        nonlocal absorbed
        weight, bias = of(name)
        result = np.zeros_like(x)
        for token, row in enumerate(x):
            for j in range(len(bias)):
                output = (weight[j] * row).sum() + bias[j]
                absorbed += bias[j] / output * received[token, j]
                result[token] += weight[j] * row / output * received[token, j]
        return result

    def norm_matrix(name: str, row: np.ndarray) -> np.ndarray:
        # (outputs, inputs): γ_j (δ_ij − 1/d) / σ, with σ a number
        spread = np.sqrt(row.var() + 1e-5)
        return of(name)[0][:, None] * (np.eye(len(row)) - 1 / len(row)) / spread

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        return np.array([norm_matrix(name, row) @ row + of(name)[1] for row in x])

    def norm_back(name: str, x: np.ndarray, received: np.ndarray) -> np.ndarray:
        nonlocal absorbed
        result = np.zeros_like(x)
        for token, row in enumerate(x):
            parts, bias = norm_matrix(name, row) * row, of(name)[1]
            share = received[token] / (parts.sum(1) + bias)
            absorbed += (bias * share).sum()
            result[token] = (parts * share[:, None]).sum(0)
        return result

    # forward
    pixels = image.reshape(3, 9).T
    embedded = linear("embed", pixels)
    x0 = embedded + weights["place"]
    y = norm("norms.0", x0)
    query, key, value = (linear(name, y) for name in ("query", "key", "value"))
    scores = np.exp(query @ key.T / np.sqrt(query.shape[1]))
    attention = scores / scores.sum(1, keepdims=True)
    attended = attention @ value
    x1 = x0 + attended
    normal = norm("norms.1", x1)
    hidden = linear("up", normal)
    active = functional.gelu(torch.from_numpy(hidden)).numpy()
    x2 = x1 + linear("down", active)
    x3 = norm("norms.2", x2)
    mean = x3.mean(0)
    # backward: the mean of 9 tokens, then each layer; a sum shares in proportion to its parts, GELU passes on
    r = x3 / 9 / mean * relevance
    r = norm_back("norms.2", x2, r)
    r1 = r * x1 / x2 + norm_back(
        "norms.1", x1, linear_back("up", normal, linear_back("down", active, r * (1 - x1 / x2)))
    )
    of_value = np.zeros_like(value)
    for i in range(9):
        for j in range(9):
            of_value[j] += attention[i, j] * value[j] / attended[i] * (r1 * attended / x1)[i]
    r0 = r1 * x0 / x1 + norm_back("norms.0", x0, linear_back("value", y, of_value))
    absorbed += (r0 * weights["place"] / x0).sum()
    return linear_back("embed", pixels, r0 * embedded / x0).T.reshape(3, 3, 3), absorbed


def test_maps_of_a_transformer_agree_with_the_rule_by_hand() -> None:
    torch.manual_seed(3)
    block = Block().double().eval()
    for norm in block.norms:
        assert isinstance(norm, nn.LayerNorm)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    images = images_of(2, side=3)
    z, relevance = start_of(block, images)
    maps, absorbed = LinearisedLRP(block).maps(images, relevance, z)
    passed_on = seed(relevance, z) * z  # the stabiliser keeps the rest
    for row, image in enumerate(images.numpy()):
        expected, by_biases = by_hand(block, image, passed_on[row].numpy())
        np.testing.assert_allclose(maps[row].numpy(), expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())
        rest = float((relevance - passed_on)[row].sum())
        assert float(absorbed[row]) == pytest.approx(by_biases + rest, rel=1e-7)


def test_the_start_is_stabilised_where_an_embedding_is_nearly_zero() -> None:
    z = torch.tensor([[2.0, -2.0, 1e-9, 0.0]], dtype=torch.float64)
    start = seed(torch.ones_like(z), z)
    floor = 0.01 * 2.0  # (a tenth of the root mean square)²
    torch.testing.assert_close(start, torch.tensor([[2 / (4 + floor), -2 / (4 + floor), 1e-9 / floor, 0]]).double())
    assert (seed(torch.ones_like(z), torch.zeros_like(z)) == 0).all()


# ---- single operations: each gives the embedding, is conserved and leaves out no path


class By(nn.Module):
    """A convolution to 4 channels, a function of its result, and the mean over the pixels."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x)).flatten(2).mean(2)


def fused_layer(x: Tensor) -> Tensor:
    torch.manual_seed(5)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, activation="gelu").to(x.dtype).eval()
    return layer(x.flatten(2).transpose(1, 2)).transpose(1, 2)[..., None]


def root_mean_square(x: Tensor) -> Tensor:
    return functional.rms_norm(x.movedim(1, -1), [4]).movedim(-1, 1)


def causal(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)[:, None]
    return functional.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=True)[:, 0].transpose(1, 2)


@pytest.mark.parametrize(
    "function",
    [
        torch.relu, torch.tanh, torch.sigmoid, functional.softplus, functional.mish, functional.elu, functional.relu6,
        functional.leaky_relu, functional.hardswish, lambda x: functional.prelu(x, torch.full((4,), 0.2).to(x)),
        lambda x: x.clamp(-0.2, 0.3), lambda x: x.clone().relu_(), lambda x: functional.silu(x.clone(), inplace=True),
        lambda x: x * x.sigmoid(), lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
        lambda x: x * functional.softmax(x.mean((2, 3), keepdim=True), 1),
        lambda x: x * x.sigmoid() + (1 - x.sigmoid()) * x.roll(1, 2),
        lambda x: functional.normalize(x, dim=1), lambda x: functional.group_norm(x, 2), root_mean_square,
        lambda x: (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 1e-5).sqrt(),
        lambda x: functional.max_pool2d(x, 2), lambda x: functional.adaptive_max_pool2d(x, 3),
        lambda x: functional.adaptive_avg_pool2d(x, 5), lambda x: functional.interpolate(x, scale_factor=2.0),
        lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"), lambda x: functional.channel_shuffle(x, 2),
        lambda x: torch.cat([part * 2 for part in x.chunk(2, 1)], 1) - 0.5 * x[:, [3, 0, 1, 2]] / 3,
        fused_layer, causal,
    ],
)  # fmt: skip
def test_an_operation_is_covered(function: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    network, images = By(function).double().eval(), images_of(side=9)
    z, relevance = start_of(network, images)
    check_rules(network, images, images.flip(0) - 0.3)
    maps, absorbed = LinearisedLRP(network).maps(images, relevance, z)
    assert error_of(maps, absorbed, relevance) < 1e-12
    assert (maps != 0).any()


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x * x.roll(1, 1), "'mul'"),
        (lambda x: x.square(), "'pow'"),
        (lambda x: x.exp(), "'exp'"),
        (lambda x: x / (x.flip(1).abs() + 1), "'abs'"),
        (lambda x: 1 / (x.sigmoid() + 1), "'reciprocal'"),
        (lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2) @ x.flatten(2), "'bmm'"),  # linear attention
        (lambda x: x.sigmoid() * x.flip(1).sigmoid(), "'mul'"),  # which of the two is the gate?
        (lambda x: x + x.softmax(1), "'_?softmax'"),
        (lambda x: x.softmax(1), "'_?softmax'"),
        (lambda x: torch.div(x, 0.1, rounding_mode="floor"), "'div'"),
        (lambda x: x.gather(1, x.argsort(1)), "'(sort|argsort)'"),
        (lambda x: x * float(x.max()), "a number that is read from the image"),
        (lambda x: x + torch.from_numpy(x.numpy().mean((2, 3), keepdims=True)), "cannot be reproduced"),
        (lambda x: x + torch.rand_like(x), "'rand_like'"),
        (lambda x: torch.zeros_like(x), "does not depend on the image"),
    ],
)
def test_an_operation_without_a_rule_is_named(function: Callable[[Tensor], Tensor], reason: str) -> None:
    torch.manual_seed(0)
    network = By(function).double().eval()
    with pytest.raises(NoRules, match=reason):
        check_rules(network, images_of(2, side=9), images_of(2, side=9).flip(0) * 0.7)


def test_a_value_written_into_a_part_of_another_is_not_overlooked() -> None:
    def written(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, 1] = x[:, 0] * 2
        return x

    network = By(written).double().eval()
    with pytest.raises(NoRules, match="cannot be reproduced"):
        check_rules(network, images_of(2, side=9), images_of(2, side=9).flip(0) * 0.7)


def test_other_operations_than_those_of_the_embedding_are_noticed() -> None:
    network, images = network_of("vit"), images_of()
    z, relevance = start_of(network, images)
    with pytest.raises(NoRules, match="cannot be reproduced"):
        LinearisedLRP(network).maps(images, relevance, z + 1)


# ---- how networks arrive


class Wrapped(nn.Module):
    def __init__(self, network: nn.Module, context: Callable[[], object]) -> None:
        super().__init__()
        self.network, self.context = network, context

    def forward(self, x: Tensor) -> Tensor:
        with self.context():  # type: ignore[attr-defined]
            return self.network(x)


@pytest.mark.parametrize("name", ["vit", "swin", "efficientnet_b0"])
def test_inference_mode_gives_the_same_maps(name: str) -> None:
    network, images = network_of(name), images_of()
    z, relevance = start_of(network, images)
    expected = LinearisedLRP(network).maps(images, relevance, z)
    inside = Wrapped(network, torch.inference_mode)
    torch.testing.assert_close(LinearisedLRP(inside).maps(images, relevance, z), expected)
    with torch.inference_mode():
        torch.testing.assert_close(LinearisedLRP(network).maps(images, relevance, z), expected)


@pytest.mark.parametrize("name", ["vit", "convnext"])
def test_mixed_and_half_precision_are_computed_in_single_precision(name: str) -> None:
    network, images = network_of(name, torch.float32), images_of(dtype=torch.float32)
    z, relevance = start_of(network, images)
    maps, _ = LinearisedLRP(network).maps(images, relevance, z)
    mixed = Wrapped(network, partial(torch.autocast, "cpu", torch.bfloat16))
    half = network_of(name, torch.float32).bfloat16()
    for encoder, given in ((mixed, images), (half, images.bfloat16())):
        low, some = start_of(encoder, given)
        found, absorbed = LinearisedLRP(encoder).maps(given, some, low)
        assert found.dtype == torch.float32
        assert error_of(found, absorbed, some.float()) < 0.02
        found, _ = LinearisedLRP(encoder).maps(given, relevance.to(some), low)
        assert float(torch.cosine_similarity(found.flatten(), maps.flatten(), 0)) > 0.95


def test_nothing_outside_the_call_changes() -> None:
    network, images = network_of("vit", torch.float32), images_of(dtype=torch.float32)
    z, relevance = start_of(network, images)
    right = LinearisedLRP(network).maps(images, relevance, z)
    before = [value.clone() for value in network.state_dict().values()]

    def state() -> tuple[bool, ...]:
        cuda = torch.backends.cuda
        return (
            cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled(),
            torch.backends.mha.get_fastpath_enabled(), torch.is_grad_enabled(), torch.is_inference_mode_enabled(),
        )  # fmt: skip

    at_first = state()
    errors = []

    def work(thread: int) -> None:
        if thread % 3 == 0:  # this one fails
            with pytest.raises(NoRules):
                LinearisedLRP(By(torch.exp)).maps(images, relevance, z)
            return
        found = LinearisedLRP(network).maps(images, relevance, z)
        if not all(torch.equal(one, other) for one, other in zip(found, right, strict=True)):
            errors.append(threading.get_ident())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(12)))
    assert errors == []
    assert state() == at_first
    assert all(torch.equal(one, other) for one, other in zip(before, network.state_dict().values(), strict=True))
    assert all(value.grad is None for value in network.parameters())


# ---- as a relevance method


def kmex_of(network: nn.Module) -> tuple[KMEx, Tensor]:
    images = images_of(18, torch.float32)
    with torch.no_grad():
        labels = torch.arange(18) % network(images[:1]).shape[1]
    return KMEx.convert(network, [(images, labels)], k=2), images


@pytest.mark.parametrize("target", ["margin", "similarity"])
@pytest.mark.parametrize("name", ["vit", "swin", "convnext", "densenet"])
def test_maps_of_a_converted_network_are_exact(name: str, target: str) -> None:
    kmex, images = kmex_of(network_of(name, torch.float32))
    found = kmex.explain(images[0] + 0.1, top=3, method="lrp-epsilon", target=target, judged=False)
    for maps in (found.maps, found.black_box_map):
        assert maps is not None
        assert maps.error.max() < 1e-3 * METHODS["lrp-epsilon"].tolerance
        assert (maps.absorbed != 0).all()
    start = found.maps.total + found.maps.absorbed
    np.testing.assert_allclose(start, found.maps.numbers, atol=1e-4 * float(found.maps.magnitude.max()))


def test_the_reason_names_the_operation_and_what_is_covered() -> None:
    network = nn.Sequential(By(lambda x: x * x.roll(1, 1)), nn.Linear(4, 3)).eval()
    kmex, images = kmex_of(network)
    with pytest.raises(InputError, match=r"LRP has no rules for .* \(the operation 'mul'\)\. The rule ε covers .* ViT"):
        kmex.explain(images[0], method="lrp-epsilon")
    with pytest.raises(InputError, match="This rule covers the ResNet and VGG families"):
        kmex.explain(images[0], method="prp")


def test_what_is_known_about_an_encoder_does_not_keep_it_in_memory() -> None:
    network = network_of("vit")
    alive = weakref.ref(network)

    def refused() -> None:
        check_rules(By(torch.exp), images_of(2, torch.float32), images_of(2, torch.float32))

    for _ in range(2):
        with pytest.raises(NoRules, match="exp"):
            remembered(network, (3, 32, 32), "refused", refused)
        remembered(network, (3, 32, 32), "covered", partial(check_rules, network, images_of(2), images_of(2) * 0.5))
    del network
    gc.collect()
    assert alive() is None
