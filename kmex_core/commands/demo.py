"""The embedded demo."""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import Annotated, Any

import typer

from kmex_core.base.errors import InputError, unknown_name
from kmex_core.commands._program import called
from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    Json,
    K,
    answer_with,
    app,
    command_text,
    open_subject,
)
from kmex_core.prototypes.source import KMeans

LARGE_KS = list(range(1, 11))
MEMORY = 2**30  # bytes that a class takes while it is clustered: larger ones, from a million images on, by a coreset
REAL = {"mnist": "12 MB", "fashion-mnist": "31 MB"}  # data sets of real images, and what is downloaded of each
MINUTES = 5  # on two cores, measured


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
    real: Annotated[
        str,
        typer.Option(
            "--real",
            metavar="NAME",
            help="Instead, train a ResNet-18 on 60,000 real images and prepare its KMEx: mnist (handwritten digits) or "
            "fashion-mnist (photographs of clothes), downloaded unless they are there. About 5 minutes on two cores. "
            "What is finished is kept if you stop it; the same command goes on.",
        ),
    ] = "",
    data_root: DataRoot = "",
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Prepare the digits demo: its KMEx and its embedding map. The faces need no preparation.

    Examples: python -m kmex_core demo; python -m kmex_core demo --real mnist; python -m kmex_core demo --large 1000000
    """
    if large and real:
        raise InputError("--large and --real prepare different demos: give one of them.")
    if large:
        answer_with(as_json, lambda bar: _large(large, bar), _show_large)
        return

    def work(bar: Bar) -> dict[str, Any]:
        name = _trained(real, data_root, device, bar) if real else "digits"
        subject = open_subject(name, data_root, device=device, progress=bar)
        summary = subject.conversion(KMeans(k)).get().summary
        subject.embedding_map().get()
        if real:  # so that its timeline opens at once, too
            subject.sweep(KMeans(k)).get()
            subject.suggestion().get()
        return {"model": subject.info.name, "k": k, **dataclasses.asdict(summary)}

    def show(answer: dict[str, Any]) -> None:
        print(
            f"'{answer['model']}' with {answer['k']} prototypes per class, on {answer['images']:,} test images: "
            f"accuracy of KMEx {answer['accuracy_kmex']:.1%}, of the black box {answer['accuracy_black_box']:.1%}.\n"
            f"Open the dashboard: {called()} app"
        )

    answer_with(as_json, work, show)


def _trained(name: str, data_root: str, device: str, bar: Bar) -> str:
    """The name of a ResNet-18 of the store, trained on a data set of real images; it is trained now if there is none.

    Raises:
        InputError: for another data set, one that cannot be downloaded, or a model of this name on other images.
    """
    from kmex_core.base.devices import checked_device
    from kmex_core.base.specs import DatasetSpec
    from kmex_core.base.store import Store
    from kmex_core.data import registry
    from kmex_core.data.opened import dataset
    from kmex_core.models import catalogue
    from kmex_core.models.training import default_recipe
    from kmex_core.stages.training_runs import TrainRequest, train

    known = registry.registered(name)
    if known not in REAL:
        raise unknown_name("demo of real images", name, REAL, "On other images: train, then convert.")
    store, model, spec = Store(), f"{known}18", DatasetSpec(known, data_root)
    if model in catalogue.known_names(store):
        if (of := catalogue.describe(store, model).dataset) != known:
            raise InputError(
                f"The model '{model}' in the store is of {of}, and this demo needs its name. Rename or delete it."
            )
        return model
    download = "" if registry.available(known, data_root) else f"{REAL[known]} to download, then "
    bar.close()
    print(
        f"{registry.title(known)}: {download}training for one epoch, prototypes and map: about {MINUTES} minutes on "
        "two cores (less on a GPU). What is finished is kept if you stop it; the same command goes on.",
        file=sys.stderr,
    )
    data = dataset(spec, bar)
    recipe = default_recipe(data, False, epochs=1)
    request = TrainRequest(model, spec, "resnet18", recipe, checked_device(device), command_text())
    train(store, request, resume=catalogue.has_run(store, model), progress=bar)
    return model


def _large(rows: int, bar: Bar) -> dict[str, Any]:
    from kmex_core.base.store import Store
    from kmex_core.prototypes.metric import EmbeddingMetric
    from kmex_core.scale.density import DensityMap
    from kmex_core.scale.engine import Local
    from kmex_core.scale.generated import generated
    from kmex_core.scale.sharded import ROOM
    from kmex_core.scale.sweep import sharded_sweep

    started, engine = time.perf_counter(), Local()
    embedding = generated(Store().root / ROOM / f"generated-{rows}", rows, progress=bar)
    # groups are round: the published metric suits them
    sweep = sharded_sweep(embedding, EmbeddingMetric(), LARGE_KS, 0, engine, MEMORY, progress=bar)
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
