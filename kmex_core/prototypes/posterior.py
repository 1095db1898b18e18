"""A posterior over the classes from distances to prototypes, with a temperature fitted on held-out images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.fit import class_members
from kmex_core.prototypes.temperature import Temperature, halves_of

FITTED = 2000
GRID = np.linspace(-12.0, 8.0, 11)  # log T, relative to the typical gap between scores
LEAST = -1e4  # log probabilities, which may be −inf at a far too low T


def posterior(scores: Tensor, prototype_class: Tensor, classes: int, temperature: float | Tensor) -> Tensor:
    """(N, C) p(c | z) = Σ_{p of c} exp(s_p / T) / k_c, divided by its sum over the classes.

    Args:
        scores: (N, K) s = −‖z − p‖², or with K = C the class scores of a model.
        prototype_class: (K,).
        classes: C; one without a prototype has probability 0.
        temperature: T above 0, one, or (N, 1, 1) for each row.
    """
    return posterior_by_class(scores, class_members(prototype_class, classes), temperature)


def posterior_by_class(scores: Tensor, members: Tensor, temperature: float | Tensor) -> Tensor:
    """`posterior` with the prototypes of each class, (C, k), see `class_members`."""
    return _log_share(*_by_class(scores, members), temperature).exp()


def _by_class(scores: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C, k) the scores of each class's prototypes, padded by −∞, and (C,) the logarithm of their number; 0 for a
    class without any, whose scores are all −∞."""
    of_class = scores[:, members.clamp(min=0)].masked_fill(members < 0, -torch.inf)
    return of_class, (members >= 0).sum(1).clamp(min=1).to(scores.dtype).log()


def _log_share(of_class: Tensor, log_count: Tensor, temperature: float | Tensor) -> Tensor:
    """(N, C) from the scores by class (N, C, k): the mean of exp over the class's prototypes, normalised; logs."""
    return ((of_class / temperature).logsumexp(2) - log_count).log_softmax(1)


def fit_temperature(scores: Tensor, prototype_class: Tensor, labels: Tensor, images: int = 0) -> float:
    """T that maximises the likelihood of held-out labels, with Platt's targets.

    The target of an image's class is (n + 1) / (n + 2) with n held-out images, and the other classes share the rest
    (after Platt 1999): if all images are classified correctly, T stays above 0.

    Args:
        scores: (N, K), see `posterior`.
        prototype_class: (K,).
        labels: (N,).
        images: n, if these are a part of the held-out images.
    """
    from scipy.optimize import minimize_scalar

    images, classes = images or len(labels), int(max(prototype_class.max(), labels.max())) + 1
    own, scores = (images + 1) / (images + 2), scores.double()
    of_class, log_count = _by_class(scores, class_members(prototype_class, classes))
    # targets (N, C): most for the own class, the rest spread evenly over the others
    targets = torch.full((len(scores), classes), (1 - own) / max(1, classes - 1), device=scores.device).double()
    targets.scatter_(1, labels[:, None], own)

    def loss(log_t: float) -> float:
        log_p = _log_share(of_class, log_count, float(np.exp(log_t)))
        return float(-(targets * log_p.clamp(min=LEAST)).sum(1).mean())

    # scores may have any unit: start at the typical gap between the best and the others
    gaps = scores.amax(1, keepdim=True) - scores
    positive = gaps[gaps > 0]
    middle = float(positive.median().log()) if len(positive) else 0.0
    best = middle + GRID[int(np.argmin([loss(middle + step) for step in GRID]))]
    step = GRID[1] - GRID[0]
    found = minimize_scalar(loss, bounds=(best - step, best + step), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))


def fitted_places(images: int) -> np.ndarray:
    """Which of some images a temperature is fitted on, evenly spread: the scores of all would take memory like images ×
    prototypes."""
    return np.linspace(0, images - 1, min(images, FITTED)).astype(np.int64)


def calibrated(
    scores: Callable[[Tensor], Tensor], score_class: Tensor, test: Embeddings, validation: Embeddings | None = None
) -> Temperature:
    """The temperature of a model's posterior, cross-fitted on the test split where there is no validation split.

    At most `FITTED` images are used for each fit.

    Args:
        scores: embeddings (n, D) to scores (n, K), see `posterior`.
        score_class: (K,) their classes.
        test, validation: embeddings of held-out images.
    """

    held = test if validation is None else validation
    z, labels = (torch.from_numpy(values).to(score_class.device) for values in (held.z, held.labels))

    def fitted(rows: np.ndarray) -> float:
        few = rows[fitted_places(len(rows))]
        part = torch.from_numpy(few).to(labels.device)
        with torch.no_grad():
            return fit_temperature(scores(z[part]), score_class, labels[part], len(rows))

    everything = fitted(np.arange(len(held)))
    halves = halves_of(held.labels)
    # a single image cannot judge itself
    if validation is not None or len(np.unique(halves)) < 2:
        return Temperature(everything, (everything, everything), len(held), validation is not None)
    first, second = (fitted(np.flatnonzero(halves == half)) for half in (0, 1))
    return Temperature(everything, (first, second), len(held), False)
