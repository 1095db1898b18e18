"""Faithfulness of relevance maps: divergence from the black box's relevance maps (paper 4.2.3); its chance levels."""

from __future__ import annotations

import numpy as np
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
    return _divergence(normalised_relevance(relevance), normalised_relevance(black_box))


def _divergence(model: Tensor, reference: Tensor) -> Tensor:
    return (model * (model.clamp_min(FLOOR).log() - reference.clamp_min(FLOOR).log())).sum(1)


class Divergences:
    """D_fdl of a sequence of images beside what maps that know less would score, all from the black box's map of the
    class that it predicts: a uniform map, the model's map of the image before (of the last one for the first), and the
    model's map of the black box's runner-up class.

    Images come in batches; only two maps are kept, and where a batch ends changes nothing.
    """

    NAMES = ("divergence", "divergence_uniform", "divergence_other_image", "divergence_runner_up")

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self._first: Tensor | None = None  # the black box's map of the first image, (1, H·W)
        self._last: Tensor | None = None  # the model's map of the last image so far

    def add(self, relevance: Tensor, runner_up: Tensor, black_box: Tensor) -> None:
        """Take a batch of (N, channels, H, W) relevance maps.

        Args:
            relevance: of the black box's predicted class, by the model.
            runner_up: of the class with the black box's second highest score, by the model.
            black_box: of the predicted class, by the black box.
        """
        model, reference = normalised_relevance(relevance), normalised_relevance(black_box)
        if self._last is None or self._first is None:
            self._last, self._first = model[-1:], reference[:1]
        before = torch.cat([self._last, model[:-1]])
        self._last = model[-1:]
        uniform = torch.full_like(model, 1 / model.shape[1])
        maps = (model, uniform, before, normalised_relevance(runner_up))
        self._parts.append(torch.stack([_divergence(each, reference) for each in maps]))

    def result(self) -> dict[str, np.ndarray]:
        """(N,) float64 each: `divergence`, `divergence_uniform`, `divergence_other_image` (NaN for a single image) and
        `divergence_runner_up`, in nats."""
        found = torch.cat(self._parts, 1)
        assert self._last is not None
        assert self._first is not None
        found[2, 0] = _divergence(self._last, self._first)[0] if found.shape[1] > 1 else torch.nan
        return dict(zip(self.NAMES, found.cpu().numpy(), strict=True))
