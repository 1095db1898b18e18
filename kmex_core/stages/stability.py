"""How stable KMEx's prototypes are over seeds of k-means, from conversions with several of them."""

from __future__ import annotations

from collections.abc import Sequence

from kmex_core.metrics.stability import LEAST, Stability
from kmex_core.metrics.stability import stability as compared
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.curves import conversions
from kmex_core.stages.subject import Subject

SEEDS = tuple(range(LEAST))  # of the page


def stability(subject: Subject, source: KMeans, seeds: Sequence[int] = SEEDS) -> Stability:
    """Compare the prototypes of several seeds; each conversion is stored at once, stored ones are reused.

    Args:
        subject: the model.
        source: the prototypes; its seed does not matter.
        seeds: of k-means, `LEAST` or more.

    Raises:
        InputError: see `ModelConversion`.
        ValueError: for too few seeds.
    """
    found = [converted for _, converted in conversions(subject, [source.k], seeds, source.metric)]
    prototypes = [(converted.prototypes.centers, converted.prototypes.classes) for converted in found]
    train = subject.read(subject.embedding("train")).in_space(found[0].metric)
    return compared(prototypes, seeds, train.z, train.labels, len(subject.info.class_names))
