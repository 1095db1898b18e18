from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kmex_core.base.devices import checked_device
from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.results import ModelInfo
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.models import catalogue as models
from kmex_core.models.catalogue import network_input
from kmex_core.stages import pipeline
from tests.conftest import close_datasets, write_folder


def test_a_conversion_is_stored_and_read_without_the_network(demo: Store, digits: ModelInfo) -> None:
    data = pipeline.dataset_of(digits)
    made = pipeline.convert(demo, digits, data, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load", lambda *_: pytest.fail("the network was loaded"))
        patch.setattr("kmex_core.prototypes.kmeans.kmeans", lambda *_: pytest.fail("k-means ran again"))
        again = pipeline.convert(demo, digits, data, 3)
        kept = pipeline.stored_conversion(demo, pipeline.conversion_spec(demo, digits, data, 3, 0).key)
    assert kept is not None
    for other in (again, kept):
        assert other.summary == made.summary
        np.testing.assert_array_equal(other.prototypes.centers, made.prototypes.centers)
        np.testing.assert_array_equal(other.test_predicted, made.test_predicted)


def test_the_summary_agrees_with_the_module(demo: Store, digits: ModelInfo) -> None:
    import torch

    data = pipeline.dataset_of(digits)
    made = pipeline.convert(demo, digits, data, 5)
    black_box = models.load(demo, "digits")
    kmex = pipeline.kmex(black_box, made, pipeline.conversion_spec(demo, digits, data, 5, 0))
    test = data.split("test")
    inputs = torch.cat([network_input(digits, test.image(i)) for i in range(len(test))])
    with torch.no_grad():
        said, black = kmex(inputs).argmax(1).numpy(), black_box.model(inputs).argmax(1).numpy()
    assert made.summary.accuracy_kmex == np.mean(said == test.labels)
    assert made.summary.accuracy_black_box == np.mean(black == test.labels)
    assert made.summary.agreement == np.mean(said == black)
    assert made.summary.images == 500
    assert made.summary.ghosting == 0


def test_the_demo_is_good_enough_to_show(demo: Store, digits: ModelInfo) -> None:
    summary = pipeline.convert(demo, digits, pipeline.dataset_of(digits), 5).summary
    assert summary.accuracy_black_box > 0.95
    assert abs(summary.accuracy_kmex - summary.accuracy_black_box) < 0.01
    assert models.EMBEDDED.joinpath("digits.safetensors").stat().st_size < 2 * 2**20


def test_a_damaged_embedding_is_computed_again(store: Store) -> None:
    info = models.describe(store, "digits")
    data = pipeline.dataset_of(info)
    first = pipeline.embeddings(store, info, data, "test")
    path = store.path("embeddings", pipeline.embedding_spec(store, info, data, "test").key)
    content = bytearray(path.read_bytes())
    content[-100] ^= 0xFF
    path.write_bytes(bytes(content))
    again = pipeline.embeddings(store, info, data, "test")
    np.testing.assert_allclose(again.z, first.z, rtol=1e-5)
    assert store.get("embeddings", path.stem) is not None


def test_cancelling_leaves_nothing_half_done(store: Store) -> None:
    info = models.describe(store, "digits")
    data = pipeline.dataset_of(info)

    class Cancelled(Exception):
        pass

    def cancel(stage: str, done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        pipeline.convert(store, info, data, 2, progress=cancel)
    assert store.names("embeddings") == store.names("prototypes") == []
    assert not pipeline.is_embedded(store, info, data)
    assert pipeline.convert(store, info, data, 2).summary.images == 500


def test_classes_smaller_than_k_have_a_prototype_per_image(demo: Store, digits: ModelInfo) -> None:
    data = pipeline.dataset_of(digits)
    made = pipeline.convert(demo, digits, data, 500)
    assert np.bincount(made.prototypes.classes).tolist() == np.bincount(data.split("train").labels).tolist()
    assert made.summary.ghosting == 0
    assert made.summary.images == 500


def test_data_with_other_classes_than_the_models_is_refused(store: Store, tmp_path: Path) -> None:
    from kmex_core.models import training

    folder = write_folder(tmp_path / "data", ("a", "b"), 8, 4, size=32)
    spec = DatasetSpec(str(folder))
    recipe = training.default_recipe(datasets.load(spec), False, epochs=1, batch_size=8)
    info = pipeline.train(store, pipeline.TrainRequest("net", spec, "resnet20", recipe, "cpu", "test"))
    assert pipeline.dataset_of(info).class_names == ("a", "b")
    (folder / "train" / "c").mkdir()
    (folder / "train" / "c" / "0.png").write_bytes((folder / "train" / "a" / "000.png").read_bytes())
    close_datasets()
    with pytest.raises(InputError, match="has 3 classes .* trained on 2"):
        pipeline.dataset_of(info)


def test_data_that_has_moved_is_found_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: ModelInfo
) -> None:
    from tests.kmex_core.test_datasets import WRITERS

    WRITERS["mnist"](tmp_path / "here")
    info = dataclasses.replace(digits, dataset="mnist", root=str(tmp_path / "here"))
    assert len(pipeline.dataset_of(info).split("train")) == 30
    (tmp_path / "here").rename(tmp_path / "there")
    close_datasets()
    monkeypatch.setenv("KMEX_DATA", str(tmp_path / "there"))
    assert len(pipeline.dataset_of(info).split("train")) == 30
    folder = write_folder(tmp_path / "there" / "pets", tuple("0123456789"), 1, 1)
    info = dataclasses.replace(digits, dataset="/gone/pets")
    assert pipeline.dataset_of(info).name == str(folder)


def test_a_store_that_cannot_be_written_stops_the_conversion(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file")
    info = models.describe(store, "digits")
    with pytest.raises(StoreError, match="KMEX_CACHE"):
        pipeline.convert(store, info, pipeline.dataset_of(info), 2)


def test_devices_are_checked() -> None:
    assert checked_device("cpu") == "cpu"
    with pytest.raises(InputError, match="The device 'abacus' cannot be used"):
        checked_device("abacus")


def test_a_sweep_stores_each_k_at_once(demo: Store, digits: ModelInfo) -> None:
    data = pipeline.dataset_of(digits)
    seen: list[int] = []

    def progress(stage: str, done: int, total: int) -> None:
        seen.append(done)
        spec = pipeline.conversion_spec(demo, digits, data, 7, 0)
        assert done == 0 or pipeline.stored_summary(demo, spec) is not None

    found = pipeline.sweep(demo, digits, data, [7, 1, 2], progress=progress)
    assert list(found) == [1, 2, 7]
    assert seen == [0, 1, 2, 3]
    assert found[7] == pipeline.convert(demo, digits, data, 7).summary
    assert found[1].diversity is None
    assert found[1].effective == 1
    assert 1 < found[2].effective < found[7].effective < 7


def test_a_summary_is_read_alone_and_a_damaged_one_is_missing(demo: Store, digits: ModelInfo) -> None:
    data = pipeline.dataset_of(digits)
    spec = pipeline.conversion_spec(demo, digits, data, 6, 0)
    made = pipeline.convert(demo, digits, data, 6)
    assert pipeline.stored_summary(demo, spec) == made.summary
    demo.path("prototypes", spec.key).write_bytes(b"nonsense")
    assert pipeline.stored_summary(demo, spec) is None
    assert pipeline.stored_summary(demo, dataclasses.replace(spec, k=77)) is None


def test_a_map_is_stored_and_read_without_umap(demo: Store, digits: ModelInfo) -> None:
    data = pipeline.dataset_of(digits)
    kept = pipeline.stored_projection(demo, pipeline.projection_spec(demo, digits, data).key)
    assert kept is not None
    assert kept.train.shape == (1297, 2)
    assert kept.test.shape == (500, 2)
    assert kept.trustworthiness > 0.95
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kmex_core.analysis.projection.fit", lambda *_: pytest.fail("it was drawn again"))
        again = pipeline.project(demo, digits, data)
    np.testing.assert_array_equal(again.train, kept.train)
    assert pipeline.stored_projection(demo, pipeline.projection_spec(demo, digits, data, seed=5).key) is None
