"""Heads that are no single Linear layer at the end: found by what they give when the classifier runs."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor, nn

from kmex_core.networks import passes
from kmex_core.networks.encoders import SEVERAL, pooled
from kmex_core.networks.passes import Call

CLOSE = 1e-4  # relative to the largest score
PAIRED = 8  # of the last Linear layers, to look for two among


def other_head(network: nn.Module, images: Tensor, scores: Tensor) -> str:
    """The path of a head that gives a classifier's scores, see `encoders.UpToHead`; "" if none is found.

    In this order: two Linear layers whose scores are averaged (a token of the class and one of distillation); a part
    that makes the scores from one embedding per image (a cosine layer, normalised weights); a convolution of 1×1 pixels
    whose scores are pooled (SqueezeNet).

    Args:
        network: the classifier.
        images: (N, channels, H, W) as it takes them.
        scores: (N, C), what it gives for them.
    """
    parts = {name: part for name, part in network.named_modules() if name}
    with (
        torch.no_grad(),
        passes.same_random_numbers(images.device),
        passes.evaluating(network),
        passes.watched(parts) as calls,
    ):
        network(images)
    made = [call for call in calls if _one_embedding_each(call, len(scores))]
    linear = [call for call in made if isinstance(parts[call.name], nn.Linear) and call.output.shape == scores.shape]
    for first, second in combinations(linear[-PAIRED:], 2):
        if first.name != second.name and _alike((first.output + second.output) / 2, scores):
            return SEVERAL.join((first.name, second.name))
    whole = [call for call in made if _alike(call.output, scores)]
    if whole:  # the innermost of them, the last to begin
        return max(whole, key=lambda call: (call.name.count("."), call.name)).name
    for call in reversed(calls):
        if _is_pointwise(parts[call.name], scores.shape[1]) and isinstance(call.output, Tensor):
            maps = call.output
            if _alike(pooled(maps), scores) or _alike(pooled(maps.relu()), scores):
                return call.name
    return ""


def _one_embedding_each(call: Call, images: int) -> bool:
    given = call.inputs[0] if call.inputs else None
    return (
        isinstance(given, Tensor)
        and given.ndim == 2
        and given.is_floating_point()
        and len(given) == images
        and isinstance(call.output, Tensor)
    )


def _alike(found: Tensor, scores: Tensor) -> bool:
    if found.shape != scores.shape or found.dtype != scores.dtype:
        return False
    return torch.allclose(found, scores, rtol=CLOSE, atol=CLOSE * float(scores.abs().amax()))


def _is_pointwise(part: nn.Module, classes: int) -> bool:
    return (
        isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1) and part.groups == 1 and part.out_channels == classes
    )
