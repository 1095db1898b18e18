"""Gradients of targets between replacements and images: the computation of Integrated and of masked gradients."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.networks.memory import Portions
from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.target import Targets


@dataclass(frozen=True, eq=False)
class Paths:
    """Points between baselines and images.

    Attributes:
        images: (N, C, H, W).
        starts: (B, N, C, H, W), B baselines for each image.
        places: (S, 1, H or 1, W or 1) for each of S points how far each pixel is on its way, 0 (baseline) to 1 (image).
        weights: (S,) of these points in the mean; they sum to 1.
    """

    images: Tensor
    starts: Tensor
    places: Tensor
    weights: Tensor

    def attributions(self, model: Explainable, targets: Targets, rows: int) -> Tensor:
        """(B, M, C, H, W): the mean gradient of each target over the points of its image, times image less baseline.

        A point passes the encoder once for all targets of its image; each further target costs a backward pass. As many
        points as fit into free memory go through the network at once, at most `rows`.
        """
        count, steps, baselines = len(self.images), len(self.places), len(self.starts)
        found = self.images.new_zeros(baselines * len(targets), *self.images.shape[1:])
        turns = list(_turns(targets.images, count))
        # all points of all paths as rows: image, baseline and place of each, neighbours of one image
        total = count * baselines * steps
        portions = Portions.fitting(model.encoder, self.images, rows, backward=True)

        def gradients(part: slice) -> list[tuple[Tensor, Tensor]]:
            row = torch.arange(part.start, min(part.stop, total), device=found.device)
            image, baseline, step = row // (baselines * steps), row // steps % baselines, row % steps
            end, start = self.images[image], self.starts[baseline, image]
            inputs = start + self.places[step] * (end - start)
            made = []
            with torch.enable_grad():
                inputs = inputs.detach().requires_grad_()
                z = model.encode(inputs)
                for number, turn in enumerate(turns):
                    # the points whose image has a target in this turn, and that target
                    target = turn[image]
                    has = torch.nonzero(target >= 0)[:, 0]
                    if not len(has):
                        continue
                    values = targets[target[has]].values(model, z[has])
                    # the backward pass of a mean over the path: each point counts with its weight. (With weights as
                    # `grad_outputs`, torch imports sympy.)
                    mean = (values * self.weights[step[has]].to(values.dtype)).sum()
                    (gradient,) = torch.autograd.grad(mean, inputs, retain_graph=number < len(turns) - 1)
                    made.append((baseline[has] * len(targets) + target[has], gradient[has] * (end - start)[has]))
            return made

        for made in portions.over(total, gradients):
            for place, part in made:
                found.index_add_(0, place, part.to(found.dtype))
        return found.unflatten(0, (baselines, len(targets)))

    def differences(self, model: Explainable, targets: Targets, rows: int) -> Tensor:
        """(B, M) what the attributions of each target sum to if the points are dense enough: its value for the image
        less that for the baseline."""
        with torch.no_grad():
            ends = [_encoded(model, images, rows) for images in (self.images, *self.starts)]
            at_end, *at_starts = (targets.values(model, z[targets.images]) for z in ends)
        return at_end - torch.stack(at_starts)


def evenly(attributions: Tensor, differences: Tensor) -> tuple[Tensor, Tensor]:
    """Attributions (B, M, C, H, W) and their sums (B, M), averaged so that each baseline has the same say.

    A baseline far from the data has attributions of a larger magnitude, which would drown the others: each is weighted
    by the inverse of its magnitude; the weights of a target sum to 1. (So the maps of two targets do not add up to that
    of their sum.)

    Returns:
        (M, C, H, W), and (M,) what they sum to if the points are dense enough.
    """
    weight = 1 / attributions.abs().sum((2, 3, 4)).clamp(min=1e-30)  # (B, M)
    weight = weight / weight.sum(0)
    return (attributions * weight[:, :, None, None, None]).sum(0), (differences * weight).sum(0)


def gauss_legendre(steps: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Places (S, 1, 1, 1) on straight lines and weights (S,) that integrate polynomials of degree below 2S exactly."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    return like.new_tensor((places + 1) / 2).view(-1, 1, 1, 1), like.new_tensor(weights / 2)


def random_masks(count: int, like: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Places (S, 1, H, W) that are 1 for random pixels and 0 for the others, and weights (S,).

    The shares of 1 are spread evenly between 0 and 1: point i has pixels of 1 with the probability (i + ½) / S.

    Args:
        count: S.
        like: images (N, C, H, W).
        seed: equal seeds give equal masks.
    """
    drawn = torch.rand(count, 1, *like.shape[2:], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    share = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return (drawn < share.view(-1, 1, 1, 1)).to(like), like.new_full((count,), 1 / count)


def exact(model: Explainable, images: Tensor) -> Explainable:
    """A float32 copy of a 16-bit model, because gradients need the precision; other models unchanged.

    A model that cannot be copied or fails in float32 is used unchanged; the check of completeness shows the error.
    """
    if not isinstance(model, nn.Module) or not any(
        value.dtype in (torch.float16, torch.bfloat16) for value in model.parameters()
    ):
        return model
    try:
        precise = copy.deepcopy(model).float()
        with torch.no_grad():
            precise.encode(images[:1])
    except (RuntimeError, TypeError, InputError):
        return model
    return precise


def _turns(images: Tensor, count: int) -> Iterator[Tensor]:
    """(N,) for each turn: a target of each image that has one left, −1 for the others. Every target has one turn."""
    order = images.argsort(stable=True)
    of_image = torch.bincount(images, minlength=count)
    first = of_image.cumsum(0) - of_image
    for turn in range(int(of_image.max())):
        has = of_image > turn
        yield torch.where(has, order[(first + turn).clamp(max=len(order) - 1)], -1)


def _encoded(model: Explainable, images: Tensor, rows: int) -> Tensor:
    portions = Portions.fitting(model.encoder, images, rows)
    return torch.cat(list(portions.over(len(images), lambda part: model.encode(images[part]))))
