"""The embedded demo."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

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
    pass


@app.command()
def demo(k: K = 5, device: Device = "", as_json: Json = False) -> None:
    """Prepare the digits demo: its KMEx and its embedding map. The faces need no preparation.

    Example: python -m kmex_core demo
    """

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
