"""The metric interface: name and meaning for people, and its measurement in a run."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from kmex_core.metrics.calibration import Reliability
from kmex_core.metrics.types import MapDivergences, MapScores, NotComputed
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.types import Conversion, Prototypes, Summary

SHARE, COUNT = (0.0, 1.0), (1.0, math.inf)
ANY = (0.0, math.inf)
PREDICTIONS, TRANSPARENCY, DIVERSITY, MAPS = GROUPS = (
    "Trustworthiness: predictions",
    "Transparency",
    "Diversity",
    "Trustworthiness: relevance maps",
)
ONE_PER_CLASS = NotComputed("With one prototype per class, there are no prototypes of a class to compare.")
DOT_PRODUCT = NotComputed("The model's similarity is a dot product, which is not based on a distance.")
SINGLE = NotComputed("There is only one prototype.")
TOO_MANY = NotComputed("There are too many prototypes to compare each of them with all others.")
NO_PREDICTIONS = NotComputed(
    "The network predicts none of the classes, so there is nothing of its own to compare KMEx with."
)
Value = float | np.ndarray | NotComputed


@dataclass(frozen=True, eq=False)
class Certainty:
    """How the confidence of predictions for the test images relates to their accuracy.

    Attributes:
        probability, published, black_box: by the probability of the predicted class: the model's posterior, its
            probability as published, and its black box's (None without one).
    """

    probability: Reliability
    published: Reliability
    black_box: Reliability | None


class Run(Protocol):
    """The data of a run that metrics can use: a model with its prototypes, for one seed. Unused parts cost nothing.

    Attributes:
        summary: figures of the prototypes and of what they predict for the test split.
        prototypes: what describes them; `activated`, which has a number for each training image, may be empty.
        variance: (C,) σ² of each class in the space of the prototypes, see `effective.class_variance`.
        converted: the prototypes, their description and their predictions for each image.
        test: the test split's embedding.
        train: the training split's.
        certainty: see `Certainty`.
        similarity_among: (K, K) similarities among the prototypes, by the model's own similarity; None for KMEx.
        scores: scores of relevance maps by image, or the reason why there are none.
        divergences: of the model's relevance maps from the black box's, and their chance levels, by image.
    """

    @property
    def summary(self) -> Summary: ...
    @property
    def prototypes(self) -> Prototypes: ...
    @property
    def variance(self) -> np.ndarray: ...
    @property
    def converted(self) -> Conversion: ...
    @property
    def test(self) -> Embeddings: ...
    @property
    def train(self) -> Embeddings: ...
    @property
    def certainty(self) -> Certainty: ...
    @property
    def similarity_among(self) -> np.ndarray | None: ...
    @property
    def scores(self) -> MapScores | NotComputed: ...
    @property
    def divergences(self) -> MapDivergences | NotComputed: ...


class Metric(ABC):
    """A metric of the evaluation. To add one, add a file with a subclass to `metrics.kinds`.

    Attributes:
        name: its name in JSON, tables and on the command line.
        title: its name for people.
        better: "higher" or "lower"; "" for a chance level.
        unit: "share" (0…1, shown in per cent), "nats", "SD" (standard deviations) or "" for a plain number.
        about: its meaning in a sentence or two.
        group: the property it measures, one of `GROUPS`.
        place: its position in its group.
        of_both: whether it is also measured for the black box.
        beside: whether it compares with a black box.
        chance_of: the metric that it is a chance level of, or another level to compare with, measured on the same
            images; "" for none. It is shown beside that one.
        chance_name: how a sentence calls the chance level: "a uniform map".
        reference_of: the metric that it is the published form of, "" for none; the paper's figures are beside it.
        table: the number of the paper's table with it, 0 for none.
        maps: whether it needs relevance maps.
        range: the smallest and the largest value there can be, for axes.
        between_networks: whether values of different networks can be compared.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    better: ClassVar[Literal["higher", "lower", ""]]
    about: ClassVar[str]
    group: ClassVar[str]
    place: ClassVar[int]
    unit: ClassVar[str] = ""
    of_both: ClassVar[bool] = False
    beside: ClassVar[bool] = False
    chance_of: ClassVar[str] = ""
    chance_name: ClassVar[str] = ""
    reference_of: ClassVar[str] = ""
    table: ClassVar[int] = 0
    maps: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = SHARE
    between_networks: ClassVar[bool] = True

    @abstractmethod
    def measure(self, run: Run) -> Value:
        """The value: a number, a number per image (N,), or the reason why there is none."""

    def measure_black_box(self, run: Run) -> Value:
        """The black box's value, if `of_both`."""
        raise NotImplementedError(self.name)

    @property
    def black_box(self) -> str:
        """The name of the black box's metric, "" if there is none."""
        return f"{self.name}_black_box" if self.of_both else ""

    @property
    def arrow(self) -> str:
        """↑ where higher is better, ↓ where lower is, else ""."""
        return {"higher": "↑", "lower": "↓"}.get(self.better, "")

    @property
    def heading(self) -> str:
        """The title with unit and direction."""
        unit = f" ({self.unit})" if self.unit not in ("", "share") else ""
        return f"{self.title}{unit} {self.arrow}".strip()

    def shown(self, value: float) -> str:
        """A formatted value: shares in per cent, others with three decimals."""
        return f"{value:.1%}" if self.unit == "share" else f"{value:.3f}"

    def with_unit(self, value: float) -> str:
        """As `shown`, followed by the unit."""
        return self.shown(value) if self.unit == "share" else f"{value:.3f} {self.unit}".strip()
