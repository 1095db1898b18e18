"""KMEx of a model for every number of prototypes per class."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core import metrics
from kmex_core.base.artifact import Artifact
from kmex_core.base.devices import checked_device
from kmex_core.base.files import Arrays
from kmex_core.base.progress import Event, Progress
from kmex_core.base.specs import SweepSpec
from kmex_core.metrics.band import CONFIDENCE
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.source import KMeans
from kmex_core.prototypes.sweep import Sweep, activating, lineage, nearest_of_each, random_predictions
from kmex_core.stages.bound import Bound
from kmex_core.stages.embedding import Embedded
from kmex_core.stages.geometry import ModelGeometry

if TYPE_CHECKING:
    import torch

DRAWS = 20  # of random images in place of prototypes
FEWEST_DRAWS = 5
COST = 2e10  # multiplications that the draws may take


class ModelSweep(Artifact[SweepSpec, Sweep]):
    """KMEx with 1 to `reach` prototypes per class, see `Sweep`.

    Args:
        bound: the model and its data.
        source: its seed and metric; its number of prototypes does not matter.
        reach: the largest number.
        embedded: the embeddings of its splits.
        geometry: the model's metric, which "auto" stands for.
    """

    room = "sweeps"

    def __init__(self, bound: Bound, source: KMeans, reach: int, embedded: Embedded, geometry: ModelGeometry) -> None:
        super().__init__(bound.store, bound.progress)
        self._bound, self._source, self._reach = bound, source, reach
        self._embedded, self._geometry = embedded, geometry

    @cached_property
    def spec(self) -> SweepSpec:
        source, embedded = self._source, self._embedded
        return SweepSpec(embedded.train.key, self._reach, source.seed, source.metric, embedded.held_out)

    def make(self) -> Sweep:
        """Find and measure the prototypes.

        Raises:
            InputError: see `fit_prototypes` and `extraction.extract`.
        """
        train, test = self._bound.read(self._embedded.train), self._bound.read(self._embedded.test)
        metric = self._geometry.metric(self._source.metric)
        device = checked_device(self._bound.device)
        names = self._bound.info.class_names
        return swept(train, test, names, metric, self._reach, self._source.seed, device, self.progress)

    def pack(self, result: Sweep) -> tuple[Arrays, dict[str, Any]]:
        return result.to_arrays(), {"measured": result.to_description(), "model": self._bound.info.name}

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> Sweep:
        return Sweep.from_arrays(arrays, **description["measured"])


def swept(
    train: Embeddings,
    test: Embeddings,
    class_names: Sequence[str],
    metric: EmbeddingMetric,
    reach: int,
    seed: int,
    device: str,
    progress: Progress,
) -> Sweep:
    """Prototypes for 1 to `reach` per class, and how good they are, see `Sweep`."""
    import torch

    from kmex_core.prototypes.fit import checked_sizes, class_clusters, nearest_distance

    started = time.perf_counter()
    train, test = train.in_space(metric), test.in_space(metric)
    checked_sizes(train, class_names)
    steps, classes = reach, len(class_names)
    z, labels = torch.from_numpy(train.z).to(device), torch.from_numpy(train.labels).to(device)
    # k-means for every number: which cluster each image is in
    cluster, centers = np.zeros((steps, len(train)), dtype=np.uint8), [list[torch.Tensor]() for _ in range(steps)]
    counts, inertia = np.empty((steps, classes), dtype=np.int64), np.empty((steps, classes))
    for label, found in enumerate(class_clusters(z, labels, [range(1, reach + 1)] * classes, seed, progress)):
        rows = np.flatnonzero(train.labels == label)
        for step, clusters in enumerate(found):
            cluster[step, rows] = clusters.labels.cpu().numpy()
            counts[step, label], inertia[step, label] = len(clusters.centers), clusters.inertia
            centers[step].append(clusters.centers)
    places = [torch.cat(of_step).cpu().numpy() for of_step in centers]  # (K, D) of each number
    sets = [(each, np.repeat(np.arange(classes), of_step)) for each, of_step in zip(places, counts, strict=True)]
    progress(Event("Assigning images", 0, 2))
    active = activating(z, train.labels, cluster, counts, places)
    progress(Event("Assigning images", 1, 2))
    # what is nearest to each test image: one pass for all numbers
    space_test = torch.from_numpy(test.z).to(device)
    nearest = nearest_of_each(space_test, places)
    predicted = np.stack([of_class[which] for (_, of_class), which in zip(sets, nearest, strict=True)])
    far = [nearest_distance(test.z, each, which) for each, which in zip(places, nearest, strict=True)]
    progress(Event("Assigning images", 2, 2))
    by_chance = _by_chance(space_test, z, train, counts, test, seed)
    variance = inertia[0] / np.bincount(train.labels, minlength=classes)  # one prototype is the mean of its class
    spread = metrics.random_effective(train.z, train.labels, counts, variance, seed)
    return Sweep(
        cluster=cluster,
        counts=counts,
        inertia=inertia,
        parent=lineage(cluster, train.labels, counts),
        accuracy=np.array([metrics.accuracy(each, test.labels) for each in predicted]),
        agreement=np.array([metrics.black_box_agreement(each, test.black_box) for each in predicted], dtype=np.float64),
        ghosting=np.array([metrics.ghosting(each.astype(np.int64)) for each in active]),
        diversity=np.array([metrics.diversity(*each) if np.bincount(each[1]).max() > 1 else np.nan for each in sets]),
        effective=np.array([metrics.effective_prototypes(*each, variance) for each in sets]),
        effective_random=np.array([dataclasses.astuple(band) for band in spread]),
        effective_equidistant=np.array(
            [np.mean([metrics.equidistant_effective(k) for k in per_class.tolist()]) for per_class in counts]
        ),
        coverage_radius=np.array([metrics.coverage_radius(each) for each in far]),
        random_accuracy=by_chance[0],
        random_agreement=by_chance[1],
        images=len(test),
        accuracy_black_box=metrics.black_box_accuracy(test.black_box, test.labels),
        metric=metric.name,
        seconds=time.perf_counter() - started,
    )


def _by_chance(
    z: torch.Tensor, train_z: torch.Tensor, train: Embeddings, counts: np.ndarray, test: Embeddings, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(S, 3) each: accuracy and agreement of random training images as prototypes, mean and ends of the band."""
    random = np.random.default_rng(seed)
    draws = int(np.clip(COST / (z.shape[0] * z.shape[1] * counts[-1].sum()), FEWEST_DRAWS, DRAWS))
    right, same = [], []
    for predicted in random_predictions(z, train_z, train.labels, counts, random, draws):
        right.append((predicted == test.labels).mean(1))
        same.append((predicted == test.black_box).mean(1))
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    accuracy, agreement = (np.stack([np.mean(of, 0), *np.quantile(of, ends, axis=0)], 1) for of in (right, same))
    known = metrics.black_box_accuracy(test.black_box, test.labels) is not None
    return accuracy, agreement if known else np.full_like(agreement, np.nan)
