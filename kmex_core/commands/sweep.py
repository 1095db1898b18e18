"""Every number of prototypes per class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from kmex_core.base.jsontext import plain
from kmex_core.commands._engine import (
    Address,
    EngineName,
    Folder,
    HeldOut,
    ModelOrNone,
    check_one,
    figures_of_folder,
    figures_of_model,
    show_sharded,
)
from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    Json,
    KRange,
    Metric,
    Seed,
    SkipBroken,
    about,
    answer_with,
    app,
    number_range,
    open_subject,
)
from kmex_core.commands._suggestion import show_suggestion, suggestion_answer
from kmex_core.commands.requests import JobRequest, job_of
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import KMeans

if TYPE_CHECKING:
    from kmex_core.scale.sharded import ShardedEmbedding
    from kmex_core.stages.subject import Subject


@app.command()
def sweep(
    model: ModelOrNone = "",
    k: KRange = "1:20",
    metric: Metric = AUTO,
    seed: Seed = 0,
    runs: Annotated[int, typer.Option("--runs", min=1, max=20, help="Seeds of k-means, from --seed on.")] = 1,
    engine: EngineName = "",
    address: Address = "",
    embeddings: Folder = "",
    held_out: HeldOut = "",
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Convert a model for a range of prototypes per class at once, and suggest a number for each class.

    With --engine, prototypes are found and measured part by part, by as many machines as the engine has.

    Example: python -m kmex_core sweep --model digits --k 1:20
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.analysis.tables.prototypes import sweep_table
        from kmex_core.prototypes.sweep import sweep_reach

        ks = number_range(k)
        check_one(model, embeddings, held_out)
        reach, seeds = sweep_reach(ks), range(seed, seed + runs)
        if embeddings:
            up_to = range(1, ks[-1] + 1)
            return figures_of_folder(embeddings, held_out, up_to, ks, metric, seeds, engine, address, bar, suggest=True)
        if engine or address:
            opened = open_subject(model, data_root, skip_broken, device, bar)
            return figures_of_model(opened, ks, metric, seeds, engine, address, data_root, skip_broken)
        subject = open_subject(model, data_root, skip_broken, device, bar)
        evidence = subject.suggestion(metric).get()
        sweeps = {each: subject.sweep(KMeans(1, each, metric), reach).get() for each in seeds}
        found = sweeps[seed]
        return {
            "model": model,
            "seed": seed,
            "metric": metric,
            "test_images": found.images,
            "seconds": round(found.seconds, 3),
            "rows": plain(sweep_table(sweeps, ks).to_dict("records")),
            "suggested": suggestion_answer(evidence, subject.info.class_names, _sizes(subject)),
        } | about(subject, _smallest(subject, max(ks)))

    answer_with(as_json, work, _show)


def _show(answer: dict[str, Any]) -> None:
    if "embeddings" in answer:
        show_sharded(answer)
    else:
        _show_rows(answer)
    show_suggestion(answer["suggested"])
    if "model" in answer:
        print(f"Next: python -m kmex_core convert --model {answer['model']} --k auto")


def _show_rows(answer: dict[str, Any]) -> None:
    black_box = answer["rows"][0].get("accuracy_black_box")  # not beside an encoder
    beside = "" if black_box is None else f", black box accuracy {black_box:.2%}"
    print(f"'{answer['model']}'{beside} on {answer['test_images']:,} test images")
    agreement = "" if black_box is None else "  agreement ↑  of random images"
    print(f"  k  seed  accuracy ↑{agreement}  ghosts ↓  diversity ↓  effective ↑  of random images")
    for row in answer["rows"]:
        diversity = "-" if row["diversity"] is None else f"{row['diversity']:.4f}"
        same = "" if black_box is None else f"  {row['agreement']:11.2%}  {row['random_agreement']:16.2%}"
        print(
            f"{row['k']:3}  {row['seed']:4}  {row['accuracy_kmex']:10.2%}{same}  {row['ghosting']:8.2%}  "
            f"{diversity:>11}  {row['effective']:11.2f}  {row['effective_random']:16.2f}"
        )
    print(
        "of random images: the same for random training images in place of the prototypes, the chance level.\n"
        "effective: effective number of prototypes per class (Vendi score, 1 to k). It reads low: 20 equidistant "
        "groups have 12.0."
    )


def _smallest(subject: Subject, k: int) -> str:
    """A sentence if a class has fewer than `k` training images, which limits its prototypes; "" otherwise."""
    info = subject.info
    sizes = _sizes(subject)
    name, size = info.class_names[int(sizes.argmin())], int(sizes.min())
    if size >= k:
        return ""
    return f"A class cannot have more prototypes than training images; the smallest class, '{name}', has {size:,}."


def _sizes(subject: Subject) -> np.ndarray:
    """(C,) training images of each class."""
    return np.bincount(subject.data.split("train").labels, minlength=len(subject.info.class_names))


def sweep_job(subject: Subject, source: KMeans, runs: int = 1) -> JobRequest:
    """Convert a model for every number of prototypes per class, with some seeds."""
    name = f"sweep-{subject.sweep(source).key}-{runs}"
    return job_of(name, sweep, model=subject.info.name, seed=source.seed, metric=source.metric, runs=runs)


def sharded_sweep_job(embedding: ShardedEmbedding) -> JobRequest:
    """Find prototypes of a sharded embedding in the store, for every number up to 10 per class."""
    return job_of(f"sharded-sweep-{embedding.key}", sweep, embeddings=embedding.folder.name, k="1:10")
