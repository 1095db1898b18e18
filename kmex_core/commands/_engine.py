"""What commands that run on an engine share: its options, and what is computed from sharded embeddings in a folder."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import plain
from kmex_core.commands._shared import Bar, about, embedding_folder
from kmex_core.commands._suggestion import suggestion_answer

if TYPE_CHECKING:
    import numpy as np

    from kmex_core.base.progress import Progress
    from kmex_core.prototypes.metric import EmbeddingMetric
    from kmex_core.scale.engine import Engine
    from kmex_core.scale.sharded import ShardedEmbedding
    from kmex_core.scale.sweep import ShardedSweep
    from kmex_core.stages.subject import Subject

ON_THE_SAME = "Measured on the rows that the prototypes were found on: pass --held-out to measure on others."

EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="local|ray",
        help="Compute part by part from a sharded embedding: local, in this process, or ray, on a Ray cluster. "
        "Default: in memory.",
    ),
]
Address = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="A running Ray cluster, or auto for that of this machine. Default: start Ray on this machine.",
    ),
]
ModelOrNone = Annotated[
    str, typer.Option("--model", metavar="NAME", help="A model in the store (see `models`); not with --embeddings.")
]
Folder = Annotated[
    str,
    typer.Option(
        "--embeddings",
        metavar="DIR",
        help="Use the embeddings of a folder instead of a model's: sharded ones, by their path or their name in the "
        "store, or parquet files of other programs.",
    ),
]
HeldOut = Annotated[
    str,
    typer.Option(
        "--held-out", metavar="DIR", help="With --embeddings: other rows to measure on. Default: the same rows."
    ),
]


@contextlib.contextmanager
def connected(name: str, address: str) -> Iterator[Engine]:
    """An engine by `--engine` ("local" for "") and `--address`."""
    from kmex_core.scale.engine import LOCAL, engine_of

    # Ray prints what happens to its workers; stdout is for the answer
    with contextlib.redirect_stdout(sys.stderr), engine_of(name or LOCAL, address) as engine:
        yield engine


@contextlib.contextmanager
def on_engine(
    subjects: Sequence[Subject], name: str, address: str, data_root: str, skip_broken: bool
) -> Iterator[list[Subject]]:
    """Models computed by an engine, or as they are for `--engine ""`.

    Raises:
        InputError: for an address without an engine; see `engine.engine_of`.
    """
    if not name:
        if address:
            raise InputError("--address is of a Ray cluster: pass --engine ray with it.")
        yield list(subjects)
        return
    from kmex_core.scale.subject import ShardedSubject

    with connected(name, address) as engine:
        more: dict[str, Any] = {"engine": engine, "memory": engine.memory, "data_root": data_root}
        yield [
            ShardedSubject(
                **{each.name: getattr(subject, each.name) for each in dataclasses.fields(subject)},
                **more,
                skip_broken=skip_broken,
            )
            for subject in subjects
        ]


def check_one(model: object, embeddings: str, held_out: str = "") -> None:
    """Refuse both or neither of a model and a folder of embeddings.

    Raises:
        InputError: for that, and for `--held-out` with a model.
    """
    if bool(model) == bool(embeddings):
        raise InputError("Pass --model or --embeddings, and not both.")
    if held_out and not embeddings:
        raise InputError("--held-out is for --embeddings: a model is measured on its test split.")


def rows_of_folder(
    embeddings: str, held_out: str, metric: str, engine: Engine, bar: Bar
) -> tuple[ShardedEmbedding, ShardedEmbedding | None, EmbeddingMetric]:
    """The embeddings of a folder, those to measure on if these are others, and the metric.

    Raises:
        InputError: for a folder without embeddings, held-out rows of other ones, or an unknown metric.
    """
    from kmex_core.base.store import Store
    from kmex_core.prototypes.metric import EUCLIDEAN, EmbeddingMetric
    from kmex_core.prototypes.metric_choice import chosen_metric
    from kmex_core.scale.adoption import opened
    from kmex_core.scale.subject import sample_size

    rows = opened(embedding_folder(embeddings), Store(), bar)
    other = opened(embedding_folder(held_out), Store(), bar) if held_out else None
    if other is not None and (other.dimensions, other.class_names) != (rows.dimensions, rows.class_names):
        raise InputError(
            f"{held_out} has {other.dimensions} dimensions and {len(other.class_names)} classes; expected "
            f"{rows.dimensions} and the same {len(rows.class_names)} classes as {embeddings}."
        )
    if metric == EUCLIDEAN:
        return rows, other, EmbeddingMetric()  # needs no rows
    memory = engine.memory
    some, few = (
        None if each is None else each.sample(sample_size(each, memory), 0).embeddings for each in (rows, other)
    )
    assert some is not None
    return rows, other, chosen_metric(metric, some, few, rows.class_names)


def sharded_rows(sweeps: Sequence[ShardedSweep], ks: Sequence[int]) -> list[dict[str, Any]]:
    """One object per seed and number of prototypes, as `sweep` has them."""
    rows = []
    for found in sweeps:
        for number, k in enumerate(found.ks.tolist()):
            if k not in ks:
                continue
            row = {
                "k": k,
                "seed": found.seed,
                "accuracy_kmex": found.accuracy[number],
                "agreement": found.agreement[number],
                "accuracy_black_box": found.accuracy_black_box,
                "ghosting": found.ghosting[number],
                "diversity": found.diversity[number],
                "effective": found.effective[number],
                "effective_random": found.effective_random[number, 0],
                "effective_random_band": found.effective_random[number, 1:],
                "effective_equidistant": found.effective_equidistant[number],
                "coverage_radius": found.coverage_radius[number],
                "inertia": found.inertia[number].sum(),
                "prototypes": found.sizes[number],
            }
            rows.append(plain(row))
    return rows


def about_sharded(embedding: ShardedEmbedding, found: ShardedSweep) -> dict[str, Any]:
    """What accompanies the figures of a sweep; see `about_rows`."""
    return about_rows(embedding, found.metric, found.measured, found.held_out, found.coreset, found.loss, found.seconds)


def about_rows(
    embedding: ShardedEmbedding,
    metric: str,
    measured: int,
    held_out: bool,
    coreset: np.ndarray,
    loss: np.ndarray,
    seconds: float,
) -> dict[str, Any]:
    """What accompanies figures: the rows, how they were measured, and what coresets lost.

    Args:
        embedding: the rows that prototypes were found on.
        metric: its name.
        measured: how many rows the figures are of.
        held_out: whether these are others.
        coreset: (C,) rows of each class's coreset; 0 for none.
        loss: by how much the inertia was larger with the coresets alone, as shares.
        seconds: of it all.
    """
    large = [label for label, rows in enumerate(coreset.tolist()) if rows]
    notes = []
    if large:
        notes.append(
            f"{len(large)} of {len(coreset)} classes do not fit into memory: their prototypes began on a coreset "
            f"of {int(coreset[large[0]]):,} rows, whose inertia was up to {loss.max():.2%} larger than "
            "after the rounds over all rows."
        )
    if not held_out:
        notes.append(ON_THE_SAME)
    return {
        "embeddings": str(embedding.folder),
        "name": embedding.name,
        "images": embedding.rows,
        "dimensions": embedding.dimensions,
        "classes": len(embedding.class_names),
        "metric": metric,
        "test_images": measured,
        "held_out": held_out,
        "coreset_loss": float(loss.max()),
        "seconds": round(seconds, 3),
        "notes": notes,
    }


def show_sharded(answer: dict[str, Any]) -> None:
    """The figures as a table."""
    of = "held-out" if answer["held_out"] else "the same"
    title = answer.get("model") or answer["name"]
    print(
        f"'{title}': {answer['images']:,} rows of {answer['dimensions']} dimensions, {answer['classes']} "
        f"classes, {answer['metric']} metric, measured on {answer['test_images']:,} {of} rows"
    )
    beside = answer["rows"][0]["accuracy_black_box"] is not None
    print(
        f"  k  seed  accuracy ↑{'  agreement ↑' if beside else ''}  ghosts ↓  diversity ↓  effective ↑  of random rows"
        "  coverage radius ↓"
    )
    for row in answer["rows"]:
        diversity = "-" if row["diversity"] is None else f"{row['diversity']:.4f}"
        same = f"  {row['agreement']:11.2%}" if beside else ""
        print(
            f"{row['k']:3}  {row['seed']:4}  {row['accuracy_kmex']:10.2%}{same}  {row['ghosting']:8.2%}  "
            f"{diversity:>11}  {row['effective']:11.2f}  {row['effective_random']:14.2f}  "
            f"{row['coverage_radius']:17.3f}"
        )


def figures_of_folder(
    embeddings: str,
    held_out: str,
    numbers: Sequence[int],
    ks: Sequence[int],
    metric: str,
    seeds: Sequence[int],
    engine: str,
    address: str,
    bar: Bar,
    suggest: bool = False,
) -> dict[str, Any]:
    """The answer of `sweep` about the embeddings of a folder.

    Args:
        embeddings, held_out, metric, seeds, engine, address: its options.
        numbers: of clusters that are found.
        ks: those of them to answer with.
        bar: called after each task.
        suggest: whether to suggest numbers of prototypes as well.
    """
    from kmex_core.scale.sweep import sharded_sweep

    with connected(engine, address) as used:
        rows, other, fitted = rows_of_folder(embeddings, held_out, metric, used, bar)
        sweeps = [sharded_sweep(rows, fitted, numbers, seed, used, used.memory, other, bar) for seed in seeds]
        suggested = _suggested(rows, sweeps[0], used, bar) if suggest else {}
    return {"rows": sharded_rows(sweeps, ks), "seeds": list(seeds)} | suggested | about_sharded(rows, sweeps[0])


def _suggested(rows: ShardedEmbedding, sweep: ShardedSweep, engine: Engine, progress: Progress) -> dict[str, Any]:
    from kmex_core.scale.suggestion import sharded_suggestion

    assert sweep.space is not None, "kept by this version"
    evidence = sharded_suggestion(rows, sweep.space, engine, progress)
    return {"suggested": suggestion_answer(evidence, rows.class_names, rows.counts)}


def figures_of_model(
    subject: Subject,
    ks: Sequence[int],
    metric: str,
    seeds: Sequence[int],
    engine: str,
    address: str,
    data_root: str,
    skip_broken: bool,
) -> dict[str, Any]:
    """The answer of `sweep --engine` for a model, measured on its test split; see `figures_of_folder`."""
    from kmex_core.scale.subject import ShardedSubject
    from kmex_core.scale.sweep import sharded_sweep

    with on_engine([subject], engine, address, data_root, skip_broken) as (used,):
        assert isinstance(used, ShardedSubject)
        train, test = used.sharded("train"), used.sharded("test")
        fitted, numbers = used.geometry().metric(metric), range(1, ks[-1] + 1)
        sweeps = [
            sharded_sweep(train, fitted, numbers, seed, used.engine, used.memory, test, used.progress) for seed in seeds
        ]
        suggested = _suggested(train, sweeps[0], used.engine, used.progress)
        used.suggestion(metric).get()  # for pages and `convert --k auto`
        answer = {"model": subject.info.name, "rows": sharded_rows(sweeps, ks), "seeds": list(seeds)} | suggested
        of_rows = about_sharded(train, sweeps[0])
        return answer | of_rows | about(used, *of_rows["notes"])
