from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.data.registry import DATASETS, ImageDataset
from kmex_core.stages.statistics import PixelStatistics
from tests.helpers.datasets import write_folder, write_parquet
from tests.helpers.official import OFFICIAL, TEST, TRAIN, WRITERS, write_idx
from tests.helpers.pictures import encoded, striped


def test_every_official_data_set_has_a_writer() -> None:
    assert set(WRITERS) == set(OFFICIAL)
    assert set(DATASETS) == {*OFFICIAL, "digits", "faces", "quickdraw10", "celeba", "cub200"}


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_files_are_read(name: str, tmp_path: Path, any_content: None) -> None:
    images = WRITERS[name](tmp_path)
    assert datasets.available(name, str(tmp_path))
    data = datasets.load(DatasetSpec(name, str(tmp_path)))
    official = OFFICIAL[name]
    assert {split: len(data.split(split)) for split in data.splits} == {"train": TRAIN, "test": TEST}
    assert data.class_names == official.class_names
    assert len(data.class_names) == 10
    np.testing.assert_array_equal(data.split("train").image(7), images[7])
    assert data.split("train").labels.tolist() == [i % 10 for i in range(TRAIN)]
    pixels = data.pixels("test", [0, 3])
    assert pixels.shape == (2, official.channels, official.image_size, official.image_size)
    assert pixels.dtype == torch.uint8


@pytest.mark.parametrize("name", OFFICIAL)
def test_missing_files_are_named_when_nothing_can_be_downloaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import urllib.request

    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    assert not datasets.available(name, str(tmp_path))
    with pytest.raises(InputError) as raised:
        datasets.load(DatasetSpec(name, str(tmp_path)))
    for file in OFFICIAL[name].files:
        assert str(tmp_path / file) in str(raised.value)
    assert "--data-root" in str(raised.value)
    assert capsys.readouterr().out == ""


def test_damaged_official_files_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path, "MNIST")
    (tmp_path / "MNIST/raw/train-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03 nonsense")
    with pytest.raises(InputError, match="damaged or incomplete"):
        datasets.load(DatasetSpec("mnist", str(tmp_path)))


def test_the_data_root_comes_from_argument_environment_store(
    monkeypatch: pytest.MonkeyPatch, store: Store, tmp_path: Path
) -> None:
    assert datasets.data_root() == store.root / "data"
    monkeypatch.setenv("KMEX_DATA", str(tmp_path / "env"))
    assert datasets.data_root() == tmp_path / "env"
    assert datasets.data_root(str(tmp_path / "arg")) == tmp_path / "arg"


def test_digits_are_scikit_learns() -> None:
    data = datasets.load(DatasetSpec("digits"))
    theirs = load_digits()
    ours = np.concatenate([data.split(s).image(i)[None] for s in ("train", "test") for i in range(len(data.split(s)))])
    np.testing.assert_array_equal(np.round(ours * (16 / 255)), theirs.images)
    labels = np.concatenate([data.split(s).labels for s in ("train", "test")])
    np.testing.assert_array_equal(labels, theirs.target)


def parquet(root: Path, names: list[str] | None = ["no", "yes"], channels: int = 1, test: bool = True) -> Path:  # noqa: B006
    images = [encoded(image) for label in (0, 1) for image in striped(label, 10, 20, channels)]
    write_parquet(root / "data_train.parquet", images, [0] * 10 + [1] * 10, names)
    if test:
        write_parquet(root / "data_test.parquet", images[::4], [0, 0, 0, 1, 1], names)
    return root


@pytest.mark.parametrize("channels", [1, 3])
def test_parquet_files_are_read(tmp_path: Path, channels: int) -> None:
    data = datasets.load(DatasetSpec(str(parquet(tmp_path, channels=channels))))
    assert data.class_names == ("no", "yes")
    assert (data.channels, data.image_size) == (channels, 32)
    assert data.augmentation == ("none" if channels == 1 else "flip-crop")
    np.testing.assert_array_equal(data.split("train").image(13), striped(1, 10, 20, channels)[3])
    assert data.split("test").labels.tolist() == [0, 0, 0, 1, 1]
    assert data.notes == (
        "5 of 5 test images are also in the training split (its row 0 is training row 0), so results on them are "
        "too optimistic.",
    )


def test_parquet_without_class_names_takes_the_labels(tmp_path: Path) -> None:
    assert datasets.load(DatasetSpec(str(parquet(tmp_path, names=None)))).class_names == ("0", "1")
    images = [encoded(np.full((8, 8), grey, np.uint8)) for grey in range(10)]
    write_parquet(tmp_path / "words" / "train.parquet", images, ["b", "a"] * 5, None)
    words = datasets.load(DatasetSpec(str(tmp_path / "words")))
    assert words.class_names == ("a", "b")


def test_without_a_test_split_a_fifth_of_each_class_is_held_out(tmp_path: Path) -> None:
    data = datasets.load(DatasetSpec(str(parquet(tmp_path, test=False))))
    assert np.bincount(data.split("train").labels).tolist() == [8, 8]
    assert np.bincount(data.split("test").labels).tolist() == [2, 2]
    assert "held out" in data.notes[0]
    whole = {data.split(s).image(i).tobytes() for s in data.splits for i in range(len(data.split(s)))}
    assert len(whole) == 20


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ([b"no image"] * 4, [0, 1, 0, 1], "not a readable picture"),
        ([encoded(np.zeros((4, 4), np.uint8))] * 4, [0, 1, 2, 1], "label of the train split is 2, but there are 2"),
        ([], [], "no rows"),
    ],
)
def test_bad_parquet_content_is_refused(
    tmp_path: Path, images: list[bytes], labels: list[object], message: str
) -> None:
    write_parquet(tmp_path / "train.parquet", images, labels, ["no", "yes"])
    with pytest.raises(InputError, match=message):
        datasets.load(DatasetSpec(str(tmp_path)))


def test_bad_parquet_files_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "train.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        datasets.load(DatasetSpec(str(tmp_path)))
    pq.write_table(pa.table({"image": [1], "hue": [0], "width": [8]}), tmp_path / "train.parquet")
    with pytest.raises(InputError, match="no column 'label'"):
        datasets.load(DatasetSpec(str(tmp_path)))
    pq.write_table(pa.table({"image": [1], "label": [0]}), tmp_path / "train.parquet")
    with pytest.raises(InputError, match="struct"):
        datasets.load(DatasetSpec(str(tmp_path)))


def test_an_image_folder_is_read(tmp_path: Path) -> None:
    write_folder(tmp_path, ("cat", "dog"), 6, 2)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not a picture")
    data = datasets.load(DatasetSpec(str(tmp_path)))
    assert data.class_names == ("cat", "dog")
    assert (data.channels, data.image_size) == (3, 32)
    np.testing.assert_array_equal(data.split("train").image(8), striped(1, 6, 16, 3, seed=5)[2])
    assert data.split("test").labels.tolist() == [0, 0, 1, 1]


def test_an_empty_test_split_counts_as_none(tmp_path: Path) -> None:
    write_folder(tmp_path, ("cat", "dog"), 10, 0)
    (tmp_path / "test" / "cat").mkdir(parents=True)
    assert "held out" in datasets.load(DatasetSpec(str(tmp_path))).notes[0]


def test_images_of_different_sizes_are_shown_to_the_network_at_224(tmp_path: Path) -> None:
    write_folder(tmp_path, ("cat", "dog"), 6, 2)
    (tmp_path / "train" / "cat" / "wide.png").write_bytes(encoded(np.zeros((10, 50, 3), np.uint8)))
    data = datasets.load(DatasetSpec(str(tmp_path)))
    assert data.image_size == 224
    assert data.pixels("train", [0, 6]).shape == (2, 3, 224, 224)
    assert datasets.load(DatasetSpec(str(tmp_path), image_size=64)).pixels("train", [6]).shape == (1, 3, 64, 64)


def test_a_folder_without_images_or_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains no readable data set"):
        datasets.load(DatasetSpec(str(tmp_path)))
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="no subfolders"):
        datasets.load(DatasetSpec(str(tmp_path)))
    (tmp_path / "train" / "cat").mkdir()
    with pytest.raises(InputError, match="no pictures"):
        datasets.load(DatasetSpec(str(tmp_path)))


def test_a_broken_picture_in_a_folder_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, ("cat", "dog"), 70, 2)
    broken = tmp_path / "train" / "dog" / "069.png"
    broken.write_bytes(broken.read_bytes()[:50])
    with pytest.raises(InputError, match=r"1 of 144 .* train/dog/069\.png.*--skip-broken"):
        datasets.load(DatasetSpec(str(tmp_path)))


@pytest.mark.parametrize(("name", "near"), [("minst", "mnist"), ("CIFAR-100", "cifar10"), ("digit", "digits")])
def test_an_unknown_name_suggests_the_nearest(name: str, near: str) -> None:
    with pytest.raises(InputError, match=near):
        datasets.load(DatasetSpec(name))


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("MNIST", "mnist"), ("Digits", "digits"), ("FASHION mnist", "fashion-mnist"), ("CIFAR-10", "cifar10"),
        ("quickdraw_10", "quickdraw10"), ("CelebA", "celeba"), ("CUB-200", "cub200"), ("stl-10", "stl10"),
        ("mnist2", ""), ("./MNIST", ""), ("", ""), ("/data/mnist", ""),
    ],
)  # fmt: skip
def test_a_title_names_a_data_set_in_any_spelling(spelling: str, name: str) -> None:
    assert datasets.registered(spelling) == name
    if name:
        assert datasets.title(spelling) == datasets.DATASETS[name].title


def test_titles_and_names_are_told_apart() -> None:
    for name, entry in datasets.DATASETS.items():
        assert datasets.registered(name) == datasets.registered(entry.title) == name


def test_a_data_set_by_title_is_the_one_by_name() -> None:
    by_title, by_name = datasets.load(DatasetSpec("Digits")), datasets.load(DatasetSpec("digits"))
    assert by_title.name == by_name.name == "digits"
    assert by_title.fingerprint == by_name.fingerprint


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(InputError, match="no split 'valid'"):
        datasets.load(DatasetSpec("digits")).split("valid")


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_agree_with_numpy(tmp_path: Path, channels: int) -> None:
    data = datasets.load(DatasetSpec(str(parquet(tmp_path, channels=channels))))
    mean, std = data.statistics()
    pixels = data.pixels("train", range(20)).double() / 255
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)).numpy(), rtol=1e-9)
    np.testing.assert_allclose(std, pixels.std((0, 2, 3), correction=0).numpy(), rtol=1e-6)


def test_statistics_are_measured_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    data = datasets.load(DatasetSpec("digits"))
    first = PixelStatistics(store, data).get()
    monkeypatch.setattr(ImageDataset, "statistics", lambda *_: pytest.fail("measured again"))
    assert PixelStatistics(store, data).get() == first


def test_batches_come_in_order_and_whole() -> None:
    data = datasets.load(DatasetSpec("digits"))
    order = np.random.default_rng(0).permutation(500)
    batches = list(data.batches("test", 64, order))
    assert [len(labels) for _, labels in batches] == [64] * 7 + [52]
    np.testing.assert_array_equal(torch.cat([labels for _, labels in batches]), data.split("test").labels[order])
    assert torch.equal(batches[3][0], data.pixels("test", order[192:256]))
    assert list(data.batches("test", 64, order[:0])) == []


def test_the_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    folder = parquet(tmp_path)
    before = datasets.load(DatasetSpec(str(folder))).fingerprint
    assert datasets.load(DatasetSpec(str(folder))).fingerprint == before
    images = [encoded(image) for image in striped(0, 10, 20, 1)]
    write_parquet(folder / "data_train.parquet", images, [0, 1] * 5, ["no", "yes"])
    assert datasets.load(DatasetSpec(str(folder))).fingerprint != before


def test_gzip_copies_do_not_count_as_the_files(tmp_path: Path) -> None:
    write_idx(tmp_path, "MNIST")
    raw = tmp_path / "MNIST" / "raw"
    for file in list(raw.iterdir()):
        (raw / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert not datasets.available("mnist", str(tmp_path))
