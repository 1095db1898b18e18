"""A small KMEx in float64, and images for it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core import KMEx
from kmex_core.prototypes.metric import EmbeddingMetric
from tests.helpers.results import prototypes_of

CLASSES, K, DIMENSIONS, SIDE = 3, 2, 4, 12


def model_of(metric: str = "euclidean", seed: int = 0, smooth: bool = True) -> KMEx:
    """A small KMEx in float64; smooth, so that a few points of a path are exact."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    bend: nn.Module = nn.Tanh() if smooth else nn.ReLU()
    encoder = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), bend, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(45, DIMENSIONS)
    )
    matrix = random.normal(size=(DIMENSIONS, DIMENSIONS)).astype(np.float32)
    found = EmbeddingMetric(
        metric,
        (matrix + matrix.T + 6 * np.eye(DIMENSIONS, dtype=np.float32))
        if metric == "whitened"
        else np.empty((0, 0), np.float32),
    )
    centres = random.normal(size=(CLASSES * K, DIMENSIONS)).astype(np.float32)
    if metric == "cosine":
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    kmex = KMEx(
        encoder,
        nn.Linear(DIMENSIONS, CLASSES),
        prototypes_of(centres, np.repeat(np.arange(CLASSES), K)),
        ["a", "b", "c"],
        pixel_range=((-1.0,) * 3, (2.0,) * 3),
        metric=found,
    )
    return kmex.double()


def images_of(count: int = 3, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3 - 1
