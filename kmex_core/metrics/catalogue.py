"""Every metric by name: what it is called, what it means, which direction is better."""

from __future__ import annotations

import math
from dataclasses import dataclass

SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Metric:
    """A metric of the evaluation.

    Attributes:
        title: its name for people.
        better: "higher" or "lower"; "" for what others are compared with.
        unit: "share" (0…1, shown in per cent), "nats", "spreads" or "" for a plain number.
        about: its meaning in a sentence or two.
        group: the predicate it belongs to.
        black_box: the name of the same metric of the black box, "" where there is none.
        table: the paper's table that has it, 0 for none.
        maps: it needs relevance maps.
        range: the smallest and the largest value there can be, for axes.
    """

    title: str
    better: str
    unit: str
    about: str
    group: str
    black_box: str = ""
    table: int = 0
    maps: bool = False
    range: tuple[float, float] = SHARE

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


PREDICTIONS, TRANSPARENCY, DIVERSITY, MAPS = (
    "Trustworthiness: predictions", "Transparency", "Diversity", "Trustworthiness: maps",
)  # fmt: skip

METRICS = {
    "accuracy": Metric(
        "Accuracy", "higher", "share",
        "Share of the test images that are classified correctly: by KMEx, when the nearest prototype has the right "
        "class.",
        PREDICTIONS, "accuracy_black_box", 3,
    ),
    "agreement": Metric(
        "Agreement", "higher", "share",
        "Share of the test images for which KMEx and the black box predict the same class, right or wrong.",
        PREDICTIONS,
    ),
    "calibration_error": Metric(
        "Calibration error", "lower", "share",
        "How far the probability of the predicted class is from the share of correct predictions, on average over the "
        "test images (ECE, 15 bins). KMEx's probability is a softmax over the similarities to all prototypes, which "
        "training never matched to how often it is right; its prediction does not depend on it.",
        PREDICTIONS, "calibration_error_black_box",
    ),
    "ghosting": Metric(
        "Ghost prototypes", "lower", "share",
        "Share of prototypes that no training image of their class has as its nearest (D_tsp).",
        TRANSPARENCY, "", 5,
    ),
    "vendi": Metric(
        "Effective prototypes per class", "higher", "",
        "How many clearly different prototypes a class has on average, from 1 (all alike) to the number there are "
        "(Vendi score of their cosine similarities).",
        DIVERSITY, range=(1.0, math.inf),
    ),
    "relative_distance": Metric(
        "Distance between prototypes", "higher", "spreads",
        "How far a prototype lies from the nearest other one of its class, in units of the class's own spread.",
        DIVERSITY, range=(0.0, math.inf),
    ),
    "coverage_radius": Metric(
        "Coverage radius", "lower", "",
        "95 % of the test images lie within this distance of their nearest prototype, in the embedding's own unit: it "
        "compares numbers of prototypes of one network, not networks.",
        DIVERSITY, range=(0.0, math.inf),
    ),
    "diversity": Metric(
        "D_dvs within classes", "lower", "",
        "The paper's diversity, 0 (all different) to 1 (all alike), in exact arithmetic. With KMEx's similarity, "
        "log((d² + 1) / (d² + ε)), a prototype is 9.2 similar to itself, which keeps the number near 0 unless "
        "prototypes nearly coincide.",
        DIVERSITY,
    ),
    "diversity_all": Metric(
        "D_dvs over all prototypes", "lower", "",
        "The paper's diversity as its formula has it, over the prototypes of all classes, in exact arithmetic.",
        DIVERSITY,
    ),
    "diversity_reference": Metric(
        "D_dvs as published", "lower", "",
        "The paper's diversity as its released code computes it: rounding in float32 keeps a prototype from being at "
        "distance 0 from itself, which raises the number. Only this one compares with the paper's tables.",
        DIVERSITY, "", 7,
    ),
    "faithfulness": Metric(
        "Divergence of maps", "lower", "nats",
        "How far the relevance maps of KMEx's prediction are from the black box's for the same class (D_fdl, "
        "Kullback-Leibler divergence); 0 when they are the same. A prototypical model on its own is compared with a "
        "black box of the same data.",
        MAPS, "", 6, True, (0.0, math.inf),
    ),
    "average_drop": Metric(
        "Average drop", "lower", "share",
        "Share of the similarity that is lost when the less relevant half of the pixels is taken away (AD), on average "
        "over images and the prototypes of their class. For the black box: of the probability of its prediction.",
        MAPS, "average_drop_black_box", 4, True,
    ),
    "average_increase": Metric(
        "Average increase", "higher", "share",
        "How often the similarity grows when the less relevant half of the pixels is taken away (AI).",
        MAPS, "average_increase_black_box", 4, True,
    ),
    "relevance_ordering": Metric(
        "Relevance ordering", "higher", "",
        "Area under the curve of the predicted class's probability as pixels come in, the most relevant first (RO, 0 "
        "to 1). To be compared with random order.",
        MAPS, "relevance_ordering_black_box", 0, True,
    ),
    "relevance_ordering_random": Metric(
        "Random ordering", "", "",
        "The same area when pixels come in at random: the baseline for relevance ordering.",
        MAPS, "relevance_ordering_random_black_box", 0, True,
    ),
}  # fmt: skip
