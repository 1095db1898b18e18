"""The embedded demo."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from kmex_core.scale.sharded import ShardedEmbedding


@app.command()
def demo(
    k: K = 5,
    large: Annotated[
        int,
        typer.Option(
            "--large",
            min=0,
            metavar="ROWS",
            help="Instead, generate a sharded embedding of so many images (64 dimensions, 10 classes) to try out the "
            "page Large embeddings. A million take 0.2 GB and seconds.",
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
    from kmex_core.base.store import Store
    from kmex_core.scale.generated import generated
    from kmex_core.scale.sharded import ROOM

    embedding: ShardedEmbedding = generated(Store().root / ROOM / f"generated-{rows}", rows, progress=bar)
    return {
        "embedding": embedding.folder.name,
        "rows": embedding.rows,
        "dimensions": embedding.dimensions,
        "classes": len(embedding.class_names),
        "parts": len(embedding.parts),
        "bytes": sum((embedding.folder / part.file).stat().st_size for part in embedding.parts),
    }


def _show_large(answer: dict[str, Any]) -> None:
    print(
        f"'{answer['embedding']}': {answer['rows']:,} generated images of {answer['classes']} classes, "
        f"{answer['dimensions']} dimensions, {answer['bytes'] / 1e6:,.0f} MB.\n"
        f"Find its prototypes and draw its map: docs/how-to/explore-ten-million.md"
    )
