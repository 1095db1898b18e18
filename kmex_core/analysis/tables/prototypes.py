"""Tables of prototypes: what they stand for, how many are needed, and what is predicted by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from kmex_core.metrics.stability import Stability
from kmex_core.prototypes.types import Prototypes, Summary


def prototype_table(prototypes: Prototypes, class_names: Sequence[str]) -> pd.DataFrame:
    """One line per prototype.

    Returns:
        Columns `prototype`, `class`, `number` (within the class), `importance` (share of the class's training images),
        `training_images` (of the class), `other_classes` (training images of other classes that it attracts), `ghost`,
        `picture` and `nearest_of_any_class` (training images).
    """
    names = np.array(class_names, dtype=object)
    number = np.arange(len(prototypes)) - np.searchsorted(prototypes.classes, prototypes.classes)
    return pd.DataFrame(
        {
            "prototype": np.arange(len(prototypes)),
            "class": names[prototypes.classes],
            "number": number,
            "importance": prototypes.importance,
            "training_images": prototypes.count,
            "other_classes": prototypes.count_all - prototypes.count,
            "ghost": prototypes.ghost,
            "picture": prototypes.exemplar,
            "nearest_of_any_class": prototypes.nearest_any,
        }
    )


def sweep_table(summaries: Mapping[int, Summary]) -> pd.DataFrame:
    """One line per number of prototypes: columns `k`, `accuracy_kmex`, `accuracy_black_box`, `agreement`, `ghosting`,
    `diversity`, `diversity_reference` (fractions), `effective` (number per class), `effective_random` (of random
    images; `effective_random_low` and `effective_random_high` bound 95 % of draws), `effective_equidistant` (of
    equidistant groups) and `coverage_radius`."""
    columns = (
        "accuracy_kmex",
        "accuracy_black_box",
        "agreement",
        "ghosting",
        "diversity",
        "diversity_reference",
        "effective",
        "effective_random",
        "effective_random_low",
        "effective_random_high",
        "effective_equidistant",
        "coverage_radius",
    )
    rows = [{"k": k, **{name: getattr(summary, name) for name in columns}} for k, summary in sorted(summaries.items())]
    return pd.DataFrame(rows, columns=["k", *columns])


def stability_table(stability: Stability, class_names: Sequence[str]) -> pd.DataFrame:
    """One line per class: `class`, `distance` (between matched prototypes of two seeds, in standard deviations of the
    class), `distance_random` (its chance level) and `rand_index` (adjusted; empty for one prototype)."""
    return pd.DataFrame(
        {
            "class": list(class_names),
            "distance": stability.distance,
            "distance_random": stability.distance_random,
            "rand_index": stability.rand_index,
        }
    )


def prediction_table(
    class_names: Sequence[str],
    black_box: np.ndarray,
    probability: np.ndarray,
    similarity: np.ndarray,
    prototype_classes: np.ndarray,
) -> pd.DataFrame:
    """One row per class, most similar first.

    Args:
        class_names: C names.
        black_box, probability: (C,) of the black box, and of the model that has the prototypes.
        similarity: (K,) to each prototype.
        prototype_classes: (K,) their classes.

    Returns:
        Columns `class`, `black_box_probability`, `similarity` (of the class's most similar prototype; empty for a class
        without any), `probability` (fractions both).
    """
    best = np.full(len(class_names), -np.inf)
    np.maximum.at(best, prototype_classes, similarity)
    table = pd.DataFrame(
        {
            "class": list(class_names),
            "black_box_probability": black_box,
            "similarity": np.where(np.isfinite(best), best, np.nan),
            "probability": probability,
        }
    )
    return table.sort_values("similarity", ascending=False, kind="stable", ignore_index=True)
