"""The data sets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.specs import stable_key
from kmex_core.commands._shared import (
    Bar,
    ClassColumn,
    DataRoot,
    ImageColumn,
    Json,
    SkipBroken,
    answer_with,
    app,
)
from kmex_core.commands.requests import JobRequest, job_of

if TYPE_CHECKING:
    from kmex_core.base.specs import DatasetSpec
    from kmex_core.models.info import ModelInfo

SHOWN = 40  # classes in text


@app.command()
def datasets(
    verify: Annotated[
        str,
        typer.Option(metavar="NAME|PATH", help="Read all files of this data set again, and report what has changed."),
    ] = "",
    check: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="Report what is in this data set and how it is read: classes, sizes, copies, what is left out.",
        ),
    ] = "",
    sample: Annotated[
        int | None,
        typer.Option(
            min=0, help="With --check: images whose sizes and formats are looked at; 0 for all. Default: 1000."
        ),
    ] = None,
    data_root: DataRoot = "",
    class_column: ClassColumn = "",
    image_column: ImageColumn = "",
    skip_broken: SkipBroken = False,
    as_json: Json = False,
) -> None:
    """List the data sets that can be used by name; with --check, report what is in one; with --verify, compare one.

    File contents are cached by path, size, times and inode. --verify reads every file again, and compares the data set
    with the one that each model in the store was trained on.

    `--dataset` and --check also accept a path: a folder with pictures in `train/<class>/` (and `test/`, `val/`), or in
    `<class>/`; pictures with a CSV, JSON lines or parquet table of files and labels; Hugging Face style parquet files,
    or what `save_to_disk` of `datasets` wrote; WebDataset's tar files; an `.npz` file; or a zip or tar file of one of
    these, which is unpacked into the store. docs/how-to/bring-your-images.md shows each. Columns are found by type and
    name: --image-column and --label-column (or --class, the same) name others. Attributes are the boolean columns of
    the table, or those of an attributes.csv or attributes.parquet in the folder (its column `file_name` names the
    images).
    """
    from kmex_core.base.specs import DatasetSpec
    from kmex_core.data import registry

    def spec(name: str) -> DatasetSpec:
        return DatasetSpec(name, data_root, 0, class_column, skip_broken, image_column)

    if verify:
        answer_with(as_json, lambda bar: _verified(spec(verify), bar), _show_verified)
        return
    if check:
        answer_with(as_json, lambda bar: _checked(spec(check), sample, bar), _show_checked)
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


REPORT = "images-"  # the jobs, by what they report on


def report_job(spec: DatasetSpec) -> JobRequest:
    """Report what is in a data set, see `datasets`."""
    arguments = job_of(
        "",
        datasets,
        "",
        spec.name,
        None,
        spec.root,
        spec.class_column,
        spec.image_column,
        spec.skip_broken,
        as_json=True,
    ).arguments
    return JobRequest(f"{REPORT}{stable_key(arguments)}", arguments)


def _checked(spec: DatasetSpec, sample: int | None, bar: Bar) -> dict[str, Any]:
    from kmex_core.data.report import SAMPLE, report

    return dataclasses.asdict(report(spec, SAMPLE if sample is None else sample, bar))


def _show_checked(answer: dict[str, Any]) -> None:
    counts = ", ".join(f"{count:,} {split}" for split, count in answer["images"].items())
    print(f"{answer['name']}: {counts} images in {len(answer['classes']):,} classes.")
    if answer["read_as"]:
        column = f" The class is '{answer['class_column']}'." if answer["class_column"] else ""
        print(f"Read as: {answer['read_as']}{column}")
    width = min(40, max(len(of["name"]) for of in answer["classes"]))
    for of in answer["classes"][:SHOWN]:
        print(f"  {of['name']:{width}}  {', '.join(f'{count:,} {split}' for split, count in of['images'].items())}")
    if len(answer["classes"]) > SHOWN:
        print(f"  … and {len(answer['classes']) - SHOWN:,} more (--json lists all)")
    print(f"Imbalance: {answer['imbalance']:.2f} (largest to smallest class, '{answer['smallest']}').")
    storage, copies = answer["storage"], answer["copies"]
    for what in ("heights", "widths"):
        low, middle, high = storage[what]
        print(f"{what.capitalize()}: {low:,} to {high:,} pixels, median {middle:,} ({storage['looked_at']:,} images).")
    kinds = [f"{count:,} {kind}" for of in ("modes", "formats") for kind, count in storage[of].items() if kind]
    print(f"Stored as: {', '.join(kinds)}. The network gets {answer['image_size']} × {answer['image_size']} pixels.")
    within = sum(copies["within"].values())
    across = ", ".join(f"{count:,} in {pair}" for pair, count in copies["across"].items() if count)
    print(f"Copies: {within:,} within a split; across splits: {across or 'none'}.")
    broken = answer["unreadable"]
    if broken:
        print(f"Unreadable: {broken['count']:,} pictures, the first: {broken['names'][0]} (see --skip-broken).")
    else:
        print("Unreadable: none.")


def _verified(spec: DatasetSpec, bar: Bar) -> dict[str, Any]:
    from kmex_core.base.store import Store
    from kmex_core.data import registry
    from kmex_core.models import catalogue

    data, changed = registry.verified(spec, bar)

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
