"""Layer-wise relevance propagation (Bach et al. 2015) from an embedding to pixels, with zennit."""

from __future__ import annotations

import copy
import logging
import threading
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kmex_core.base import cores
from kmex_core.relevance.composites import EPSILON, prp_composite
from kmex_core.relevance.layers import Layers, NoRules, layers_of

LRP_COPIES = 3  # memory of the rules, as a multiple of a plain backward pass
COPIED_BYTES = 2**30

log = logging.getLogger(__name__)


def has_rules(encoder: nn.Module, size: Sequence[int]) -> bool:
    """Whether the rules cover all operations of an encoder: convolutions, Linear layers, batch normalisation after one
    of these, ReLU, sigmoid, pooling and residual sums; before them, changes of scale and size.

    The operations count, not the modules that run them. Other encoders are refused, because zennit fails silently on
    them and returns meaningless relevance maps.

    Args:
        encoder: images (N, C, H, W) to embeddings (N, D).
        size: of an image, (C, H, W).
    """
    return isinstance(_layers(encoder, size)[0], Layers)


def no_rules(encoder: nn.Module) -> str:
    """The reason, as a sentence, why LRP cannot explain an encoder without rules."""
    what = getattr(encoder, "title", type(getattr(encoder, "model", encoder)).__name__)
    return f"LRP has no rules for {what}. The rules cover the ResNet and VGG families."


class LRP:
    """Relevance of pixels for any function of the embedding.

    Works on copies of the encoder's layers with merged batch normalisation; the encoder itself is never changed.
    zennit is not thread-safe: each copy serves one pass at a time. Copies are made on demand, up to the useful number
    of simultaneous passes; further passes wait for a free one.

    Args:
        layers: see `layers_of`.
        low, high: the smallest and largest value of each input channel.
        size: of an image, (C, H, W).
    """

    def __init__(self, layers: Layers, low: Sequence[float], high: Sequence[float], size: Sequence[int]) -> None:
        self._front, self._source, self._gives = layers.front, layers.network, layers.gives
        like = next(self._source.parameters())
        self._dtype = like.dtype
        self._box = [
            torch.tensor(values, device=like.device, dtype=like.dtype).view(1, -1, 1, 1) for values in (low, high)
        ]
        if self._front is not None:
            # the first layer sees images after the front: the zB box goes through it too, and may swap its ends
            with torch.no_grad():
                ends = [self._front(value.expand(1, *size).contiguous()) for value in self._box]
            self._box = [torch.minimum(*ends), torch.maximum(*ends)]
        self._copies = threading.BoundedSemaphore(copies(self._source))
        self._idle: list[nn.Module] = []  # append and pop are atomic

    def maps(self, images: Tensor, relevance: Tensor, z: Tensor | None = None) -> Tensor:
        """Propagate relevance from embeddings to pixels.

        Args:
            images: (N, C, H, W).
            relevance: (N, D), of each embedding dimension.
            z: (N, D) the embeddings, to check that the layers reproduce them.

        Returns:
            (N, C, H, W); each image's sum is its relevance, less what the rules' ε absorb.

        Raises:
            NoRules: when the layers do not reproduce `z`: the encoder runs other layers on these images.
        """
        images = images.detach().to(self._dtype)
        inputs = (images if self._front is None else self._front(images)).detach().clone().requires_grad_()
        with self._copies:
            try:
                network = self._idle.pop()
            except IndexError:
                # zennit's hooks turn the backward pass of this copy into the rules of LRP
                network = copy.deepcopy(self._source)
                prp_composite(*self._box).register(network)
            with torch.enable_grad():
                again = network(inputs)
                (gradient,) = torch.autograd.grad(again, inputs, relevance.detach().to(self._dtype))
            self._idle.append(network)  # not after an error: its hooks may be in any state
        if z is not None and not self._gives(again.detach(), z):
            raise NoRules("other layers than on other images")
        return gradient.detach() if self._front is None else self._front.back(gradient.detach(), images)


def copies(network: nn.Module) -> int:
    """The useful number of simultaneous passes: one per core, fewer for a large network, one on a GPU."""
    weights = list(network.parameters())
    if any(value.device.type != "cpu" for value in weights):
        return 1
    size = sum(value.numel() * value.element_size() for value in weights)
    return max(1, min(cores.count(), COPIED_BYTES // max(1, size)))


_prepared: weakref.WeakKeyDictionary[nn.Module, tuple[object, Layers | NoRules, dict[object, LRP]]] = (
    weakref.WeakKeyDictionary()
)
_preparing = threading.Lock()


def lrp_of(encoder: nn.Module, low: Sequence[float], high: Sequence[float], size: Sequence[int]) -> LRP:
    """The `LRP` of an encoder for images of a size (C, H, W): cached, and rebuilt when the weights change.

    Raises:
        NoRules: for an encoder without rules.
    """
    layers, by_box = _layers(encoder, size)
    if isinstance(layers, NoRules):
        raise layers
    box = (tuple(low), tuple(high))
    with _preparing:
        if box not in by_box:
            by_box[box] = LRP(layers, low, high, size)
        return by_box[box]


def _layers(encoder: nn.Module, size: Sequence[int]) -> tuple[Layers | NoRules, dict[object, LRP]]:
    """The encoder's layers, or why there are none, and the `LRP` of each box; rebuilt for other weights or sizes."""
    state = [*encoder.parameters(), *encoder.buffers()]
    # PyTorch counts in-place changes of a tensor in its version
    stamp = tuple(size), tuple((value.data_ptr(), value._version) for value in state)
    with _preparing:
        known = _prepared.get(encoder)
        if known is None or known[0] != stamp:
            like = next((value for value in state if value.is_floating_point()), torch.empty(0))
            images = torch.rand(2, *size, generator=torch.Generator().manual_seed(0)).to(like)
            try:
                layers: Layers | NoRules = layers_of(encoder, images)
            except NoRules as reason:
                log.info("LRP has no rules for this encoder: %s", reason)
                layers = reason
            known = _prepared[encoder] = stamp, layers, {}
    return known[1], known[2]


def class_relevance(head: nn.Module, z: Tensor, target: Tensor) -> Tensor:
    """The relevance of each embedding dimension for a class score: ε rule through a Linear head, else the head's own.

    Args:
        head: embeddings (N, D) to class scores: Linear, or with a method `relevance(z, target)`.
        z: (N, D).
        target: (N,) the class of each embedding.

    Returns:
        (N, D); each row sums to the class score without its bias.
    """
    if not isinstance(head, nn.Linear):
        relevance: Tensor = head.relevance(z, target)  # type: ignore[operator]
        return relevance
    with torch.no_grad():
        # contributions w_d z_d (N, D), scaled by s / (s ± ε): ε has the sign of the score s
        parts = z * head.weight[target].to(z.dtype)
        score = parts.sum(1, keepdim=True)
        small = torch.where(score < 0, -EPSILON, EPSILON)
        return parts * (score / (score + small))
