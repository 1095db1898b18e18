"""Tables of the embedding map: where images and prototypes are on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kmex_core.analysis.types import Projection
from kmex_core.networks.types import NO_CLASS
from kmex_core.prototypes.types import Prototypes


def projection_table(
    drawn: Projection, class_names: Sequence[str], rows: np.ndarray, predicted: np.ndarray
) -> pd.DataFrame:
    """One line per image: where it is and what both models predict.

    Args:
        drawn: the map of N training and M test images.
        class_names: C names.
        rows: which of the N + M images.
        predicted: (N + M,) the class that KMEx, or a prototypical model itself, predicts.

    Returns:
        Columns `split`, `index`, `class`, `predicted`, `black_box` (where there is one), `x`, `y`.
    """
    train = len(drawn.train)
    places = np.concatenate([drawn.train, drawn.test])[rows]
    names = np.array(class_names, dtype=object)
    known = bool((drawn.black_box != NO_CLASS).any())
    return pd.DataFrame(
        {
            "split": np.where(rows < train, "train", "test"),
            "index": np.where(rows < train, rows, rows - train),
            "class": names[drawn.labels[rows]],
            "predicted": names[predicted[rows]],
            **({"black_box": names[drawn.black_box[rows]]} if known else {}),
            "x": places[:, 0],
            "y": places[:, 1],
        }
    )


def prototype_places(prototypes: Prototypes, places: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """One line per prototype: where it is and what it stands for.

    Args:
        prototypes: K prototypes.
        places: (K, 2) where they are.
        class_names: C names.

    Returns:
        Columns `prototype`, `class`, `ghost`, `share` (0…1 of the class's training images), `count`, `others` (training
        images of other classes), `picture` (a training image), `x`, `y`.
    """
    return pd.DataFrame(
        {
            "prototype": np.arange(len(prototypes)),
            "class": np.array(class_names, dtype=object)[prototypes.classes],
            "ghost": prototypes.ghost,
            "share": prototypes.importance,
            "count": prototypes.count,
            "others": prototypes.count_all - prototypes.count,
            "picture": prototypes.exemplar,
            "x": places[:, 0],
            "y": places[:, 1],
        }
    )
