"""The LRP rule of each layer, as zennit composites: γ and ε. The published α1β0 is in `shared`.

First convolution zB, other convolutions γ = 0.25 or ε = 1e-6, Linear layers, average pooling and residual sums ε,
maximum pooling winner-take-all (its gradient). Under zB biases take no relevance; under γ and ε they are in the
denominators, without which relevance explodes where excitation and inhibition nearly cancel, and what they absorb is
added up. Montavon et al.: Layer-Wise Relevance Propagation, 2019.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from zennit.composites import SpecialFirstLayerMapComposite
from zennit.core import BasicHook, Composite, ParamMod
from zennit.layer import Sum
from zennit.rules import Epsilon, Gamma, Pass, ZBox
from zennit.types import Activation, AvgPool, Convolution, Linear

from kmex_core.relevance.shared import EPSILON, stabiliser

GAMMA = 0.25
RULES = GAMMA_RULE, EPSILON_RULE = ("gamma", "epsilon")
_NO_BIAS = ["bias"]


class PoolEpsilon(BasicHook):  # type: ignore[misc]
    """The ε rule for average pooling, with ε added to every pooled input instead of to their mean; see
    `shared.average_pooled`."""

    def __init__(self) -> None:
        def shares(relevance: Tensor, outputs: list[Tensor]) -> list[Tensor]:
            # R / (mean ± ε), to be multiplied by the inputs, and by ± ε for each input
            small = stabiliser(outputs[0])
            quotient = relevance / (outputs[0] + small)
            return [quotient, quotient * small]

        super().__init__(
            input_modifiers=[lambda x: x, torch.ones_like],
            gradient_mapper=shares,
            reducer=lambda inputs, gradients: inputs[0] * gradients[0] + inputs[1] * gradients[1],
        )


class Ledger:
    """Adds up what biases absorb in one pass of N images.

    Attributes:
        absorbed: (N,) relevance; None if no layer has reported any.
    """

    def __init__(self) -> None:
        self.absorbed: Tensor | None = None

    def add(self, relevance: Tensor) -> None:
        """Add (N,) relevance."""
        self.absorbed = relevance if self.absorbed is None else self.absorbed + relevance

    def take(self) -> Tensor | None:
        """What has been added since the last call."""
        absorbed, self.absorbed = self.absorbed, None
        return absorbed


class _WithBias(BasicHook):  # type: ignore[misc]
    """A rule whose biases are in the denominators, and which reports what they absorb.

    Args:
        rule: a rule that keeps biases.
        ledger: where to report it.
    """

    def __init__(self, rule: BasicHook, ledger: Ledger) -> None:
        super().__init__(
            rule.input_modifiers, rule.param_modifiers, rule.output_modifiers, rule.gradient_mapper, rule.reducer
        )
        self._rule, self._ledger = rule, ledger

    def copy(self) -> Self:
        """A hook for another layer, with the same ledger."""
        return type(self)(self._rule, self._ledger)

    def backward(self, module: nn.Module, grad_input: Any, grad_output: Any) -> Any:
        """The rule, as zennit computes it, and the relevance that its biases receive as if they were inputs of 1."""
        if getattr(module, "bias", None) is not None:
            given = self.stored_tensors["input"][0].detach()
            outputs, biases = [], []
            for input_modifier, modifier in zip(self.input_modifiers, self.param_modifiers, strict=True):
                with ParamMod.ensure(modifier)(module) as modified, torch.no_grad():
                    outputs.append(modified.forward(input_modifier(given)))
                    biases.append(modified.bias.detach().clone())
            shares = self.gradient_mapper(grad_output[0].detach(), outputs)
            shares = [shares] if isinstance(shares, Tensor) else list(shares)
            for bias, share in zip(biases, shares, strict=False):
                # (N, C, …) times the bias of each channel, summed over all but the images
                channels = share.flatten(2).sum(2) if share.ndim > 2 else share
                self._ledger.add((channels * bias).sum(1))
        return super().backward(module, grad_input, grad_output)


def composite(rule: str, low: Tensor, high: Tensor, ledger: Ledger) -> Composite:
    """The rules for networks of convolutions, pooling, ReLU and residual sums (see `layers`).

    Args:
        rule: of the convolutions, one of `RULES`.
        low, high: (1, channels, 1 or H, 1 or W), the smallest and largest value a pixel of each channel can have.
        ledger: adds up what biases absorb.
    """
    if rule == GAMMA_RULE:
        # its fifth part is the plain output, whose sign chooses among the others; biases absorb in those four alone
        convolution = _WithBias(Gamma(GAMMA), ledger)
        linear = _WithBias(Epsilon(EPSILON), ledger)
    else:
        convolution, linear = _WithBias(Epsilon(EPSILON), ledger), _WithBias(Epsilon(EPSILON), ledger)
    rules = [
        (Activation, Pass()),
        (Convolution, convolution),
        (Linear, linear),
        (AvgPool, PoolEpsilon()),
        (Sum, Epsilon(EPSILON)),
    ]
    first = [(Convolution, ZBox(low, high, zero_params=_NO_BIAS)), (Linear, ZBox(low, high, zero_params=_NO_BIAS))]
    return SpecialFirstLayerMapComposite(rules, first)
