"""The real data sets, where they are (KMEX_TEST_DATA, else ../shared/data); made data tests the same code."""

from __future__ import annotations

import numpy as np
import pytest

from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.models import training
from kmex_core.prototypes.source import KMeans
from kmex_core.stages import training_runs
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.paths import real

pytestmark = pytest.mark.real_data


def test_mnist() -> None:
    data = datasets.load(DatasetSpec("mnist", str(real("MNIST").parent)))
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.split("train").labels).tolist() == counts
    assert len(data.split("test")) == 10_000
    assert (data.channels, data.image_size) == (1, 32)
    mean, std = data.statistics()
    assert mean[0] == pytest.approx(0.1307, abs=1e-3)  # as published, for 28 × 28
    assert std[0] == pytest.approx(0.3081, abs=0.02)  # a little less after resizing to 32 × 32


def test_cifar10_as_parquet() -> None:
    data = datasets.load(DatasetSpec(str(real("cifar10"))))
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    assert {split: len(data.split(split)) for split in data.splits} == {"train": 50_000, "test": 10_000}
    assert np.bincount(data.split("train").labels).tolist() == [5000] * 10
    assert data.split("test").image(9_999).shape == (32, 32, 3)
    assert (data.channels, data.image_size, data.augmentation) == (3, 32, "flip-crop")


def test_a_network_learns_quickdraw_and_is_converted(store: Store) -> None:
    spec = DatasetSpec(str(real("quickdraw")))
    data = datasets.load(spec)
    assert data.class_names == ("ant", "apple", "banana", "carrot", "cat", "cow", "dog", "frog", "grapes", "lion")
    assert (data.channels, data.image_size) == (1, 32)
    small = DatasetSpec(spec.name, image_size=16)
    recipe = training.default_recipe(datasets.load(small), False, epochs=2)
    info = training_runs.train(store, training_runs.TrainRequest("quick", small, "resnet20", recipe, "cpu", "test"))
    summary = Subject(store, info, dataset_of(info)).conversion(KMeans(5)).get().summary
    assert (summary.accuracy_black_box or 0) > 0.3
    assert summary.accuracy_kmex > 0.3
    assert summary.ghosting < 0.1  # the classes of a network after two epochs still overlap


def test_parquet_without_a_label_says_what_it_has() -> None:
    with pytest.raises(InputError, match="no column 'label'.*action, direction.*--label-column"):
        datasets.load(DatasetSpec(str(real("lpc_sprites"))))
