"""Where layer-wise relevance propagation starts: the relevance of the embedding's dimensions.

That of a similarity and of a posterior is PRP's (Gautam et al., Pattern Recognition 136, 2023), that of a margin NEON's
(Kauffmann et al., TNNLS 35(2), 2024).
"""

from __future__ import annotations

import torch
from torch import Tensor

from kmex_core.base.errors import InputError
from kmex_core.prototypes.metric import COSINE, SMALL, WHITENED

FLOOR = 1e-12
RULES = ("prp", "similarity")


def similarity_relevance(
    z: Tensor, prototypes: Tensor, similarity: Tensor, rule: str = "prp", epsilon: float = 1e-4
) -> Tensor:
    """Split similarities over the embedding's dimensions: the better a dimension matches, the larger its share.

    Share of dimension d, with δ = z_d − p_d: "prp" in proportion to 1 / (δ⁴ + 1e-12) (Gautam et al. 2023); "similarity"
    in proportion to log((δ² + 1) / (δ² + ε)). (The released KMEx code starts with ones, so its relevance maps do not
    depend on the prototype.)

    Args:
        z: (N, D) embeddings.
        prototypes: (N, D), one per embedding.
        similarity: (N,) their similarity.
        rule: "prp" or "similarity".
        epsilon: ε of the rule "similarity".

    Returns:
        (N, D), each row sums to its similarity.

    Raises:
        InputError: for an unknown rule.
    """
    squared = (z - prototypes).square()  # δ², (N, D)
    if rule == "prp":
        share = 1 / (squared.square() + FLOOR)
    elif rule == "similarity":
        share = torch.log1p((1 - epsilon) / (squared + epsilon))
    else:
        raise InputError(f"Unknown rule '{rule}'; known: {', '.join(RULES)}.")
    # normalise the shares, so each row sums to its similarity
    return share / share.sum(1, keepdim=True) * similarity[:, None]


def prediction_relevance(
    z: Tensor, prototypes: Tensor, probability: Tensor, rule: str = "prp", epsilon: float = 1e-4
) -> Tensor:
    """Split a class's probability over the embedding's dimensions: each of its prototypes splits its part of it.

    Args:
        z: (N, D) embeddings.
        prototypes: (N, k, D), those of the class, for each embedding.
        probability: (N, k) the part of each prototype in the class's probability (softmax over all prototypes).
        rule, epsilon: see `similarity_relevance`.

    Returns:
        (N, D), each row sums to the class's probability.
    """
    # all pairs of an embedding and a prototype as rows (N · k, D), then summed over the prototypes
    count = prototypes.shape[1]
    parts = similarity_relevance(
        z.repeat_interleave(count, 0), prototypes.flatten(0, 1), probability.flatten(), rule, epsilon
    )
    return parts.view(len(z), count, z.shape[1]).sum(1)


def margin_relevance(z: Tensor, prototypes: Tensor, rivals: Tensor, metric: str, matrix: Tensor) -> Tensor:
    """NEON's start for margins ‖z̃ − q‖² − ‖z̃ − p‖²: 2 (z − m) ⊙ M (p − q), with m the midpoint of p and q among the
    embeddings. The length that the metric "cosine" divides by counts as a constant.

    Args:
        z: (N, D) embeddings.
        prototypes, rivals: p and q, (N, D) in the metric's space.
        metric, matrix: its name and M (D, D), see `EmbeddingMetric`.

    Returns:
        (N, D); rows sum to the margins.
    """
    middle, direction = (prototypes + rivals) / 2, prototypes - rivals
    if metric == WHITENED:
        middle = torch.linalg.solve(matrix.T, middle.T).T
        direction = direction @ matrix.T
    elif metric == COSINE:
        length = z.norm(dim=1, keepdim=True).clamp(min=SMALL)
        middle, direction = middle * length, direction / length
    return 2 * (z - middle) * direction
