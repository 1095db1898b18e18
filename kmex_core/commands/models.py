"""The models in the store."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.commands._shared import (
    Bar,
    Json,
    ModelName,
    answer_with,
    app,
)


@app.command()
def models(as_json: Json = False) -> None:
    """List the models in the store and the bundled demo models."""
    from kmex_core.base.store import Store
    from kmex_core.models import catalogue

    def work(bar: Bar) -> dict[str, Any]:
        infos, damaged = catalogue.list_models(Store())
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
                for info in infos
            ],
            "unreadable": damaged,
        }

    def show(answer: dict[str, Any]) -> None:
        for info in answer["models"]:
            accuracy = "" if info["accuracy"] is None else f"{info['accuracy']:.1%} on the test split"
            mark = " (!)" if info["caveat"] else ""
            print(f"{info['name']:20} {info['kind']:10} {info['backbone']:14} {info['dataset']:20} {accuracy}{mark}")
        for caveat in dict.fromkeys(info["caveat"] for info in answer["models"] if info["caveat"]):
            print(f"(!) {caveat}")
        for message in answer["unreadable"]:
            print(f"Warning: {message}", file=sys.stderr)

    answer_with(as_json, work, show)


@app.command()
def rename(model: ModelName, to: Annotated[str, typer.Option(help="The new name.")], as_json: Json = False) -> None:
    """Rename a model.

    Example: python -m kmex_core rename --model mnist18 --to mnist-resnet18
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.store import Store
        from kmex_core.models import catalogue

        catalogue.rename(Store(), model, to)
        return {"model": to, "before": model}

    answer_with(as_json, work, lambda answer: print(f"Renamed '{answer['before']}' to '{answer['model']}'."))


@app.command()
def delete(
    model: ModelName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a model from the store, or the checkpoints of an unfinished training. Asks for confirmation.

    Example: python -m kmex_core delete --model mnist18
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.store import Store
        from kmex_core.models import catalogue

        store = Store()
        if not catalogue.has_run(store, model):
            catalogue.describe(store, model)
        if not yes and not (sys.stdin.isatty() and typer.confirm(f"Permanently delete '{model}'?", err=True)):
            raise InputError(f"'{model}' was not deleted. Pass --yes to delete it without confirmation.")
        return {"deleted": model, "what": catalogue.delete(store, model)}

    def show(answer: dict[str, Any]) -> None:
        what = "the checkpoints of the training" if answer["what"] == "training" else "the model"
        print(f"Deleted {what} '{answer['deleted']}'.")

    answer_with(as_json, work, show)
