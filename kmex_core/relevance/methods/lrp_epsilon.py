"""Layer-wise relevance propagation by the ε rule."""

from __future__ import annotations

from collections.abc import Sequence

from kmex_core.relevance.linearised import LinearisedLRP, check_rules
from kmex_core.relevance.propagation import Propagation, Rules
from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.recording import NoRules
from kmex_core.relevance.remembered import random_images, remembered


class LRPEpsilon(Propagation):
    """LRP by the ε rule with biases in the denominators (Bach et al. 2015): by zennit where its rules cover the
    network, ε = 1e-6 (see `composites`), else in the linearised network, with attention weights, the denominators of
    layer normalisation and gates held constant (CP-LRP, Ali et al., ICML 2022; see `linearised`)."""

    name = "lrp-epsilon"
    title = "LRP, rule ε"
    about = "Layer-wise relevance propagation in proportion to contributions, for most networks, also Transformers."
    place = 6
    rule = "epsilon"
    covers = (
        "The rule ε covers networks of linear layers, activations, normalisation, pooling, attention and gates, like "
        "ResNet, VGG, DenseNet, MobileNet, EfficientNet, ConvNeXt, ViT and Swin."
    )

    def rules(self, model: Explainable, size: Sequence[int]) -> Rules:
        """See `Propagation.rules`; where zennit has none, by the linearised network."""
        try:
            return super().rules(model, size)
        except NoRules:
            encoder = model.encoder
            remembered(encoder, size, "linearised", lambda: check_rules(encoder, *random_images(encoder, size, 2)))
            return LinearisedLRP(encoder)
