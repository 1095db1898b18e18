"""Stores with something in them, and what a test asks of their files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import nn

from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.networks import architectures
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of


def converted(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """A store in which a demo is embedded, converted for k = 5 and, if it is the digits, mapped; its baselines as well.

    It is made once for all processes of pytest-xdist, which copy it and leave it as it is.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root = shared / f"converted-{name}"
    root.mkdir(parents=True, exist_ok=True)  # what ships with the product is not written into it
    with FileLock(shared / f"converted-{name}.lock"):
        if not (shared / f"converted-{name}.done").exists():
            store = Store(root)
            info = models.describe(store, name)
            Subject(store, info, dataset_of(info)).conversion(KMeans(5)).get()
            if name == "digits":
                Subject(store, info, dataset_of(info)).embedding_map().get()
                for kind in ("flint", "protopnet", "protovae"):
                    Subject(store, models.describe(store, f"digits-{kind}"), dataset_of(info)).conversion(
                        KMeans(5)
                    ).get()
            (shared / f"converted-{name}.done").touch()
    return root


def embed(store: Store, name: str) -> None:
    """Do what a page would start a job for."""
    info = models.describe(store, name)
    data = dataset_of(info)
    for split in ("train", "test"):
        Subject(store, info, data).embedding(split).get()


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    """Every file of a store, with its size and the time of its last change."""
    return {
        str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


INFO = ModelInfo(
    name="x",
    kind="blackbox",
    dataset="digits",
    root="",
    backbone="resnet20",
    class_names=("0", "1"),
    preprocessing=Preprocessing.plain(32, 1, (0.5,), (0.5,)),
    accuracy=0.9,
    made_by={},
    k=0,
    options={},
    class_column="",
)


class Weights(nn.Module):
    """One number, so that a model can be told from another."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([float(value)]))


def put(store: Store, name: str, value: float = 0.0) -> None:
    models.save(store, replace(INFO, name=name), Weights(value))


def put_run(store: Store, name: str, epoch: int = 1) -> None:
    store.put(models.RUNS[(epoch - 1) % 2], name, {"a": np.zeros(1)}, {"asked": {}, "epoch": epoch, "history": []})


def net(store: Store, spec: DatasetSpec, name: str = "net", **made_by: object) -> ModelInfo:
    """An untrained network for a data set."""
    data = datasets.load(spec)
    torch.manual_seed(0)
    info = ModelInfo(
        name,
        "blackbox",
        data.name,
        "",
        "resnet20",
        data.class_names,
        Preprocessing.plain(data.image_size, data.channels, (0.5,) * data.channels, (0.5,) * data.channels),
        None,
        made_by,
    )
    models.save(store, info, architectures.build("resnet20", len(data.class_names), data.image_size))
    return models.describe(store, name)
