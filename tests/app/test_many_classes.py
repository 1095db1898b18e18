"""The pages for data of 2 and of 200 classes, grey and colour, as the paper's data sets are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from app.components.audit import confusion
from app.components.audit.prototypes import MOST_CLASSES
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.networks import architectures
from kmex_core.stages.statistics import PixelStatistics
from tests.helpers.pages import board, cards, data_of, healthy, open_link
from tests.helpers.stores import embed


def small_model(store: Store, root: Path, classes: int, grey: bool) -> ModelInfo:
    """An untrained network for a folder of `classes` classes, whose images differ by class."""
    random = np.random.default_rng(0)
    for label in range(classes):
        for split, count in (("train", 3), ("test", 1)):
            folder = root / split / f"class {label:03d}"
            folder.mkdir(parents=True)
            for at in range(count):
                shape = (28, 28) if grey else (32, 32, 3)
                Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{at}.png")
    data = datasets.load(DatasetSpec(str(root)))
    torch.manual_seed(0)
    network = architectures.build("resnet20", classes, 32).eval()
    mean, std = PixelStatistics(store, data).get()
    plain = Preprocessing.plain(32, data.channels, mean, std)
    info = ModelInfo("many", "blackbox", data.name, "", "resnet20", data.class_names, plain, None, {})
    models.save(store, info, network)
    return info


@pytest.mark.parametrize(("classes", "grey"), [(2, True), (200, False)])
def test_every_page_holds_few_and_many_classes(store: Store, tmp_path: Path, classes: int, grey: bool) -> None:
    info = small_model(store, tmp_path / "data", classes, grey)
    assert info.channels == (1 if grey else 3)
    embed(store, "many")
    test = healthy(open_link("prototypes", dataset="data", model="many", k="2"))
    assert test.selectbox(key="model").value == "many"
    assert len(cards(test)) == 2 * classes
    assert len({group["colour"] for group in data_of(test, "gallery")["groups"]}) == classes
    for view in ("audit", "compare", "explain", "attributes"):
        healthy(test.switch_page(f"views/{view}.py").run())
        if view == "audit":
            cut = [one.value for one in test.caption if f"of {classes} classes with the most ghosts" in one.value]
            assert len(cut) == (classes > MOST_CLASSES)
            (section,) = data_of(test, "matrix")["sections"]
            assert len(section["rows"]) == min(classes, confusion.LISTED)
        if view == "explain":
            assert len(board(test, store)["posterior"]) == classes
        if view == "attributes":
            assert "has no attributes" in test.info[0].value
