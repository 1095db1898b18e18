"""Faithfulness of maps: how far a model's relevance maps are from its black box's (paper 4.2.3)."""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-12


def normalised_relevance(relevance: Tensor) -> Tensor:
    """e_n: a relevance map as a distribution over pixels (paper, Eq. 2).

    The largest magnitude over the channels, divided by its sum. A map without any relevance counts as uniform.

    Args:
        relevance: (N, channels, H, W).

    Returns:
        (N, H·W) float64, each row sums to 1.
    """
    strongest = relevance.double().abs().amax(1).flatten(1)
    total = strongest.sum(1, keepdim=True)
    return torch.where(total > 0, strongest / total.clamp_min(1e-300), 1 / strongest.shape[1])


def map_divergence(relevance: Tensor, black_box: Tensor) -> Tensor:
    """D_fdl: the Kullback-Leibler divergence of a model's map from the black box's, ≥ 0, lower is better (Eq. 3).

    Σ e_n log(e_n / e_n_bbox), in nats, both floored at 1e-12 inside the logarithm.

    Args:
        relevance, black_box: (N, channels, H, W), the maps of one class.

    Returns:
        (N,) float64.
    """
    model, reference = normalised_relevance(relevance), normalised_relevance(black_box)
    return (model * (model.clamp_min(FLOOR).log() - reference.clamp_min(FLOOR).log())).sum(1)
