from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kmex_core.base.devices import checked_device
from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.location import SHIPPED
from kmex_core.base.progress import Event
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.models import catalogue as models
from kmex_core.models.catalogue import network_input
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import KMeans
from kmex_core.stages import training_runs
from kmex_core.stages.bound import RESULTS, Reader
from kmex_core.stages.conversion import ModelConversion
from kmex_core.stages.curves import conversions
from kmex_core.stages.embedding_map import EmbeddingMap
from kmex_core.stages.explainer import explainer
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.datasets import close_datasets, write_folder


def test_a_conversion_is_stored_and_read_without_the_network(demo: Store, digits: ModelInfo) -> None:
    data = dataset_of(digits)
    made = Subject(demo, digits, data).conversion(KMeans(3)).get()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load", lambda *_: pytest.fail("the network was loaded"))
        patch.setattr("kmex_core.prototypes.fit.clusterings", lambda *_: pytest.fail("k-means ran again"))
        again = Subject(demo, digits, data).conversion(KMeans(3)).get()
        kept = ModelConversion.stored(demo, Subject(demo, digits, data).conversion(KMeans(3)).spec.key)
    assert kept is not None
    for other in (again, kept):
        assert other.summary == made.summary
        np.testing.assert_array_equal(other.prototypes.centers, made.prototypes.centers)
        np.testing.assert_array_equal(other.test_predicted, made.test_predicted)


def test_the_summary_agrees_with_the_module(demo: Store, digits: ModelInfo) -> None:
    import torch

    data = dataset_of(digits)
    made = Subject(demo, digits, data).conversion(KMeans(5)).get()
    black_box = models.load(demo, "digits")
    kmex = explainer(black_box, KMeans(5), made, Subject(demo, digits, data).conversion(KMeans(5)).spec)
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
    summary = Subject(demo, digits, dataset_of(digits)).conversion(KMeans(5)).get().summary
    assert summary.accuracy_black_box is not None
    assert summary.accuracy_black_box > 0.95
    assert summary.accuracy_kmex > summary.accuracy_black_box - 0.005
    assert SHIPPED.joinpath("digits.safetensors").stat().st_size < 2 * 2**20


def test_a_damaged_embedding_is_computed_again(store: Store) -> None:
    info = models.describe(store, "digits")
    data = dataset_of(info)
    first = Subject(store, info, data).embedding("test").get()
    path = store.path("embeddings", Subject(store, info, data).embedding("test").spec.key)
    content = bytearray(path.read_bytes())
    content[-100] ^= 0xFF
    path.write_bytes(bytes(content))
    again = Subject(store, info, data).embedding("test").get()
    np.testing.assert_allclose(again.z, first.z, rtol=1e-5)
    assert store.get("embeddings", path.stem) is not None


def test_cancelling_leaves_nothing_half_done(store: Store) -> None:
    info = models.describe(store, "digits")
    data = dataset_of(info)

    class Cancelled(Exception):
        pass

    def cancel(event: Event) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        Subject(store, info, data, progress=cancel).conversion(KMeans(2)).get()
    assert store.names("embeddings") == store.names("prototypes") == []
    assert not Subject(store, info, data).is_embedded
    assert Subject(store, info, data).conversion(KMeans(2)).get().summary.images == 500


def test_classes_smaller_than_k_have_a_prototype_per_image(demo: Store, digits: ModelInfo) -> None:
    data = dataset_of(digits)
    made = Subject(demo, digits, data).conversion(KMeans(500)).get()
    assert np.bincount(made.prototypes.classes).tolist() == np.bincount(data.split("train").labels).tolist()
    assert made.summary.ghosting == 0
    assert made.summary.images == 500


def test_data_with_other_classes_than_the_models_is_refused(store: Store, tmp_path: Path) -> None:
    from kmex_core.models import training

    folder = write_folder(tmp_path / "data", ("a", "b"), 8, 4, size=32)
    spec = DatasetSpec(str(folder))
    recipe = training.default_recipe(datasets.load(spec), False, epochs=1, batch_size=8)
    info = training_runs.train(store, training_runs.TrainRequest("net", spec, "resnet20", recipe, "cpu", "test"))
    assert dataset_of(info).class_names == ("a", "b")
    (folder / "train" / "c").mkdir()
    (folder / "train" / "c" / "0.png").write_bytes((folder / "train" / "a" / "000.png").read_bytes())
    close_datasets()
    with pytest.raises(InputError, match="has 3 classes .* trained on 2"):
        dataset_of(info)


def test_data_that_has_moved_is_found_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: ModelInfo
) -> None:
    from tests.helpers.official import WRITERS

    WRITERS["mnist"](tmp_path / "here")
    info = dataclasses.replace(digits, dataset="mnist", root=str(tmp_path / "here"))
    assert len(dataset_of(info).split("train")) == 30
    (tmp_path / "here").rename(tmp_path / "there")
    close_datasets()
    monkeypatch.setenv("KMEX_DATA", str(tmp_path / "there"))
    assert len(dataset_of(info).split("train")) == 30
    folder = write_folder(tmp_path / "there" / "pets", tuple("0123456789"), 1, 1)
    info = dataclasses.replace(digits, dataset="/gone/pets")
    assert dataset_of(info).name == str(folder)


def test_a_store_that_cannot_be_written_stops_the_conversion(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file")
    info = models.describe(store, "digits")
    with pytest.raises(StoreError, match="KMEX_CACHE"):
        Subject(store, info, dataset_of(info)).conversion(KMeans(2)).get()


def test_devices_are_checked() -> None:
    assert checked_device("cpu") == "cpu"
    with pytest.raises(InputError, match="The device 'abacus' cannot be used"):
        checked_device("abacus")


def test_each_of_several_conversions_is_stored_at_once(demo: Store, digits: ModelInfo) -> None:
    data = dataset_of(digits)
    seen: list[int] = []

    def progress(event: Event) -> None:
        seen.append(event.done)
        assert event.done == 0 or Subject(demo, digits, data).conversion(KMeans(7)).summary() is not None

    subject = Subject(demo, digits, data, progress=progress)
    found = {source.k: made.summary for source, made in conversions(subject, [7, 1, 2], [0])}
    assert list(found) == [7, 1, 2]
    assert seen == [0, 1, 2, 3]
    assert found[7] == Subject(demo, digits, data).conversion(KMeans(7)).get().summary
    assert found[1].diversity is None
    assert found[1].effective == 1
    two, seven = found[2].effective, found[7].effective
    assert two is not None
    assert seven is not None
    assert 1 < two < seven < 7


def test_a_summary_is_read_alone_and_a_damaged_one_is_missing(demo: Store, digits: ModelInfo) -> None:
    data = dataset_of(digits)
    conversion = Subject(demo, digits, data).conversion(KMeans(6))
    assert conversion.get().summary == conversion.summary()
    demo.path("prototypes", conversion.key).write_bytes(b"nonsense")
    assert conversion.summary() is None
    assert Subject(demo, digits, data).conversion(KMeans(77)).summary() is None


def test_a_map_is_stored_and_read_without_umap(demo: Store, digits: ModelInfo) -> None:
    data = dataset_of(digits)
    kept = EmbeddingMap.stored(demo, Subject(demo, digits, data).embedding_map().spec.key)
    assert kept is not None
    assert kept.train.shape == (1297, 2)
    assert kept.test.shape == (500, 2)
    assert kept.trustworthiness > 0.95
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kmex_core.analysis.projection.fit", lambda *_: pytest.fail("it was drawn again"))
        again = Subject(demo, digits, data).embedding_map().get()
    np.testing.assert_array_equal(again.train, kept.train)
    assert EmbeddingMap.stored(demo, Subject(demo, digits, data).embedding_map(seed=5).spec.key) is None


def test_a_reader_keeps_what_was_used_last_and_no_more(demo: Store, digits: ModelInfo) -> None:
    reader = Reader()
    subject = Subject(demo, digits, dataset_of(digits), reader=reader)
    train = subject.read(subject.embedding("train"))
    for k in range(1, RESULTS + 2):
        subject.read(subject.conversion(KMeans(k)))
        assert subject.read(subject.embedding("train")) is train
    assert len(reader._results) == RESULTS
