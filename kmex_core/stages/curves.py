"""Attribute coverage over numbers of prototypes per class and seeds."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from kmex_core.analysis.coverage import Attributed, CurveMaker, Curves, SplitAttributes, checked
from kmex_core.base.progress import Event, silent
from kmex_core.models.info import training_seed
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.prototypes.types import Conversion
from kmex_core.stages.subject import Subject

EXAMINED = 5


def conversions(
    subject: Subject, ks: Sequence[int], seeds: Sequence[int], metric: str = AUTO
) -> Iterator[tuple[KMeans, Conversion]]:
    """Convert a model for several numbers of prototypes per class and seeds, one at a time; each is stored at once.

    Args:
        subject: the model; its progress is called for the embeddings and after each conversion.
        ks: prototypes per class, in this order.
        seeds: of k-means.
        metric: of the embedding, see `metric.OPTIONS`.

    Raises:
        InputError: see `ModelConversion`.
    """
    for quiet, source in _each(subject, ks, seeds, metric):
        yield source, quiet.conversion(source).get()


def _each(subject: Subject, ks: Sequence[int], seeds: Sequence[int], metric: str) -> Iterator[tuple[Subject, KMeans]]:
    """The sources of `conversions`, each with a subject that reports no progress of its own."""
    quiet = dataclasses.replace(subject, progress=silent)
    for done, (seed, k) in enumerate(itertools.product(seeds, ks)):
        subject.progress(Event("Converting", done, len(ks) * len(seeds)))
        yield quiet, KMeans(k, seed, metric)
    subject.progress(Event("Converting", len(ks) * len(seeds), len(ks) * len(seeds)))


def attribute_curves(
    subject: Subject,
    ks: Sequence[int],
    seeds: Sequence[int] = (0,),
    metric: str = AUTO,
    train: Attributed | None = None,
) -> Curves:
    """Attribute coverage by number of prototypes per class; each conversion is stored at once.

    Args:
        subject, ks, seeds, metric: see `conversions`.
        train: the attributes of the training images; those in memory when None.

    Raises:
        InputError: when the data set has no attributes; see `ModelConversion`.
    """
    maker = CurveMaker(train or SplitAttributes(checked(subject.data.split("train"), subject.data.name)))
    for quiet, source in _each(subject, ks, seeds, metric):
        maker.add(source.k, source.seed, quiet.prototypes(source))
    return maker.curves()


def examined(ks: Sequence[int]) -> int:
    """The number of prototypes per class that is examined in detail: 5, or else the last."""
    return EXAMINED if EXAMINED in ks else ks[-1]


def stored_attribute_curves(
    subject: Subject, ks: Sequence[int], seeds: Sequence[int], metric: str = AUTO
) -> Curves | None:
    """`attribute_curves` over the numbers that are stored for every seed, or else for the first one; None for none."""
    for subset in (seeds, seeds[:1]):
        stored = [
            k for k in ks if all(subject.conversion(KMeans(k, seed, metric)).summary() is not None for seed in subset)
        ]
        if stored:
            return attribute_curves(subject, stored, subset, metric)
    return None


def built_in_attribute_curves(subjects: Sequence[Subject]) -> Curves:
    """Attribute coverage of built-in prototypes; each number and seed is a separate training.

    Args:
        subjects: models of one data set, see `info.trained_alike`.

    Raises:
        InputError: when the data set has no attributes, or for a black box.
    """
    data = subjects[0].data
    maker = CurveMaker(SplitAttributes(checked(data.split("train"), data.name)))
    for subject in subjects:
        prototypes = subject.conversion(BuiltIn()).get().prototypes
        maker.add(subject.info.k, training_seed(subject.info), prototypes)
    return maker.curves()
