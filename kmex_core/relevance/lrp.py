"""Layer-wise relevance propagation (Bach et al. 2015) from an embedding to pixels."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kmex_core.base import cores
from kmex_core.relevance.composites import Ledger, composite
from kmex_core.relevance.layers import Layers, layers_of
from kmex_core.relevance.recording import NoRules
from kmex_core.relevance.remembered import random_images, remembered
from kmex_core.relevance.shared import propagated, stabilised

COPIED_BYTES = 2**30
PUBLISHED = "alpha1-beta0"


class LRP:
    """Relevance of pixels for any function of the embedding, by the published rules (see `shared`).

    Works on the encoder's layers with merged batch normalisation; the encoder itself is never changed.

    Args:
        layers: see `layers_of`.
        low, high: the smallest and largest value of each input channel.
        size: of an image, (C, H, W).
    """

    memory = 3  # as a multiple of a plain backward pass

    def __init__(self, layers: Layers, low: Sequence[float], high: Sequence[float], size: Sequence[int]) -> None:
        self._front, self._network, self._gives = layers.front, layers.network, layers.gives
        like = next(self._network.parameters())
        self._dtype = like.dtype
        self._box = [
            torch.tensor(values, device=like.device, dtype=like.dtype).view(1, -1, 1, 1) for values in (low, high)
        ]
        if self._front is not None:
            # the first layer sees images after the front: the zB box goes through it too, and may swap its ends
            with torch.no_grad():
                ends = [self._front(value.expand(1, *size).contiguous()) for value in self._box]
            self._box = [torch.minimum(*ends), torch.maximum(*ends)]

    def maps(
        self, images: Tensor, relevance: Tensor, z: Tensor | None = None, index: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Propagate relevance from embeddings to pixels.

        Args:
            images: (N, C, H, W).
            relevance: (M, D), of each embedding dimension, for M starts.
            z: (N, D) the embeddings, to check that the layers reproduce them.
            index: (M,) int64, which image each start is of; one of each when None.

        Returns:
            (M, C, H, W), and (M,) what biases have absorbed; together each map's sum is its relevance, less what the
            rules' ε absorb.

        Raises:
            NoRules: when the layers do not reproduce `z`: the encoder runs other layers on these images.
        """
        images = images.detach().to(self._dtype)
        index = torch.arange(len(images), device=images.device) if index is None else index
        inputs = (images if self._front is None else self._front(images)).detach()
        again, found, absorbed = self._propagated(inputs, relevance.detach().to(self._dtype), index)
        if z is not None and not self._gives(again[index], z[index]):
            raise NoRules("other layers than on other images")
        pixels = found if self._front is None else self._front.back(found, images[index])
        return pixels, torch.zeros_like(pixels[:, 0, 0, 0]) if absorbed is None else absorbed

    def _propagated(self, inputs: Tensor, relevance: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The embeddings of the inputs (N, C, H, W), the inputs' relevance for each start, and what biases absorbed."""
        return *propagated(self._network, inputs, relevance, index, self._box), None


class ZennitLRP(LRP):
    """The same by zennit, for rules that have no shared pass; a start costs a whole pass.

    zennit's hooks turn the backward pass of a copy of the layers into the rules. It is not thread-safe: each copy
    serves one pass at a time. Copies are made on demand, up to the useful number of simultaneous passes; further passes
    wait for a free one.

    Args:
        layers, low, high, size: see `LRP`.
        rule: of the convolutions, one of `composites.RULES`.
    """

    def __init__(
        self, layers: Layers, low: Sequence[float], high: Sequence[float], size: Sequence[int], rule: str
    ) -> None:
        super().__init__(layers, low, high, size)
        self._rule = rule
        self._copies = threading.BoundedSemaphore(copies(self._network))
        self._idle: list[tuple[nn.Module, Ledger]] = []  # append and pop are atomic

    def _propagated(self, inputs: Tensor, relevance: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        each = inputs[index].clone().requires_grad_()
        with self._copies:
            try:
                network, ledger = self._idle.pop()
            except IndexError:
                network, ledger = copy.deepcopy(self._network), Ledger()
                low, high = self._box
                composite(self._rule, low, high, ledger).register(network)
            with torch.enable_grad():
                again = network(each)
                (gradient,) = torch.autograd.grad(again, each, relevance)
            absorbed = ledger.take()
            self._idle.append((network, ledger))  # not after an error: its hooks may be in any state
        # each image's embedding, from any of its starts
        embedded = again.new_zeros(len(inputs), again.shape[1]).index_copy(0, index, again.detach())
        return embedded, gradient.detach(), None if absorbed is None else absorbed.detach()


def copies(network: nn.Module) -> int:
    """The useful number of simultaneous passes: one per core, fewer for a large network, one on a GPU."""
    weights = list(network.parameters())
    if any(value.device.type != "cpu" for value in weights):
        return 1
    size = sum(value.numel() * value.element_size() for value in weights)
    return max(1, min(cores.count(), COPIED_BYTES // max(1, size)))


def lrp_of(
    encoder: nn.Module, low: Sequence[float], high: Sequence[float], size: Sequence[int], rule: str = PUBLISHED
) -> LRP:
    """The `LRP` of an encoder for images of a size (C, H, W), by the published rules or one of `composites.RULES`:
    cached, and rebuilt when the weights change.

    Raises:
        NoRules: for an encoder without rules.
    """
    layers = remembered(encoder, size, "layers", lambda: layers_of(encoder, *random_images(encoder, size)))
    ends = layers, low, high, size
    box = (tuple(low), tuple(high), rule)
    return remembered(encoder, size, box, lambda: LRP(*ends) if rule == PUBLISHED else ZennitLRP(*ends, rule))


def class_relevance(head: nn.Module, z: Tensor, target: Tensor) -> Tensor:
    """The relevance of each embedding dimension for a class score: ε rule through a Linear head, the head's own method
    `relevance(z, target)`, or for any other gradient times embedding, scaled to the score's change from zeros.

    Args:
        head: embeddings (N, D) to class scores.
        z: (N, D).
        target: (N,) the class of each embedding.

    Returns:
        (N, D); each row sums to the class score without its bias.
    """
    if not isinstance(head, nn.Linear):
        own = getattr(head, "relevance", None)
        relevance: Tensor = _linearised(head, z, target) if own is None else own(z, target)
        return relevance
    with torch.no_grad():
        # contributions w_d z_d (N, D), scaled by s / (s ± ε): ε has the sign of the score s
        parts = z * head.weight[target].to(z.dtype)
        score = parts.sum(1, keepdim=True)
        return parts * (score / stabilised(score))


def _linearised(head: nn.Module, z: Tensor, target: Tensor) -> Tensor:
    with torch.enable_grad():
        given = z.detach().clone().requires_grad_()
        score = head(given).gather(1, target[:, None])
        (slope,) = torch.autograd.grad(score.sum(), given)
    parts = z.detach() * slope
    with torch.no_grad():
        change = score - head(torch.zeros_like(z)).gather(1, target[:, None])
    return parts * (change / stabilised(parts.sum(1, keepdim=True))).detach()
