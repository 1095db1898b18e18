"""The published rules of LRP in one pass for many starts: what depends on the image alone is computed once for it.

First convolution or Linear layer zB, other convolutions α1β0, Linear layers, average pooling and residual sums ε,
maximum pooling winner-take-all; biases take no relevance (Montavon et al.: Layer-Wise Relevance Propagation, 2019). For
an image these rules are linear in the start: inputs and denominators of every layer are shared by all its starts, and a
start costs one transposed convolution a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input
from zennit.layer import Sum

from kmex_core.relevance.layers import Network, Reshape, Stack

EPSILON = 1e-6

Of = Callable[[Tensor], Tensor]  # values of the images (N, …) to those of each start's image (M, …)


def propagated(
    network: Network, inputs: Tensor, relevance: Tensor, index: Tensor, box: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Relevance of the network's inputs.

    Args:
        network: see `Network`.
        inputs: (N, C, H, W).
        relevance: (M, D) of its outputs, for M starts.
        index: (M,) int64, which of the N inputs each start is of.
        box: the smallest and the largest value of each input channel, (1, C, 1 or H, 1 or W).

    Returns:
        The outputs (N, D), and the relevance of the inputs for each start, (M, C, H, W).
    """
    with torch.no_grad():
        results = [inputs]
        for layer, sources in zip(network.layers, network.sources, strict=True):
            results.append(layer(*(results[i] for i in sources)))
        first = next(i for i, layer in enumerate(network.layers) if isinstance(layer, nn.Conv2d | nn.Linear))
        # the relevance that has arrived at each result, from the last layer to the first
        arrived: list[Tensor | None] = [None] * len(results)
        arrived[-1] = relevance
        for number in reversed(range(len(network.layers))):
            above = arrived[number + 1]
            if above is None:
                continue
            layer, sources = network.layers[number], network.sources[number]
            given = [results[i] for i in sources]
            passed = _passed(layer, given, results[number + 1], above, index, box if number == first else None)
            for source, part in zip(sources, passed, strict=True):
                known = arrived[source]
                arrived[source] = part if known is None else known + part
            arrived[number + 1] = None  # free its memory
    found = arrived[0]
    assert found is not None
    return results[-1], found


def stabiliser(values: Tensor) -> Tensor:
    """ε with the sign of each value, which keeps a denominator away from 0."""
    return torch.where(values < 0, -EPSILON, EPSILON)


def stabilised(values: Tensor) -> Tensor:
    """Values moved away from 0 by ε."""
    return values + stabiliser(values)


def _passed(
    layer: nn.Module,
    given: Sequence[Tensor],
    result: Tensor,
    above: Tensor,
    index: Tensor,
    box: Sequence[Tensor] | None,
) -> list[Tensor]:
    """The relevance (M, …) of each of a layer's inputs (N, …), from that of its result."""
    one = given[0]

    def of(values: Tensor) -> Tensor:
        # each start's row of values of the images; a single image is broadcast
        return values if len(values) == 1 else values[index]

    if isinstance(layer, nn.Conv2d | nn.Linear):
        return [_weighted(layer, one, above, of, box)]
    if isinstance(layer, nn.ReLU | nn.Sigmoid):
        return [above]
    if isinstance(layer, Reshape):
        return [above.reshape(len(above), *one.shape[1:])]
    if isinstance(layer, Stack):
        return list(above.unbind(-1))
    if isinstance(layer, Sum):
        return [of(one) * (above / of(stabilised(result))).unsqueeze(-1)]
    if isinstance(layer, nn.MaxPool2d):
        return [_maximum(layer, one, above, of)]
    return [average_pooled(layer, one, result, above, of)]


def _weighted(layer: nn.Module, x: Tensor, above: Tensor, of: Of, box: Sequence[Tensor] | None) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if box is not None:
        # zB: x w − l w⁺ − h w⁻, with l and h the ends of the box
        low, high = (end.expand(1, *x.shape[1:]) for end in box)
        plus, minus = weight.clamp(min=0), weight.clamp(max=0)
        bottom = _forward(layer, x, weight) - _forward(layer, low, plus) - _forward(layer, high, minus)
        share = above / of(stabilised(bottom))
        return (
            of(x) * _backward(layer, x, weight, share)
            - low * _backward(layer, x, plus, share)
            - high * _backward(layer, x, minus, share)
        )
    if isinstance(layer, nn.Linear):
        return of(x) * _backward(layer, x, weight, above / of(stabilised(_forward(layer, x, weight))))
    # α1β0: only positive contributions, x⁺ w⁺ + x⁻ w⁻; after a ReLU there is no x⁻
    halves = [(x.clamp(min=0), weight.clamp(min=0))]
    if bool((x < 0).any()):
        halves.append((x.clamp(max=0), weight.clamp(max=0)))
    bottom = sum((_forward(layer, *half) for half in halves), torch.zeros((), device=x.device, dtype=x.dtype))
    share = above / of(stabilised(bottom))
    found = [of(part) * _backward(layer, x, weights, share) for part, weights in halves]
    return found[0] if len(found) == 1 else found[0] + found[1]


def _forward(layer: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return functional.linear(x, weight)
    assert isinstance(layer, nn.Conv2d)
    return functional.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)


def _backward(layer: nn.Module, x: Tensor, weight: Tensor, above: Tensor) -> Tensor:
    """The transposed layer, without its bias."""
    if isinstance(layer, nn.Linear):
        return above @ weight
    assert isinstance(layer, nn.Conv2d)
    shape = (len(above), *x.shape[1:])
    return conv2d_input(shape, weight, above, layer.stride, layer.padding, layer.dilation, layer.groups)


def _maximum(layer: nn.MaxPool2d, x: Tensor, above: Tensor, of: Of) -> Tensor:
    """All relevance to the largest value."""
    _, places = functional.max_pool2d(
        x, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode, return_indices=True
    )
    found = above.new_zeros(len(above), x.shape[1], x.shape[2] * x.shape[3])
    found.scatter_add_(2, of(places).flatten(2).expand(len(above), -1, -1), above.flatten(2))
    return found.view(len(above), *x.shape[1:])


def average_pooled(layer: nn.Module, x: Tensor, result: Tensor, above: Tensor, of: Of) -> Tensor:
    """The ε rule for average pooling, with ε added to every pooled input instead of to their mean.

    The denominator is that of the ε rule. But a channel that is 0 everywhere distributes its relevance evenly, where
    the ε rule would drop it; PRP puts most relevance there, because a 0 matches a prototype's 0 best.
    """
    # R / (mean ± ε), times the inputs, and ± ε for each input (ε has the sign of the mean)
    small = stabiliser(result)
    share = above / of(result + small)
    shape = (len(above), *x.shape[1:])
    # pooling is linear: its transpose is the gradient at any point
    with torch.enable_grad():
        anywhere = x.new_zeros(shape).requires_grad_()
        pooled = layer(anywhere)
    (of_inputs,) = torch.autograd.grad(pooled, anywhere, share, retain_graph=True)
    (of_ones,) = torch.autograd.grad(pooled, anywhere, share * of(small))
    return of(x) * of_inputs + of_ones
