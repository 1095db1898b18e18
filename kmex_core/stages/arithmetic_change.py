"""What 16-bit floats or compilation change: embeddings beside those of 32-bit floats, on some test images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kmex_core.base.devices import checked_device
from kmex_core.networks.arithmetic import Arithmetic
from kmex_core.stages.embedding import BATCH
from kmex_core.stages.subject import Subject

IMAGES = 256


@dataclass(frozen=True)
class ArithmeticChange:
    """How embeddings differ from those of 32-bit floats.

    Attributes:
        precision, compiled: see `Arithmetic`.
        images: how many were compared, evenly spaced over the test split.
        largest_difference: of their embeddings, as a share of the largest number in those of 32-bit floats.
        changed_predictions: the share of the images that the black box predicts another class for.
    """

    precision: str
    compiled: bool
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
            f"The embeddings were computed with {how}: on {self.images:,} test images they differ from those of 32-bit "
            f"floats by up to {self.largest_difference:.2g} of the largest value, and {self.changed_predictions:.2%} "
            "of the predictions changed."
        )


def arithmetic_change(subject: Subject, arithmetic: Arithmetic) -> ArithmeticChange:
    """Measure it: the embedding of the test split, and some of its images computed with 32-bit floats now.

    Raises:
        InputError: see `extraction.stream`.
    """
    from kmex_core.data.network_input import normalise
    from kmex_core.networks.extraction import stream

    stored = subject.read(subject.embedding("test", arithmetic))
    rows = np.unique(np.linspace(0, len(stored) - 1, IMAGES).astype(int))
    preprocessing, network = subject.info.preprocessing, subject.network
    parts = list(
        stream(
            network.encoder,
            network.head,
            subject.data.batches("test", BATCH, rows, preprocessing),
            checked_device(subject.device),
            to_input=lambda pixels: normalise(pixels, preprocessing),
        )
    )
    z = np.concatenate([part.z for part in parts])
    changed = np.concatenate([part.black_box for part in parts]) != stored.black_box[rows]
    return ArithmeticChange(
        arithmetic.precision,
        arithmetic.compiled,
        len(rows),
        float(np.abs(stored.z[rows] - z).max() / max(np.abs(z).max(), 1e-30)),
        float(changed.mean()),
    )
