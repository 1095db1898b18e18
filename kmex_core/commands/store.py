"""Commands on what there is: data sets and models."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.commands._program import called
from kmex_core.commands._shared import (
    Bar,
    ClassColumn,
    DataRoot,
    Device,
    Json,
    K,
    ModelName,
    Overwrite,
    SkipBroken,
    answer_with,
    app,
    opened,
)

if TYPE_CHECKING:
    from kmex_core.models.info import ModelInfo


@app.command()
def datasets(
    verify: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="Read every file of this data set again, and say what has changed.")
    ] = "",
    data_root: DataRoot = "",
    class_column: ClassColumn = "",
    skip_broken: SkipBroken = False,
    as_json: Json = False,
) -> None:
    """List the data sets that are known by name; with --verify, check one.

    What a file holds is remembered by its path, size, times and inode. --verify reads all of them again, and compares
    the data set with what the models in the store were trained on.

    Besides these, `--dataset` takes the path of a folder with Hugging Face style parquet files (such as
    `train.parquet` and `test-00000-of-00002.parquet`, columns `image` and `label`) or with pictures in
    `train/<class>/` and, if there are any, `test/<class>/` and `val/<class>/`. Boolean columns of the parquet files, or
    of an attributes.csv or attributes.parquet in the folder (its column `file_name` names the images), are attributes;
    `--class` makes any column the class.
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
        print(f"\n'here': its files are under {answer['data_root']}. The others are downloaded when first used.")

    answer_with(as_json, work, show)


def _verified(name: str, root: str, class_column: str, skip_broken: bool, bar: Bar) -> dict[str, Any]:
    from kmex_core.base.specs import DatasetSpec
    from kmex_core.base.store import Store
    from kmex_core.data import registry
    from kmex_core.models import catalogue as kept

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
            info.name: compared(info) for info in kept.list_models(Store())[0]
            if Path(info.dataset).name == Path(data.name).name and info.class_column == data.class_column
        },
        "notes": list(data.notes),
        "left_out": [dataclasses.asdict(item) for item in data.left_out],
    }  # fmt: skip


def _show_verified(answer: dict[str, Any]) -> None:
    counts = ", ".join(f"{count:,} {split}" for split, count in answer["images"].items())
    print(f"{answer['dataset']}: {counts} images read, content {answer['fingerprint']}.")
    changed = answer["changed_files"]
    if changed:
        print(f"{len(changed):,} files hold something else than was remembered of them, the first: {changed[0]}.")
    said = {
        "same": "trained or imported on this content.",
        "changed": "trained or imported on other content: its stored numbers are of that.",
        "unknown": "does not know the content of the data that it was trained on.",
    }
    for model, state in answer["models"].items():
        print(f"  {model}: {said[state]}")


@app.command()
def models(as_json: Json = False) -> None:
    """List the models in the store, and those that come with the product."""
    from kmex_core.base.store import Store
    from kmex_core.models import catalogue as kept

    def work(bar: Bar) -> dict[str, Any]:
        found, broken = kept.list_models(Store())
        return {
            "models": [
                {
                    "name": info.name,
                    "kind": info.kind,
                    "dataset": info.dataset,
                    "backbone": info.backbone,
                    "classes": len(info.class_names),
                    "accuracy": info.accuracy,
                    "image_size": info.image_size,
                    "embedded": info.embedded,
                    "date": info.made_by.get("date"),
                    "caveat": info.caveat,
                }
                for info in found
            ],
            "unreadable": broken,
        }

    def show(answer: dict[str, Any]) -> None:
        for info in answer["models"]:
            accuracy = "" if info["accuracy"] is None else f"{info['accuracy']:.1%} on test images"
            mark = " (!)" if info["caveat"] else ""
            print(f"{info['name']:20} {info['kind']:10} {info['backbone']:14} {info['dataset']:20} {accuracy}{mark}")
        for caveat in dict.fromkeys(info["caveat"] for info in answer["models"] if info["caveat"]):
            print(f"(!) {caveat}")
        for message in answer["unreadable"]:
            print(f"Warning: {message}", file=sys.stderr)

    answer_with(as_json, work, show)


@app.command()
def export(
    model: ModelName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where it goes: a safetensors file.")],
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a model to a file: its weights by name, and what it is, which `import` reads.

    Example: python -m kmex_core export --model digits --out digits.safetensors
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.files import write_bytes
        from kmex_core.base.outputs import check_file
        from kmex_core.base.store import Store
        from kmex_core.models import catalogue as kept

        check_file(out, overwrite)
        content = kept.exported(Store(), model)
        write_bytes(out, content)
        return {"model": model, "out": str(out), "bytes": len(content)}

    answer_with(as_json, work, lambda answer: print(f"Wrote {answer['out']} ({answer['bytes'] / 2**20:.1f} MiB)."))


@app.command()
def rename(model: ModelName, to: Annotated[str, typer.Option(help="Its new name.")], as_json: Json = False) -> None:
    """Give a model another name.

    Example: python -m kmex_core rename --model mnist18 --to mnist-resnet18
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.store import Store
        from kmex_core.models import catalogue as kept

        kept.rename(Store(), model, to)
        return {"model": to, "before": model}

    answer_with(as_json, work, lambda answer: print(f"'{answer['before']}' is '{answer['model']}' now."))


@app.command()
def delete(
    model: ModelName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a model from the store, or the checkpoints of a training that has not finished. It asks first.

    Example: python -m kmex_core delete --model mnist18
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.store import Store
        from kmex_core.models import catalogue as kept

        store = Store()
        if not kept.has_run(store, model):
            kept.describe(store, model)
        if not yes and not (sys.stdin.isatty() and typer.confirm(f"Delete '{model}' for good?", err=True)):
            raise InputError(f"'{model}' was not deleted. Give --yes to delete it without being asked.")
        return {"deleted": model, "what": kept.delete(store, model)}

    def show(answer: dict[str, Any]) -> None:
        what = "the checkpoints of the training" if answer["what"] == "training" else "the model"
        print(f"Deleted {what} '{answer['deleted']}'.")

    answer_with(as_json, work, show)


@app.command()
def demo(k: K = 5, device: Device = "", as_json: Json = False) -> None:
    """Prepare the first embedded demo: convert and map the digits' network. The faces are prepared when first opened.

    Example: python -m kmex_core demo
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.prototypes.source import KMeans

        subject = opened("digits", device=device, progress=bar)
        summary = subject.conversion(KMeans(k)).get().summary
        subject.embedding_map().get()
        return {"model": subject.info.name, "k": k, **dataclasses.asdict(summary)}

    def show(answer: dict[str, Any]) -> None:
        print(
            f"'{answer['model']}' with {answer['k']} prototypes per class: KMEx {answer['accuracy_kmex']:.1%}, "
            f"black box {answer['accuracy_black_box']:.1%} of {answer['images']:,} test images.\n"
            f"Open the dashboard: {called()} app"
        )

    answer_with(as_json, work, show)


keeping = typer.Typer(
    help="Look after the store: verify its files, remove what nobody needs any more, see how much room it takes.",
    no_args_is_help=True,
)
app.add_typer(keeping, name="store")


@keeping.command()
def verify(as_json: Json = False) -> None:
    """Read every file of the store and compare it with its digests; exit code 1 when one is damaged.

    A damaged result is made again when it is next needed. A damaged model has to come from an export, or be trained
    again. What this project did not write, and symbolic links, are named and not opened.

    Example: python -m kmex_core store verify
    """
    damaged = []

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.store import Store
        from kmex_core.stages import upkeep

        store = Store()
        found = upkeep.verify(store, bar)
        damaged.extend(found.damaged)
        return {"store": str(store.root), "sound": not found.damaged, **dataclasses.asdict(found)}

    def show(answer: dict[str, Any]) -> None:
        for title in ("damaged", "unknown", "rests"):
            for finding in answer[title]:
                print(f"{title:8} {finding['path']}: {finding['why']}")
        count = len(answer["damaged"])
        print(
            f"{answer['files']:,} files ({_mib(answer['bytes'])}) in {answer['store']} are what was written"
            + (f", {count:,} {'is' if count == 1 else 'are'} damaged." if count else "; none is damaged.")
        )

    answer_with(as_json, work, show)
    if damaged:
        raise typer.Exit(1)


@keeping.command()
def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go, and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what nobody needs any more. It lists it and asks first. Models and checkpoints are never removed.

    These go: rests of writes that were killed, locks and uploads without a user, results of models that are gone, and
    results of data that have changed since. Results are made again when they are needed.

    Example: python -m kmex_core store clean --dry-run
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.store import Store
        from kmex_core.stages import upkeep

        store = Store()
        found = upkeep.needless(store, bar)
        bar.close()
        size = sum(finding.bytes for finding in found)
        if not dry_run and not yes and found:
            for finding in found:
                print(f"{finding.path}: {finding.why}", file=sys.stderr)
            question = f"Remove these {len(found):,} files ({_mib(size)})?"
            if not (sys.stdin.isatty() and typer.confirm(question, err=True)):
                raise InputError("Nothing was removed. Give --yes to remove it without being asked.")
        files, freed = (0, 0) if dry_run else upkeep.remove(store, found)
        return {
            "store": str(store.root),
            "needless": [dataclasses.asdict(finding) for finding in found],
            "bytes": size,
            "removed": files,
            "freed": freed,
        }

    def show(answer: dict[str, Any]) -> None:
        if dry_run:
            for finding in answer["needless"]:
                print(f"{finding['path']}: {finding['why']}")
            print(
                f"{len(answer['needless']):,} files ({_mib(answer['bytes'])}) would be removed from {answer['store']}."
            )
        else:
            print(f"Removed {answer['removed']:,} files ({_mib(answer['freed'])}) from {answer['store']}.")

    answer_with(as_json, work, show)


@keeping.command()
def size(as_json: Json = False) -> None:
    """Say how much each room of the store takes, and how much is free.

    Example: python -m kmex_core store size
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.store import Store
        from kmex_core.stages import upkeep

        store = Store()
        rooms, free = upkeep.size(store)
        return {
            "store": str(store.root),
            "rooms": [dataclasses.asdict(room) for room in rooms],
            "bytes": sum(room.bytes for room in rooms),
            "free": free,
        }

    def show(answer: dict[str, Any]) -> None:
        for room in answer["rooms"]:
            print(f"{room['name']:12} {room['files']:6,} files {_mib(room['bytes']):>14}")
        print(f"{_mib(answer['bytes'])} in all, {_mib(answer['free'])} free in {answer['store']}")

    answer_with(as_json, work, show)


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
