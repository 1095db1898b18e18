"""Relevance methods that propagate a start at the embedding to the pixels, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from kmex_core.networks.memory import Portions
from kmex_core.relevance.lrp import lrp_of
from kmex_core.relevance.method import ROWS, Attributions, CannotExplain, RelevanceMethod
from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.recording import NoRules
from kmex_core.relevance.target import Targets


class Rules(Protocol):
    """Rules for an encoder: `LRP` or `LinearisedLRP`."""

    @property
    def memory(self) -> int:
        """What a pass takes, as a multiple of a plain backward pass."""
        ...

    def maps(self, images: Tensor, relevance: Tensor, z: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """The relevance of the pixels, and what biases have absorbed; see `LRP.maps`."""
        ...


class Propagation(RelevanceMethod):
    """LRP by one rule: `Target.relevance`, the start, is propagated to the pixels.

    Attributes:
        rule: of the convolutions, `lrp.PUBLISHED` or one of `composites.RULES`.
        covers: for which networks there are rules, in a sentence.
    """

    rule: ClassVar[str]
    covers: ClassVar[str] = "This rule covers the ResNet and VGG families."

    def rules(self, model: Explainable, size: Sequence[int]) -> Rules:
        """The rules for a model's encoder, by zennit: for networks of convolutions, Linear layers, batch normalisation
        after one of these, ReLU, sigmoid, pooling and residual sums; before them, changes of scale and size.

        The operations count, not the modules that run them. Other encoders are refused, because zennit fails silently
        on them and returns meaningless relevance maps.

        Args:
            model: the model.
            size: of an image, (C, H, W).

        Raises:
            NoRules: when there are none.
        """
        if model.pixel_range is None:
            raise NoRules("an unknown range of the pixels")
        return lrp_of(model.encoder, *model.pixel_range, size, self.rule)

    def why_not(self, model: Explainable, size: Sequence[int]) -> str:
        """See `RelevanceMethod.why_not`: the encoder has no gradients, or runs an operation without a rule."""
        if why := super().why_not(model, size):
            return why
        try:
            self.rules(model, size)
        except NoRules as reason:
            return self._no_rules(model.encoder, reason)
        return ""

    def maps(self, model: Explainable, images: Tensor, z: Tensor, targets: Targets, rows: int = ROWS) -> Attributions:
        """See `RelevanceMethod.maps`; a map sums to its start (for a class score, without its bias), less what biases
        absorb."""
        starts = z[targets.images]
        with torch.no_grad():
            relevance = targets.relevance(model, starts)
        # propagate to the pixels, as many targets at once as fit into free memory
        try:
            rules = self.rules(model, images.shape[1:])
            portions = Portions.fitting(model.encoder, images, rows, backward=True, copies=rules.memory)

            def propagated(part: slice) -> tuple[Tensor, Tensor]:
                which, index = targets.images[part].unique(return_inverse=True)
                return rules.maps(images[which], relevance[part], z[which], index)

            parts = list(portions.over(len(targets), propagated))
        except NoRules as reason:  # the layers that run depend on the image
            raise CannotExplain(self._no_rules(model.encoder, reason)) from reason
        absorbed = torch.cat([part[1] for part in parts])
        return Attributions(torch.cat([part[0] for part in parts]), relevance.sum(1) - absorbed, absorbed)

    def _no_rules(self, encoder: nn.Module, reason: NoRules) -> str:
        what = getattr(encoder, "title", type(getattr(encoder, "model", encoder)).__name__)
        return f"LRP has no rules for {what} ({reason}). {self.covers}"
