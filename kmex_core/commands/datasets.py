"""The data sets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.commands._shared import (
    Bar,
    ClassColumn,
    DataRoot,
    Json,
    SkipBroken,
    answer_with,
    app,
)

if TYPE_CHECKING:
    from kmex_core.models.info import ModelInfo


@app.command()
def datasets(
    verify: Annotated[
        str,
        typer.Option(metavar="NAME|PATH", help="Read all files of this data set again, and report what has changed."),
    ] = "",
    data_root: DataRoot = "",
    class_column: ClassColumn = "",
    skip_broken: SkipBroken = False,
    as_json: Json = False,
) -> None:
    """List the data sets that can be used by name; with --verify, check one.

    File contents are cached by path, size, times and inode. --verify reads every file again, and compares the data set
    with the one that each model in the store was trained on.

    `--dataset` also accepts the path of a folder with Hugging Face style parquet files (such as `train.parquet` and
    `test-00000-of-00002.parquet`, with columns `image` and `label`), or with images in `train/<class>/` and optionally
    `test/<class>/` and `val/<class>/`. Attributes are the boolean columns of the parquet files, or those of an
    attributes.csv or attributes.parquet in the folder (its column `file_name` names the images). `--class` uses any
    column as the class.
    """
    from kmex_core.data import registry

    if verify:
        answer_with(as_json, lambda bar: _verified(verify, data_root, class_column, skip_broken, bar), _show_verified)
        return

    def work(bar: Bar) -> dict[str, Any]:
        return {
            "data_root": str(registry.data_root(data_root)),
            "datasets": [
                {
                    "name": name,
                    "title": entry.title,
                    "about": entry.about,
                    "available": registry.available(name, data_root),
                }
                for name, entry in registry.DATASETS.items()
            ],
        }

    def show(answer: dict[str, Any]) -> None:
        for entry in answer["datasets"]:
            print(f"{entry['name']:14} {'here' if entry['available'] else '-':5} {entry['about']}")
        print(f"\n'here': available under {answer['data_root']}. The others are downloaded on first use.")

    answer_with(as_json, work, show)


def _verified(name: str, root: str, class_column: str, skip_broken: bool, bar: Bar) -> dict[str, Any]:
    from kmex_core.base.specs import DatasetSpec
    from kmex_core.base.store import Store
    from kmex_core.data import registry
    from kmex_core.models import catalogue

    data, changed = registry.verified(DatasetSpec(name, root, 0, class_column, skip_broken), bar)

    def compared(info: ModelInfo) -> str:
        before = str(info.made_by.get("data", ""))
        if before == data.fingerprint:
            return "same"
        return "changed" if registry.comparable(before, data.fingerprint) else "unknown"

    return {
        "dataset": data.name,
        "fingerprint": data.fingerprint,
        "images": {split: len(part) for split, part in data.splits.items()},
        "test_from": data.test_from,
        "changed_files": changed,
        "models": {
            info.name: compared(info)
            for info in catalogue.list_models(Store())[0]
            if Path(info.dataset).name == Path(data.name).name and info.class_column == data.class_column
        },
        "notes": list(data.notes),
        "left_out": [dataclasses.asdict(item) for item in data.left_out],
    }


def _show_verified(answer: dict[str, Any]) -> None:
    counts = ", ".join(f"{count:,} {split}" for split, count in answer["images"].items())
    print(f"{answer['dataset']}: {counts} images read, content digest {answer['fingerprint']}.")
    changed = answer["changed_files"]
    if changed:
        print(f"{len(changed):,} files have changed since they were last read, the first: {changed[0]}.")
    states = {
        "same": "trained on or imported with this content.",
        "changed": "trained on or imported with different content; its stored results are of that.",
        "unknown": "the content it was trained on is unknown.",
    }
    for model, state in answer["models"].items():
        print(f"  {model}: {states[state]}")
