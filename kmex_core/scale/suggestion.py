"""How many prototypes each class of a sharded embedding needs: the evidence of `prototypes.suggestion`, found by tasks.

A task has a batch of classes, and draws the rows of each that would be drawn in memory: it reads a class part by part,
and keeps these rows alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kmex_core.base.errors import StoreError
from kmex_core.base.files import Arrays, digest, read_file, write_file
from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import stable_key
from kmex_core.base.store import demand_writable
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.suggestion import SEED, STAGE, Evidence, batches, drawn, gathered, of_batch
from kmex_core.prototypes.sweep import REACHES
from kmex_core.scale.clustering import demand_rows
from kmex_core.scale.engine import Engine, kept
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.stages.bound import Bound
from kmex_core.stages.embedding import Embedded
from kmex_core.stages.geometry import ModelGeometry
from kmex_core.stages.suggestion import ModelSuggestion

REACH = REACHES[0]  # the largest number
METHOD = "sharded-suggestion-1"


@dataclass(frozen=True)
class _Batch:
    """Classes of one task."""

    number: int
    labels: tuple[int, ...]

    @property
    def file(self) -> str:
        return f"batch-{self.number:06d}"


@dataclass(frozen=True, eq=False)
class _Shared:
    """What the tasks share: where the rows are, and the metric of the prototypes."""

    folder: Path
    metric: EmbeddingMetric


def sharded_suggestion(
    embedding: ShardedEmbedding, metric: EmbeddingMetric, engine: Engine, progress: Progress = silent
) -> Evidence:
    """The evidence on each class of a sharded embedding: read from its results, or gathered, going on where an earlier
    run stopped.

    It is that of the same rows in one piece, up to the rounding of products with the matrix of a whitened metric.
    Memory of a task: 8 bytes for each row of a class, and the rows of one part.

    Args:
        embedding: N rows; every class has some.
        metric: of the prototypes.
        engine: connected.
        progress: called after each batch of classes.

    Raises:
        InputError: when a class has no rows, a part is damaged, or the store is read-only.
        StoreError: when the results cannot be written.
    """
    found = stored_suggestion(embedding, metric)
    if found is not None:
        return found
    demand_writable("Suggested numbers of prototypes cannot be written")
    demand_rows(embedding)
    path = suggestion_path(embedding, metric)
    work = embedding.results / f"work-{path.stem.rpartition('-')[2]}"
    several = batches(embedding.counts, REACH)
    items = [_Batch(number, labels) for number, labels in enumerate(several)]
    shared = _Shared(embedding.folder, metric)
    found = gathered(several, kept(engine, work, _of_classes, shared, items, STAGE, progress))
    write_file(path, found.to_arrays(), {"embedding": embedding.key})
    shutil.rmtree(work, ignore_errors=True)
    return found


def suggestion_path(embedding: ShardedEmbedding, metric: EmbeddingMetric) -> Path:
    """The file of what `sharded_suggestion` gives."""
    key = stable_key([METHOD, embedding.key, metric.name, digest(metric.to_arrays()), REACH, SEED])
    return embedding.results / f"suggestion-{key}.safetensors"


def stored_suggestion(embedding: ShardedEmbedding, metric: EmbeddingMetric) -> Evidence | None:
    """What `sharded_suggestion` has found before, if it is there undamaged, else None."""
    try:
        found = Evidence.from_arrays(read_file(suggestion_path(embedding, metric))[0])
    except (FileNotFoundError, StoreError, TypeError):
        return None
    return found if len(found.suggested) == len(embedding.class_names) else None


def _of_classes(shared: _Shared, item: _Batch) -> Arrays:
    import torch

    embedding, samples = ShardedEmbedding.open(shared.folder), []
    for label in item.labels:
        rows = embedding.rows_of_class(label, drawn(int(embedding.counts[label]), label, SEED))
        samples.append(torch.from_numpy(shared.metric(rows.z)))
    return of_batch(samples, REACH, SEED)


class ShardedSuggestion(ModelSuggestion):
    """`ModelSuggestion`, with the same key, gathered by an engine.

    Args:
        bound, metric, embedded, geometry: see `ModelSuggestion`.
        train: opens the sharded embedding of the training split.
        engine: connected.
    """

    def __init__(
        self,
        bound: Bound,
        metric: str,
        embedded: Embedded,
        geometry: ModelGeometry,
        train: Callable[[], ShardedEmbedding],
        engine: Engine,
    ) -> None:
        super().__init__(bound, metric, REACH, embedded, geometry)
        self._train, self._engine = train, engine

    def make(self) -> Evidence:
        """Gather the evidence.

        Raises:
            InputError: see `sharded_suggestion`.
        """
        metric = self._geometry.metric(self._metric)
        return sharded_suggestion(self._train(), metric, self._engine, self.progress)
