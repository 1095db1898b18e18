"""Networks from outside are trained: from their source's weights, resumed to the last bit, and used as any other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Event
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import opened
from kmex_core.models import catalogue, training
from kmex_core.models.info import ModelInfo
from kmex_core.networks import architectures, trust
from kmex_core.prototypes.source import KMeans
from kmex_core.stages import training_runs
from kmex_core.stages.subject import subject_of
from kmex_core.stages.training_start import Start, start_outside
from tests.helpers.datasets import write_folder
from tests.helpers.huggingface import hugging_face

CLASSES = ("a", "b", "c", "d")
FACTORY = """
from torch import nn


def make(num_classes=9):
    return nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(1568, num_classes))


def nine():
    return make()
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("KMEX_CACHE", str(tmp_path / "store"))
    return Store()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("striped") / "data", CLASSES, 24, 8, size=32)


@pytest.fixture
def vit(tmp_path: Path) -> str:
    """A tiny ViT of transformers for three other classes, whose weights are in its folder."""
    hugging_face(tmp_path / "vit", "vit")
    return f"hf:{tmp_path / 'vit'}"


def start(store: Store, folder: Path, backbone: str, **options: Any) -> Start:
    found = start_outside(
        store, options.pop("name", "net"), backbone, opened.dataset(DatasetSpec(str(folder))), **options
    )
    assert found is not None
    return found


def request(
    store: Store, folder: Path, backbone: str, name: str, resume: bool = False, **changes: Any
) -> training_runs.TrainRequest:
    spec, begin = DatasetSpec(str(folder)), start(store, folder, backbone, name=name, resume=resume)
    recipe = training.default_recipe(opened.dataset(spec), begin.trained, outside=True, **changes)
    return training_runs.TrainRequest(name, spec, backbone, recipe, "cpu", "test", begin)


def check_is_used_as_any_other(store: Store, info: ModelInfo) -> None:
    """The model predicts, is converted and explained, also when it is built anew from the store."""
    assert info.accuracy is not None
    assert info.accuracy > 0.6  # chance is a quarter
    assert (info.outputs, info.class_outputs, info.predicts) == (4, (0, 1, 2, 3), True)
    subject = subject_of(store, info.name)
    assert subject.info == catalogue.describe(store, info.name)
    assert subject.conversion(KMeans(2)).get().summary.accuracy_kmex > 0.6
    embedded = subject.embedding("test").get()
    assert float((embedded.black_box == embedded.labels).mean()) == pytest.approx(info.accuracy)
    kmex = subject.explainer(KMeans(2))
    picture = np.asarray(next(iter(subject.data.split("test").images([0]))))
    explained = kmex.explain(catalogue.network_input(info, picture), top=1)
    assert explained.maps.values[0].shape == info.preprocessing.size
    assert np.isfinite(explained.maps.values[0]).all()
    assert np.abs(explained.maps.values[0]).max() > 0


def test_a_network_of_transformers_is_tuned_to_other_classes(store: Store, folder: Path, tmp_path: Path) -> None:
    hugging_face(tmp_path / "resnet", "resnet")
    name = f"hf:{tmp_path / 'resnet'}"
    original = architectures.propose(name, None).module.state_dict()
    begin = start(store, folder, name)
    now = begin.network.state_dict()
    assert begin.trained
    assert {part for part in original if not torch.equal(original[part], now[part])} == {
        "classifier.1.weight",
        "classifier.1.bias",
    }
    assert now["classifier.1.bias"].shape == (4,)
    recipe = request(store, folder, name, "net").recipe
    assert (recipe.optimiser, recipe.learning_rate, recipe.imagenet) == ("adam", 5e-5, True)
    info = training_runs.train(store, request(store, folder, name, "net", epochs=2, learning_rate=0.03, batch_size=8))
    assert info.preprocessing.mean == (0.5, 0.5, 0.5)  # of its configuration
    assert f"{name} starts with its source's weights." in info.made_by["notes"]
    (tmp_path / "resnet").rename(tmp_path / "elsewhere")  # the store has all that is needed
    check_is_used_as_any_other(store, info)


def test_a_network_of_timm_is_trained(store: Store, folder: Path) -> None:
    pytest.importorskip("timm")
    name = "timm:test_resnet"
    info = training_runs.train(store, request(store, folder, name, "net", epochs=2, learning_rate=0.005, batch_size=8))
    assert info.preprocessing.size == (160, 160)
    assert any("160×160 pixels, 25 times those of 32×32" in note for note in info.made_by["notes"])
    check_is_used_as_any_other(store, info)


def test_a_resumed_run_is_the_same_to_the_last_bit(store: Store, folder: Path, vit: str) -> None:
    changes: dict[str, Any] = {"epochs": 2, "learning_rate": 0.01, "batch_size": 16, "augmentation": "flip-crop"}
    whole = training_runs.train(store, request(store, folder, vit, "whole", **changes))

    def stop(event: Event) -> None:
        if event.part == 2 and event.done == event.total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training_runs.train(store, request(store, folder, vit, "parts", **changes), progress=stop)
    (Path(vit[3:]) / "model.safetensors").unlink()  # the run has the weights
    again = request(store, folder, vit, "parts", resume=True, **changes)
    parts = training_runs.train(store, again, resume=True)
    assert catalogue.weights_key(store, "whole") == catalogue.weights_key(store, "parts")
    assert whole.details == parts.details


def test_a_run_whose_network_is_another_by_now_is_not_resumed(store: Store, folder: Path, vit: str) -> None:
    def stop(event: Event) -> None:
        if event.part == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training_runs.train(store, request(store, folder, vit, "net", epochs=2), progress=stop)
    config = Path(vit[3:]) / "config.json"
    config.write_text(config.read_text().replace('"patch_size": 8', '"patch_size": 16'))
    with pytest.raises(InputError, match="started with other settings"):
        training_runs.train(store, request(store, folder, vit, "net", resume=True, epochs=2), resume=True)


def test_weights_of_torchvision_are_taken_up_to_the_head(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision
    from torchvision.models._api import WeightsEnum

    state = torchvision.models.squeezenet1_1(num_classes=1000).state_dict()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: state)
    begin = start(store, folder, "torchvision:squeezenet1_1", trained=True)
    now = begin.network.state_dict()
    assert {name for name in state if not torch.equal(state[name], now[name])} == {
        "classifier.1.weight",
        "classifier.1.bias",
    }
    assert now["classifier.1.weight"].shape[0] == len(CLASSES)

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", unreachable)
    begin = start(store, folder, "torchvision:squeezenet1_1")
    assert not begin.trained
    assert "starts with random weights" in begin.notes[0]
    assert "could not be had (no network)" in begin.notes[1]
    with pytest.raises(InputError, match="has no trained weights to start from. The ImageNet weights"):
        start(store, folder, "torchvision:squeezenet1_1", trained=True)


def test_a_function_of_ones_own_is_trained_once_it_is_allowed(
    store: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_training.py").write_text(FACTORY)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(InputError, match="allow it once"):
        start(store, folder, "my_training:make")
    trust.allow("my_training:make", tmp_path)
    trust.allow("my_training:nine", tmp_path)
    with pytest.raises(InputError, match="gives 9 class scores, but data set .* has 4 classes"):
        start(store, folder, "my_training:nine")
    assert start(store, folder, "my_training:make", trained=True).trained
    info = training_runs.train(
        store, request(store, folder, "my_training:make", "net", epochs=2, learning_rate=0.005, batch_size=8)
    )
    check_is_used_as_any_other(store, info)
    sys.modules.pop("my_training")


def test_what_cannot_be_trained_says_so(store: Store, folder: Path, tmp_path: Path, vit: str) -> None:
    for name in ("onnx:net.onnx", "export:net.pt2"):
        with pytest.raises(InputError, match="cannot be trained here, because it is a file with its graph"):
            start(store, folder, name)
    with pytest.raises(InputError, match="ProtoPNet is built on a backbone of this product"):
        start(store, folder, vit, kind="protopnet")
    with pytest.raises(InputError, match="takes 32×32 pixels, so --image-size does not apply"):
        start(store, folder, vit, image_size=64)
    hugging_face(tmp_path / "dino", "dinov2")
    with pytest.raises(InputError, match="is an encoder, which predicts no classes"):
        start(store, folder, f"hf:{tmp_path / 'dino'}")
