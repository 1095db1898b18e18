"""The embedding map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.specs import ProjectionSpec
from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    Json,
    ModelName,
    Seed,
    SkipBroken,
    about,
    answer_with,
    app,
    open_subject,
)
from kmex_core.commands.requests import JobRequest, job_of

if TYPE_CHECKING:
    from kmex_core.stages.subject import Subject


@app.command()
def project(
    model: ModelName,
    sample: Annotated[
        int, typer.Option(min=5, help="Training images to fit UMAP on at most; any others are placed afterwards.")
    ] = ProjectionSpec("").sample,
    seed: Seed = 0,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Compute the embedding map (UMAP) for the page Explore. Takes seconds to a minute.

    Example: python -m kmex_core project --model digits
    """

    def work(bar: Bar) -> dict[str, Any]:
        subject = open_subject(model, data_root, skip_broken, device, bar)
        projection = subject.embedding_map(sample, seed).get()
        return {
            "model": model,
            "sample": len(projection.sample),
            "train_images": len(projection.train),
            "test_images": len(projection.test),
            "trustworthiness": projection.trustworthiness,
            "placed_trustworthiness": projection.placed_trustworthiness,
            "made_by": projection.made_by,
            "seconds": round(projection.seconds, 3),
        } | about(subject)

    def show(answer: dict[str, Any]) -> None:
        trust = f"trustworthiness {answer['trustworthiness']:.3f} (0 to 1, higher is better)"
        print(
            f"Embedding map of '{answer['model']}': UMAP on {answer['sample']:,} of {answer['train_images']:,} "
            f"training images ({answer['made_by']}), {answer['seconds']:.1f} s, {trust}."
        )

    answer_with(as_json, work, show)


def embedding_map_job(subject: Subject) -> JobRequest:
    """Compute a model's embedding map."""
    return job_of(f"embedding-map-{subject.embedding_map().key}", project, model=subject.info.name)
