"""The prototypes of a sharded embedding for one number per class, and all their figures, from sums over its parts.

Everything is what `stages.conversion.by_kmeans` computes in one piece: counts are equal, sums to 1e-6 relative. Only
what each row is predicted as takes memory like the rows, and only `Measurement.conversion` asks for that.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kmex_core import metrics
from kmex_core.base.errors import StoreError
from kmex_core.base.files import Arrays, digest, read_file, write_file
from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import stable_key
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.temperature import Temperature, temperature_of
from kmex_core.prototypes.types import Conversion, Prototypes, Summary
from kmex_core.scale.chance import effective_by_chance
from kmex_core.scale.clustering import clustered, large_classes
from kmex_core.scale.clusters import ClassClusters
from kmex_core.scale.coreset import SIZE
from kmex_core.scale.engine import Engine
from kmex_core.scale.held_out import Halves, fitted_temperature
from kmex_core.scale.measuring import POSTERIOR, Certainties, Counted, Head, Measuring, measured, of_rows
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import sets_of

METHOD = "sharded-figures-1"
TOGETHER = 8192  # prototypes up to which each is compared with all others
COVERED = 0.95  # of the held-out rows are within the coverage radius
SPLITS = ("train", "held_out")
OF_CLASSES = ("variance", "inertia", "loss", "coreset")


@dataclass(frozen=True, eq=False)
class Figures:
    """K prototypes of C classes, and what the rows make of them. Its size does not depend on the number of rows.

    Attributes:
        prototypes: described by the rows that they were found on; `activated` is empty.
        summary: their figures on the held-out rows.
        metric: of the prototypes.
        temperature: of the posterior.
        train, held_out: what was counted on the rows that they were found on, and on the held-out ones.
        variance: (C,) float64, σ² of each class, see `metrics.class_variance`.
        inertia, loss: (C,) float64, see `clusters.ClassClusters`.
        coreset: (C,) int64, rows of the coreset; 0 where the class was clustered whole.
        apart: whether the held-out rows are others than those that the prototypes were found on.
        head: whether the black box's confidence was measured.
        seed: of k-means.
        seconds: duration.
    """

    prototypes: Prototypes
    summary: Summary
    metric: EmbeddingMetric
    temperature: Temperature
    train: Counted
    held_out: Counted
    variance: np.ndarray
    inertia: np.ndarray
    loss: np.ndarray
    coreset: np.ndarray
    apart: bool
    head: bool
    seed: int
    seconds: float

    def write(self, path: Path, embedding: str) -> None:
        """Write them to a file, with the key of the embedding that the prototypes were found on.

        Raises:
            StoreError: when that is not possible.
        """
        arrays: Arrays = self.prototypes.to_arrays() | self.metric.to_arrays()
        arrays |= {name: getattr(self, name) for name in OF_CLASSES}
        for split in SPLITS:
            arrays |= {f"{split}_{name}": array for name, array in getattr(self, split).to_arrays().items()}
        about = {name: asdict(getattr(self, name)) for name in ("summary", "temperature")}
        about |= {name: getattr(self, name) for name in ("apart", "head", "seed", "seconds")}
        write_file(path, arrays, about | {"metric": self.metric.to_description(), "embedding": embedding})

    @classmethod
    def read(cls, path: Path) -> Figures:
        """The inverse of `write`.

        Raises:
            FileNotFoundError: when there is no such file.
            StoreError, KeyError, TypeError: when it is damaged, or of another version.
        """
        arrays, about = read_file(path)
        temperature = temperature_of(about["temperature"])
        assert temperature is not None
        rest: dict[str, Any] = {name: about[name] for name in ("apart", "head", "seed", "seconds")}
        rest |= {name: arrays[name] for name in OF_CLASSES}
        train, held_out = (
            Counted(**{field.name: arrays[f"{split}_{field.name}"] for field in fields(Counted)}) for split in SPLITS
        )
        return cls(
            Prototypes.from_arrays(arrays),
            Summary(**about["summary"]),
            EmbeddingMetric.from_arrays(arrays, **about["metric"]),
            temperature,
            train,
            held_out,
            **rest,
        )


@dataclass(frozen=True, eq=False)
class Measurement:
    """Prototypes of a sharded embedding to find, describe and measure, part by part.

    Attributes:
        train: the rows that prototypes are found on; every class has some.
        metric: of the prototypes.
        numbers: C numbers, prototypes of each class.
        seed: of k-means and of random rows.
        engine: connected.
        memory: bytes that a task may use, see `clustering.clustered`.
        held_out: the rows that are measured; those of `train` when None.
        validation: rows that the temperature is fitted on; the held-out ones, cross-fitted, when None.
        head: the black box's, whose confidence is measured as well; None for none.
        progress: called after each task.
    """

    train: ShardedEmbedding
    metric: EmbeddingMetric
    numbers: Sequence[int]
    seed: int
    engine: Engine
    memory: int
    held_out: ShardedEmbedding | None = None
    validation: ShardedEmbedding | None = None
    head: Head | None = None
    progress: Progress = silent

    @cached_property
    def key(self) -> str:
        """Names the figures."""
        others = [each.key if each else "" for each in (self.held_out, self.validation)]
        large = [(label, SIZE) for label in large_classes(self.train, self.memory)]
        about = [METHOD, self.train.key, *others, self.metric.name, list(self.numbers), self.seed, large]
        return stable_key([*about, digest(self.metric.to_arrays()), self.head.weights if self.head else ""])

    @property
    def path(self) -> Path:
        """The file of the figures, beside the rows that the prototypes were found on."""
        return self.train.results / f"figures-{self.key}.safetensors"

    @property
    def _work(self) -> Path:
        return self.train.results / f"work-{self.key}"

    @property
    def _measured(self) -> ShardedEmbedding:
        return self.held_out or self.train

    def figures(self) -> Figures:
        """The figures: read, or computed, going on where an earlier run stopped. Memory is bounded by a part.

        Raises:
            InputError: see `clustering.clustered`.
            StoreError: when they cannot be written.
        """
        found = self._figures()
        shutil.rmtree(self._work, ignore_errors=True)
        return found

    def conversion(self) -> Conversion:
        """The figures with what every row is predicted as, for those who show all images.

        Memory grows by some 60 bytes with each row.

        Raises:
            InputError, StoreError: see `figures`.
        """
        found = self._figures()
        train = self._rows(self.train, "train", self._describing(found.prototypes), ("activated",))
        certain = self._certain(found.temperature, None)
        of_rows_ = ("activated", "confidence", "likeliest", "black_box")
        rows = self._rows(self._measured, "held-out", self._describing(found.prototypes, certain), of_rows_)
        shutil.rmtree(self._work, ignore_errors=True)
        classes = found.prototypes.classes
        return Conversion(
            prototypes=replace(found.prototypes, activated=train["activated"]),
            summary=found.summary,
            metric=found.metric,
            temperature=found.temperature,
            train_predicted=classes[train["activated"]],
            test_predicted=classes[rows["activated"]],
            test_activated=rows["activated"].astype(np.int64),
            test_black_box=rows["black_box"].astype(np.int64),
            test_confidence=rows["confidence"],
            test_likeliest=rows["likeliest"].astype(np.int64),
            seconds=found.seconds,
        )

    def _figures(self) -> Figures:
        try:
            return Figures.read(self.path)
        except (FileNotFoundError, StoreError, KeyError, TypeError):
            pass  # missing, or damaged: computed
        started = time.perf_counter()
        clusters = clustered(
            self.train,
            self.metric,
            [[number] for number in self.numbers],
            self.seed,
            self.engine,
            self.memory,
            self.progress,
        )
        sets = sets_of(clusters)
        bare = undescribed(sets.centers, sets.classes)
        describing = self._describing(bare)
        train = self._counted(self.train, "train", describing, "Describing prototypes")
        deciding = self.validation or self._measured
        temperature, halves = fitted_temperature(
            deciding, self.metric, sets.centers, sets.classes, self.validation is not None, self.engine
        )
        measuring = self._describing(bare, self._certain(temperature, halves))
        held_out = self._counted(self._measured, "held-out", measuring, "Measuring predictions")
        found = self._found(clusters, train, held_out, temperature, describing, measuring, started)
        found.write(self.path, self.train.key)
        return found

    def _describing(self, prototypes: Prototypes, certain: Certainties | None = None) -> Measuring:
        from kmex_core.prototypes.fit import NEAREST

        folder = self.train.folder if certain is None else self._measured.folder
        return Measuring(folder, self.metric, prototypes.centers, prototypes.classes, NEAREST, certain)

    def _certain(self, temperature: Temperature, halves: Halves | None) -> Certainties:
        if halves is None and temperature.halves[0] != temperature.halves[1]:
            halves = Halves.of(self._measured, self.engine)
        return Certainties(temperature.halves, halves, self.head)

    def _counted(self, embedding: ShardedEmbedding, name: str, shared: Measuring, stage: str) -> Counted:
        return measured(embedding, shared, self.engine, self._work / name, stage, self.progress)

    def _each(self, embedding: ShardedEmbedding, name: str, shared: Measuring) -> Iterator[Arrays]:
        return of_rows(embedding, shared, self.engine, self._work / name)

    def _rows(self, embedding: ShardedEmbedding, name: str, shared: Measuring, wanted: Sequence[str]) -> Arrays:
        parts = [{each: part[each] for each in wanted} for part in self._each(embedding, name, shared)]
        return {each: np.concatenate([part[each] for part in parts]) for each in wanted}

    def _found(
        self,
        clusters: Sequence[ClassClusters],
        train: Counted,
        held_out: Counted,
        temperature: Temperature,
        describing: Measuring,
        measuring: Measuring,
        started: float,
    ) -> Figures:
        centers, classes = describing.centers, describing.classes
        far = (part["far"] for part in self._each(self.train, "train", describing))
        quantiles = train.quantiles(np.linspace(0, 1, 101), far)
        far = (part["far"] for part in self._each(self._measured, "held-out", measuring))
        (radius,) = held_out.quantiles(np.array([COVERED]), far)
        prototypes = replace(
            undescribed(centers, classes),
            count=train.own,
            importance=train.own / self.train.counts[classes],
            count_all=train.all,
            nearest=train.nearest,
            nearest_distance=train.distance,
            nearest_any=train.any_nearest,
            distance_quantiles=quantiles.astype(np.float32),
            class_size=self.train.counts,
        )
        variance = np.array([of_class.variance for of_class in clusters])
        summary = self._summary(prototypes, held_out, variance, float(radius))
        return Figures(
            prototypes,
            summary,
            self.metric,
            temperature,
            train,
            held_out,
            variance,
            np.array([of_class.inertia[0] for of_class in clusters]),
            np.array([of_class.loss[0] for of_class in clusters]),
            np.array([of_class.coreset for of_class in clusters]),
            self.held_out is not None,
            self.head is not None,
            self.seed,
            time.perf_counter() - started,
        )

    def _summary(self, prototypes: Prototypes, held_out: Counted, variance: np.ndarray, radius: float) -> Summary:
        """As `by_kmeans` has it."""
        centers, classes, count = prototypes.centers, prototypes.classes, len(self.train.class_names)
        per_class = np.bincount(classes, minlength=count)
        random = effective_by_chance(self.train, self.metric, per_class, variance, self.seed, self.engine)
        together = 1 < len(classes) <= TOGETHER
        spread = dict(
            zip(("effective_random", "effective_random_low", "effective_random_high"), astuple(random), strict=True)
        )
        return Summary(
            images=int(held_out.rows[0]),
            accuracy_black_box=held_out.black_box_accuracy(count),
            accuracy_kmex=held_out.accuracy(count),
            agreement=held_out.agreement,
            ghosting=metrics.ghosting(prototypes.count),
            diversity=metrics.diversity(centers, classes) if per_class.max() > 1 else None,
            diversity_reference=(
                metrics.diversity(self.metric.back(centers), classes, "all", "reference") if together else None
            ),
            effective=metrics.effective_prototypes(centers, classes, variance),
            **spread,
            effective_equidistant=float(np.mean([metrics.equidistant_effective(k) for k in per_class.tolist()])),
            coverage_radius=radius,
            calibration_error=held_out.reliability(POSTERIOR).error,
            metric=self.metric.name,
        )


def undescribed(centers: np.ndarray, classes: np.ndarray) -> Prototypes:
    """Prototypes of which nothing else is known: the other arrays are empty."""
    nothing: dict[str, Any] = {
        field.name: np.empty(0, np.int32) for field in fields(Prototypes) if field.name not in ("names", "notes")
    }
    return Prototypes(**nothing | {"centers": centers, "classes": classes})
