"""What edits of prototypes do to predictions: on the images that people edit by, and on images that they have not seen.

Edits are scored on one part of the held-out images, so they are also chosen by it. The other part stays untouched and
says what is left of a gain elsewhere. That the worst subgroup is the worst of many is such a choice, too: the subgroup
that is chosen on the scored part is measured on the untouched part as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kmex_core import metrics
from kmex_core.base.jsontext import plain
from kmex_core.data.dataset import Split
from kmex_core.prototypes.temperature import halves_of

LEAST = 20  # images of a subgroup
VALIDATION, HALF = "validation", "half of the test split"
NO_ATTRIBUTE = -1

Group = tuple[int, int]  # a class, and an attribute or `NO_ATTRIBUTE`


@dataclass(frozen=True)
class GroupScore:
    """The accuracy (0…1) of a subgroup: a class, or its images with an attribute.

    Attributes:
        name: "child with Sunglasses", or "child".
        images: how many it has.
        accuracy, low, high: the share of them that is classified correctly, and its 95% Wilson interval.
        conditions: select its images on the page Explore.
    """

    name: str
    images: int
    accuracy: float
    low: float
    high: float
    conditions: tuple[str, ...]


@dataclass(frozen=True)
class PartScores:
    """Predictions for one part of the held-out images.

    Attributes:
        images: how many.
        accuracy, agreement: shares (0…1) that are classified correctly, and as the black box does; None without one.
        worst: the least accurate subgroup of this part; None where none has `LEAST` images.
        chosen: the subgroup that is the worst of the scored part, measured here; None where it has no images here.
        first: likewise the one that was the worst of the scored part before the edits.
    """

    images: int
    accuracy: float
    agreement: float | None
    worst: GroupScore | None
    chosen: GroupScore | None
    first: GroupScore | None


@dataclass(frozen=True)
class EditScores:
    """Predictions by edited prototypes.

    Attributes:
        scored, untouched: for both parts of the held-out images.
        before_scored, before_untouched: the same before the edits.
        origin: where the scored part is from, `VALIDATION` or `HALF`.
    """

    scored: PartScores
    untouched: PartScores
    before_scored: PartScores
    before_untouched: PartScores
    origin: str

    def described(self) -> dict[str, Any]:
        """JSON-like, as pages and stored versions have it."""
        before = {"scored": asdict(self.before_scored), "untouched": asdict(self.before_untouched)}
        parts = {"scored": asdict(self.scored), "untouched": asdict(self.untouched), "before": before}
        return {**plain(parts), "from": self.origin}


class Part:
    """One part of the held-out images.

    Args:
        split: the images that it is a part of.
        rows: (M,) which of them.
        black_box: (M,) what the black box predicts for these, or `NO_CLASS`.
        class_names: C names.
    """

    def __init__(self, split: Split, rows: np.ndarray, black_box: np.ndarray, class_names: Sequence[str]) -> None:
        self.rows, self.labels, self.black_box = rows, split.labels[rows], black_box
        self._class_names, self._attribute_names = class_names, split.attribute_names
        has = split.attributes[rows] if split.attribute_names else np.empty((len(rows), 0), dtype=bool)
        # images by class, so that the sums over a class are sums over a slice
        self._order = np.argsort(self.labels, kind="stable")
        self._starts = np.searchsorted(self.labels[self._order], np.arange(len(class_names) + 1))
        self._has = np.concatenate([np.ones((len(rows), 1), dtype=bool), has], 1)[self._order]
        self._images = self._sums(np.ones(len(rows), dtype=bool))  # (C, 1 + A), a class without attribute first

    def _sums(self, right: np.ndarray) -> np.ndarray:
        """(C, 1 + A) how many images of each subgroup are among `right`, (M,) bool."""
        values = self._has & right[self._order][:, None]
        totals = np.zeros((len(values) + 1, values.shape[1]), dtype=np.int64)
        np.cumsum(values, axis=0, out=totals[1:])
        return np.diff(totals[self._starts], axis=0)

    def worst(self, predicted: np.ndarray) -> Group | None:
        """The least accurate subgroup with `LEAST` images: of those with an attribute, else of the classes.

        Of equally accurate ones the largest, then the first.

        Args:
            predicted: (M,) classes.
        """
        correct = self._sums(predicted == self.labels)
        for columns in (slice(1, None), slice(0, 1)):
            images, right = self._images[:, columns], correct[:, columns]
            large = np.argwhere(images >= LEAST)
            if len(large):
                of, among = images[tuple(large.T)], right[tuple(large.T)]
                label, column = large[np.lexsort((-of, among / of))[0]].tolist()
                return label, column if columns.start else NO_ATTRIBUTE
        return None

    def group(self, group: Group | None, predicted: np.ndarray) -> GroupScore | None:
        """The accuracy of a subgroup; None where it has no images here."""
        if group is None:
            return None
        label, attribute = group
        rows = self._order[self._starts[label] : self._starts[label + 1]]
        rows = rows[self._has[self._starts[label] : self._starts[label + 1], attribute + 1]]
        if not len(rows):
            return None
        accuracy = float(np.mean(predicted[rows] == label))
        low, high = metrics.wilson_interval(accuracy, len(rows))
        name, conditions = self._class_names[label], [f"class:{label}"]
        if attribute != NO_ATTRIBUTE:
            name += f" with {self._attribute_names[attribute]}"
            conditions.append(f"attribute:{self._attribute_names[attribute]}")
        return GroupScore(name, len(rows), accuracy, low, high, tuple(conditions))

    def scores(self, predicted: np.ndarray, chosen: Group | None, first: Group | None) -> PartScores:
        """The scores of predictions.

        Args:
            predicted: (M,) classes.
            chosen, first: see `PartScores`.
        """
        return PartScores(
            len(self.labels),
            metrics.accuracy(predicted, self.labels),
            metrics.black_box_agreement(predicted, self.black_box),
            self.group(self.worst(predicted), predicted),
            self.group(chosen, predicted),
            self.group(first, predicted),
        )


def scored_rows(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the test split that edits are scored on without a validation split, and those that stay untouched.

    Args:
        labels: (M,) classes of the test images; each class is split in two, as for the posterior's temperature.
    """
    halves = halves_of(labels)
    scored, untouched = np.flatnonzero(halves == 0), np.flatnonzero(halves == 1)
    # a single image is on both sides
    return (scored if len(scored) else untouched), (untouched if len(untouched) else scored)


def edit_scores(
    scored: Part, untouched: Part, predicted: Sequence[np.ndarray], before: Sequence[np.ndarray], origin: str
) -> EditScores:
    """The scores of edits.

    Args:
        scored, untouched: the parts.
        predicted: the classes that are predicted for both.
        before: the same before the edits.
        origin: see `EditScores`.
    """
    first, chosen = scored.worst(before[0]), scored.worst(predicted[0])
    return EditScores(
        scored.scores(predicted[0], chosen, first),
        untouched.scores(predicted[1], chosen, first),
        scored.scores(before[0], first, first),
        untouched.scores(before[1], first, first),
        origin,
    )
