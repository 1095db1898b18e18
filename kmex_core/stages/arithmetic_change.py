"""What 16-bit floats or compilation change: embeddings beside those of 32-bit floats, on some images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kmex_core.networks.arithmetic import Arithmetic
from kmex_core.networks.types import Embeddings
from kmex_core.stages.bound import Bound
from kmex_core.stages.embedding import GROUPS, embedded_rows
from kmex_core.stages.subject import Subject

IMAGES = 256


@dataclass(frozen=True)
class ArithmeticChange:
    """How embeddings differ from those of 32-bit floats.

    Attributes:
        precision, compiled: see `Arithmetic`.
        split: "train", "test" or "validation".
        images: how many of the split were compared.
        largest_difference: of their embeddings, as a share of the largest number in those of 32-bit floats.
        changed_predictions: the share of the images that the black box predicts another class for.
    """

    precision: str
    compiled: bool
    split: str
    images: int
    largest_difference: float
    changed_predictions: float

    @property
    def text(self) -> str:
        """In words."""
        how = " and ".join(filter(None, [
            "" if self.precision == "float32" else f"{self.precision} precision",
            "compilation" if self.compiled else "",
        ]))  # fmt: skip
        return (
            f"The embeddings were computed with {how}: on {self.images:,} {GROUPS[self.split].lower()} they differ "
            f"from those of 32-bit floats by up to {self.largest_difference:.2g} of the largest value, and "
            f"{self.changed_predictions:.2%} of the predictions changed."
        )


def arithmetic_change(subject: Subject, arithmetic: Arithmetic) -> ArithmeticChange:
    """Measure it on evenly spaced images of the test split, see `change_on`."""
    stored = subject.read(subject.embedding("test", arithmetic))
    rows = evenly_spaced(len(stored), IMAGES)
    embedded = Embeddings(stored.z[rows], stored.labels[rows], stored.black_box[rows])
    return change_on(subject, "test", rows, embedded, arithmetic)


def evenly_spaced(total: int, count: int) -> np.ndarray:
    """(count,) places from the first to the last of `total`, ascending; all where there are no more."""
    return np.unique(np.linspace(0, total - 1, count).astype(np.int64))


def change_on(
    bound: Bound, split: str, rows: np.ndarray, embedded: Embeddings, arithmetic: Arithmetic
) -> ArithmeticChange:
    """Compute images with 32-bit floats now, and compare.

    Args:
        bound: the model and its data.
        split: of the images.
        rows: (n,) their places in it, ascending.
        embedded: their embeddings as `arithmetic` gave them.

    Raises:
        InputError: see `extraction.stream`.
    """
    exact = embedded_rows(bound, split, rows)
    changed = exact.black_box != embedded.black_box
    return ArithmeticChange(
        arithmetic.precision,
        arithmetic.compiled,
        split,
        len(rows),
        float(np.abs(embedded.z - exact.z).max() / max(np.abs(exact.z).max(), 1e-30)),
        float(changed.mean()),
    )
