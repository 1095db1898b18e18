"""Every number of prototypes per class."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    First,
    Json,
    KRange,
    Metric,
    ModelName,
    Seed,
    SkipBroken,
    about,
    answer_with,
    app,
    number_range,
    open_subject,
)
from kmex_core.commands.requests import JobRequest, job_of
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import KMeans

if TYPE_CHECKING:
    from kmex_core.stages.subject import Subject


@app.command()
def sweep(
    model: ModelName,
    k: KRange = "1:20",
    first: First = 0,
    metric: Metric = AUTO,
    seed: Seed = 0,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Convert a model for a range of prototypes per class, to help you choose.

    Example: python -m kmex_core sweep --model digits --k 1:20
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.stages.sweep import sweep

        ks = number_range(k)
        subject = open_subject(model, data_root, skip_broken, device, bar)
        order = sorted(ks, key=lambda value: (value != first, value))
        summaries = sweep(subject, order, seed, metric)
        return {
            "model": model,
            "seed": seed,
            "metric": metric,
            "rows": [{"k": value, **dataclasses.asdict(summary)} for value, summary in summaries.items()],
        } | about(subject, _smallest(subject, max(summaries)))

    def show(answer: dict[str, Any]) -> None:
        black_box = answer["rows"][0]["accuracy_black_box"]
        print(f"'{answer['model']}', black box accuracy {black_box:.2%} on {answer['rows'][0]['images']:,} test images")
        print(
            "  k  accuracy ↑  agreement ↑  ghosts ↓  diversity ↓  effective ↑  of random images  of equidistant groups"
        )
        for row in answer["rows"]:
            diversity = "-" if row["diversity"] is None else f"{row['diversity']:.4f}"
            print(
                f"{row['k']:3}  {row['accuracy_kmex']:10.2%}  {row['agreement']:11.2%}  {row['ghosting']:8.2%}  "
                f"{diversity:>11}  {row['effective']:11.2f}  {row['effective_random']:16.2f}  "
                f"{row['effective_equidistant']:21.2f}"
            )
        print(
            "effective: effective number of prototypes per class (Vendi score, 1 to k), beside its value for random "
            "training images and for equidistant groups. It reads low: compare it with these two."
        )

    answer_with(as_json, work, show)


def _smallest(subject: Subject, k: int) -> str:
    """A sentence if a class has fewer than `k` training images, which limits its prototypes; "" otherwise."""
    info = subject.info
    sizes = np.bincount(subject.data.split("train").labels, minlength=len(info.class_names))
    name, size = info.class_names[int(sizes.argmin())], int(sizes.min())
    if size >= k:
        return ""
    return f"A class cannot have more prototypes than training images; the smallest class, '{name}', has {size:,}."


def sweep_job(subject: Subject, ks: range, source: KMeans) -> JobRequest:
    """Convert a model for each of `ks` prototypes per class, those of `source` before the others."""
    name = f"sweep-{subject.conversion(dataclasses.replace(source, k=1)).key}-{ks[0]}-{ks[-1]}"
    return job_of(
        name,
        sweep,
        model=subject.info.name,
        k=f"{ks[0]}:{ks[-1]}",
        seed=source.seed,
        first=source.k,
        metric=source.metric,
    )
