"""How good KMEx is in the published and in the whitened metric, on the demos' networks and on real images."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import opened
from kmex_core.models import training
from kmex_core.prototypes.source import KMeans
from kmex_core.stages import training_runs
from kmex_core.stages.subject import Subject, subject_of

KS = (1, 5, 20)
METRICS = ("euclidean", "whitened")
DEMOS = ("digits", "faces", "digits-protopnet", "digits-flint", "digits-protovae")
CIFAR_IMAGES = 10_000
# data set, backbone, epochs, of the folder that KMEX_TEST_DATA names
TRAINED = {
    "mnist, ResNet-18, 1 epoch": ("mnist", "resnet18", 1),
    "cifar10, ResNet-20, 4 epochs": ("cifar10", "resnet20", 4),
}


def measure() -> list[dict[str, Any]]:
    """Accuracy, agreement, calibration error and ghosts of each network, metric and number of prototypes."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for title, subject in _subjects(store, Path(folder)):
            geometry = subject.geometry().get()
            rows.append(_row(title, "black box, accuracy", geometry.accuracy["black_box"]))
            rows.append(_row(title, "linear probe, accuracy", geometry.probe))
            rows.append(_row(title, "variance within over between classes", geometry.separation))
            rows.append({"what": f"{title}: metric chosen by auto", "median": 0.0, "unit": geometry.choice})
            for metric in METRICS:
                for k in KS:
                    summary = subject.conversion(KMeans(k, metric=metric)).get().summary
                    for name, value in (
                        ("accuracy", summary.accuracy_kmex),
                        ("agreement", summary.agreement),
                        ("calibration error", summary.calibration_error),
                        ("ghosts", summary.ghosting),
                    ):
                        rows.append(_row(title, f"{metric}, k = {k}, {name}", value))
    return rows


def _row(title: str, what: str, value: float | None) -> dict[str, Any]:
    return {"what": f"{title}: {what}", "median": None if value is None else round(value, 4), "unit": ""}


def _subjects(store: Store, folder: Path) -> Iterator[tuple[str, Subject]]:
    for name in DEMOS:
        yield name, subject_of(store, name)
    root = os.environ.get("KMEX_TEST_DATA", "")
    for title, (name, backbone, epochs) in TRAINED.items() if root else ():
        spec = DatasetSpec(name, root) if name == "mnist" else DatasetSpec(str(_part(Path(root) / name, folder / name)))
        data = opened.dataset(spec)
        recipe = training.default_recipe(data, False, epochs=epochs)
        info = training_runs.train(store, training_runs.TrainRequest(name, spec, backbone, recipe, "cpu", ""))
        yield title, Subject(store, info, data)


def _part(source: Path, target: Path) -> Path:
    """The first `CIFAR_IMAGES` training images of a data set in parquet, and its test images."""
    import pyarrow.parquet as parquet

    target.mkdir()
    parquet.write_table(parquet.read_table(source / "train.parquet")[:CIFAR_IMAGES], target / "train.parquet")
    (target / "test.parquet").write_bytes((source / "test.parquet").read_bytes())
    return target


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table: one line per network and metric."""
    values = {row["what"]: row["median"] for row in rows}
    lines = [
        "| network | metric | "
        + " | ".join(f"accuracy ↑, agreement ↑, calibration error ↓, ghosts ↓ at k = {k}" for k in KS)
        + " |",
        "| --- | --- |" + " --- |" * len(KS),
    ]
    for title in dict.fromkeys(row["what"].split(": ")[0] for row in rows):
        for metric in METRICS:
            cells = [
                ", ".join(
                    f"{values[f'{title}: {metric}, k = {k}, {name}']:.1%}".replace("%", " %")
                    for name in ("accuracy", "agreement", "calibration error", "ghosts")
                )
                for k in KS
            ]
            black_box = f"{values[f'{title}: black box, accuracy']:.1%}".replace("%", " %")
            lines.append(f"| {title} ({black_box}) | {metric} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
