"""Layer-wise relevance propagation (Bach et al. 2015) from an embedding to pixels, with zennit."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.alexnet import AlexNet
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.vgg import VGG

from kmex_core import cores
from kmex_core.backbones import Stop, UpToHead
from kmex_core.relevance.composites import EPSILON, prp_composite

LRP_COPIES = 3  # how many times the rules keep what a plain backward pass keeps
LEAVES = (
    nn.Conv2d,
    nn.Linear,
    _BatchNorm,
    nn.ReLU,
    nn.Sigmoid,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Unflatten,
    nn.Dropout,
    nn.Identity,
    Stop,
)
COPIED_BYTES = 2**30
CONTAINERS = (nn.Sequential, ResNet, BasicBlock, Bottleneck, VGG, AlexNet, UpToHead)


def has_rules(encoder: nn.Module) -> bool:
    """Whether the rules hold for an encoder: the ResNet and VGG families, and plain sequences of the same layers.

    Others are refused by their type, because zennit fails silently on them: the maps come out, and mean nothing.
    """
    for module in encoder.modules():
        if not isinstance(module, LEAVES) and type(module) not in CONTAINERS:
            return False
    leaves = [module for module in encoder.modules() if not list(module.children())]
    before: nn.Module | None = None
    for leaf in leaves:
        if isinstance(leaf, _BatchNorm) and not isinstance(before, nn.Conv2d | nn.Linear):
            return False  # it cannot be merged into the layer before it
        before = leaf
    return any(isinstance(leaf, nn.Conv2d | nn.Linear) for leaf in leaves)


def no_rules(encoder: nn.Module) -> str:
    """Why there are no LRP maps for an encoder, as a sentence; for one that has no rules."""
    what = getattr(encoder, "title", type(getattr(encoder, "model", encoder)).__name__)
    return f"LRP has no rules for {what}: they hold for the ResNet and VGG families."


class LRP:
    """Relevance of pixels for anything that is a function of the embedding.

    It works on copies of the encoder with merged batch normalisation; the encoder itself is never touched. zennit is
    not thread-safe: each copy serves one pass at a time, and there are as many copies as passes at once are worth
    having, made when they are first needed. Further passes wait for a free one.

    Args:
        encoder: images (N, C, H, W) to embeddings (N, D), of a family that `has_rules`.
        low, high: the smallest and largest value of each input channel.

    Raises:
        ValueError: for an encoder without rules.
    """

    def __init__(self, encoder: nn.Module, low: Sequence[float], high: Sequence[float]) -> None:
        if not has_rules(encoder):
            raise ValueError(no_rules(encoder))
        self._source = copy.deepcopy(encoder).eval().requires_grad_(False)
        self._range = (low, high)
        self._copies = threading.BoundedSemaphore(copies(self._source))
        self._idle: list[nn.Module] = []  # append and pop are atomic

    def maps(self, images: Tensor, relevance: Tensor) -> Tensor:
        """Propagate relevance from embeddings to pixels.

        Args:
            images: (N, C, H, W).
            relevance: (N, D), of each embedding dimension.

        Returns:
            (N, C, H, W), which sums to the relevance of each image up to what the rules' ε absorb.
        """
        with self._copies:
            try:
                network = self._idle.pop()
            except IndexError:
                network = self._prepared()
            with torch.enable_grad():
                inputs = images.detach().clone().requires_grad_()
                z = network(inputs)
                (gradient,) = torch.autograd.grad(z, inputs, relevance.detach())
            self._idle.append(network)  # after an error it is left to the garbage: its hooks may be in any state
        return gradient.detach()

    def _prepared(self) -> nn.Module:
        network = copy.deepcopy(self._source)
        device = next(network.parameters()).device
        box = [torch.tensor(values, device=device).view(1, -1, 1, 1) for values in self._range]
        prp_composite(*box).register(network)
        for module in network.modules():
            if isinstance(module, _BatchNorm) and module.running_var is not None:
                module.running_var.fill_(1 - module.eps)  # it is the identity now, but for its own ε
        return network


def copies(network: nn.Module) -> int:
    """How many passes through a network at once are worth having: one per core, fewer of a large one, one on a GPU."""
    weights = list(network.parameters())
    if any(value.device.type != "cpu" for value in weights):
        return 1
    size = sum(value.numel() * value.element_size() for value in weights)
    return max(1, min(cores.count(), COPIED_BYTES // max(1, size)))


_prepared: weakref.WeakKeyDictionary[nn.Module, tuple[object, LRP]] = weakref.WeakKeyDictionary()
_preparing = threading.Lock()


def lrp_of(encoder: nn.Module, low: Sequence[float], high: Sequence[float]) -> LRP:
    """The `LRP` of an encoder: made once, and again when its weights or its place have changed."""
    state = [*encoder.parameters(), *encoder.buffers()]
    stamp = (tuple(low), tuple(high), tuple((value.data_ptr(), value._version) for value in state))
    with _preparing:
        found = _prepared.get(encoder)
        if found is None or found[0] != stamp:
            found = stamp, LRP(encoder, low, high)
            _prepared[encoder] = found
    return found[1]


def class_relevance(head: nn.Module, z: Tensor, target: Tensor) -> Tensor:
    """The relevance of each embedding dimension for a class score: ε rule through a Linear head, else what it says.

    Args:
        head: embeddings (N, D) to class scores: Linear, or with a method `relevance(z, target)`.
        z: (N, D).
        target: (N,) the class of each.

    Returns:
        (N, D), which sums to the class score without its bias.
    """
    if not isinstance(head, nn.Linear):
        found: Tensor = head.relevance(z, target)  # type: ignore[operator]
        return found
    with torch.no_grad():
        parts = z * head.weight[target]
        score = parts.sum(1, keepdim=True)
        small = torch.where(score < 0, -EPSILON, EPSILON)
        return parts * (score / (score + small))
