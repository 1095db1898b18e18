"""Which model is best by a metric, said only where intervals tell it from the next one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kmex_core import metrics
from kmex_core.analysis.comparison import labels_of
from kmex_core.metrics.catalogue import DIVERSITY, METRICS, TRANSPARENCY
from kmex_core.metrics.stability import LEAST
from kmex_core.metrics.types import STANDARD_ERRORS, Evaluation, Measured


@dataclass(frozen=True, eq=False)
class Entry:
    """One model's value of a metric.

    Attributes:
        label: its row in the comparison.
        mean: in the metric's unit.
        interval: 95% interval of the mean; both ends are the mean where the value is exact; None where it is unknown.
        right: (M,) bool, which test images it predicts correctly, for accuracy; else None.
        beats_chance: whether it is better than its chance levels; None where it has none.
    """

    label: str
    mean: float
    interval: tuple[float, float] | None
    right: np.ndarray | None = None
    beats_chance: bool | None = None


@dataclass(frozen=True)
class Best:
    """The best value of a metric.

    Attributes:
        label: whose it is.
        rival: the next best, "" where nobody else has a value.
        separable: whether their 95% intervals do not overlap (of accuracy: whether that of the paired difference
            excludes 0); None where an interval is unknown.
        beats_chance: whether it is better than its chance levels; None where it has none.
    """

    label: str
    rival: str
    separable: bool | None
    beats_chance: bool | None = None

    @property
    def is_clear(self) -> bool:
        """Whether it can be called the best: it is told from the next one, and is not what chance gives."""
        return self.separable is True and self.beats_chance is not False


def entries(evaluations: Sequence[Evaluation], metric: str) -> list[Entry]:
    """Every row that has a value of a metric, see `comparison.rows`."""
    kind, found = METRICS[metric], []
    for evaluation in evaluations:
        for label, black_box in labels_of(evaluation):
            key = kind.black_box if black_box else metric
            value = evaluation.metrics.get(key)
            if value is None or value.mean is None:
                continue
            right = evaluation.right_black_box if black_box else evaluation.right
            of_accuracy = right if metric == "accuracy" else None
            ends = interval(evaluation, metric, value)
            found.append(Entry(label, value.mean, ends, of_accuracy, value.better_than_chance))
    return found


def interval(evaluation: Evaluation, metric: str, value: Measured) -> tuple[float, float] | None:
    """The 95% interval of a measured value, None where it is unknown.

    Over test images where the value is a share of them or a mean over them; over k-means seeds from three runs on. What
    built-in and edited prototypes are like is exact. One run of k-means says nothing of the next one.
    """
    if value.mean is None:
        return None
    if value.interval is not None:
        return value.interval
    if value.std_images is not None and evaluation.images:
        half = STANDARD_ERRORS * value.std_images / math.sqrt(evaluation.images)
        return value.mean - half, value.mean + half
    if METRICS[metric].group not in (TRANSPARENCY, DIVERSITY) or not METRICS[metric].between_networks:
        return None
    if evaluation.built_in or evaluation.version:
        return value.mean, value.mean
    if len(value.runs) >= LEAST and value.trainings == 1:
        from scipy.stats import t

        half = float(t.ppf(0.975, len(value.runs) - 1) * np.std(value.runs, ddof=1) / np.sqrt(len(value.runs)))
        return value.mean - half, value.mean + half
    return None


def best(found: Sequence[Entry], better: str) -> Best | None:
    """The best of some values, None where there are none.

    Args:
        found: of one metric, on the same data.
        better: "higher" or "lower".
    """
    if not found:
        return None
    first, *rest = sorted(found, key=lambda entry: entry.mean, reverse=better == "higher")
    if not rest:
        return Best(first.label, "", None, first.beats_chance)
    return Best(first.label, rest[0].label, _apart(first, rest[0]), first.beats_chance)


def _apart(one: Entry, other: Entry) -> bool | None:
    if one.right is not None and other.right is not None and len(one.right) == len(other.right) > 0:
        _, low, high = metrics.paired_interval(one.right, other.right)
        return bool(low > 0 or high < 0)
    if one.interval is None or other.interval is None:
        return None
    (low, high), (other_low, other_high) = one.interval, other.interval
    return bool(low > other_high or high < other_low)
