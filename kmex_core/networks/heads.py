"""What follows an embedding in a classifier: its head, by itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Head(nn.Linear):
    """A Linear layer on its own, with the parameters of a classifier's last one, for embeddings of any type of float.

    If the classifier recomputes its weight in each pass (weight or spectral norm), the current weight is used.

    Args:
        layer: Linear, or a convolution of 1×1 pixels, which pooling makes one.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        nn.Module.__init__(self)
        for name in ("weight", "bias"):
            value = getattr(layer, name)
            if value is not None and (not isinstance(value, nn.Parameter) or value.ndim == 4):
                value = nn.Parameter(value.detach().clone().flatten(1 if value.ndim > 1 else 0), requires_grad=False)
            self.register_parameter(name, value)
        self.out_features, self.in_features = self.weight.shape
        self.training = False

    def forward(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, C) class scores of the same type."""
        return super().forward(z.to(self.weight.dtype)).to(z.dtype)


class CombinedHead(Head):
    """Linear layers whose scores a classifier averages, as one on all their embeddings side by side: the token of the
    class and that of distillation."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        nn.Module.__init__(self)
        weight = torch.cat([layer.weight.detach() for layer in layers], 1) / len(layers)
        self.register_parameter("weight", nn.Parameter(weight, requires_grad=False))
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        bias = None if not biases else nn.Parameter(torch.stack(biases).sum(0) / len(layers), requires_grad=False)
        self.register_parameter("bias", bias)
        self.out_features, self.in_features = self.weight.shape
        self.training = False


class SelectedHead(Head):
    """The scores of some classes of a Linear head.

    Args:
        head: of the whole classifier.
        outputs: (C,) the number of each class among its outputs. For a head of one output, the score for the second of
            two classes, the first has the score 0, so that softmax gives what the sigmoid gives.
    """

    def __init__(self, head: Head, outputs: Sequence[int]) -> None:
        nn.Module.__init__(self)
        weight = head.weight.detach()
        bias = weight.new_zeros(len(weight)) if head.bias is None else head.bias.detach()
        if len(weight) == 1:
            weight, bias = torch.cat([torch.zeros_like(weight), weight]), torch.cat([torch.zeros_like(bias), bias])
        rows = torch.tensor(list(outputs), device=weight.device)
        self.register_parameter("weight", nn.Parameter(weight[rows].clone(), requires_grad=False))
        self.register_parameter("bias", nn.Parameter(bias[rows].clone(), requires_grad=False))
        self.out_features, self.in_features = self.weight.shape
        self.training = False


class ModuleHead(nn.Module):
    """Any part of a classifier that makes class scores from one embedding per image: cosine layers, several layers.

    Args:
        module: the part.
        dimensions: D.
        outputs: (C,) the number of each class among its outputs.
    """

    def __init__(self, module: nn.Module, dimensions: int, outputs: Sequence[int]) -> None:
        super().__init__()
        self.module, self.in_features, self.out_features = module, dimensions, len(outputs)
        self.outputs = tuple(outputs)
        self.training = False

    def forward(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, C) class scores of the same type."""
        from kmex_core.networks import passes

        given = z.to(next(self.module.parameters(), z).dtype)
        with passes.evaluating(self.module):
            scores: Tensor = self.module(given)
        return scores[:, list(self.outputs)].to(z.dtype)


class NoHead(nn.Module):
    """In place of the head where a network predicts none of the classes: an encoder, or one trained on others."""

    def __init__(self, dimensions: int, classes: int) -> None:
        super().__init__()
        self.in_features, self.out_features = dimensions, classes
        self.training = False

    def forward(self, z: Tensor) -> Tensor:
        """Refuses: there are no class scores.

        Raises:
            RuntimeError: always. What asks for scores asks `has_scores` before.
        """
        raise RuntimeError("This network predicts none of the classes.")


def has_scores(head: nn.Module) -> bool:
    """Whether a head gives class scores."""
    return not isinstance(head, NoHead)


AnyHead = Head | ModuleHead | NoHead


def head_of(layers: Sequence[nn.Module], dimensions: int, outputs: Sequence[int] | None = None) -> Head | ModuleHead:
    """The head that some layers of a classifier make.

    Args:
        layers: one layer; or several Linear ones, whose scores are averaged.
        dimensions: D, of the embedding.
        outputs: (C,) the number of each class among its outputs, see `SelectedHead`; all in order when None.
    """
    if len(layers) > 1:
        head: Head = CombinedHead([layer for layer in layers if isinstance(layer, nn.Linear)])
    elif isinstance(layers[0], nn.Linear) or (isinstance(layers[0], nn.Conv2d) and layers[0].kernel_size == (1, 1)):
        head = Head(layers[0])
    else:
        return ModuleHead(layers[0], dimensions, range(_outputs(layers[0], dimensions)) if outputs is None else outputs)
    if outputs is None and head.out_features > 1:
        return head
    return SelectedHead(head, range(2) if outputs is None else outputs)


def _outputs(module: nn.Module, dimensions: int) -> int:
    from kmex_core.networks import passes

    like = next(module.parameters(), torch.empty(0))
    with torch.no_grad(), passes.evaluating(module):
        scores: Tensor = module(torch.zeros(2, dimensions, device=like.device, dtype=like.dtype))
    return scores.shape[1]
