"""Faithfulness of relevance maps: divergence from the black box's relevance maps (paper 4.2.3)."""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-12


def normalised_relevance(relevance: Tensor) -> Tensor:
    """e_n: a relevance map as a distribution over pixels (paper, Eq. 2).

    The largest magnitude over the channels, divided by its sum. An all-zero relevance map counts as uniform.

    Args:
        relevance: (N, channels, H, W).

    Returns:
        (N, H·W) float64, each row sums to 1.
    """
    # float64: a relevance far below the largest must not vanish in the sum
    strongest = relevance.double().abs().amax(1).flatten(1)
    total = strongest.sum(1, keepdim=True)
    return torch.where(total > 0, strongest / total.clamp_min(1e-300), 1 / strongest.shape[1])


def map_divergence(relevance: Tensor, black_box: Tensor) -> Tensor:
    """D_fdl: the Kullback-Leibler divergence of a relevance map from the black box's, ≥ 0, lower is better (Eq. 3).

    Σ e_n log(e_n / e_n_bbox), in nats, both floored at 1e-12 inside the logarithm.

    Args:
        relevance, black_box: (N, channels, H, W), relevance maps of the same class.

    Returns:
        (N,) float64.
    """
    model, reference = normalised_relevance(relevance), normalised_relevance(black_box)
    return (model * (model.clamp_min(FLOOR).log() - reference.clamp_min(FLOOR).log())).sum(1)
