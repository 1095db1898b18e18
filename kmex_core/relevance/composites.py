"""The LRP rule of each layer, as a zennit composite.

First convolution zB, other convolutions α1β0, Linear layers, average pooling and residual sums ε = 1e-6, maximum
pooling winner-take-all (its gradient); biases take no relevance. Montavon et al.: Layer-Wise Relevance Propagation,
2019. zennit's ZPlus is its AlphaBeta for β = 0, without computing the half that β = 0 discards.
"""

from __future__ import annotations

import torch
from torch import Tensor
from zennit.composites import SpecialFirstLayerMapComposite
from zennit.core import BasicHook, Composite
from zennit.layer import Sum
from zennit.rules import Epsilon, Pass, ZBox, ZPlus
from zennit.types import Activation, AvgPool, Convolution, Linear

EPSILON = 1e-6
_NO_BIAS = ["bias"]


class PoolEpsilon(BasicHook):  # type: ignore[misc]
    """The ε rule for average pooling, with ε added to every pooled input instead of to their mean.

    The denominator is that of the ε rule. But a channel that is 0 everywhere distributes its relevance evenly, where
    the ε rule would drop it; PRP puts most relevance there, because a 0 matches a prototype's 0 best.
    """

    def __init__(self, epsilon: float = EPSILON) -> None:
        def shares(relevance: Tensor, outputs: list[Tensor]) -> list[Tensor]:
            # R / (mean ± ε), to be multiplied by the inputs, and by ± ε for each input
            mean = outputs[0]
            small = torch.where(mean < 0, -epsilon, epsilon)
            quotient = relevance / (mean + small)
            return [quotient, quotient * small]

        super().__init__(
            input_modifiers=[lambda x: x, torch.ones_like],
            gradient_mapper=shares,
            reducer=lambda inputs, gradients: inputs[0] * gradients[0] + inputs[1] * gradients[1],
        )


def prp_composite(low: Tensor, high: Tensor) -> Composite:
    """The rules for networks of convolutions, pooling, ReLU and residual sums (see `layers`).

    Args:
        low, high: (1, channels, 1 or H, 1 or W), the smallest and largest value a pixel of each channel can have.
    """
    rules = [
        (Activation, Pass()),
        (Convolution, ZPlus(zero_params=_NO_BIAS)),
        (Linear, Epsilon(EPSILON, zero_params=_NO_BIAS)),
        (AvgPool, PoolEpsilon()),
        (Sum, Epsilon(EPSILON)),
    ]
    first = [(Convolution, ZBox(low, high, zero_params=_NO_BIAS)), (Linear, ZBox(low, high, zero_params=_NO_BIAS))]
    return SpecialFirstLayerMapComposite(rules, first)
