"""Prototypes and their predictions as arrays. Needs no torch.

Shapes: N images, C classes, K prototypes in all, D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kmex_core.base.artifact import StoredResult
from kmex_core.base.phrases import first_few
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.temperature import Temperature

NO_IMAGE = -1


@dataclass(frozen=True, eq=False)
class Prototypes(StoredResult):
    """K prototypes, described by the training split.

    Distances are Euclidean in the prototypes' space (`metric.EmbeddingMetric`), in which the centers lie; for a model
    whose similarity is a dot product (FLINT's attributes) they are the negative similarity, and "nearest" means most
    similar.

    Attributes:
        centers: (K, D) float32; KMEx's are in the order of their class.
        classes: (K,) int64, the class of each prototype.
        count: (K,) int64, the training images of the prototype's own class that activate it (it is their nearest of
            all K).
        importance: (K,) float64, `count` as a share (0…1) of the class's training images.
        count_all: (K,) int64, the training images of any class that activate it.
        nearest: (K, M) int64, indices of the M nearest training images of the own class, nearest first (`NO_IMAGE`
            where the class has fewer).
        nearest_distance: (K, M) float32, their distances (infinite without an image).
        nearest_any: (K,) int64, index of the nearest training image of any class.
        distance_quantiles: (101,) float32, the 0…100% quantiles of the training images' distance to their nearest
            prototype.
        class_size: (C,) int64, training images per class.
        activated: (N,) int32, the prototype that each training image activates.
        names, notes: K texts that people gave them, "" for none; empty where nobody gave any.
    """

    centers: np.ndarray
    classes: np.ndarray
    count: np.ndarray
    importance: np.ndarray
    count_all: np.ndarray
    nearest: np.ndarray
    nearest_distance: np.ndarray
    nearest_any: np.ndarray
    distance_quantiles: np.ndarray
    class_size: np.ndarray
    activated: np.ndarray
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.centers)

    @property
    def ghost(self) -> np.ndarray:
        """(K,) bool, ghost prototypes: no training image of their class activates them (paper 4.2.2)."""
        return self.count == 0

    @property
    def exemplar(self) -> np.ndarray:
        """(K,) int64, the exemplar of each prototype: the nearest training image of its class (paper 3.2)."""
        return self.nearest[:, 0]

    @property
    def typical_distance(self) -> float:
        """The 99% quantile of the training images' distance to their nearest prototype."""
        return float(self.distance_quantiles[99])


def fewer_prototypes(prototypes: Prototypes | PatchPrototypes, class_names: Sequence[str], k: int) -> str:
    """A note on the classes with fewer than `k` prototypes; "" if there are none.

    Args:
        prototypes: of all classes.
        class_names: C names.
        k: the number asked for; `source.SUGGESTED` for none in particular.
    """
    counts = np.bincount(prototypes.classes, minlength=len(class_names))
    few = [f"'{class_names[label]}' ({counts[label]})" for label in np.flatnonzero(counts < k).tolist()]
    if not few:
        return ""
    shown = first_few(few, 5)
    return (
        f"Fewer than {k} prototypes for {shown}: a class has at most as many prototypes as it has training images "
        "with different embeddings."
    )


@dataclass(frozen=True)
class Summary:
    """A KMEx compared with its black box on a split. Shares are fractions 0…1.

    For built-in prototypes, both "kmex" and "black box" are the model itself.

    Attributes:
        images: number of images.
        accuracy_black_box, accuracy_kmex: share of correct predictions (higher is better); None for a network that
            predicts none of the classes.
        agreement: share of images for which both predict the same class (higher is better); None without a black box.
        ghosting: share of prototypes that no training image of their class activates (lower is better).
        diversity: D_dvs within classes, exact arithmetic, 0…1 (lower is more diverse); None for one per class.
        diversity_reference: D_dvs as in the paper's released code, over all prototypes, for comparison with its
            Table 7; None for a single prototype, or too many to compare on an engine.
        effective: effective number of prototypes, mean over the classes (1…k; higher is better; it reads low, compare
            it with the next two); None where similarity is a dot product, as are the following.
        effective_random, effective_random_low, effective_random_high: the same for as many random training images of
            each class, its chance level: mean over draws, and the ends of the band with 95% of them.
        effective_equidistant: the same for as many equally distant groups.
        coverage_radius: 95% of the images are within this distance of their nearest prototype, in the unit of the
            space that the prototypes are in (lower is better).
        calibration_error: of the posterior on the test split, 0…1 (lower is better).
        metric: name of the metric of the embedding.
    """

    images: int
    accuracy_black_box: float | None
    accuracy_kmex: float
    agreement: float | None
    ghosting: float
    diversity: float | None
    diversity_reference: float | None
    effective: float | None
    effective_random: float | None
    effective_random_low: float | None
    effective_random_high: float | None
    effective_equidistant: float | None
    coverage_radius: float | None
    calibration_error: float
    metric: str


@dataclass(frozen=True, eq=False)
class Conversion(StoredResult):
    """A KMEx of a model in the store, or a model with built-in prototypes: the prototypes and their predictions.

    N training and M test images.

    Attributes:
        prototypes: the prototypes, described by the training split.
        summary: accuracies, agreement and ghosting.
        metric: the map from embeddings to the space of the prototypes.
        temperature: of the posterior, see `posterior.Temperature`.
        train_predicted, test_predicted: (N,) and (M,) int64, the predicted class of each image.
        test_activated: (M,) int64, the nearest prototype of each test image.
        test_black_box: (M,) int64, the class the black box predicts for it; `NO_CLASS` without one.
        test_confidence: (M,) float32, the posterior of the predicted class, by a temperature fitted on other images.
        test_likeliest: (M,) int64, the class with the highest posterior.
        seconds: duration of the conversion without the embedding.
    """

    prototypes: Prototypes
    summary: Summary
    metric: EmbeddingMetric
    temperature: Temperature
    train_predicted: np.ndarray
    test_predicted: np.ndarray
    test_activated: np.ndarray
    test_black_box: np.ndarray
    test_confidence: np.ndarray
    test_likeliest: np.ndarray
    seconds: float

    @property
    def embedded(self) -> np.ndarray:
        """(K, D) the prototypes in the embedding itself."""
        return self.metric.back(self.prototypes.centers)


# which feature maps' positions are the patches
LAST, SEVERAL = BLOCKS = ("last", "several")


@dataclass(frozen=True, eq=False)
class PatchPrototypes(StoredResult):
    """K prototypes of patches: positions of B feature maps, of D channels together (paper A.4).

    Attributes:
        centers: (K, D) float32, in the order of their class.
        classes: (K,) int64.
        count: (K,) int64, patches of the own class's training images that are nearest to each.
        importance: (K,) float64, `count` as a share (0…1) of the class's patches.
        image, place: (K,) int64, the training image with the nearest of those patches, and the patch's position in the
            grid, row by row; −1 for a ghost.
        grid: (2,) int64, rows and columns of the positions, those of the finest feature map.
        channels: (B,) int64, of each feature map, the finest first.
        scales: (B,) float32, what each feature map was divided by.
    """

    centers: np.ndarray
    classes: np.ndarray
    count: np.ndarray
    importance: np.ndarray
    image: np.ndarray
    place: np.ndarray
    grid: np.ndarray
    channels: np.ndarray
    scales: np.ndarray

    def __len__(self) -> int:
        return len(self.centers)

    @property
    def ghost(self) -> np.ndarray:
        """(K,) bool, ghost prototypes: nearest to no patch of their class's training images."""
        return self.count == 0

    def box(self, p: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a prototype's patch, as shares (0…1) of its image."""
        rows, columns = self.grid
        row, column = divmod(int(self.place[p]), int(columns))
        return column / columns, row / rows, (column + 1) / columns, (row + 1) / rows


@dataclass(frozen=True, eq=False)
class PatchConversion(StoredResult):
    """A patch KMEx of a model in the store, and how it classifies the M test images.

    Attributes:
        prototypes: the patch prototypes.
        metric: the map from positions to the space of the prototypes.
        blocks: which feature maps the positions are of, one of `BLOCKS`.
        by_similarity, by_vote: (M,) int64, the class that each rule predicts for each test image.
        accuracy_black_box, accuracy_similarity, accuracy_vote: share (0…1) of the test images that the network and
            each rule classify correctly (higher is better); None for a network that predicts none of the classes.
        agreement_similarity, agreement_vote: share of them for which a rule predicts the network's class, or None.
        seconds: duration.
    """

    prototypes: PatchPrototypes
    metric: EmbeddingMetric
    blocks: str
    by_similarity: np.ndarray
    by_vote: np.ndarray
    accuracy_black_box: float | None
    accuracy_similarity: float
    accuracy_vote: float
    agreement_similarity: float | None
    agreement_vote: float | None
    seconds: float


@dataclass(frozen=True, eq=False)
class ConceptMap:
    """An image by the patch prototypes of its h × w positions. C classes.

    Attributes:
        nearest: (h, w) int64, the nearest prototype of each position.
        classes: (h, w) int64, the class of that prototype.
        attribution: (h, w) float32, the similarity of each position to the nearest prototype of the predicted class:
            −d², at most 0; its mean is that class's score.
        scores: (C,) float32, the mean over the positions of the similarity to the nearest prototype of each class.
        votes: (C,) int64, the positions whose nearest prototype is of each class.
        predicted, voted: the classes by mean similarity and by majority vote.
    """

    nearest: np.ndarray
    classes: np.ndarray
    attribution: np.ndarray
    scores: np.ndarray
    votes: np.ndarray
    predicted: int
    voted: int

    @property
    def shares(self) -> dict[int, float]:
        """The share (0…1) of the positions that each prototype is the nearest of, the largest first; no others."""
        numbers, counts = np.unique(self.nearest, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {int(numbers[i]): float(counts[i] / self.nearest.size) for i in order}
