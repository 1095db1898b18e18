"""A model with randomised weights, layer by layer from the top: what is left of its relevance maps?

Cascading randomisation of Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018; Quantus calls it Model
Parameter Randomisation.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.models.kmex import KMEx
from kmex_core.networks.foreign_network import ForeignNetwork
from kmex_core.networks.memory import Portions
from kmex_core.prototypes.metric import fit_metric

STAGES = 6
BATCH = 256


@dataclass(frozen=True, eq=False)
class Reference:
    """Training images that a randomised network is adjusted to.

    Attributes:
        images: (n, C, H, W), normalised; they are all in memory.
        labels: (n,) their classes.
    """

    images: Tensor
    labels: Tensor


def randomised(model: KMEx, reference: Reference, seed: int = 0) -> Iterator[tuple[float, KMEx]]:
    """Copies of a model whose layers are drawn anew, from the top down: ever more of them, in at most `STAGES` steps.

    In every step the batch statistics are taken anew, the metric is fitted anew, and each prototype becomes the mean of
    the reference images that are nearest to it in the trained model. (A built-in prototype keeps its place: it is a
    parameter of the model.)

    Args:
        model: not changed.
        reference: see `Reference`.
        seed: of the weights.

    Yields:
        The share of the layers that are random, and the model; nothing for a network read from a file with its graph,
        whose weights belong to no layers that could be drawn anew.
    """
    if any(isinstance(part, ForeignNetwork) for part in model.encoder.modules()):
        return
    with torch.no_grad():
        assigned = model.distance(_embedding(model, reference.images)).argmin(1)
    copied = copy.deepcopy(model)
    layers = [module for module in copied.encoder.modules() if _own_parameters(module)][::-1]
    cuts = sorted({round(step * len(layers) / STAGES) for step in range(1, STAGES + 1)} - {0})
    done = 0
    generator = torch.Generator().manual_seed(seed)
    for cut in cuts:
        for layer in layers[done:cut]:
            _redraw(layer, generator)
        done = cut
        _take_statistics(copied.encoder, reference.images)
        _move_prototypes(copied, reference, assigned)
        yield cut / len(layers), copied


def _own_parameters(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _redraw(layer: nn.Module, generator: torch.Generator) -> None:
    """Draw a layer's parameters as at the beginning of training; without a rule for that, normally, as spread out."""
    with torch.no_grad():
        if callable(getattr(layer, "reset_parameters", None)):
            # the layer's own rule draws from the global generator, whose state is kept
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
                layer.reset_parameters()  # type: ignore[operator]
            return
        for value in layer.parameters(recurse=False):
            spread = value.std() if value.numel() > 1 else value.abs().mean()
            value.copy_(torch.randn(value.shape, generator=generator).to(value) * spread)


def _take_statistics(encoder: nn.Module, images: Tensor) -> None:
    """Batch statistics of the images, in one pass over all of them."""
    norms = [module for module in encoder.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    portions = Portions.fitting(encoder, images, BATCH)
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over the batches
        norm.train()
    with torch.no_grad():
        for _ in portions.over(len(images), lambda part: encoder(images[part])):
            pass
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _move_prototypes(model: KMEx, reference: Reference, assigned: Tensor) -> None:
    if type(model) is not KMEx:
        return
    z = _embedding(model, reference.images)
    model.metric = fit_metric(model.metric.name, z.cpu().numpy(), reference.labels.cpu().numpy())
    model.metric_matrix = torch.from_numpy(np.array(model.metric.matrix)).to(z.device)
    placed = model.mapped(z)
    centres = model.prototypes.clone()
    for p in assigned.unique().tolist():
        centres[p] = placed[assigned == p].mean(0)
    model.prototypes = centres


def _embedding(model: KMEx, images: Tensor) -> Tensor:
    with torch.no_grad():
        portions = Portions.fitting(model.encoder, images, BATCH)
        return torch.cat(list(portions.over(len(images), lambda part: model.encode(images[part]))))
