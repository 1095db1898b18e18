"""Sharded embeddings of a model's images."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from kmex_core.commands._arithmetic import Compiled, MixedPrecision, Precision, arithmetic_of, change_field
from kmex_core.commands._engine import Address, EngineName, connected
from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    Json,
    ModelName,
    SkipBroken,
    about,
    answer_with,
    app,
    open_subject,
)
from kmex_core.networks.arithmetic import EXACT, FLOAT32


@app.command()
def extract(
    model: ModelName,
    split: Annotated[str, typer.Option(metavar="NAME", help="train, test or validation.")] = "train",
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the result. Default: a hash.")] = "",
    engine: EngineName = "local",
    address: Address = "",
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    precision: Precision = FLOAT32,
    compiled: Compiled = False,
    mixed_precision: MixedPrecision = False,
    as_json: Json = False,
) -> None:
    """Embed a split's images in parts: parquet files that any program reads, and any number of machines write.

    Run it again after an interruption: parts that are there are kept. `convert`, `sweep`, `evaluate` and `attributes`
    do this by themselves with --engine.

    Example: python -m kmex_core extract --model digits --split train
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.scale.extraction import sharded_change, sharded_split

        started, arithmetic = time.perf_counter(), arithmetic_of(precision, compiled, mixed_precision)
        subject = open_subject(model, data_root, skip_broken, device, bar)
        with connected(engine, address) as used:
            found = sharded_split(subject, split, used, name, data_root, skip_broken, arithmetic)
        change = None if arithmetic == EXACT else sharded_change(subject, split, found, arithmetic)
        return {
            "model": model,
            "split": split,
            "name": found.folder.name,
            "folder": str(found.folder),
            "images": found.rows,
            "dimensions": found.dimensions,
            "parts": len(found.parts),
            "bytes": sum((found.folder / part.file).stat().st_size for part in found.parts),
            "engine": engine,
            "seconds": round(time.perf_counter() - started, 3),
            **change_field(change),
        } | about(subject, "" if change is None else change.text)

    def show(answer: dict[str, Any]) -> None:
        print(
            f"{answer['images']:,} images of '{answer['model']}' ({answer['split']})\n"
            f"Wrote {answer['parts']} parts ({answer['bytes'] / 2**20:,.1f} MB) to {answer['folder']}"
        )

    answer_with(as_json, work, show)
