"""Relevance maps and explanations, as arrays. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kmex_core.base.plain_text import plain
from kmex_core.relevance.catalogue import METHODS


@dataclass(frozen=True, eq=False)
class RelevanceMaps:
    """M relevance maps, each with the check of its sum.

    Attributes:
        values: (M, H, W) float32, relevance of each pixel, summed over the channels.
        expected: (M,) float64, what each map should sum to; NaN where the method promises no sum.
        total: (M,) its sum over pixels and channels.
        magnitude: (M,) the sum of its magnitudes.
        absorbed: (M,) the part of the explained number that biases have absorbed; 0 for methods without such.
        numbers: (M,) the explained numbers.
        rivals: (M,) int64, the prototype (for a score, the class) that each is compared with; −1 for none.
        method: how they were made, a name of `METHODS`.
        target: what they explain, a name of `TARGETS`.
    """

    values: np.ndarray
    expected: np.ndarray
    total: np.ndarray
    magnitude: np.ndarray
    absorbed: np.ndarray
    numbers: np.ndarray
    rivals: np.ndarray
    method: str
    target: str

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, part: slice) -> RelevanceMaps:
        arrays = {name: value[part] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return RelevanceMaps(**arrays, method=self.method, target=self.target)

    @property
    def error(self) -> np.ndarray:
        """(M,) how far each sum is from what it should be, as a share of the map's magnitudes (0 is exact), because a
        near tie should sum to nearly 0; NaN where the method promises no sum."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.magnitude > 0, np.abs(self.total - self.expected) / self.magnitude, np.nan)

    @property
    def exact(self) -> np.ndarray:
        """(M,) bool: the map sums to what it should, within the method's tolerance, or the method promises no sum."""
        described = METHODS[self.method]
        if not described.conserves:
            return np.ones(len(self), dtype=bool)
        return (self.error <= described.tolerance) | (np.maximum(self.magnitude, np.abs(self.expected)) == 0)


ALIKE = 0.99
JUDGED = (0.05, 0.1, 0.2, 0.3)  # of the pixels that a verdict replaces
REPLACEMENTS = ("black", "mean", "blurred")  # of these pixels, see `relevance.replacements`


@dataclass(frozen=True, eq=False)
class MapVerdict:
    """What a relevance map is worth, for R replacements of removed pixels and S shares of the pixels.

    Attributes:
        margin: (R, S) the margin of the prototype's class after the map's top pixels are replaced, as a share of the
            whole image's (low: they carried the decision); None if the model gives the image another class.
        random, brightness: (R, S) the same for the mean of 5 random orders, and for the brightest pixels.
        cosine: between the map and that of the prototype against the nearest rival of a third class; 1: equal maps.
            None with two classes.
        specificity: how much more the two maps hurt their own margin than each other's; see `verdict.specificity`.
    """

    margin: np.ndarray | None
    random: np.ndarray
    brightness: np.ndarray
    cosine: float | None
    specificity: float | None

    @property
    def depends_on_rival(self) -> bool | None:
        """Whether another rival gives another map that fits it better; None if there is no third class."""
        if self.cosine is None or self.specificity is None:
            return None
        return self.cosine <= ALIKE and self.specificity > 0

    def better_than(self, other: np.ndarray) -> int:
        """For how many of the replacements the map's pixels lower the margin more, on average over the shares, than
        those of `random` or `brightness`."""
        return 0 if self.margin is None else int((self.margin.mean(1) < other.mean(1)).sum())


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model and its black box make of an image.

    Attributes:
        black_box: (C,) float32, the black box's class probabilities; None beside a network that predicts none of the
            classes, as is the next one.
        predicted_black_box: the class the black box predicts.
        kmex: (C,) float32, the posterior over the classes by the prototypes, see `KMEx.posterior`.
        predicted: KMEx's prediction, the class of the nearest prototype; with built-in prototypes, the model's own.
        calibrated: whether the posterior's temperature was fitted on held-out images.
        distance: (K,) float32, distance of the image's embedding to every prototype (see `Prototypes`).
        similarity: (K,) float32.
        unusual: True if the image is farther from its nearest prototype than 99% of the training images.
        distance_rank: share (0…1) of the training images nearer to their nearest prototype.
    """

    black_box: np.ndarray | None
    predicted_black_box: int | None
    kmex: np.ndarray
    predicted: int
    calibrated: bool
    distance: np.ndarray
    similarity: np.ndarray
    unusual: bool
    distance_rank: float

    @property
    def likeliest(self) -> int:
        """The class with the highest posterior; it may differ from the prediction, the nearest prototype's class."""
        return int(self.kmex.argmax())


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Prediction):
    """The explanation of a prediction: similarities to the prototypes, and relevance maps of some of them.

    Printed, it says what was predicted and why.

    Attributes:
        prototypes: (M,) int64, the prototypes with a relevance map, most similar first.
        maps: their M relevance maps.
        verdicts: a verdict on each of them; none if they were not asked for.
        black_box_map: one relevance map, of the black box's score of its predicted class; None without one.
        class_names: C names.
        prototype_class: (K,) the class of each prototype.
        exemplars: what the exemplars of `prototypes` are called, where that is known.
    """

    prototypes: np.ndarray
    maps: RelevanceMaps
    verdicts: tuple[MapVerdict, ...]
    black_box_map: RelevanceMaps | None
    class_names: tuple[str, ...] = ()
    prototype_class: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    exemplars: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """In words: the predictions, and a line for each of the prototypes with a map."""
        calibrated = "" if self.calibrated else ", not calibrated"
        lines = [f"KMEx: {self._named(self.predicted)} ({self.kmex[self.predicted]:.1%}{calibrated})"]
        if self.predicted_black_box is not None and self.black_box is not None:
            share = self.black_box[self.predicted_black_box]
            lines.append(f"Black box: {self._named(self.predicted_black_box)} ({share:.1%})")
        if self.unusual:
            lines.append("Unusual: farther from every prototype than 99% of the training images are.")
        if self.likeliest != self.predicted:
            lines.append(f"Near tie: all prototypes together make {self._named(self.likeliest)} the likeliest class.")
        lines.append(f"Relevance maps: {self.maps.method} of the {self.maps.target}")
        for row, number in enumerate(self.prototypes.tolist()):
            of = f" of {self._named(int(self.prototype_class[number]))}" if len(self.prototype_class) else ""
            exemplar = f", exemplar {plain(self.exemplars[row])}" if self.exemplars and self.exemplars[row] else ""
            judged = ""
            if self.verdicts and self.verdicts[row].margin is not None:
                verdict = self.verdicts[row]
                judged = (
                    f", map better than random order by {verdict.better_than(verdict.random)} of {len(REPLACEMENTS)} "
                )
                judged += "replacements"
            lines.append(f"  prototype {number}{of}: similarity {self.similarity[number]:.3f}{exemplar}{judged}")
        return "\n".join(lines)

    def _named(self, label: int) -> str:
        return plain(self.class_names[label]) if self.class_names else f"class {label}"
