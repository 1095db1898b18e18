"""Metrics that read one part of what a run has measured; each family reads another result."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from kmex_core.metrics.metric import ANY, DIVERSITY, DOT_PRODUCT, MAPS, Metric, Run, Value
from kmex_core.metrics.ordering import curve_area
from kmex_core.metrics.types import MapScores, NotComputed, image_means


class SummaryMetric(Metric):
    """A number of the summary of a conversion, under the metric's own name."""

    group = DIVERSITY

    def measure(self, run: Run) -> Value:
        """The number; not computed if the similarity is not based on a distance."""
        value: float | None = getattr(run.summary, self.name)
        return DOT_PRODUCT if value is None else value


class DivergenceMetric(Metric):
    """A divergence from the black box's relevance maps.

    Attributes:
        part: a field of `MapDivergences`.
    """

    group = MAPS
    unit = "nats"
    range = ANY
    maps = True
    part: ClassVar[str]

    def measure(self, run: Run) -> Value:
        """(N,) nats, image by image."""
        divergences = run.divergences
        return divergences if isinstance(divergences, NotComputed) else np.asarray(getattr(divergences, self.part))


class _ScoresMetric(Metric):
    """A score of relevance maps.

    Attributes:
        part: a field of `MapScores`; with that, `part_black_box` of the black box where `of_both`.
    """

    group = MAPS
    maps = True
    part: ClassVar[str]
    part_black_box: ClassVar[str] = ""

    def measure(self, run: Run) -> Value:
        """(N,) image by image."""
        return self._by_image(run.scores, self.part)

    def measure_black_box(self, run: Run) -> Value:
        """(N,) image by image."""
        return self._by_image(run.scores, self.part_black_box)

    def _by_image(self, scores: MapScores | NotComputed, part: str) -> Value:
        return scores if isinstance(scores, NotComputed) else self.of_image(getattr(scores, part))

    def of_image(self, values: np.ndarray) -> np.ndarray:
        """(N, …) values of each image to (N,)."""
        raise NotImplementedError


class RemovalMetric(_ScoresMetric):
    """A score of the maps of an image's prototypes, averaged over the prototypes of its class; of the black box's one
    map as it is."""

    unit = "share"
    of_both = True

    def of_image(self, values: np.ndarray) -> np.ndarray:
        """See `_ScoresMetric.of_image`."""
        return image_means(values) if values.ndim == 2 else values


class OrderingMetric(_ScoresMetric):
    """The area under a curve of relevance ordering."""

    def of_image(self, values: np.ndarray) -> np.ndarray:
        """See `_ScoresMetric.of_image`."""
        return curve_area(values)
