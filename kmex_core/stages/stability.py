"""How stable KMEx's prototypes are over seeds of k-means, from conversions with several of them."""

from __future__ import annotations

from collections.abc import Sequence

from kmex_core.metrics.stability import LEAST, Stability
from kmex_core.metrics.stability import stability as compared
from kmex_core.stages.subject import Subject
from kmex_core.stages.sweep import conversions

SEEDS = tuple(range(LEAST))  # of the page


def stability(subject: Subject, k: int, seeds: Sequence[int] = SEEDS) -> Stability:
    """Compare the prototypes of several seeds; each conversion is stored at once, stored ones are reused.

    Args:
        subject: the model.
        k: prototypes per class.
        seeds: of k-means, `LEAST` or more.

    Raises:
        InputError: see `ModelConversion`.
        ValueError: for too few seeds.
    """
    prototypes = [
        (converted.prototypes.centers, converted.prototypes.classes)
        for _, converted in conversions(subject, [k], seeds)
    ]
    train = subject.read(subject.embedding("train"))
    return compared(prototypes, seeds, train.z, train.labels, len(subject.info.class_names))
