"""Results of measurements as arrays and numbers, or why there are none. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kmex_core.base.artifact import StoredResult


@dataclass(frozen=True)
class NotComputed:
    """The reason, as a sentence, why a metric cannot be computed."""

    reason: str


@dataclass(frozen=True, eq=False)
class MapScores(StoredResult):
    """Scores of relevance maps by image (paper 4.1.2, 4.2.3). S steps of relevance ordering.

    Attributes:
        images: (N,) int64, indices in the test split, ascending.
        drop: (N, k) float64, AD of the similarity to each prototype of the image's class, 0…1 (lower is better; NaN
            where a similarity is not above 0).
        increase: (N, k) float64, AI, 0 or 1 (higher is better).
        drop_black_box, increase_black_box: (N,) float64, the same of the black box's probability of its prediction.
        divergence: (N,) float64, D_fdl in nats, of the relevance maps of the black box's prediction (lower is better).
        curve: (N, S + 1) float32, the model's probability of its prediction as pixels are added, most relevant first.
        curve_random: (N, S + 1) float32, the same in random order.
        curve_black_box, curve_black_box_random: (N, S + 1) float32, the black box's.
        conserving: share (0…1) of relevance maps with the correct sum, within `CONSERVATION_TOLERANCE`.
        seconds: duration.
    """

    images: np.ndarray
    drop: np.ndarray
    increase: np.ndarray
    drop_black_box: np.ndarray
    increase_black_box: np.ndarray
    divergence: np.ndarray
    curve: np.ndarray
    curve_random: np.ndarray
    curve_black_box: np.ndarray
    curve_black_box_random: np.ndarray
    conserving: float
    seconds: float

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Measured:
    """One metric of one model over one or more runs.

    Attributes:
        name: a name in `metrics.catalogue.METRICS`.
        runs: its value in each run; empty when it cannot be computed.
        std_images: standard deviation over images, mean over the runs; None where it is not a mean over images.
        interval: 95 % Wilson interval of the mean of the runs, for shares of test images.
        reason: why it cannot be computed, "" when it was.
    """

    name: str
    runs: tuple[float, ...]
    std_images: float | None = None
    interval: tuple[float, float] | None = None
    reason: str = ""

    @property
    def mean(self) -> float | None:
        """Over the runs; None when it was not computed."""
        return float(np.mean(self.runs)) if self.runs else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation over the runs; None for fewer than two."""
        return float(np.std(self.runs, ddof=1)) if len(self.runs) > 1 else None


@dataclass(frozen=True)
class Evaluation:
    """All metrics of a model's KMEx, or of a prototypical model on its own.

    Attributes:
        models: the model, and others trained alike that took part in the runs.
        kind, dataset, backbone: of the models.
        k: prototypes per class.
        seeds: one per run: of k-means and of the choice of images.
        images: how many test images the metrics on maps are over (0 when none was computed).
        test_images: how many the metrics on predictions are over.
        method: how the maps were made.
        metrics: by name.
        built_in: True for a prototypical model on its own.
        reference: the black box that such a model's maps were compared with, "" for none.
        class_column: the column of the data set's table that is the class, "" for its own class.
        caveat: why numbers on test images may be too good, see `ModelInfo.caveat`.
    """

    models: tuple[str, ...]
    kind: str
    dataset: str
    backbone: str
    k: int
    seeds: tuple[int, ...]
    images: int
    test_images: int
    method: str
    metrics: Mapping[str, Measured]
    built_in: bool = False
    reference: str = ""
    class_column: str = ""
    caveat: str = ""
