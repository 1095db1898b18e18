"""How long each step takes as images, dimensions, prototypes per class and classes grow, and what it needs on disk.

`growth` writes docs/scale.md from the rows. Each step is the product's own function on a generated embedding.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rivals import embedding
from benchmarks.timing import Work, memory

SEED, ATTRIBUTES, BATCH = 0, 40, 128
AXES = {"images": "images", "dimensions": "dimensions", "k": "prototypes per class", "classes": "classes"}


@dataclass(frozen=True)
class Size:
    """Of one embedding: N images, D dimensions, prototypes per class, classes."""

    images: int = 12_000
    dimensions: int = 512
    k: int = 20
    classes: int = 10


@dataclass(frozen=True)
class Plan:
    """What is measured: each axis grows while the others stay at `base`.

    Attributes:
        base: the size that the others are beside.
        axes: the sizes of each axis.
        mapped: images of the embedding maps.
        pictures: images through each network: backbone, side, how many.
        rows: of the sharded embeddings, which have `parts_classes` classes.
        parts_classes: a coreset takes as long for a small class as for a large one.
        patience: seconds after which a measurement is not repeated.
    """

    base: Size = Size()
    axes: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("images", (3_000, 6_000, 12_000, 24_000, 48_000)),
        ("dimensions", (64, 128, 256, 512)),
        ("k", (5, 10, 20, 40)),
        ("classes", (5, 10, 50)),
    )
    mapped: tuple[int, ...] = (3_000, 6_000, 12_000)
    pictures: tuple[tuple[str, int, tuple[int, ...]], ...] = (
        ("resnet20", 32, (500, 1000, 2000)),
        ("resnet34", 32, (250, 500, 1000)),
        ("resnet18", 224, (32, 64, 128)),
    )
    rows: tuple[int, ...] = (40_000, 80_000, 160_000)
    parts_classes: int = 2
    patience: float = 4.0


def measure(plan: Plan = Plan()) -> list[dict[str, Any]]:
    """Rows of each step at each size, of peak memory, and of a sharded embedding."""
    rows = [*_extraction(plan)]
    for step, (prepare, axes) in STEPS.items():
        _warm(prepare)
        for axis, sizes in plan.axes:
            for value in (plan.mapped if step == "embedding map" else sizes) if axis in axes else ():
                size = replace(plan.base, **{axis: value})
                rows.append(_timed(step, axis, value, size, prepare(size), plan.patience))
    return [*rows, *_memory(plan), *_sharded(plan)]


def _warm(prepare: Callable[[Size], Work]) -> None:
    """Load and compile what a step needs."""
    prepare(Size(200, 16, 2, 2))()


def _warmed(prepare: Callable[[Size], Work], size: Size) -> Work:
    _warm(prepare)
    return prepare(size)


def _timed(step: str, axis: str, value: int, size: Size, work: Work, patience: float) -> dict[str, Any]:
    """Up to three runs, as long as they take less than `patience` seconds; a first short one is not counted."""
    seconds: list[float] = []
    busy: list[float] = []
    for run in range(4):
        started, before = time.perf_counter(), time.process_time()
        work()
        took, processor = time.perf_counter() - started, time.process_time() - before
        if run or took > 1:
            seconds.append(took)
            busy.append(processor)
        if len(seconds) == 3 or sum(seconds) > patience:
            break
    return {
        "what": f"{step}, {value:,} {AXES.get(axis, axis)}",
        "cost": step,
        "axis": axis,
        "at": value,
        "images": size.images,
        "dimensions": size.dimensions,
        "k": size.k,
        "classes": size.classes,
        "median": float(f"{np.median(seconds):.4g}"),
        "processor": float(f"{np.median(busy):.4g}"),
        "runs": len(seconds),
        "unit": "s",
        "better": "lower",
    }


# ---- the steps ------------------------------------------------------------------------------------------------------


def _extraction(plan: Plan) -> Iterator[dict[str, Any]]:
    import torch

    from kmex_core.networks import architectures
    from kmex_core.networks.extraction import extract
    from kmex_core.networks.splitting import split

    for name, side, counts in plan.pictures:
        torch.manual_seed(SEED)
        parts = split(architectures.build(name, 10, side))
        images = torch.randn(max(counts), 3, side, side)
        for count in counts:

            def work(count: int = count, images: Any = images, parts: Any = parts) -> None:
                pictures = images[:count].split(BATCH)
                batches = ((each, torch.zeros(len(each), dtype=torch.int64)) for each in pictures)
                extract(parts.encoder, parts.head, batches, count)

            size = replace(plan.base, images=count)
            yield _timed(f"extraction, {name}, {side} px", "images", count, size, work, plan.patience)


def _embedded(size: Size) -> Any:
    from kmex_core.networks.types import Embeddings

    z, labels = embedding(size.images, size.dimensions, size.classes)
    return Embeddings(z, labels, labels)


def _names(size: Size) -> list[str]:
    return [str(label) for label in range(size.classes)]


def _conversion(size: Size) -> Work:
    from kmex_core.prototypes.fit import fit_prototypes

    return partial(fit_prototypes, _embedded(size), _names(size), size.k, SEED)


def _sweep(size: Size) -> Work:
    """All numbers from 1 to k, with their measures on a fifth as many test images."""
    from kmex_core.base.progress import silent
    from kmex_core.prototypes.metric import EmbeddingMetric
    from kmex_core.stages.sweep import swept

    train = _embedded(size)
    test = _embedded(replace(size, images=max(size.classes, size.images // 5)))
    return partial(swept, train, test, _names(size), EmbeddingMetric(), size.k, SEED, "cpu", silent)


def _evaluation(size: Size) -> Work:
    """All measures of a conversion but those on relevance maps, on as many test images."""
    from kmex_core.prototypes.fit import fit_prototypes
    from kmex_core.prototypes.metric import EmbeddingMetric
    from kmex_core.stages.conversion import by_kmeans

    train = _embedded(size)
    few = _embedded(replace(size, images=min(size.images, 40 * size.classes)))
    prototypes = fit_prototypes(few, _names(size), min(size.k, 40), SEED)
    return lambda: by_kmeans(train, train, None, prototypes, SEED, EmbeddingMetric(), "cpu", time.perf_counter())


def _embedding_map(size: Size) -> Work:
    from kmex_core.analysis import projection
    from kmex_core.base.specs import ProjectionSpec

    train = _embedded(size)
    return partial(projection.fit, train, _none(size), ProjectionSpec(""))


def _none(size: Size) -> Any:
    from kmex_core.networks.types import Embeddings

    nothing = np.empty(0, np.int64)
    return Embeddings(np.empty((0, size.dimensions), np.float32), nothing, nothing)


def _attributes(size: Size) -> Work:
    """What the prototypes cover of `ATTRIBUTES` attributes, and the groups of images."""
    from kmex_core.analysis.coverage import coverage
    from kmex_core.analysis.tables.attributes import subgroup_table
    from kmex_core.data.registry import ArraySplit
    from kmex_core.prototypes.fit import fit_prototypes

    embedded = _embedded(size)
    split = ArraySplit(np.empty((size.images, 0, 0), np.uint8), embedded.labels)
    random = np.random.default_rng(SEED)
    split.attributes = random.random((size.images, ATTRIBUTES)) < np.linspace(0.05, 0.6, ATTRIBUTES)
    split.attribute_names = tuple(f"a{at}" for at in range(ATTRIBUTES))
    prototypes = fit_prototypes(embedded, _names(size), size.k, SEED)
    return lambda: subgroup_table(coverage(split, prototypes))


ALL = ("images", "dimensions", "k", "classes")
# how the work of a size is made, and the axes on which it depends
STEPS: dict[str, tuple[Callable[[Size], Work], tuple[str, ...]]] = {
    "conversion": (_conversion, ALL),
    "sweep": (_sweep, ALL),
    "evaluation": (_evaluation, ALL),
    "embedding map": (_embedding_map, ("images",)),
    "attributes": (_attributes, ("images", "k")),
}


# ---- memory and disk ------------------------------------------------------------------------------------------------


def _memory(plan: Plan) -> Iterator[dict[str, Any]]:
    """Peak memory beyond the embedding, at several sizes: what grows with the images, and what does not.

    Buffers that are used again are full at the largest.
    """
    for step in ("conversion", "sweep", "evaluation"):
        for images in (plan.base.images // 2, plan.base.images, 4 * plan.base.images):
            size = replace(plan.base, images=images)
            prepare, _ = STEPS[step]
            yield _memory_row(step, size, memory(partial(_warmed, prepare, size)), in_parts=False)


def _memory_row(step: str, size: Size, taken: float, in_parts: bool) -> dict[str, Any]:
    beyond = "" if in_parts else " beyond the embedding"
    return {
        "what": f"{step}, {size.images:,} × {size.dimensions}: peak memory{beyond}",
        "memory of": step,
        "in parts": in_parts,
        "images": size.images,
        "dimensions": size.dimensions,
        "median": round(taken, 1),
        "runs": 1,
        "unit": "MB",
        "better": "lower",
    }


def _sharded(plan: Plan) -> Iterator[dict[str, Any]]:
    """An embedding in parts on disk: writing, reading, and sweeps of whole classes and by coresets."""
    with tempfile.TemporaryDirectory() as name:
        for count in plan.rows:
            folder, size = Path(name) / str(count), replace(plan.base, images=count, classes=plan.parts_classes)
            yield _timed("writing in parts", "images", count, size, _writing(folder, size), 0)
            yield _timed("reading in parts", "images", count, size, partial(_read, folder), 0)
            last = count in plan.rows[-2:]
            for step, limit in (("sweep in parts", WHOLE), ("sweep in parts, by coresets", 0)):
                if not (limit or last):
                    continue
                work = partial(_sweep_in_parts, folder, size.k, limit)
                row = _timed(step, "images", count, size, work, 0)
                yield row | ({} if limit else {"loss": float(f"{_loss(folder):.3g}")})
                if last:
                    taken = memory(partial(_sweep_warmed, folder, size.k, limit))
                    yield _memory_row(step, size, taken, in_parts=True)
            on_disk = sum(part.stat().st_size for part in folder.glob("*.parquet"))
            yield {
                "what": f"{count:,} × {size.dimensions} in parts: bytes on disk for each row",
                "disk": "bytes",
                "images": count,
                "dimensions": size.dimensions,
                "median": round(on_disk / count, 1),
                "runs": 1,
                "unit": "B",
                "better": "lower",
            }


WHOLE = 2**62  # bytes: every class fits into memory


def _writing(folder: Path, size: Size) -> Work:
    from kmex_core.scale.sharded import ShardWriter

    z, labels = embedding(size.images, size.dimensions, size.classes)

    def write() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        writer = ShardWriter(folder, size.dimensions, _names(size))
        writer.add(z, labels, labels)
        writer.finish()

    return write


def _read(folder: Path) -> int:
    from kmex_core.scale.sharded import ShardedEmbedding

    return sum(len(block) for block in ShardedEmbedding.open(folder).blocks())


def _sweep_in_parts(folder: Path, k: int, limit: int) -> None:
    """Sweep on this machine, as if for the first time.

    Args:
        folder: of the sharded embedding.
        k: the largest number of prototypes per class.
        limit: bytes that a task may use.
    """
    from kmex_core.prototypes.metric import EmbeddingMetric
    from kmex_core.scale.engine import Local
    from kmex_core.scale.sharded import ShardedEmbedding
    from kmex_core.scale.sweep import sharded_sweep

    sharded = ShardedEmbedding.open(folder)
    shutil.rmtree(sharded.results, ignore_errors=True)
    with Local() as engine:
        sharded_sweep(sharded, EmbeddingMetric(), range(1, k + 1), SEED, engine, limit)


def _loss(folder: Path) -> float:
    """How much larger the inertia was with the prototypes of the coresets alone, as a share; of the largest k."""
    from kmex_core.scale.sharded import ShardedEmbedding
    from kmex_core.scale.sweep import stored_sweep

    found = stored_sweep(ShardedEmbedding.open(folder))
    assert found is not None
    return float(found.loss[-1].mean())


def _sweep_warmed(folder: Path, k: int, limit: int) -> Work:
    with tempfile.TemporaryDirectory() as name:
        _writing(Path(name) / "few", Size(200, 16, 2, 2))()
        _sweep_in_parts(Path(name) / "few", 2, WHOLE)
    return lambda: _sweep_in_parts(folder, k, limit)
