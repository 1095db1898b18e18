"""Results of measurements as arrays and numbers, or why there are none. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from kmex_core.base.artifact import StoredResult

STANDARD_ERRORS = 1.96  # a difference beyond them is more than chance, at 95%


@dataclass(frozen=True)
class NotComputed:
    """The reason, as a sentence, why a metric cannot be computed."""

    reason: str


def image_means(values: np.ndarray) -> np.ndarray:
    """(N, k) scores of each image's prototypes to (N,) means over them; NaN for an image without any score."""
    there = ~np.isnan(values)
    count = there.sum(1)
    return np.where(count > 0, np.where(there, values, 0.0).sum(1) / np.maximum(count, 1), np.nan)


@dataclass(frozen=True, eq=False)
class MapDivergences(StoredResult):
    """Kullback-Leibler divergences from the black box's relevance map of the class that it predicts, by image, in nats.

    Attributes:
        images: (N,) int64, indices in the test split, ascending.
        divergence: (N,) float64, D_fdl: of the model's map of that class (lower is better).
        divergence_uniform: (N,) of a map that is equal everywhere.
        divergence_other_image: (N,) of the model's map of another test image, of the class that the black box predicts
            for that one; NaN for a single image.
        divergence_runner_up: (N,) of the model's map of the class with the black box's second highest score.
    """

    images: np.ndarray
    divergence: np.ndarray
    divergence_uniform: np.ndarray
    divergence_other_image: np.ndarray
    divergence_runner_up: np.ndarray


@dataclass(frozen=True, eq=False)
class MapScores(MapDivergences):
    """Scores of relevance maps by image (paper 4.1.2, 4.2.3). S steps of relevance ordering.

    Attributes: those of `MapDivergences`, and
        drop: (N, k) float64, AD of the similarity to each prototype of the image's class, 0…1 (lower is better; NaN
            where a similarity is not above 0).
        increase: (N, k) float64, AI, 0 or 1 (higher is better).
        drop_random, increase_random: (N, k) float64, the same with half of the pixels kept at random, one choice per
            image.
        drop_reference, increase_reference: (N, k) float64, AD and AI by the similarity of the paper's released code,
            which takes the distance instead of its square; by the model's own similarity for built-in prototypes.
        drop_black_box, increase_black_box: (N,) float64, AD and AI of the black box's probability of its prediction.
        drop_black_box_random, increase_black_box_random: (N,) float64, with half of the pixels kept at random.
        curve: (N, S + 1) float32, the model's probability of its prediction as pixels are added, most relevant first.
        curve_random: (N, S + 1) float32, the same in random order.
        curve_reference: (N, S + 1) float32, most relevant first, the probability as published.
        curve_black_box, curve_black_box_random: (N, S + 1) float32, the black box's.
        conserving: share (0…1) of relevance maps with the correct sum, within `CONSERVATION_TOLERANCE`.
        seconds: duration.

    Without a black box, its scores and the divergences from its maps are NaN.
    """

    drop: np.ndarray
    increase: np.ndarray
    drop_random: np.ndarray
    increase_random: np.ndarray
    drop_reference: np.ndarray
    increase_reference: np.ndarray
    drop_black_box: np.ndarray
    increase_black_box: np.ndarray
    drop_black_box_random: np.ndarray
    increase_black_box_random: np.ndarray
    curve: np.ndarray
    curve_random: np.ndarray
    curve_reference: np.ndarray
    curve_black_box: np.ndarray
    curve_black_box_random: np.ndarray
    conserving: float
    seconds: float

    def __len__(self) -> int:
        return len(self.images)

    @property
    def has_black_box(self) -> bool:
        """Whether a black box was measured beside the model; a probability of its own is never NaN."""
        return not bool(np.isnan(self.curve_black_box).all())


RANDOM, BRIGHTNESS, OTHER_IMAGE, ONES = "random order", "brightness", "another image's map", "all-ones start"


@dataclass(frozen=True, eq=False)
class MapChecks(StoredResult):
    """The sanity suite of relevance maps: a row for each kind of map and each reference. N images, n of them disturbed,
    R replacements.

    Attributes:
        rows: their names; kinds of maps first, then the references.
        targets, methods: of each kind; "" for references.
        replacements: names of what takes the place of removed pixels.
        kept: (rows, N, R) share of the steps of deletion (5 to 50% of the pixels) after which the image keeps its
            class; lower is better.
        inserted: (rows, N, R) share of the steps of insertion after which it has it; higher is better.
        specificity: (rows, N), see `verdict.specificity`; NaN for references, and with two classes.
        cosine_rival: (rows, N) of the maps against two rivals; 1: the map does not depend on the rival.
        cosine_prototype: (rows, N) of the map and that of the rival in the prototype's place.
        sensitivity: (rows, n) the largest relative change of the map in 10 draws of 1% noise; lower is better.
        random_layers: (stages,) share of the layers that are randomised.
        randomised: (kinds, stages, n) rank correlation with the map of the trained network; nearer to 0 is better.
        seconds_per_image: (rows,) for the maps of an image.
        seconds: in all.
    """

    rows: tuple[str, ...]
    targets: tuple[str, ...]
    methods: tuple[str, ...]
    replacements: tuple[str, ...]
    kept: np.ndarray
    inserted: np.ndarray
    specificity: np.ndarray
    cosine_rival: np.ndarray
    cosine_prototype: np.ndarray
    sensitivity: np.ndarray
    random_layers: np.ndarray
    randomised: np.ndarray
    seconds_per_image: np.ndarray
    seconds: float


@dataclass(frozen=True)
class AgainstChance:
    """A metric against one of its chance levels, over the same images.

    Attributes:
        name: the chance level, a name in `metrics.catalogue.METRICS`.
        difference: mean over the images, then over the runs, of how much better the metric is; negative for worse.
        error: the standard error of that mean over the images of a run, mean over the runs.
    """

    name: str
    difference: float
    error: float

    @property
    def better(self) -> bool:
        """Whether it is better than chance: by more than 1.96 standard errors of the paired differences."""
        return self.difference > STANDARD_ERRORS * self.error


@dataclass(frozen=True)
class Measured:
    """One metric of one model over one or more runs.

    Attributes:
        name: a name in `metrics.catalogue.METRICS`.
        runs: its value in each run, training by training; empty when it cannot be computed.
        trainings: how many trainings the runs are of; each takes part with the same seeds.
        std_images: standard deviation over images (of the mean over the prototypes of each image's class), mean over
            the runs; None where it is not a mean over images.
        against: against its chance levels; empty where it has none.
        interval: 95% Wilson interval of the mean of the runs, for shares of test images.
        reason: why it cannot be computed, "" when it was.
    """

    name: str
    runs: tuple[float, ...]
    std_images: float | None = None
    interval: tuple[float, float] | None = None
    reason: str = ""
    trainings: int = 1
    against: tuple[AgainstChance, ...] = ()

    @property
    def mean(self) -> float | None:
        """Over the runs; None when it was not computed."""
        return float(np.mean(self.runs)) if self.runs else None

    @property
    def std_seeds(self) -> float | None:
        """Sample standard deviation over the seeds of one training (root mean square over the trainings); None for one
        seed."""
        of_training = np.reshape(self.runs, (self.trainings, -1)) if self.runs else np.empty((0, 0))
        return float(np.sqrt(np.var(of_training, 1, ddof=1).mean())) if of_training.shape[1] > 1 else None

    @property
    def std_trainings(self) -> float | None:
        """Sample standard deviation of the trainings' means; None for one training."""
        if self.trainings < 2 or not self.runs:
            return None
        return float(np.std(np.reshape(self.runs, (self.trainings, -1)).mean(1), ddof=1))

    @property
    def better_than_chance(self) -> bool | None:
        """Whether it is better than each of its chance levels; None where it has none."""
        return all(chance.better for chance in self.against) if self.against else None


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
        target, method: what the maps explain, and how they were made; "" without maps.
        metrics: by name.
        built_in: True for a prototypical model on its own.
        version: the name of the version, for edited prototypes; "" for others.
        predicts: whether the network itself predicts the classes, see `ModelInfo.predicts`.
        reference: the black box that such a model's maps were compared with, "" for none.
        class_column: the column of the data set's table that is the class, "" for its own class.
        caveat: why numbers on test images may be too good, see `ModelInfo.caveat`.
        labels: (M,) int64, the classes of the test images.
        right, right_black_box: (M,) bool, whether the first run's predictions for them are correct.
    """

    models: tuple[str, ...]
    kind: str
    dataset: str
    backbone: str
    k: int
    seeds: tuple[int, ...]
    images: int
    test_images: int
    target: str
    method: str
    metrics: Mapping[str, Measured]
    built_in: bool = False
    version: str = ""
    predicts: bool = True
    reference: str = ""
    class_column: str = ""
    caveat: str = ""
    labels: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64), repr=False, compare=False)
    right: np.ndarray = field(default_factory=lambda: np.empty(0, bool), repr=False, compare=False)
    right_black_box: np.ndarray = field(default_factory=lambda: np.empty(0, bool), repr=False, compare=False)
