"""The embedding map."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.base.specs import ProjectionSpec
from kmex_core.commands._engine import Address, EngineName, Folder, ModelOrNone, check_one, connected
from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    Json,
    Seed,
    SkipBroken,
    about,
    answer_with,
    app,
    embedding_folder,
    open_subject,
)
from kmex_core.commands.requests import JobRequest, job_of

if TYPE_CHECKING:
    from kmex_core.scale.sharded import ShardedEmbedding
    from kmex_core.stages.subject import Subject


@app.command()
def project(
    model: ModelOrNone = "",
    embeddings: Folder = "",
    sample: Annotated[
        int, typer.Option(min=5, help="Training images to fit UMAP on at most; any others are placed afterwards.")
    ] = ProjectionSpec("").sample,
    seed: Seed = 0,
    engine: EngineName = "",
    address: Address = "",
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Compute the embedding map (UMAP) for the page Explore. Takes seconds to a minute.

    Of a sharded embedding: its density map, for the page Large embeddings, and its prototypes' places on it. Takes
    about a minute for a million images; an interrupted run continues where it stopped. With --engine ray, workers of a
    cluster place the images of a part each, and write the tiles.

    Examples: python -m kmex_core project --model digits; python -m kmex_core project --embeddings generated-1000000
    """
    check_one(model, embeddings)
    if model and (engine or address):
        raise InputError("--engine and --address are for --embeddings: a model's embedding map is drawn in memory.")
    if embeddings:
        if (sample, seed) != (ProjectionSpec("").sample, 0):
            raise InputError("--sample and --seed are of a model's embedding map; a density map has none.")
        answer_with(as_json, lambda bar: _density_map(embeddings, engine, address, bar), _show_density_map)
        return

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


def _density_map(name: str, engine: str, address: str, bar: Bar) -> dict[str, Any]:
    from kmex_core.base.store import Store
    from kmex_core.scale.adoption import opened
    from kmex_core.scale.density import DensityMap
    from kmex_core.scale.sweep import stored_sweep

    started = time.perf_counter()
    embedding = opened(embedding_folder(name), Store(), bar)
    density_map, sweep = DensityMap(embedding), stored_sweep(embedding)
    with connected(engine, address) as used:
        found = density_map.make(used, bar)
    placed = None if sweep is None else density_map.place_prototypes(sweep)
    return {
        "embeddings": str(embedding.folder),
        "name": embedding.name,
        "rows": found.rows,
        "sample": found.sample,
        "levels": found.finest + 1,
        "tiles": sum(map(len, found.present)),
        "prototypes": 0 if placed is None else len(placed.places),
        "trustworthiness": found.trustworthiness,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _show_density_map(answer: dict[str, Any]) -> None:
    print(
        f"Density map of '{answer['name']}': {answer['rows']:,} images in {answer['tiles']:,} tiles, placed among "
        f"{answer['sample']:,} that UMAP was fitted on (trustworthiness {answer['trustworthiness']:.3f}), "
        f"{answer['prototypes']:,} prototypes, {answer['seconds']:.1f} s."
    )


def density_map_job(embedding: ShardedEmbedding) -> JobRequest:
    """Make the density map of a sharded embedding, and place its prototypes."""
    return job_of(f"density-map-{embedding.key}", project, embeddings=embedding.folder.name)
