"""Verifying and cleaning the store."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.commands._shared import (
    Bar,
    Json,
    answer_with,
    app,
)

if TYPE_CHECKING:
    pass


store_group = typer.Typer(
    help="Maintain the store: verify its files, remove files that are no longer needed, show its size.",
    no_args_is_help=True,
)
app.add_typer(store_group, name="store")


@store_group.command()
def verify(as_json: Json = False) -> None:
    """Check every file of the store against its digests; exit with 1 if one is damaged.

    A damaged result is recomputed when next needed. Restore a damaged model from an export, or train it again. Foreign
    files and symbolic links are listed but not opened. Parts of sharded embeddings are read as well: a damaged one is
    computed again by the same `extract`, after you have removed the manifest.json beside it.

    Example: python -m kmex_core store verify
    """
    damaged = []

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.store import Store
        from kmex_core.scale import upkeep as sharded
        from kmex_core.stages import upkeep

        store = Store()
        report = upkeep.verify(store, bar) + sharded.verify(store, bar)
        damaged.extend(report.damaged)
        return {"store": str(store.root), "sound": not report.damaged, **dataclasses.asdict(report)}

    def show(answer: dict[str, Any]) -> None:
        for title in ("damaged", "unknown", "rests"):
            for finding in answer[title]:
                print(f"{title:8} {finding['path']}: {finding['why']}")
        print(
            f"Checked {answer['files']:,} files ({_mib(answer['bytes'])}) in {answer['store']}: "
            f"{len(answer['damaged']) or 'none'} damaged."
        )

    answer_with(as_json, work, show)
    if damaged:
        raise typer.Exit(1)


@store_group.command()
def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files without removing them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Remove files that are no longer needed, after confirmation. Models and checkpoints are never removed.

    These are: leftovers of interrupted writes, unused locks and uploads, results of deleted models, and results of data
    sets that have changed. Of sharded embeddings: parts that their manifest does not have, results of other rows, and
    what was interrupted a month ago; finished ones stay. Results are recomputed when needed.

    Example: python -m kmex_core store clean --dry-run
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.store import Store
        from kmex_core.scale import upkeep as sharded
        from kmex_core.stages import upkeep

        store = Store()
        others, in_parts = upkeep.needless(store, bar), sharded.needless(store, bar)
        needless = [*others, *in_parts]
        bar.close()
        size = sum(finding.bytes for finding in needless)
        if not dry_run and not yes and needless:
            for finding in needless:
                print(f"{finding.path}: {finding.why}", file=sys.stderr)
            question = f"Remove these {len(needless):,} files ({_mib(size)})?"
            if not (sys.stdin.isatty() and typer.confirm(question, err=True)):
                raise InputError("Nothing was removed. Pass --yes to remove these files without confirmation.")
        removed = [] if dry_run else [upkeep.remove(store, others), sharded.remove(store, in_parts)]
        files, freed = (sum(each) for each in zip((0, 0), *removed, strict=True))
        return {
            "store": str(store.root),
            "needless": [dataclasses.asdict(finding) for finding in needless],
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


@store_group.command()
def size(as_json: Json = False) -> None:
    """Show the size of each part of the store, and the free disk space.

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
        print(f"{_mib(answer['bytes'])} in total, {_mib(answer['free'])} free in {answer['store']}")

    answer_with(as_json, work, show)


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
