"""Images of a model's split to a sharded embedding, a part in each task."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from kmex_core.base.artifact import Artifact
from kmex_core.base.devices import checked_device
from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import plain
from kmex_core.base.progress import Event
from kmex_core.base.specs import DatasetSpec, EmbeddingSpec
from kmex_core.base.store import Store, checked_name, demand_writable
from kmex_core.networks.arithmetic import EXACT, Arithmetic
from kmex_core.networks.types import Embeddings
from kmex_core.scale.engine import Engine
from kmex_core.scale.parts import PART_ROWS, Block, Part
from kmex_core.scale.sharded import MANIFEST, ROOM, ShardedEmbedding, Sharding
from kmex_core.stages.arithmetic_change import IMAGES, ArithmeticChange, change_on, evenly_spaced
from kmex_core.stages.embedding import BATCH, GROUPS, SplitEmbedding, embedded_rows
from kmex_core.stages.subject import Subject, subject_of

PARTS = 64  # of an embedding that is not large, so that there is work for several machines
LEAST_ROWS = 8 * BATCH
COMPARED_PARTS = 8  # of other arithmetic, whose rows are compared with 32-bit floats: each is read whole


@dataclass(frozen=True)
class Images:
    """Which images of which model, for workers that open both themselves: on files that all machines see.

    Attributes:
        root: the store's folder.
        model, data_root, skip_broken, device: see `stages.subject.subject_of`.
        split: the images.
        arithmetic: see `stages.embedding.SplitEmbedding`.
        key: of the embedding, which workers compare with what they find.
    """

    root: Path
    model: str
    data_root: str
    skip_broken: bool
    device: str
    split: str
    arithmetic: Arithmetic
    key: str


@dataclass(frozen=True)
class _Task:
    """What the tasks of one extraction share."""

    images: Images
    folder: Path
    sharding: Sharding
    total: int


def sharded_split(
    subject: Subject,
    split: str,
    engine: Engine,
    name: str = "",
    data_root: str = "",
    skip_broken: bool = False,
    arithmetic: Arithmetic = EXACT,
) -> ShardedEmbedding:
    """The sharded embedding of a model's split in the store: opened, or computed where it is missing or unfinished.

    Parts that are there and whole are not computed again. An embedding that the store has in one piece is cut in parts.

    Args:
        subject: the model and its data; its progress is called after each part.
        split: "train", "test" or "validation".
        engine: connected.
        name: in the store; by default the key of the embedding's spec.
        data_root, skip_broken: where workers find the data, see `subject_of`.
        arithmetic: see `stages.embedding.SplitEmbedding`.

    Raises:
        InputError: when the name is taken by another embedding, the data set has no such split, the store is read-only
            and lacks it, or a worker finds other files; see `extraction.extract`.
        StoreError: when it cannot be written.
    """
    if split not in subject.data.splits:
        raise InputError(f"Data set '{subject.data.name}' has no split '{split}': {', '.join(subject.data.splits)}.")
    store, whole = subject.store, SplitEmbedding(subject, split, arithmetic)
    name = name or whole.key
    folder = store.root / ROOM / checked_name(name)
    if (folder / MANIFEST).is_file():
        return _same(ShardedEmbedding.open(folder), whole.spec)
    demand_writable(f"The embedding of '{subject.info.name}' cannot be written")
    with store.locked(ROOM, name, progress=subject.progress):
        if (folder / MANIFEST).is_file():
            return _same(ShardedEmbedding.open(folder), whole.spec)
        if whole.exists():
            return _cut(folder, name, subject, split, whole)
        images = Images(
            store.root.resolve(),
            subject.info.name,
            data_root,
            skip_broken,
            subject.device,
            split,
            arithmetic,
            whole.key,
        )
        return _computed(folder, name, subject, images, whole.spec, engine)


def _same(embedding: ShardedEmbedding, spec: EmbeddingSpec) -> ShardedEmbedding:
    if embedding.spec != plain(spec.described()):
        raise InputError(
            f"The name '{embedding.name}' is taken by another embedding (of '{embedding.model}'). Choose another "
            f"--name, or remove {embedding.folder}."
        )
    return embedding


def _sharding(name: str, subject: Subject, split: str, spec: EmbeddingSpec, dimensions: int) -> Sharding:
    info = subject.info
    total = len(subject.data.split(split))
    data = DatasetSpec(info.dataset, info.root, info.image_size, info.class_column, info.skip_broken, info.image_column)
    return Sharding(
        name,
        dimensions,
        tuple(info.class_names),
        {"kind": "dataset", "dataset": asdict(data), "split": split},
        info.name,
        spec.described(),
        part_rows(total),
    )


def part_rows(total: int) -> int:
    """Rows of each part of so many: whole batches, so that results do not depend on how the rows are cut."""
    rows = -(-total // PARTS)
    return min(PART_ROWS, max(LEAST_ROWS, -(-rows // BATCH) * BATCH))


def _cut(
    folder: Path, name: str, subject: Subject, split: str, whole: Artifact[EmbeddingSpec, Embeddings]
) -> ShardedEmbedding:
    """The parts of an embedding that is in the store already."""
    embeddings = subject.read(whole)
    sharding = _sharding(name, subject, split, whole.spec, embeddings.z.shape[1])
    parts: list[Part] = []
    for number, first in enumerate(range(0, len(embeddings), sharding.part_rows)):
        rows = slice(first, min(first + sharding.part_rows, len(embeddings)))
        part = sharding.whole(folder, number, first)
        if part is None:
            values = (embeddings.z[rows], embeddings.labels[rows], embeddings.black_box[rows])
            part = sharding.write(folder, number, Block(np.arange(rows.start, rows.stop), *values))
        parts.append(part)
    return sharding.finish(folder, parts)


def _computed(
    folder: Path, name: str, subject: Subject, images: Images, spec: EmbeddingSpec, engine: Engine
) -> ShardedEmbedding:
    """The parts computed by the engine."""
    split, total = images.split, len(subject.data.split(images.split))
    if total == 0:
        raise InputError("There are no images to embed.")
    # however they are computed; compiling takes a minute
    dimensions = embedded_rows(subject, split, np.arange(1)).z.shape[1]
    task = _Task(images, folder, _sharding(name, subject, split, spec, dimensions), total)
    parts, done = [], 0
    subject.progress(Event("Computing embeddings", done, total, GROUPS[split]))
    for part in engine.map(_part, task, range(-(-total // task.sharding.part_rows)), accelerated=True):
        parts.append(part)
        done += part.rows
        subject.progress(Event("Computing embeddings", done, total, GROUPS[split]))
    return task.sharding.finish(folder, parts)


def _part(task: _Task, number: int) -> Part:
    """One part: the one that is there, or computed now."""
    first = number * task.sharding.part_rows
    part = task.sharding.whole(task.folder, number, first)
    if part is not None:
        return part
    rows = np.arange(first, min(first + task.sharding.part_rows, task.total))
    embedded = embedded_rows(opened(task.images), task.images.split, rows, task.images.arithmetic)
    block = Block(rows, embedded.z, embedded.labels, embedded.black_box)
    return task.sharding.write(task.folder, number, block)


@functools.lru_cache(maxsize=2)
def opened(images: Images) -> Subject:
    """The model and the data in a worker, which keeps them from one task to the next.

    Raises:
        InputError: when they are not those that the embedding is of.
    """
    subject = subject_of(
        Store(images.root), images.model, images.data_root, images.skip_broken, checked_device(images.device)
    )
    if subject.embedding(images.split, images.arithmetic).key != images.key:
        raise InputError(
            f"A worker finds another model '{images.model}' or other data than this machine. All machines need the "
            "same files at the same paths: the store (KMEX_CACHE) and the data (--data-root)."
        )
    return subject


def sharded_change(
    subject: Subject, split: str, embedding: ShardedEmbedding, arithmetic: Arithmetic
) -> ArithmeticChange:
    """What other arithmetic changed in a sharded embedding, on evenly spaced rows of a few of its parts.

    Args:
        subject: the model and its data.
        split: that the embedding is of.
        embedding: computed with `arithmetic`.

    Raises:
        InputError: when a part is missing or damaged; see `extraction.stream`.
    """
    numbers = evenly_spaced(len(embedding.parts), COMPARED_PARTS).tolist()
    some = []
    for number in numbers:
        block = embedding.block(number)
        some.append(block.taken(evenly_spaced(len(block), IMAGES // len(numbers))))
    compared = Block.joined(some, embedding.dimensions)
    return change_on(subject, split, compared.index, compared.embeddings, arithmetic)
