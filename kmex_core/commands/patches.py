"""Patch prototypes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    Json,
    K,
    Metric,
    ModelName,
    Overwrite,
    Seed,
    SkipBroken,
    about,
    answer_with,
    app,
    open_subject,
)
from kmex_core.commands.requests import JobRequest, job_of
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import KMeans
from kmex_core.prototypes.types import fewer_prototypes

if TYPE_CHECKING:
    from kmex_core.stages.subject import Subject


@app.command()
def patches(
    model: ModelName,
    k: K = 5,
    metric: Metric = AUTO,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a PNG image of all patch prototypes, as rectangles in their images."),
    ] = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Find patch prototypes, and classify each image by the vote of its patches (paper, A.4).

    Patches are the positions of the last feature map before global average pooling: 49 for a ResNet at 224×224 pixels.

    Example: python -m kmex_core patches --model faces --k 5 --out patches.png
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.analysis import export as exports
        from kmex_core.base.files import write_bytes
        from kmex_core.base.outputs import check_file

        if out is not None:
            check_file(out, overwrite)
        subject = open_subject(model, data_root, skip_broken, device, bar)
        info = subject.info
        patches = subject.patches(KMeans(k, seed, metric)).get()
        if out is not None:
            write_bytes(out, exports.patch_sheet(patches.prototypes, info.class_names, subject.data))
        return {
            "model": model,
            "k": k,
            "seed": seed,
            "metric": patches.metric,
            "grid": patches.prototypes.grid.tolist(),
            "accuracy": patches.accuracy,
            "accuracy_black_box": patches.accuracy_black_box,
            "agreement": patches.agreement,
            "ghosting": float((patches.prototypes.count == 0).mean()),
            "seconds": round(patches.seconds, 3),
            "out": str(out) if out else None,
        } | about(subject, fewer_prototypes(patches.prototypes, info.class_names, k))

    def show(answer: dict[str, Any]) -> None:
        rows, columns = answer["grid"]
        print(
            f"'{answer['model']}', {rows}×{columns} patches, {answer['k']} prototypes per class:\n"
            f"  accuracy of the black box  {answer['accuracy_black_box']:8.2%}  (higher is better)\n"
            f"  accuracy of the vote       {answer['accuracy']:8.2%}  (higher is better)\n"
            f"  agreement of the two       {answer['agreement']:8.2%}  (higher is better)\n"
            f"  ghost prototypes           {answer['ghosting']:8.2%}  (lower is better)"
        )
        if answer["out"]:
            print(f"Wrote the prototypes to {answer['out']}.")

    answer_with(as_json, work, show)


def patches_job(subject: Subject, source: KMeans) -> JobRequest:
    """Find a model's patch prototypes."""
    name = f"patches-{subject.patches(source).key}"
    return job_of(name, patches, model=subject.info.name, k=source.k, metric=source.metric, seed=source.seed)
