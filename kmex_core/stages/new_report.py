"""What was decided about a model from outside, JSON-like: the command's answer, which the page New reads."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from kmex_core.stages.new_model import NewModel, expected_cost, reordered
from kmex_core.stages.outside import EXAMPLES

KEYS = frozenset(
    ("steps", "preprocessing", "head", "layers", "class_names", "class_outputs", "output_names", "examples", "check",
     "expected_seconds", "expected_megabytes")
)  # of the command's answer  # fmt: skip
LAYERS = 30  # that are named as possible heads, the last ones


def described(new: NewModel, device: str = "cpu") -> dict[str, Any]:
    """A decided model: head, classes, preprocessing, check, examples, and the expected cost of the embedding.

    Positions of examples are those of held-out images. The confusion matrix is given as [class, predicted, images] for
    each pair that occurs.
    """
    seconds, memory = expected_cost(new, device)
    info, check = new.info, new.check
    return {
        "source": info.backbone,
        "head": {"path": info.head_path, "dimensions": new.dimensions, "outputs": info.outputs},
        "layers": possible_heads(new),
        "class_names": list(info.class_names),
        "class_outputs": list(info.class_outputs),
        "output_names": list(new.output_names),
        "examples": {"split": "test", "rows": examples(new)},
        "check": None
        if check is None
        else {
            "images": check.images,
            "accuracy": check.accuracy,
            "chance": check.chance,
            "at_chance": check.at_chance,
            "confusion": [
                [*pair, int(check.confusion[tuple(pair)])] for pair in np.argwhere(check.confusion > 0).tolist()
            ],
            "reordered": {"class_outputs": list(reordered(check, info)), "accuracy": check.accuracy_reordered},
            "better": [
                {"words": words, "preprocessing": dataclasses.asdict(preprocessing), "accuracy": share}
                for words, preprocessing, share in check.better
            ],
        },
        "expected_seconds": round(seconds, 1),
        "expected_megabytes": round(memory / 2**20, 1),
    }


def possible_heads(new: NewModel) -> list[str]:
    """The dotted names of the last layers that could be the head, the last first."""
    from torch import nn

    layers = [name for name, layer in new.module.named_modules() if name and isinstance(layer, nn.Linear | nn.Conv2d)]
    return layers[-LAYERS:][::-1]


def examples(new: NewModel) -> list[int]:
    """Positions of up to `EXAMPLES` held-out images of different classes, as far as there are so many."""
    labels = new.data.split("test").labels
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    rank = np.arange(len(labels)) - np.repeat(starts, counts)  # of each image among those of its class
    return sorted(order[np.argsort(rank, kind="stable")][:EXAMPLES].tolist(), key=lambda row: (labels[row], row))
