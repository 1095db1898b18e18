"""The table of what changes from one model to another, image by image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kmex_core.analysis.changes import prototype_changes
from kmex_core.prototypes.types import Conversion


def changes_table(
    one: Conversion, other: Conversion, train: np.ndarray, test: np.ndarray, class_names: Sequence[str]
) -> pd.DataFrame:
    """One row per image, training images first: `split`, `image`, `class`, the class that each model predicts
    (`predicted_a`, `predicted_b`), its nearest prototype of each (`prototype_a`, `prototype_b`), and whether the one of
    B is not the match of the one of A (`changed`, see `prototype_changes`).

    Args:
        one, other: models A and B on the same images.
        train, test: (N,) and (M,) the images' classes.
        class_names: C names.
    """
    nearest = [np.concatenate([of.prototypes.activated, of.test_activated]) for of in (one, other)]
    predicted = [np.concatenate([of.train_predicted, of.test_predicted]) for of in (one, other)]
    of_classes = one.prototypes.classes, other.prototypes.classes
    match = prototype_changes((one.prototypes.activated, other.prototypes.activated), of_classes, train).match
    names = np.array(class_names, dtype=object)
    return pd.DataFrame(
        {
            "split": ["train"] * len(train) + ["test"] * len(test),
            "image": np.concatenate([np.arange(len(train)), np.arange(len(test))]),
            "class": names[np.concatenate([train, test])],
            "predicted_a": names[predicted[0]],
            "predicted_b": names[predicted[1]],
            "prototype_a": nearest[0],
            "prototype_b": nearest[1],
            "changed": match[nearest[0]] != nearest[1],
        }
    )
