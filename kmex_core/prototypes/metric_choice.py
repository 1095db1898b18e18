"""Which metric an embedding gets: whitened, unless Euclidean is more accurate on held-out images.

Needs torch only to compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Progress, silent
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.metric import AUTO, EUCLIDEAN, NAMES, OPTIONS, WHITENED, EmbeddingMetric, fit_metric
from kmex_core.prototypes.temperature import halves_of

K, SEED = 5, 0  # of the prototypes whose accuracy decides


@dataclass(frozen=True)
class Trial:
    """Accuracy of prototypes in one metric against that of Euclidean ones, on held-out images.

    Attributes:
        images: how many.
        euclidean, whitened: accuracy of both, 0…1.
        standard_error: of their paired difference.
    """

    images: int
    euclidean: float
    whitened: float
    standard_error: float

    @property
    def choice(self) -> str:
        """Whitened, unless Euclidean is the more accurate one by more than a standard error."""
        return EUCLIDEAN if self.whitened < self.euclidean - self.standard_error else WHITENED


def trial(euclidean: np.ndarray, whitened: np.ndarray) -> Trial:
    """Compare two classifiers on the same images.

    Args:
        euclidean, whitened: (M,) bool, whether each classifies an image correctly; M ≥ 1.
    """
    difference = whitened.astype(float) - euclidean
    error = float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else float("inf")
    return Trial(len(difference), float(euclidean.mean()), float(whitened.mean()), error)


def agreed(trials: Sequence[Trial]) -> str:
    """The choice of all trials, Euclidean when they differ."""
    choices = {one.choice for one in trials}
    return choices.pop() if len(choices) == 1 else EUCLIDEAN


def right_in(
    metric: EmbeddingMetric,
    train: Embeddings,
    others: Sequence[Embeddings],
    class_names: Sequence[str],
    device: str = "cpu",
    progress: Progress = silent,
) -> list[np.ndarray]:
    """For each of some splits, (M,) bool, which of its images `K` prototypes per class in a metric classify correctly.

    Args:
        metric: fitted on the training split.
        train: its embedding.
        others: the splits.
        class_names: C names.
        device: a torch device.
        progress: called after each class.
    """
    from kmex_core.prototypes.fit import activated, fit_prototypes

    prototypes = fit_prototypes(train.in_space(metric), class_names, K, SEED, device, progress)
    return [
        prototypes.classes[activated(metric(split.z), prototypes.centers, device)] == split.labels for split in others
    ]


def chosen_metric(
    name: str,
    train: Embeddings,
    held_out: Embeddings | None,
    class_names: Sequence[str],
    device: str = "cpu",
    validation: Embeddings | None = None,
) -> EmbeddingMetric:
    """The metric of this name, fitted; "auto" decides by held-out images as `stages.geometry`, whitened without any.

    Args:
        name: one of `OPTIONS`.
        train: the training split's embedding.
        held_out: of other images.
        class_names: C names.
        device: a torch device.
        validation: of images for such choices, which then decide alone.

    Raises:
        InputError: for an unknown name.
    """
    if name not in OPTIONS:
        raise InputError(f"There is no metric '{name}'; known: {', '.join(OPTIONS)}.")
    if name != AUTO:
        return fit_metric(name, train.z, train.labels)
    euclidean, whitened = (fit_metric(each, train.z, train.labels) for each in NAMES[:2])
    deciding = held_out if validation is None else validation
    if deciding is None:
        return whitened
    both = [right_in(metric, train, [deciding], class_names, device)[0] for metric in (euclidean, whitened)]
    trials = trials_on_halves(both[0], both[1], deciding.labels) if validation is None else (trial(both[0], both[1]),)
    return {EUCLIDEAN: euclidean, WHITENED: whitened}[agreed(trials)]


def trials_on_halves(euclidean: np.ndarray, whitened: np.ndarray, labels: np.ndarray) -> tuple[Trial, ...]:
    """One trial on each half of the test split, see `halves_of`; on all of it where a half would be empty."""
    halves = halves_of(labels)
    rows = [halves == half for half in np.unique(halves)]
    return tuple(trial(euclidean[part], whitened[part]) for part in rows)
