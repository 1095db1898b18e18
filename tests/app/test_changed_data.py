"""A page notices that its data have changed: no old number beside new pictures, and a sentence that says so."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from starlette.requests import Request

from app.routes import pictures
from kmex_core.base.plain_text import message
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import opened
from kmex_core.data import registry as datasets
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue as models
from kmex_core.models.info import TEST_IS_TRAINING, ModelInfo
from kmex_core.networks import architectures
from kmex_core.stages.subject import dataset_of
from tests.helpers.datasets import write_folder
from tests.helpers.pages import data_of, healthy, open_link
from tests.helpers.pictures import encoded, striped
from tests.helpers.stores import embed

B = "*b* $x$"  # a class whose name Markdown would change


@pytest.fixture
def info(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelInfo:
    """An untrained network of a folder of pictures, whose test images may be among its training images."""
    monkeypatch.setattr(opened, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(opened, "LOOK_SHARE", 0.0)
    root = write_folder(tmp_path / "pets", ("a", B), 10, 0)
    for at in range(7):
        (root / "train" / B / f"{at:03}.png").unlink()
    shutil.copytree(root / "train", root / "test")
    shutil.rmtree(root / "test" / B)
    (root / "test" / B).mkdir()
    (root / "test" / B / "0.png").write_bytes(encoded(striped(1, 1, 16, 3, seed=9)[0]))
    data = datasets.load(DatasetSpec(str(root)))
    torch.manual_seed(0)
    made_by = {"data": data.fingerprint, TEST_IS_TRAINING: True}
    plain = Preprocessing.plain(32, 3, (0.5,) * 3, (0.5,) * 3)
    described = ModelInfo("pet", "blackbox", data.name, "", "resnet20", data.class_names, plain, 0.5, made_by)
    models.save(store, described, architectures.build("resnet20", 2, 32))
    return models.describe(store, "pet")


def served(info: ModelInfo, state: str) -> Any:
    path = {"model": info.name, "state": state, "split": "train", "index": "0"}
    return pictures.serve(Request({"type": "http", "path_params": path}))


def test_new_pictures_come_with_new_numbers(info: ModelInfo, tmp_path: Path, store: Store) -> None:
    embed(store, info.name)
    test = healthy(open_link("prototypes", model=info.name, k="5"))
    before = dataset_of(info).fingerprint
    assert before in str(data_of(test, "gallery"))
    assert any("may be too optimistic" in one.value for one in test.warning)
    assert not any("has changed" in one.value for one in test.warning)
    assert any(f"Fewer than 5 prototypes for '{message(B)}'" in one.value for one in test.caption)
    old = served(info, before)
    assert old.status_code == 200
    random = np.random.default_rng(1)
    for path in sorted((tmp_path / "pets").rglob("*.png")):
        path.write_bytes(encoded(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)))
    embed(store, info.name)
    healthy(test.run())
    after = dataset_of(info).fingerprint
    assert after != before
    assert after in str(data_of(test, "gallery"))
    assert before not in str(data_of(test, "gallery"))
    assert any("The data set has changed since 'pet' was trained" in one.value for one in test.warning)
    new = served(info, after)
    assert new.status_code == 200
    assert new.body != old.body
    healthy(test.switch_page("views/models.py").run())
    assert any("(!)" in one.value and "'pet' was imported" in one.value for one in test.caption)
