"""Curves over the number of prototypes per class, as numbers: their means over seeds, bands and chance levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.figures.axis import axis_range
from kmex_core.analysis.bands import interval_over_seeds
from kmex_core.metrics.catalogue import METRICS, Metric
from kmex_core.prototypes.sweep import Sweep


@dataclass(frozen=True)
class Curve:
    """A curve: its metric, its field and that of its chance level in `Sweep`, its axis, and the smallest difference
    worth a whole axis."""

    metric: str
    field: str
    chance: str
    axis: str
    least: float

    @property
    def kind(self) -> Metric:
        """What the metric is called and means."""
        return METRICS[self.metric]

    @property
    def scale(self) -> int:
        """What values are multiplied by to be shown: shares are shown in per cent."""
        return 100 if self.kind.unit == "share" else 1

    @property
    def of_images(self) -> bool:
        """Whether its values are shares of the test images."""
        return self.field in ("accuracy", "agreement")


CURVES = {
    "accuracy_kmex": Curve("accuracy", "accuracy", "random_accuracy", "Test images (%)", 4),
    "agreement": Curve("agreement", "agreement", "random_agreement", "Test images (%)", 4),
    "ghosting": Curve("ghosting", "ghosting", "", "Prototypes (%)", 10),
    "effective": Curve("effective", "effective", "effective_random", "Effective number (prototypes)", 0.5),
}
COVERAGE = Curve("coverage_radius", "coverage_radius", "", "Distance in the embedding", 0.5)


@dataclass(frozen=True, eq=False)
class Course:
    """The course of a curve over 1 to S prototypes per class, as it is shown: shares in per cent.

    Attributes:
        mean: (S,) over seeds.
        low, high: (S,) the ends of its band: the range over seeds; of shares of the test images, with their 95%
            interval.
        chance: (S, 2) the ends of the middle 95% of draws of random training images as prototypes; None for none.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    chance: np.ndarray | None


def course(sweeps: Sequence[Sweep], curve: Curve) -> Course:
    """The course of a curve.

    Args:
        sweeps: of different seeds, at least one; the chance level is the first one's.
        curve: which one.
    """
    values = np.stack([getattr(sweep, curve.field) for sweep in sweeps])
    low, high = interval_over_seeds(values, sweeps[0].images) if curve.of_images else (values.min(0), values.max(0))
    chance = curve.scale * getattr(sweeps[0], curve.chance)[:, 1:] if curve.chance else None
    return Course(curve.scale * values.mean(0), curve.scale * low, curve.scale * high, chance)


def range_of(curve: Curve, shown: Sequence[np.ndarray], most: float = np.inf) -> list[float]:
    """The range of a curve's axis.

    Args:
        curve: which one.
        shown: all that is drawn.
        most: the largest value there can be, where it depends on the data.
    """
    bottom, top = curve.kind.range
    limits = bottom * curve.scale, min(top, most) * curve.scale
    return axis_range(np.concatenate([np.ravel(each) for each in shown]), limits, curve.least)
