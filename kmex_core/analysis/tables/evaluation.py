"""Tables of an evaluation: predictions, prototypes, relevance maps image by image, and models on the radar's axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kmex_core.analysis.comparison import Row
from kmex_core.metrics.types import MapScores, image_means
from kmex_core.prototypes.types import Prototypes

DROPS = ("drop", "drop_random", "drop_reference")
INCREASES = ("increase", "increase_random", "increase_reference")


def confusion_table(confused: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """(C, C) counts with the true class per row and the predicted class per column."""
    return pd.DataFrame(confused, index=pd.Index(class_names, name="class"), columns=list(class_names))


def shares_table(prototypes: Prototypes, class_names: Sequence[str]) -> pd.DataFrame:
    """One row per prototype, by class and falling share: columns `class`, `prototype`, `share` (0…1 of the class's
    training images that activate it), `count`, `count_all` (of all classes) and `ghost`."""
    table = pd.DataFrame(
        {
            "class": [class_names[c] for c in prototypes.classes],
            "prototype": np.arange(len(prototypes)),
            "share": prototypes.importance,
            "count": prototypes.count,
            "count_all": prototypes.count_all,
            "ghost": prototypes.ghost,
        }
    )
    order = np.lexsort((table["prototype"], -table["share"], prototypes.classes))
    return table.iloc[order].reset_index(drop=True)


def ordering_table(scores: MapScores) -> pd.DataFrame:
    """Mean curves of relevance ordering: columns `pixels` (share, 0…1), `kmex`, `kmex_random`, `black_box` and
    `black_box_random` (probability of the predicted class, 0…1); those of the black box only where there is one."""
    curves = {
        "kmex": scores.curve,
        "kmex_random": scores.curve_random,
        "black_box": scores.curve_black_box,
        "black_box_random": scores.curve_black_box_random,
    }
    known = {name: values for name, values in curves.items() if scores.has_black_box or "black_box" not in name}
    means = {name: values.mean(0) for name, values in known.items()}
    return pd.DataFrame({"pixels": np.linspace(0, 1, scores.curve.shape[1]), **means})


def scores_table(scores: MapScores, labels: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """One row per image: `image` (its place in the test split), `class`, `drop` and `increase` (0…1, mean over the
    prototypes of its class), `divergence` (nats), and beside each the black box's and the chance levels; without a
    black box, neither its columns nor divergences.

    Args:
        scores: N images.
        labels: (N,) their classes.
        class_names: C names.
    """
    table = pd.DataFrame(
        {
            "image": scores.images,
            "class": [class_names[label] for label in labels],
            **{name: image_means(getattr(scores, name)) for name in DROPS},
            "drop_black_box": scores.drop_black_box,
            "drop_black_box_random": scores.drop_black_box_random,
            **{name: image_means(getattr(scores, name)) for name in INCREASES},
            "increase_black_box": scores.increase_black_box,
            "increase_black_box_random": scores.increase_black_box_random,
            "divergence": scores.divergence,
            "divergence_uniform": scores.divergence_uniform,
            "divergence_other_image": scores.divergence_other_image,
            "divergence_runner_up": scores.divergence_runner_up,
        }
    )
    compared = [name for name in table.columns if str(name).startswith("divergence") or "black_box" in str(name)]
    return table if scores.has_black_box else table.drop(columns=compared)


@dataclass(frozen=True)
class Axis:
    """An axis of the radar: which metric, what it is called, and how its values become 0 (worst) to 1 (best)."""

    metric: str
    title: str
    scale: str


AXES = (
    Axis("accuracy", "Accuracy", "as it is"),
    Axis("ghosting", "No ghosts", "1 − share of ghosts"),
    Axis("diversity_reference", "Diverse", "1 − D_dvs as published"),
    Axis("faithfulness", "Faithful maps", "exp(−D_fdl)"),
    Axis("average_drop", "Small drop", "1 − average drop"),
    Axis("average_increase", "Increase", "as it is"),
)


def on_axis(axis: Axis, value: float) -> float:
    """Where a metric's value is on its axis, 0…1; farther out is better."""
    if axis.scale == "as it is":
        return value
    return float(np.exp(-value)) if axis.scale.startswith("exp") else 1 - value


def radar_values(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """The metrics' values of each row that has prototypes, by its label."""
    return {
        row.label: {name: cell.mean for name, cell in row.cells.items() if cell.mean is not None}
        for row in rows
        if "ghosting" in row.cells
    }


def radar_table(models: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """One row per model and axis: `model`, `axis`, `metric`, `value`, `place` (0…1); what is missing is left out.

    Args:
        models: metrics' values by model.
    """
    rows = [
        {
            "model": name,
            "axis": axis.title,
            "metric": axis.metric,
            "value": values[axis.metric],
            "place": on_axis(axis, values[axis.metric]),
        }
        for name, values in models.items()
        for axis in AXES
        if axis.metric in values
    ]
    return pd.DataFrame(rows, columns=["model", "axis", "metric", "value", "place"])
