"""Which attributes the prototypes of a model cover, and for whom its predictions fail (paper 4.3, Figure 5)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from kmex_core import metrics
from kmex_core.base.errors import InputError
from kmex_core.base.phrases import joined
from kmex_core.data.registry import Split
from kmex_core.metrics.attributes import AttributeCounts, subgroups_of_counts
from kmex_core.prototypes.source import per_class_words
from kmex_core.prototypes.types import Prototypes

HARDLY = 0.01
# a figure against its chance level, by `metrics.Band.verdict`; that of the number of captured attributes
VERDICTS = {"better": "better than chance", "within": "within chance", "worse": "worse than chance"}
CAPTURED_VERDICTS = {
    "better": "more than by chance",
    "within": "no more than by chance",
    "worse": "fewer than by chance",
}


@dataclass(frozen=True, eq=False)
class Coverage:
    """What the K prototypes of one conversion cover of A attributes.

    Attributes:
        names: of the attributes.
        images: (A,) int64, training images that have each.
        frequency: (A,) share 0…1 of the training images that have it.
        has: (K, A) bool, what the prototypes' nearest training images have.
        share: (A,) share 0…1 of the prototypes that have it.
        told_apart: (A,) see `metrics.correlation_ratio`.
        correlation, correlation_prototypes: (A, A), of the training images and of the prototypes' images.
        error: mean absolute difference of the two.
        chance: what as many random training images of each class cover.
        subgroups: combinations of two attributes.
        ghosts: how many prototypes are ghosts.
    """

    names: tuple[str, ...]
    images: np.ndarray
    frequency: np.ndarray
    has: np.ndarray
    share: np.ndarray
    told_apart: np.ndarray
    correlation: np.ndarray
    correlation_prototypes: np.ndarray
    error: float
    chance: metrics.AttributeChance
    subgroups: metrics.Subgroups
    ghosts: int

    @property
    def captured(self) -> np.ndarray:
        """(A,) bool, the attributes that at least one prototype has."""
        return metrics.captured(self.has)

    @property
    def captured_chance(self) -> metrics.Band:
        """How many attributes as many random training images of each class capture."""
        return metrics.chance_band(self.chance.captured)

    @property
    def error_chance(self) -> metrics.Band:
        """The error of the correlations among as many random training images of each class."""
        return metrics.chance_band(self.chance.error)

    @property
    def missed(self) -> list[str]:
        """The attributes that no prototype has, the rarest first."""
        rows = np.flatnonzero(~self.captured)
        return [self.names[row] for row in rows[np.argsort(self.frequency[rows], kind="stable")]]


@dataclass(frozen=True, eq=False)
class Curves:
    """Coverage over J numbers of prototypes per class and S seeds (Figure 5). A attributes.

    Attributes:
        names: of the attributes.
        frequency: (A,) share 0…1 of the training images.
        ks: prototypes per class, ascending.
        seeds: of k-means.
        prototypes: (J,) int64, how many there are in all.
        ghosted: (S, J) int64, how many of them are ghosts.
        captured_by: (S, J, A) bool.
        error: (S, J) float64, mean absolute difference of the correlation matrices.
        chance_captured, chance_error: J bands, what as many random training images of each class capture, and their
            error.
    """

    names: tuple[str, ...]
    frequency: np.ndarray
    ks: tuple[int, ...]
    seeds: tuple[int, ...]
    prototypes: np.ndarray
    ghosted: np.ndarray
    captured_by: np.ndarray
    error: np.ndarray
    chance_captured: tuple[metrics.Band, ...]
    chance_error: tuple[metrics.Band, ...]

    @property
    def captured(self) -> np.ndarray:
        """(S, J) int64, how many attributes are captured."""
        counts: np.ndarray = self.captured_by.sum(2)
        return counts

    @property
    def first(self) -> np.ndarray:
        """(S, A) int64, the smallest number of prototypes per class that captures each attribute; 0 if none does."""
        return np.stack(
            [metrics.first_captured(dict(zip(self.ks, captured, strict=True))) for captured in self.captured_by]
        )


def checked(train: Split, where: str) -> Split:
    """A training split, if it has attributes.

    Raises:
        InputError: when it has none.
    """
    if not train.attribute_names:
        raise InputError(
            f"Data set '{where}' has no attributes. Attributes are the boolean columns of its parquet files, or of a "
            "table attributes.csv or attributes.parquet beside its images, whose column file_name names the images."
        )
    return train


class Attributed(Protocol):
    """The A attributes of N training images of C classes, in memory or elsewhere."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the attributes."""

    @property
    def classes(self) -> int:
        """C."""

    @property
    def counts(self) -> AttributeCounts:
        """Over all images."""

    def of(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(K, A) bool, what some images have, and what of it is known; None where everything is."""

    def told_apart(self, prototypes: Prototypes) -> np.ndarray:
        """(A,) see `metrics.correlation_ratio`."""

    def chance(self, per_class: np.ndarray) -> metrics.AttributeChance:
        """See `metrics.attribute_chance`."""


@dataclass(frozen=True, eq=False)
class SplitAttributes:
    """Those of a training split."""

    train: Split

    @property
    def names(self) -> tuple[str, ...]:
        return self.train.attribute_names

    @property
    def classes(self) -> int:
        return int(self.train.labels.max()) + 1

    @cached_property
    def counts(self) -> AttributeCounts:
        return AttributeCounts.of(self.train.attributes, self.train.known)

    def of(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return self.train.attributes[images], None if self.train.known is None else self.train.known[images]

    def told_apart(self, prototypes: Prototypes) -> np.ndarray:
        train = self.train
        return metrics.correlation_ratio(train.attributes, prototypes.activated, len(prototypes), train.known)

    def chance(self, per_class: np.ndarray) -> metrics.AttributeChance:
        return metrics.attribute_chance(self.train.attributes, self.train.labels, per_class, self.train.known)


def coverage(train: Split, prototypes: Prototypes) -> Coverage:
    """What prototypes cover of the training split's attributes.

    Args:
        train: N images with A attributes.
        prototypes: K, found on those images.
    """
    return coverage_of(SplitAttributes(train), prototypes)


def coverage_of(train: Attributed, prototypes: Prototypes) -> Coverage:
    """`coverage` of attributes that need not be in memory."""
    has, known = _of_pictures(train, prototypes)
    counts, among = train.counts, metrics.correlation(has, known)
    return Coverage(
        train.names,
        counts.images,
        counts.frequency,
        has,
        metrics.frequency(has, known),
        train.told_apart(prototypes),
        counts.correlation,
        among,
        metrics.correlation_error(counts.correlation, among),
        train.chance(_per_class(train, prototypes)),
        subgroups_of_counts(counts, has),
        int(prototypes.ghost.sum()),
    )


def images_by_prototype(train: Split, prototypes: Prototypes) -> np.ndarray:
    """(K, A) int64, how many of the training images that each prototype is the nearest of have each attribute."""
    counts = [np.bincount(prototypes.activated[has], minlength=len(prototypes)) for has in train.attributes.T]
    return np.stack(counts, 1).astype(np.int64)


def correlated_order(correlation: np.ndarray) -> np.ndarray:
    """(A,) int64, the attributes in an order that puts correlated ones side by side: the leaves of average linkage, at
    the distance 1 − |correlation|.

    Args:
        correlation: (A, A), −1…1.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(correlation) < 3:
        return np.arange(len(correlation))
    distance = 1 - np.abs(correlation)
    np.fill_diagonal(distance, 0)
    condensed = squareform(np.clip((distance + distance.T) / 2, 0, None), checks=False)
    return np.asarray(leaves_list(linkage(condensed, "average", optimal_ordering=True)), dtype=np.int64)


def _of_pictures(train: Attributed, prototypes: Prototypes) -> tuple[np.ndarray, np.ndarray | None]:
    """(K, A) what the prototypes' pictures have, and what of it is known; one without a picture has nothing."""
    there = (prototypes.exemplar >= 0)[:, None]
    has, known = train.of(prototypes.exemplar)
    return has & there, None if known is None else known & there


def _per_class(train: Attributed, prototypes: Prototypes) -> np.ndarray:
    """(C,) the number of prototypes of each class."""
    return np.bincount(prototypes.classes, minlength=train.classes)


class CurveMaker:
    """Collects what `Curves` needs, conversion by conversion, so that none is held longer than needed.

    Args:
        train: the attributes of the training images.
    """

    def __init__(self, train: Attributed) -> None:
        self.train = train
        self._whole = train.counts.correlation
        self._conversions: dict[tuple[int, int], tuple[int, int, np.ndarray, float]] = {}
        self._chance: dict[int, dict[tuple[int, ...], metrics.AttributeChance]] = {}

    def add(self, k: int, seed: int, prototypes: Prototypes) -> None:
        """Take one conversion."""
        has, known = _of_pictures(self.train, prototypes)
        error = metrics.correlation_error(self._whole, metrics.correlation(has, known))
        self._conversions[seed, k] = len(prototypes), int(prototypes.ghost.sum()), metrics.captured(has), error
        per_class = _per_class(self.train, prototypes)
        known_chances = self._chance.setdefault(k, {})
        if (numbers := tuple(per_class.tolist())) not in known_chances:
            known_chances[numbers] = self.train.chance(per_class)

    def curves(self) -> Curves:
        """The curves over all numbers of prototypes that were added for every seed.

        Raises:
            ValueError: when there are none.
        """
        seeds = sorted({seed for seed, _ in self._conversions})
        ks = [
            k
            for k in sorted({k for _, k in self._conversions})
            if all((seed, k) in self._conversions for seed in seeds)
        ]
        if not ks:
            raise ValueError("No number of prototypes was added for every seed.")
        rows = [[self._conversions[seed, k] for k in ks] for seed in seeds]
        return Curves(
            self.train.names,
            self.train.counts.frequency,
            tuple(ks),
            tuple(seeds),
            np.array([prototypes for prototypes, _, _, _ in rows[0]]),
            np.array([[ghosts for _, ghosts, _, _ in row] for row in rows]),
            np.array([[captured for _, _, captured, _ in row] for row in rows]),
            np.array([[error for _, _, _, error in row] for row in rows]),
            *(tuple(self._band(k, name) for k in ks) for name in ("captured", "error")),
        )

    def _band(self, k: int, name: str) -> metrics.Band:
        # trainings may differ in how many of their prototypes each class has: the draws for each, together
        return metrics.chance_band(np.concatenate([getattr(chance, name) for chance in self._chance[k].values()]))


# ---------------------------------------------------------------------------------------------------------------------
# in words


def finding(covered: Coverage, per_class: int) -> list[str]:
    """The main findings, in sentences.

    Args:
        covered: what one conversion covers.
        per_class: prototypes per class.
    """
    total, caught, chance = len(covered.names), int(covered.captured.sum()), covered.captured_chance
    sentences = [
        f"With {per_class_words(per_class)}, "
        f"{f'all {total}' if caught == total else f'{caught} of {total}'} attributes are captured, "
        f"{CAPTURED_VERDICTS[chance.verdict(caught, True)]}: as many random training images of each class capture "
        f"{chance.mean:.1f} ({chance.low:g} to {chance.high:g} in {metrics.CONFIDENCE:.0%} of {metrics.DRAWS} draws)."
    ]
    missed = covered.missed
    share = dict(zip(covered.names, covered.frequency, strict=True))

    def named(name: str) -> str:
        return f"{name.replace('_', ' ')} ({share[name]:.1%} of training images)"

    if len(missed) == 1:
        sentences.append(f"Missed is {named(missed[0])}.")
    elif missed:
        sentences.append(f"The rarest missed is {named(missed[0])}, the most frequent missed {named(missed[-1])}.")
    chance = covered.error_chance
    sentences.append(
        f"The error of the attributes' correlations is {covered.error:.3f}, "
        f"{VERDICTS[chance.verdict(covered.error, False)]}: {chance.mean:.3f} for random images ({chance.low:.3f} to "
        f"{chance.high:.3f})."
    )
    hardly = [name for name, value in zip(covered.names, covered.told_apart, strict=True) if value < HARDLY]
    if hardly:
        names = [name.replace("_", " ") for name in hardly]
        names = [*names[:4], f"{len(names) - 4} others"] if len(names) > 5 else names
        sentences.append(
            f"The prototypes hardly distinguish images with {joined('or', names)} from those without (less than "
            f"{HARDLY:.0%} of the variance explained): a prototype that has the attribute has it by chance."
        )
    return sentences


def as_rows(curves: Curves) -> list[dict[str, Any]]:
    """One object per number of prototypes per class: means over the seeds, their standard deviations where there are
    several, what as many random training images of each class give (mean, and 95% of the draws), whether the means
    are better or worse than that, and the attributes that are missed with every seed, the rarest first."""
    rows = []
    for column, k in enumerate(curves.ks):
        values = {
            "ghosted": curves.ghosted[:, column],
            "captured": curves.captured[:, column],
            "correlation_mae": curves.error[:, column],
        }
        never = np.flatnonzero(~curves.captured_by[:, column].any(0))
        missed = [curves.names[attribute] for attribute in never[np.argsort(curves.frequency[never], kind="stable")]]
        several = len(curves.seeds) > 1
        chances = {"captured": curves.chance_captured[column], "correlation_mae": curves.chance_error[column]}
        rows.append(
            {"k": k, "prototypes": int(curves.prototypes[column])}
            | {name: float(of_seeds.mean()) if several else of_seeds[0].item() for name, of_seeds in values.items()}
            | ({f"{name}_std": float(of_seeds.std(ddof=1)) for name, of_seeds in values.items()} if several else {})
            | {f"{name}_chance": dataclasses.asdict(chance) for name, chance in chances.items()}
            | {
                f"{name}_verdict": VERDICTS[chance.verdict(float(values[name].mean()), name == "captured")]
                for name, chance in chances.items()
            }
            | {"missed": missed}
        )
    return rows
