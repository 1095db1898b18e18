from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import kmex_core
from kmex_core import KMEx
from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import read_file, write_file
from kmex_core.networks import architectures, splitting
from kmex_core.prototypes.fit import similarity


class Net(nn.Module):
    """A user's own classifier, with one input channel and a log-softmax at its end."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.fc1 = nn.Linear(6, 5)
        self.fc2 = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x)).relu().mean((2, 3))
        return self.fc2(self.fc1(x).relu()).log_softmax(1)


@pytest.fixture
def model() -> Net:
    torch.manual_seed(0)
    return Net().train()


@pytest.fixture
def data() -> TensorDataset:
    random = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(60, 1, 8, 8, generator=random), torch.arange(60) % 3)


@pytest.fixture
def kmex(model: Net, data: TensorDataset) -> KMEx:
    return KMEx.convert(model, DataLoader(data, 16), k=4)


def test_the_mean_of_the_pixels_is_kept(kmex: KMEx, data: TensorDataset) -> None:
    assert kmex.pixel_mean is not None
    np.testing.assert_allclose(kmex.pixel_mean, data.tensors[0].double().mean((0, 2, 3)), rtol=1e-6)


def test_the_five_lines_of_the_readme(model: Net, data: TensorDataset, tmp_path: Path) -> None:
    train_loader, images = DataLoader(data, 16, shuffle=True), data.tensors[0][:7]
    kmex = KMEx.convert(model, train_loader, k=4)
    scores = kmex(images)
    explanation = kmex.explain(images[0])
    kmex.save(tmp_path / "net.kmex.safetensors")
    again = KMEx.load(tmp_path / "net.kmex.safetensors", model)
    assert scores.shape == (7, 3)
    assert explanation.maps.values.shape == (3, 8, 8)
    assert torch.equal(again(images), scores)


def test_similarity_by_hand() -> None:
    d = torch.tensor([0.0, 0.5, 2.0, 1e4], dtype=torch.float64)
    for epsilon in (1e-4, 1e-2):
        squared = [math.log((x * x + 1) / (x * x + epsilon)) for x in d.tolist()]
        plain = [math.log((x + 1) / (x + epsilon)) for x in d.tolist()]
        torch.testing.assert_close(similarity(d, epsilon), torch.tensor(squared, dtype=torch.float64))
        torch.testing.assert_close(similarity(d, epsilon, False), torch.tensor(plain, dtype=torch.float64))
    assert similarity(torch.zeros(1)).item() == pytest.approx(math.log(1e4))


def test_far_prototypes_stay_apart_in_single_precision() -> None:
    d = torch.linspace(50, 60, 1000)
    assert (similarity(d).diff() < 0).all()


def test_the_prediction_is_the_class_of_the_nearest_prototype(kmex: KMEx, data: TensorDataset) -> None:
    images = data.tensors[0]
    with torch.no_grad():
        z = kmex.encode(images)
        scores = kmex(images)
    for i in range(len(images)):
        placed = kmex.mapped(z[i : i + 1])[0].double()
        distances = [float(((placed - p.double()) ** 2).sum()) for p in kmex.prototypes]
        nearest = int(kmex.prototype_class[int(np.argmin(distances))])
        assert int(scores[i].argmax()) == nearest
        best = [
            max(
                similarity(torch.tensor(d, dtype=torch.float64).sqrt()).item()
                for d, c in zip(distances, kmex.prototype_class.tolist(), strict=True)
                if c == label
            )
            for label in range(3)
        ]
        np.testing.assert_allclose(scores[i], best, rtol=1e-4)


def test_probabilities_by_hand(kmex: KMEx) -> None:
    s = torch.randn(5, 12)
    probability = kmex.reference_probabilities(s)
    for i in range(5):
        weights = [math.exp(x) for x in s[i].tolist()]
        for label in range(3):
            mine = sum(w for w, c in zip(weights, kmex.prototype_class.tolist(), strict=True) if c == label)
            assert probability[i, label].item() == pytest.approx(mine / sum(weights), rel=1e-5)


def test_a_prototype_is_at_distance_zero_from_itself(model: Net, data: TensorDataset) -> None:
    kmex = KMEx.convert(model, DataLoader(data, 16), k=4, metric="euclidean")
    assert (kmex.distance(kmex.prototypes).diagonal() == 0).all()
    assert kmex.similarity(kmex.prototypes).diagonal().tolist() == pytest.approx([math.log(1e4)] * 12)


def test_the_model_is_not_changed(model: Net, data: TensorDataset) -> None:
    before, state = splitting.fingerprint(model), copy.deepcopy(model.state_dict())
    KMEx.convert(model, DataLoader(data, 16), k=2).explain(data.tensors[0][0])
    assert splitting.fingerprint(model) == before
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())


def test_shuffling_loaders_are_read_in_order(model: Net, data: TensorDataset) -> None:
    plain = KMEx.convert(model, DataLoader(data, 16), k=3)
    shuffled = KMEx.convert(model, DataLoader(data, 16, shuffle=True, drop_last=True), k=3)
    as_list = KMEx.convert(model, [(x, y) for x, y in DataLoader(data, 16)], k=3)
    np.testing.assert_array_equal(plain.nearest, shuffled.nearest)
    np.testing.assert_array_equal(plain.nearest, as_list.nearest)
    labels = data.tensors[1].numpy()
    assert (labels[plain.nearest[:, 0]] == plain.prototype_class.numpy()).all()
    assert plain.importance.shape == plain.ghost.shape == (9,)
    assert plain.k == 3


def test_what_is_saved_is_loaded(kmex: KMEx, model: Net, data: TensorDataset, tmp_path: Path) -> None:
    kmex.save(tmp_path / "x.safetensors")
    again = KMEx.load(tmp_path / "x.safetensors", copy.deepcopy(model))
    assert torch.equal(again(data.tensors[0]), kmex(data.tensors[0]))
    np.testing.assert_array_equal(again.importance, kmex.importance)
    np.testing.assert_array_equal(again.nearest, kmex.nearest)
    assert (again.class_names, again.epsilon, again.squared) == (kmex.class_names, kmex.epsilon, kmex.squared)
    assert again.pixel_range == kmex.pixel_range
    assert again.pixel_mean == kmex.pixel_mean
    assert again.made_by["k"] == 4
    assert "torch" in again.made_by["versions"]


def test_other_weights_or_files_are_refused(kmex: KMEx, model: Net, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    kmex.save(path)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.fc1.weight[0, 0] += 1
    with pytest.raises(InputError, match="made with other weights"):
        KMEx.load(path, other)
    with pytest.raises(InputError, match="not the expected network"):
        KMEx.load(path, architectures.build("resnet20", 3, 32))
    with pytest.raises(InputError, match="no file"):
        KMEx.load(tmp_path / "y.safetensors", model)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StoreError, match="damaged"):
        KMEx.load(path, model)


@pytest.mark.parametrize(
    "changed",
    [
        {"class_names": 7}, {"epsilon": "small"}, {"pixel_range": [[0.0]]}, {"pixel_mean": ["grey"]}, {"made_by": 3},
        *({name: None} for name in ("class_names", "epsilon", "made_by")),
    ],
    ids=str,
)  # fmt: skip
def test_a_whole_file_that_lacks_something_is_refused(
    kmex: KMEx, model: Net, tmp_path: Path, changed: dict[str, object]
) -> None:
    path = tmp_path / "x.safetensors"
    kmex.save(path)
    arrays, described = read_file(path)
    write_file(path, arrays, described | changed)
    with pytest.raises(StoreError, match="is incomplete for a KMEx file"):
        KMEx.load(path, model)
    for missing in (*described.keys() - {"format"}, "centers"):
        kept = {name: array for name, array in arrays.items() if name != missing}
        write_file(path, kept, {name: value for name, value in described.items() if name != missing})
        with pytest.raises(StoreError, match="is incomplete for a KMEx file"):
            KMEx.load(path, model)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], "no images"),
        ([(torch.zeros(4, 8, 8), torch.zeros(4))], r"images \(4, 8, 8\)"),
        ([torch.zeros(4, 1, 8, 8)], "pairs of images and labels"),
    ],
)
def test_loaders_that_cannot_be_used_are_refused(model: Net, loader: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        KMEx.convert(model, loader, k=1)


def test_names_dimensions_and_epsilon_must_fit(kmex: KMEx) -> None:
    with pytest.raises(InputError, match="3 classes, but 2 class names"):
        KMEx(kmex.encoder, kmex.head, kmex.details, ("a", "b"))
    with pytest.raises(InputError, match="5 dimensions, but the network's embedding has 7"):
        KMEx(kmex.encoder, nn.Linear(7, 3), kmex.details, ("a", "b", "c"))
    with pytest.raises(InputError, match="epsilon"):
        KMEx(kmex.encoder, kmex.head, kmex.details, ("a", "b", "c"), epsilon=0)


def test_it_is_an_ordinary_module(kmex: KMEx, data: TensorDataset) -> None:
    names = set(kmex.state_dict())
    assert {"prototypes", "prototype_class"} < names
    moved = copy.deepcopy(kmex).double()
    assert moved(data.tensors[0].double()).dtype == torch.float64
    kmex(data.tensors[0]).sum().backward()
    assert next(kmex.encoder.parameters()).grad is not None


def test_importing_the_package_does_not_import_torch() -> None:
    import subprocess
    import sys

    code = "import sys, kmex_core, kmex_core.stages.evaluation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kmex_core.nothing


def test_a_class_with_fewer_images_than_k_is_warned_of(model: Net) -> None:
    images, labels = torch.randn(23, 1, 8, 8), torch.tensor([0] * 10 + [1] * 10 + [2] * 3)
    with pytest.warns(UserWarning, match=r"Fewer than 4 prototypes for '2' \(3\)"):
        made = KMEx.convert(model, [(images, labels)], k=4)
    assert made.k == 4
    assert made.prototype_class.tolist() == [0] * 4 + [1] * 4 + [2] * 3
    found = made.explain(images[20])
    assert made(images).shape == (23, 3)
    assert found.maps.values.shape == (3, 8, 8)
    assert found.kmex.sum() == pytest.approx(1, abs=1e-5)


def test_a_class_with_fewer_prototypes_has_maps_too(model: Net) -> None:
    images = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([0] * 8 + [1] + [2] * 3)
    uneven = KMEx.convert(model, [(images, labels)], k=4)
    assert np.bincount(uneven.details.classes).tolist() == [4, 1, 3]
    z = uneven.encode(images[:3])
    for target in range(3):
        relevance = uneven.prediction_relevance(z, torch.full((3,), target))
        mine = uneven.prototype_class == target
        expected = uneven.similarity(z).softmax(1)[:, mine].sum(1)  # relevance adds up to the class's probability
        assert torch.allclose(relevance.sum(1), expected, rtol=1e-4, atol=1e-6)


def test_a_device_that_is_not_there_is_refused_in_words(model: Net) -> None:
    with pytest.raises(InputError, match="device 'nosuch' cannot be used"):
        KMEx.convert(model, [(torch.rand(6, 1, 8, 8), torch.arange(6) % 3)], k=1, device="nosuch")
