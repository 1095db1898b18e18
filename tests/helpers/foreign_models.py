"""Networks from files with their graph in a store, and the torch networks that the files were made from."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data.opened import dataset
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.networks.foreign_network import ForeignNetwork

SIDE = 32


def small_network() -> nn.Sequential:
    """A classifier of the digits with random weights; its embedding keeps places, so that maps differ."""
    torch.manual_seed(3)
    body = [nn.Conv2d(3, 6, 5, 2), nn.GELU(), nn.Conv2d(6, 8, 5, 3), nn.GELU(), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(8 * 16, 10)).eval()


def onnx_file(path: Path) -> Path:
    """`small_network` as an ONNX file."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    images, batch = torch.randn(2, 3, SIDE, SIDE), {0: torch.export.Dim("batch")}
    torch.onnx.export(
        small_network(), (images,), str(path), dynamo=True, external_data=False, verbose=False, dynamic_shapes=(batch,)
    )
    return path


def exported_file(path: Path) -> Path:
    """`small_network` as a file of torch.export."""
    batch = {0: torch.export.Dim("batch")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(small_network(), (torch.randn(2, 3, SIDE, SIDE),), dynamic_shapes=(batch,))
        torch.export.save(program, path)
    return path


def put_foreign(store: Store, backbone: str, network: ForeignNetwork, name: str) -> ModelInfo:
    """Keep a network of a file as a model of the digits."""
    data = dataset(DatasetSpec("digits", image_size=SIDE))
    info = ModelInfo(
        name,
        "blackbox",
        data.name,
        "",
        backbone,
        data.class_names,
        Preprocessing.plain(SIDE, 1, (0.5,), (0.5,)),
        None,
        {},
        details={"channels": 3, "height": SIDE, "width": SIDE},
        outputs=10,
        class_outputs=tuple(range(10)),
        head_path="head",
    )
    models.save(store, info, network)
    return models.describe(store, name)
