"""Networks that predict none of the classes of their images, in a store."""

from __future__ import annotations

from pathlib import Path

import torch

from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.networks import architectures
from tests.helpers.datasets import write_folder

CLASSES = ("ant", "bee", "cow")
OUTPUTS = 7


def encoder(store: Store, folder: Path, name: str = "enc", whole: bool = False) -> ModelInfo:
    """An untrained ResNet-20 of seven classes for pictures of three others; `whole`: its outputs are the embedding."""
    root = write_folder(folder, CLASSES, 12, 6)
    data = datasets.load(DatasetSpec(str(root)))
    size, channels = data.image_size, data.channels
    torch.manual_seed(0)
    info = ModelInfo(
        name=name,
        kind="blackbox",
        dataset=data.name,
        root="",
        backbone="resnet20",
        class_names=data.class_names,
        preprocessing=Preprocessing.plain(size, channels, (0.5,) * channels, (0.5,) * channels),
        accuracy=None,
        made_by={"data": data.fingerprint},
        head_path="none" if whole else "",
        outputs=OUTPUTS,
    )
    models.save(store, info, architectures.build("resnet20", OUTPUTS, size))
    return models.describe(store, name)
