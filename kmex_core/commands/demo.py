"""The embedded demo."""

from __future__ import annotations

import dataclasses
import time
from typing import Annotated, Any

import typer

from kmex_core.commands._program import called
from kmex_core.commands._shared import (
    Bar,
    Device,
    Json,
    K,
    answer_with,
    app,
    open_subject,
)
from kmex_core.prototypes.source import KMeans

LARGE_KS = list(range(1, 11))
MEMORY = 2**30  # bytes that a class takes while it is clustered: larger ones, from a million images on, by a coreset


@app.command()
def demo(
    k: K = 5,
    large: Annotated[
        int,
        typer.Option(
            "--large",
            min=0,
            metavar="ROWS",
            help="Instead, generate a sharded embedding of so many images (64 dimensions, 10 classes), with prototypes "
            "and density map, for the page Large embeddings. A million take a minute or two and 0.25 GB.",
        ),
    ] = 0,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Prepare the digits demo: its KMEx and its embedding map. The faces need no preparation.

    Examples: python -m kmex_core demo; python -m kmex_core demo --large 1000000
    """
    if large:
        answer_with(as_json, lambda bar: _large(large, bar), _show_large)
        return

    def work(bar: Bar) -> dict[str, Any]:
        subject = open_subject("digits", device=device, progress=bar)
        summary = subject.conversion(KMeans(k)).get().summary
        subject.embedding_map().get()
        return {"model": subject.info.name, "k": k, **dataclasses.asdict(summary)}

    def show(answer: dict[str, Any]) -> None:
        print(
            f"'{answer['model']}' with {answer['k']} prototypes per class, on {answer['images']:,} test images: "
            f"accuracy of KMEx {answer['accuracy_kmex']:.1%}, of the black box {answer['accuracy_black_box']:.1%}.\n"
            f"Open the dashboard: {called()} app"
        )

    answer_with(as_json, work, show)


def _large(rows: int, bar: Bar) -> dict[str, Any]:
    from kmex_core.analysis.suggestion import overall
    from kmex_core.base.store import Store
    from kmex_core.prototypes.metric import EmbeddingMetric
    from kmex_core.scale.density import DensityMap
    from kmex_core.scale.engine import Local
    from kmex_core.scale.generated import generated
    from kmex_core.scale.sharded import ROOM
    from kmex_core.scale.suggestion import sharded_suggestion
    from kmex_core.scale.sweep import sharded_sweep

    started, engine = time.perf_counter(), Local()
    embedding = generated(Store().root / ROOM / f"generated-{rows}", rows, progress=bar)
    # groups are round: the published metric suits them
    sweep = sharded_sweep(embedding, EmbeddingMetric(), LARGE_KS, 0, engine, MEMORY, progress=bar)
    evidence = sharded_suggestion(embedding, EmbeddingMetric(), engine, bar)
    density_map = DensityMap(embedding)
    density_map.make(engine, bar)
    density_map.place_prototypes(sweep)
    return {
        "embedding": embedding.folder.name,
        "rows": embedding.rows,
        "dimensions": embedding.dimensions,
        "classes": len(embedding.class_names),
        "bytes": sum((embedding.folder / part.file).stat().st_size for part in embedding.parts),
        "k": LARGE_KS,
        "suggested": overall(evidence),
        "accuracy_kmex": sweep.accuracy,
        "accuracy_black_box": sweep.accuracy_black_box,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _show_large(answer: dict[str, Any]) -> None:
    print(
        f"'{answer['embedding']}': {answer['rows']:,} generated images of {answer['classes']} classes, "
        f"{answer['dimensions']} dimensions, {answer['bytes'] / 1e6:,.0f} MB, {answer['seconds']:.0f} s. Accuracy of "
        f"KMEx with {answer['k'][-1]} prototypes per class {answer['accuracy_kmex'][-1]:.1%}, of the black box "
        f"{answer['accuracy_black_box']:.1%}.\n"
        f"Open the dashboard, page Large embeddings: {called()} app"
    )
