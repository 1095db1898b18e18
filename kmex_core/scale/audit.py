"""The audit of attributes part by part: of a model whose data set has attributes, and of embeddings of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kmex_core.analysis.coverage import Coverage, CurveMaker, Curves, checked, coverage_of
from kmex_core.base.errors import InputError
from kmex_core.base.progress import Progress, silent
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.source import KMeans
from kmex_core.prototypes.types import Prototypes
from kmex_core.scale.attribute_rows import AttributeRows, written
from kmex_core.scale.attributes import ShardedAttributes, group_figures
from kmex_core.scale.engine import Engine
from kmex_core.scale.figures import undescribed
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.subject import ShardedSubject
from kmex_core.scale.sweep import sharded_sweep
from kmex_core.stages.curves import attribute_curves, examined

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Audit:
    """What `analysis.export.audit` takes.

    Attributes:
        curves: over numbers of prototypes per class.
        k: the number that is examined in detail.
        covered: by its prototypes.
        accuracy: see `analysis.tables.attributes.accuracy_table`.
    """

    curves: Curves
    k: int
    covered: Coverage
    accuracy: pd.DataFrame


def audit_of_model(subject: ShardedSubject, ks: Sequence[int], seeds: Sequence[int], metric: str) -> Audit:
    """The audit of a model's KMEx.

    Args:
        subject: the model; its data set has attributes.
        ks, seeds, metric: see `curves.attribute_curves`; the first seed's prototypes are examined.

    Raises:
        InputError: when it has none; see `Measurement.figures`.
    """
    checked(subject.data.split("train"), subject.data.name)
    train, test = (
        written(subject.sharded(name), split.attribute_names, split.attributes, split.known)
        for name, split in ((name, subject.data.split(name)) for name in ("train", "test"))
    )
    attributes = ShardedAttributes(train, subject.geometry().metric(metric), subject.engine)
    curves = attribute_curves(subject, ks, seeds, metric, attributes)
    k = examined(curves.ks)
    return _audit(curves, k, attributes, test, subject.prototypes(KMeans(k, seeds[0], metric)))


def audit_of_folder(
    embedding: ShardedEmbedding,
    held_out: ShardedEmbedding | None,
    metric: EmbeddingMetric,
    ks: Sequence[int],
    seeds: Sequence[int],
    engine: Engine,
    memory: int,
    progress: Progress = silent,
) -> Audit:
    """The audit of the prototypes of a sharded embedding, by sweeps.

    Args:
        embedding, held_out, metric, engine, memory, progress: see `sharded_sweep`; both have the same attributes.
        ks: ascending numbers of prototypes per class.
        seeds: of k-means; the first one's prototypes are examined.

    Raises:
        InputError: when there are no attributes, or others; see `sharded_sweep`.
    """
    train, test = (AttributeRows.open(each) for each in (embedding, held_out or embedding))
    if train.names != test.names:
        raise InputError(f"{test.embedding.folder} has other attributes than {embedding.folder}.")
    attributes = ShardedAttributes(train, metric, engine)
    maker, first = CurveMaker(attributes), None
    for seed in seeds:
        found = sharded_sweep(embedding, metric, range(1, ks[-1] + 1), seed, engine, memory, held_out, progress)
        for k in ks:
            centers, classes, counts, exemplars = found.at(k)
            prototypes = replace(undescribed(centers, classes), count=counts, nearest=exemplars)
            maker.add(k, seed, prototypes)
            if seed == seeds[0] and k == examined(ks):
                first = prototypes
    assert first is not None
    return _audit(maker.curves(), examined(ks), attributes, test, first)


def _audit(curves: Curves, k: int, train: ShardedAttributes, test: AttributeRows, prototypes: Prototypes) -> Audit:
    from kmex_core.analysis.tables.attributes import LEAST_IMAGES, accuracy_rows

    groups = group_figures(test, train.metric, prototypes, train.engine, LEAST_IMAGES)
    accuracy = accuracy_rows(test.names, groups.accuracy, groups.chance, groups.of_all, groups.beside)
    return Audit(curves, k, coverage_of(train, prototypes), accuracy)
