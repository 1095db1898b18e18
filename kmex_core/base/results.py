"""Frozen results, as NumPy arrays: what the engine hands on and the store keeps. Needs no torch.

Shapes: N images, C classes, K prototypes in all, D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kmex_core.base.artifact import StoredResult

NO_IMAGE = -1
TEST_IS_TRAINING = "test_is_training"  # in `ModelInfo.made_by`: its test images may be among its training images
KINDS = {"blackbox": "black box", "protopnet": "ProtoPNet", "flint": "FLINT", "protovae": "ProtoVAE"}
CONSERVATION_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class Embeddings(StoredResult):
    """What an encoder makes of a split.

    Attributes:
        z: (N, D) float32, the embedding.
        labels: (N,) int64, the true class of each image.
        black_box: (N,) int64, the class that the black box predicts.
    """

    z: np.ndarray
    labels: np.ndarray
    black_box: np.ndarray

    def __len__(self) -> int:
        return len(self.z)


@dataclass(frozen=True, eq=False)
class Prototypes(StoredResult):
    """K prototypes, and what they stand for in the training split.

    Distances are Euclidean; for a model whose similarity is a dot product (FLINT's own attributes) they are that
    similarity with its sign changed, and "nearest" means most similar.

    Attributes:
        centers: (K, D) float32; those that KMEx finds are in the order of their class.
        classes: (K,) int64, the class of each prototype.
        count: (K,) int64, the training images of the prototype's own class that activate it (it is their nearest of
            all K).
        importance: (K,) float64, `count` as a share (0…1) of the class's training images.
        count_all: (K,) int64, the training images of any class that activate it.
        nearest: (K, M) int64, indices of the M nearest training images of the own class, nearest first (`NO_IMAGE`
            where the class has fewer).
        nearest_distance: (K, M) float32, their distances (infinite where there is none).
        nearest_any: (K,) int64, index of the nearest training image of any class.
        distance_quantiles: (101,) float32, the 0…100 % quantiles of the training images' distance to their nearest
            prototype.
        class_size: (C,) int64, training images per class.
        activated: (N,) int32, the prototype that each training image activates.
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

    def __len__(self) -> int:
        return len(self.centers)

    @property
    def ghost(self) -> np.ndarray:
        """(K,) bool, prototypes that no training image of their own class activates (paper 4.2.2)."""
        return self.count == 0

    @property
    def picture(self) -> np.ndarray:
        """(K,) int64, the training image that shows each prototype: the nearest of its own class (paper 3.2)."""
        return self.nearest[:, 0]

    @property
    def typical_distance(self) -> float:
        """The distance to the nearest prototype that 99 % of the training images stay within."""
        return float(self.distance_quantiles[99])


def fewer_prototypes(prototypes: Prototypes | PatchPrototypes, class_names: Sequence[str], k: int) -> str:
    """Which classes have fewer than `k` prototypes, in a sentence; "" when none has."""
    counts = np.bincount(prototypes.classes, minlength=len(class_names))
    few = [f"'{class_names[label]}' ({counts[label]})" for label in np.flatnonzero(counts < k).tolist()]
    if not few:
        return ""
    shown = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
    return (
        f"Fewer than {k} prototypes for {shown}: a class has at most as many prototypes as it has training images that "
        "the network tells apart."
    )


@dataclass(frozen=True)
class ModelInfo:
    """A model in the store, without its weights.

    Attributes:
        name: its name in the store.
        kind: a key of `KINDS`.
        dataset: the name or path of its data set.
        root: the data root it was trained from ("" for the default).
        backbone: its architecture's registered name.
        class_names: its C classes, in the order of its outputs.
        image_size: side of its square input in pixels.
        channels: 1 for greyscale data, 3 for colour.
        mean, std: what its input is normalised with, per channel, for pixels 0…1.
        accuracy: on the test split after training, a fraction (None if not measured).
        made_by: what made it: command, hyper-parameters, seed, versions, time.
        embedded: True for a model that ships with the product.
        k: prototypes per class that a prototypical model was trained with, 0 for a black box.
        options: its hyper-parameters.
        class_column: the column of its data set's table that is the class, "" for the data set's own class.
        skip_broken: whether pictures that cannot be decoded are left out of its data set.
    """

    name: str
    kind: str
    dataset: str
    root: str
    backbone: str
    class_names: tuple[str, ...]
    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    accuracy: float | None
    made_by: Mapping[str, Any]
    embedded: bool = False
    k: int = 0
    options: Mapping[str, float] = field(default_factory=dict)
    class_column: str = ""
    skip_broken: bool = False

    @property
    def caveat(self) -> str:
        """Why its numbers on test images may be too good, in a sentence to show beside them; "" for no reason."""
        if self.made_by.get(TEST_IS_TRAINING) is not True:
            return ""
        return (
            f"Numbers on test images may be too good: '{self.name}' was imported, and its data set has no test split. "
            "A fifth of the training images, which it may have been trained on, is used as one."
        )


def trained_alike(info: ModelInfo, others: Iterable[ModelInfo]) -> list[ModelInfo]:
    """A prototypical model, and those trained exactly as it was but with another number of prototypes per class.

    One model for each number and seed, ascending: those of the model's own seed, and of every other seed that was
    trained with all of the same numbers. An imported model stands alone: how it was trained is not known.
    """

    def training(one: ModelInfo) -> tuple[object, ...]:
        recipe = {name: value for name, value in one.made_by["recipe"].items() if name not in ("k", "seed")}
        data = one.dataset, one.class_column, one.class_names, one.image_size, one.made_by.get("data")
        return one.kind, one.backbone, *data, recipe

    if "recipe" not in info.made_by:
        return [info]
    found: dict[int, dict[int, ModelInfo]] = {}
    for one in (info, *others):
        if one.k and "recipe" in one.made_by and training(one) == training(info):
            found.setdefault(training_seed(one), {}).setdefault(one.k, one)
    ks = sorted(found[training_seed(info)])
    return [of_seed[k] for _, of_seed in sorted(found.items()) if of_seed.keys() >= set(ks) for k in ks]


def training_seed(info: ModelInfo) -> int:
    """The seed that a model was trained with, 0 for an imported one."""
    return int(info.made_by.get("recipe", {}).get("seed", 0))


@dataclass(frozen=True)
class Summary:
    """How a KMEx compares with its black box on a split. Shares are fractions 0…1.

    For a prototypical model on its own, "kmex" is that model, and so is "black box".

    Attributes:
        images: how many images the shares are over.
        accuracy_black_box, accuracy_kmex: share of correct predictions (higher is better).
        agreement: share of images for which both predict the same class (higher is better).
        ghosting: share of prototypes that no training image of their class activates (lower is better).
        diversity: D_dvs within classes, exact arithmetic, 0…1 (lower is more diverse); None for one per class.
        diversity_reference: D_dvs as the paper's released code computes it, over all prototypes, to be compared with
            its Table 7; None for a single prototype.
        effective: effective number of prototypes per class (Vendi score, 1…k; higher is better).
    """

    images: int
    accuracy_black_box: float
    accuracy_kmex: float
    agreement: float
    ghosting: float
    diversity: float | None
    diversity_reference: float | None
    effective: float


@dataclass(frozen=True, eq=False)
class Conversion(StoredResult):
    """A KMEx of a model in the store, or a prototypical model on its own: prototypes, and what they make of the data.

    N training and M test images.

    Attributes:
        prototypes: the prototypes and what they stand for in the training split.
        summary: accuracies, agreement and ghosting.
        train_predicted, test_predicted: (N,) and (M,) int64, the class that is predicted for each image.
        test_activated: (M,) int64, the nearest prototype of each test image.
        test_black_box: (M,) int64, the class the black box predicts for it.
        seconds: how long the conversion took, the embedding not counted.
    """

    prototypes: Prototypes
    summary: Summary
    train_predicted: np.ndarray
    test_predicted: np.ndarray
    test_activated: np.ndarray
    test_black_box: np.ndarray
    seconds: float


@dataclass(frozen=True, eq=False)
class PatchPrototypes(StoredResult):
    """K prototypes of patches: places in the last feature map (paper A.4).

    Attributes:
        centers: (K, D) float32, in the order of their class.
        classes: (K,) int64.
        count: (K,) int64, patches of the own class's training images that are nearest to each.
        importance: (K,) float64, `count` as a share (0…1) of the class's patches.
        image, place: (K,) int64, the training image of the own class that has the nearest of those patches, and its
            place in the map, row by row; −1 for a ghost.
        grid: (2,) int64, rows and columns of the map.
    """

    centers: np.ndarray
    classes: np.ndarray
    count: np.ndarray
    importance: np.ndarray
    image: np.ndarray
    place: np.ndarray
    grid: np.ndarray

    def __len__(self) -> int:
        return len(self.centers)

    def box(self, p: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a prototype's patch, as shares (0…1) of its image."""
        rows, columns = self.grid
        row, column = divmod(int(self.place[p]), int(columns))
        return column / columns, row / rows, (column + 1) / columns, (row + 1) / rows


@dataclass(frozen=True)
class PatchConversion(StoredResult):
    """A patch KMEx of a model in the store.

    Attributes:
        prototypes: what was found.
        accuracy, accuracy_black_box: share (0…1) of the test images that the vote, and the network itself, get right.
        agreement: share of them for which both say the same.
        seconds: how long it took.
    """

    prototypes: PatchPrototypes
    accuracy: float
    accuracy_black_box: float
    agreement: float
    seconds: float


@dataclass(frozen=True, eq=False)
class BuiltInDetails:
    """What only some prototypical models can say of their built-in K prototypes.

    Attributes:
        weights: (C, K) float32, of the last layer, from similarities to class scores.
        pushed: (K,) int64, the training image that each was last moved onto, or `NO_IMAGE` (ProtoPNet, else None).
        decoded: (K, H, W, 3) uint8, each as the decoder draws it (ProtoVAE, else None).
    """

    weights: np.ndarray
    pushed: np.ndarray | None
    decoded: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Projection(StoredResult):
    """A map of an embedding in two dimensions, and what is needed to place further points on it.

    Attributes:
        train: (N, 2) float32, where each training image lies.
        test: (M, 2) float32, where each test image lies.
        sample: (S,) int64, the training images that UMAP was fitted on, ascending; all others are placed among them.
        mean, axes: (D,) and (P, D) float32, the principal components that distances are measured in.
        anchors: (S, P) float32, the sample in principal components.
        labels, black_box: (N + M,) int32, true and predicted class of the training images, then of the test images.
        trustworthiness: 0…1, of the fitted images: how far neighbours on the map are neighbours in the embedding.
        placed_trustworthiness: 0…1, the same of test images among themselves, which were placed; None without any.
        seconds: how long it took.
    """

    train: np.ndarray
    test: np.ndarray
    sample: np.ndarray
    mean: np.ndarray
    axes: np.ndarray
    anchors: np.ndarray
    labels: np.ndarray
    black_box: np.ndarray
    trustworthiness: float
    placed_trustworthiness: float | None
    seconds: float


@dataclass(frozen=True, eq=False)
class RelevanceMaps:
    """M relevance maps, each with the check that it conserves what it started from.

    Attributes:
        values: (M, H, W) float32, relevance of each pixel, summed over the channels.
        conservation: (M,) float64, sum of the map divided by what it should sum to (1 is exact).
        method: how they were made: "prp" (or LRP, for a class score), or "integrated_gradients".
    """

    values: np.ndarray
    conservation: np.ndarray
    method: str

    def __len__(self) -> int:
        return len(self.values)

    @property
    def conserves(self) -> np.ndarray:
        """(M,) bool: the map sums to what it should, within `CONSERVATION_TOLERANCE`."""
        return np.abs(self.conservation - 1) <= CONSERVATION_TOLERANCE


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why an image is classified as it is: prototypes with similarities, and relevance maps for some of them.

    Attributes:
        black_box: (C,) float32, the black box's class probabilities.
        kmex: (C,) float32, the KMEx class probabilities: softmax of the similarities, summed within each class.
        predicted_black_box: the class the black box predicts.
        predicted: the class of the nearest prototype, which is what KMEx predicts; or what a prototypical model
            predicts, when its own prototypes explain.
        distance: (K,) float32, distance of the image's embedding to every prototype (see `Prototypes`).
        similarity: (K,) float32.
        prototypes: (M,) int64, the prototypes that have a map, most similar first.
        maps: their M maps.
        black_box_map: one map, of the black box's score of its predicted class.
        unusual: True when the image lies farther from every prototype than 99 % of the training images do.
        distance_rank: share (0…1) of the training images that lie nearer to their nearest prototype.
    """

    black_box: np.ndarray
    kmex: np.ndarray
    predicted_black_box: int
    predicted: int
    distance: np.ndarray
    similarity: np.ndarray
    prototypes: np.ndarray
    maps: RelevanceMaps
    black_box_map: RelevanceMaps
    unusual: bool
    distance_rank: float


@dataclass(frozen=True)
class NotComputed:
    """A metric that cannot be computed for a model, and why, in a sentence."""

    reason: str


@dataclass(frozen=True, eq=False)
class MapScores(StoredResult):
    """What the metrics on relevance maps found, image by image (paper 4.1.2, 4.2.3). S steps of relevance ordering.

    Attributes:
        images: (N,) int64, indices in the test split, ascending.
        drop: (N, k) float64, AD of the similarity to each prototype of the image's class, 0…1 (lower is better; NaN
            where a similarity is not above 0).
        increase: (N, k) float64, AI, 0 or 1 (higher is better).
        drop_black_box, increase_black_box: (N,) float64, the same of the black box's probability of its prediction.
        divergence: (N,) float64, D_fdl in nats, of the maps of the black box's prediction (lower is better).
        curve: (N, S + 1) float32, the model's probability of its prediction as pixels come in, most relevant first.
        curve_random: (N, S + 1) float32, the same in random order.
        curve_black_box, curve_black_box_random: (N, S + 1) float32, the black box's.
        conserving: share (0…1) of all maps that sum to what they should, within `CONSERVATION_TOLERANCE`.
        seconds: how long it took.
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
