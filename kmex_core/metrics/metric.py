"""What a metric is: its name and meaning for people, and how it is measured in a run."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from kmex_core.metrics.types import MapScores, NotComputed
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.types import Conversion

SHARE, COUNT = (0.0, 1.0), (1.0, math.inf)
ANY = (0.0, math.inf)
PREDICTIONS, TRANSPARENCY, DIVERSITY, MAPS = GROUPS = (
    "Trustworthiness: predictions",
    "Transparency",
    "Diversity",
    "Trustworthiness: maps",
)
ONE_PER_CLASS = NotComputed("With one prototype per class there is no other of its class to compare it with.")
SINGLE = NotComputed("There is only one prototype.")
Value = float | np.ndarray | NotComputed


@dataclass(frozen=True, eq=False)
class Certainty:
    """How sure predictions of M test images are, and how near their prototypes.

    Attributes:
        probability, black_box: (M,) of the predicted class, by the model and by its black box.
        nearest: (M,) distance to the nearest prototype; None where the similarity is not made of a distance.
    """

    probability: np.ndarray
    black_box: np.ndarray
    nearest: np.ndarray | None


class Run(Protocol):
    """What a metric can ask of a run: a model with its prototypes, for one seed. What is not asked for costs nothing.

    Attributes:
        converted: the prototypes, what they stand for and predict.
        test: the test split's embedding.
        train: the training split's.
        certainty: see there.
        similarity_among: (K, K) similarities among the prototypes, as the model has them; None for KMEx.
        scores: relevance maps measured image by image, or why there are none.
        divergence: (N,) in nats, of the model's relevance maps from the black box's.
    """

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
    def divergence(self) -> np.ndarray | NotComputed: ...


class Metric(ABC):
    """A metric of the evaluation. A file in `metrics.kinds` with a subclass adds one.

    Attributes:
        name: its name in JSON, tables and on the command line.
        title: its name for people.
        better: "higher" or "lower"; "" for what others are compared with.
        unit: "share" (0…1, shown in per cent), "nats", "spreads" or "" for a plain number.
        about: its meaning in a sentence or two.
        group: the predicate it belongs to, one of `GROUPS`.
        place: its place among those of its group.
        of_both: whether the black box has it as well.
        beside: whether it needs a black box beside the prototypes.
        table: the paper's table that has it, 0 for none.
        maps: it needs relevance maps.
        range: the smallest and the largest value there can be, for axes.
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
    table: ClassVar[int] = 0
    maps: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = SHARE

    @abstractmethod
    def measure(self, run: Run) -> Value:
        """Its value: a number, a number for each image (N,), or why there is none."""

    def measure_black_box(self, run: Run) -> Value:
        """The black box's value, where it is `of_both`."""
        raise NotImplementedError(self.name)

    @property
    def black_box(self) -> str:
        """The name of the same metric of the black box, "" where there is none."""
        return f"{self.name}_black_box" if self.of_both else ""

    @property
    def arrow(self) -> str:
        """↑ where higher is better, ↓ where lower is, else ""."""
        return {"higher": "↑", "lower": "↓"}.get(self.better, "")

    @property
    def heading(self) -> str:
        """The title with its unit and its direction."""
        unit = f" ({self.unit})" if self.unit not in ("", "share") else ""
        return f"{self.title}{unit} {self.arrow}".strip()

    def shown(self, value: float) -> str:
        """A value as people read it: shares in per cent, others with three digits after the point."""
        return f"{value:.1%}" if self.unit == "share" else f"{value:.3f}"

    def with_unit(self, value: float) -> str:
        """As `shown`, with the unit after it."""
        return self.shown(value) if self.unit == "share" else f"{value:.3f} {self.unit}".strip()
