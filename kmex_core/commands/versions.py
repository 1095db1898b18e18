"""Versions: edited prototypes of a model."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.commands._shared import Bar, Json, answer_with, app

if TYPE_CHECKING:
    from kmex_core.stages.versions import Saved


@app.command()
def versions(
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Only the versions of this model.")] = "",
    version: Annotated[
        str, typer.Option("--version", metavar="NAME", help="Show the history of this version; needs --model.")
    ] = "",
    rename: Annotated[str, typer.Option("--rename", metavar="NEW", help="Give --version this name.")] = "",
    delete: Annotated[bool, typer.Option("--delete", help="Delete --version. Asks for confirmation.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """List the versions that people saved on the page Explore: prototypes that they edited.

    With --version, show what was edited and what it did to predictions; with --rename or --delete, change it.
    Other commands use a version with their option --version.

    Example: python -m kmex_core versions --model digits --version "without ghosts"
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.store import Store
        from kmex_core.models import catalogue
        from kmex_core.stages import versions as saved_versions

        store = Store()
        if (rename or delete) and not version:
            raise InputError("Name the version to change: pass --version NAME.")
        if rename and delete:
            raise InputError("--rename and --delete exclude each other.")
        if version and not model:
            raise InputError("Name the model of the version: pass --model NAME.")
        if delete:
            if not yes and not (sys.stdin.isatty() and typer.confirm(f"Permanently delete '{version}'?", err=True)):
                raise InputError(f"'{version}' was not deleted. Pass --yes to delete it without confirmation.")
            saved_versions.delete(store, model, version)
            return {"deleted": version, "model": model}
        if rename:
            renamed = saved_versions.rename(store, model, version, rename)
            return {"renamed": version, "to": renamed.version.name, "model": model}
        names = catalogue.describe(store, model).class_names if model else ()
        if version:
            return {
                "versions": [_described(saved_versions.read(store, model, version), model, names)],
                "unreadable": [],
            }
        found, damaged = [], dict[str, None]()
        models = [model] if model else [info.name for info in catalogue.list_models(store)[0]]
        for name in models:
            of_model, unreadable = saved_versions.versions_of(store, name)
            class_names = catalogue.describe(store, name).class_names
            found += [_described(saved, name, class_names) for saved in of_model]
            damaged |= dict.fromkeys(unreadable)
        return {"versions": found, "unreadable": list(damaged)}

    def show(answer: dict[str, Any]) -> None:
        if "deleted" in answer:
            print(f"Deleted version '{answer['deleted']}' of '{answer['model']}'.")
            return
        if "renamed" in answer:
            print(f"Renamed version '{answer['renamed']}' to '{answer['to']}'.")
            return
        for saved in answer["versions"]:
            print(f"{saved['model']:20} {saved['created']:16}  {saved['name']}: {saved['edited']}")
            if version:
                _show_history(saved)
        if not answer["versions"]:
            print("There are no versions. Edit prototypes on the page Explore and save them.")
        for message in answer["unreadable"]:
            print(f"Warning: {message}", file=sys.stderr)

    answer_with(as_json, work, show)


def _described(saved: Saved, model: str, class_names: tuple[str, ...]) -> dict[str, Any]:
    from kmex_core.base.plain_text import plain
    from kmex_core.prototypes.operations import described, summary, words

    base, operations = saved.version.base, saved.version.operations
    return {
        "model": model,
        "name": plain(saved.version.name),
        "created": time.strftime("%Y-%m-%d %H:%M", time.localtime(saved.created)),
        "base": {"k": base.k, "seed": base.seed, "metric": base.metric},
        "edited": summary(operations),
        "note": saved.note,
        "history": [plain(words(operation, class_names)) for operation in operations],
        "operations": described(operations),
        "scores": dict(saved.scores),
        "product": plain(saved.product),
    }


def _show_history(saved: dict[str, Any]) -> None:
    from kmex_core.base.plain_text import plain

    for number, line in enumerate(saved["history"], 1):
        print(f"  {number:3}. {line}")
    if saved["note"]:
        print(f"  Note: {plain(saved['note'])}")
    scores = saved["scores"]
    for part, title in (("scored", "scored images"), ("untouched", "untouched images")):
        try:
            before, after = (float(each[part]["accuracy"]) for each in (scores["before"], scores))
            images = int(scores[part]["images"])
        except (KeyError, TypeError, ValueError):
            continue  # saved by hand, without scores
        print(f"  Accuracy ↑ on {images:,} {title}: {before:.2%} before, {after:.2%} after.")
