"""The chance level of the accuracy of groups: errors that fall on the images of their class at random.

Shapes: N images, A attributes, C classes, G groups (attributes and pairs of them), R draws. A draw moves the errors of
each class to other images of that class. So a group is not called bad because it has many images of a hard class, and
one band holds for all groups (the largest deviation of a draw: Westfall & Young 1993, max-T).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from kmex_core.metrics.attribute_chance import DRAWS, SEED, simultaneous_limit
from kmex_core.metrics.attributes import both, checked_attributes


@dataclass(frozen=True, eq=False)
class GroupChance:
    """The accuracy of G groups if errors fell at random within each class.

    Attributes:
        expected: (G,) share 0…1.
        deviation: (G,) float64, its standard deviation over all ways that the errors can fall (exact); 0 for a group
            that has whole classes, or none of whose classes has an error.
        farthest: (R,) float64, the largest deviation over the groups in each draw, in standard deviations.
    """

    expected: np.ndarray
    deviation: np.ndarray
    farthest: np.ndarray

    @property
    def limit(self) -> float:
        """Half the width of the simultaneous 95% band, in standard deviations of each group."""
        return simultaneous_limit(self.farthest)

    @property
    def low(self) -> np.ndarray:
        """(G,) the lower end of the band, 0…1."""
        return np.clip(self.expected - self.limit * self.deviation, 0, 1)

    @property
    def high(self) -> np.ndarray:
        """(G,) the upper end of the band, 0…1."""
        return np.clip(self.expected + self.limit * self.deviation, 0, 1)


def group_chance(
    right: np.ndarray,
    labels: np.ndarray,
    has: np.ndarray,
    groups: np.ndarray,
    draws: int = DRAWS,
    seed: int = SEED,
) -> GroupChance:
    """What chance gives for the groups of `group_accuracy`.

    Args:
        right: (N,) bool, whether each prediction is correct.
        labels: (N,) true classes.
        has: (N, A) bool.
        groups: (G, 2) the attributes of each group, with at least one image each; a single attribute appears twice.
        draws: R.
        seed: of the draws.

    Raises:
        ValueError: for other shapes or types.
    """
    has, _ = checked_attributes(has)
    if right.shape != has.shape[:1] or right.dtype != bool or labels.shape != right.shape:
        raise ValueError(f"Expected {len(has)} bool and as many labels, got {right.shape} and {labels.shape}.")
    first, second = groups.T
    classes = (labels == label for label in np.unique(labels))
    counts = ((int(own.sum()), int((~right[own]).sum()), both(has[own])[first, second]) for own in classes)
    moved = (both(has[wrong])[first, second] for wrong in moved_errors(right, labels, draws, seed))
    return chance_of_errors(counts, moved, len(groups), draws)


def chance_of_errors(
    classes: Iterable[tuple[int, int, np.ndarray]], moved: Iterable[np.ndarray], groups: int, draws: int = DRAWS
) -> GroupChance:
    """`group_chance` from counts.

    Args:
        classes: of each class its images, the errors among them, and (G,) its images in each group.
        moved: (G,) the errors in each group, for each draw.
        groups: G.
        draws: R.
    """
    images, expected, variance = (np.zeros(groups) for _ in range(3))
    for size, wrong, drawn in classes:
        # how many of the class's errors fall on the group's images is hypergeometric
        share = wrong / size
        images += drawn
        expected += drawn * share
        variance += drawn * share * (1 - share) * (size - drawn) / max(1, size - 1)
    deviation = np.sqrt(variance)
    spread = deviation > 0
    farthest = np.zeros(draws)
    for draw, wrong_of_group in enumerate(moved):
        off = np.abs(wrong_of_group - expected)[spread] / deviation[spread]
        farthest[draw] = off.max(initial=0.0)
    images = np.maximum(images, 1)
    return GroupChance(1 - expected / images, deviation / images, farthest)


def moved_errors(right: np.ndarray, labels: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    """The images that are wrong in each draw: as many of each class as there are, any of its images equally likely."""
    random = np.random.default_rng(seed)
    classes, of_class, size = np.unique(labels, return_inverse=True, return_counts=True)
    wrong = np.bincount(of_class[~right], minlength=len(classes))
    # the first `wrong` places of each class, when the images are sorted by class
    start = np.cumsum(size) - size
    places = np.concatenate([np.arange(begin, begin + count) for begin, count in zip(start, wrong, strict=True)])
    for _ in range(draws):
        shuffled = random.permutation(len(labels))
        yield shuffled[np.argsort(of_class[shuffled], kind="stable")][places]
