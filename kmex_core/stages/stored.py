"""What can be said of a model's prototypes from stored results, without computing for minutes."""

from __future__ import annotations

from kmex_core.base.errors import InputError
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.types import Evaluation
from kmex_core.prototypes.source import PrototypeSource
from kmex_core.prototypes.types import Conversion
from kmex_core.stages.evaluation import evaluate
from kmex_core.stages.subject import IMAGES, Subject


def stored_conversion(subject: Subject, source: PrototypeSource) -> Conversion:
    """The prototypes of a model whose images are embedded; finding them takes moments.

    Raises:
        InputError: when the images are not embedded yet, which can take long; the message names the command.
    """
    if not subject.is_embedded:
        raise InputError(
            f"The images of '{subject.info.name}' have not been embedded yet. Do that first: "
            f"python -m kmex_core convert --model {subject.info.name}"
        )
    return subject.read(subject.conversion(source))


def maps_measured(subject: Subject, source: PrototypeSource) -> bool:
    """Whether the store has all that the metrics on relevance maps are made from, for `IMAGES` test images."""
    if not subject.relevance_scores(source, seed=source.seed).exists():
        return False
    beside = subject.reference_divergence(seed=source.seed) if source.built_in else None
    return beside is None or beside.exists()


def stored_evaluation(subject: Subject, source: PrototypeSource) -> Evaluation:
    """All metrics that take moments, and those on relevance maps if they were measured.

    Raises:
        InputError: see `stored_conversion`.
    """
    stored_conversion(subject, source)
    with_maps = maps_measured(subject, source)
    names = [name for name, metric in METRICS.items() if with_maps or not metric.maps]
    return evaluate([subject], source, [source.seed], IMAGES, names)
