"""Tables of prototypes: what they stand for, how many are needed, and what is predicted by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from kmex_core.metrics.stability import Stability
from kmex_core.prototypes.suggestion import Evidence
from kmex_core.prototypes.sweep import Sweep
from kmex_core.prototypes.types import Prototypes


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


def sweep_table(sweeps: Mapping[int, Sweep], ks: Sequence[int] = ()) -> pd.DataFrame:
    """One line per number of prototypes and seed.

    Args:
        sweeps: by seed.
        ks: only these numbers; all without any.

    Returns:
        Columns `k`, `seed`, `accuracy_kmex`, `accuracy_black_box`, `agreement`, `ghosting`, `diversity` (fractions),
        `effective` (number per class), `coverage_radius`, `inertia` (over all classes), and their chance levels:
        `effective_random`, `random_accuracy` and `random_agreement` (of random training images in place of the
        prototypes; the columns with `_low` and `_high` bound 95% of draws) and `effective_equidistant` (of equidistant
        groups). Without a black box, the columns of its accuracy and of agreement are left out.
    """
    parts = []
    for seed, sweep in sweeps.items():
        bands = {
            f"{name}{end}": getattr(sweep, name)[:, column]
            for name in ("effective_random", "random_accuracy", "random_agreement")
            for column, end in enumerate(("", "_low", "_high"))
        }
        parts.append(
            pd.DataFrame(
                {
                    "k": np.arange(1, sweep.reach + 1),
                    "seed": seed,
                    "accuracy_kmex": sweep.accuracy,
                    "accuracy_black_box": sweep.accuracy_black_box,
                    "agreement": sweep.agreement,
                    "ghosting": sweep.ghosting,
                    "diversity": sweep.diversity,
                    "effective": sweep.effective,
                    "effective_equidistant": sweep.effective_equidistant,
                    "coverage_radius": sweep.coverage_radius,
                    "inertia": sweep.inertia.sum(1),
                }
                | bands
            )
        )
    table = pd.concat(parts, ignore_index=True)
    if not any(sweep.has_black_box for sweep in sweeps.values()):
        table = table.drop(
            columns=["accuracy_black_box", *(name for name in table.columns if "agreement" in str(name))]
        )
    return table[table["k"].isin(ks)].reset_index(drop=True) if len(ks) else table


def suggestion_table(evidence: Evidence, class_names: Sequence[str]) -> pd.DataFrame:
    """One line per class and number: `class`, `k`, `suggested` (whether it is), `prediction_strength`, `rand_index`,
    `gap` and `gap_error` (see `Evidence`)."""
    classes, steps = evidence.gap.shape
    return pd.DataFrame(
        {
            "class": np.repeat(np.array(class_names, dtype=object), steps),
            "k": np.tile(np.arange(1, steps + 1), classes),
            "suggested": (evidence.suggested[:, None] == np.arange(1, steps + 1)).ravel(),
            "prediction_strength": evidence.prediction_strength.ravel(),
            "rand_index": evidence.rand_index.ravel(),
            "gap": evidence.gap.ravel(),
            "gap_error": np.repeat(evidence.gap_error, steps),
        }
    )


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
    black_box: np.ndarray | None,
    probability: np.ndarray,
    similarity: np.ndarray,
    prototype_classes: np.ndarray,
) -> pd.DataFrame:
    """One row per class, most similar first.

    Args:
        class_names: C names.
        black_box, probability: (C,) of the black box (None without one), and of the model that has the prototypes.
        similarity: (K,) to each prototype.
        prototype_classes: (K,) their classes.

    Returns:
        Columns `class`, `black_box_probability` (with a black box), `similarity` (of the class's most similar
        prototype; empty for a class without any), `probability` (fractions both).
    """
    best = np.full(len(class_names), -np.inf)
    np.maximum.at(best, prototype_classes, similarity)
    table = pd.DataFrame(
        {
            "class": list(class_names),
            **({} if black_box is None else {"black_box_probability": black_box}),
            "similarity": np.where(np.isfinite(best), best, np.nan),
            "probability": probability,
        }
    )
    return table.sort_values("similarity", ascending=False, kind="stable", ignore_index=True)
