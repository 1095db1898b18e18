"""Encoded images in parquet, Arrow and tar files, and arrays in .npz files: read as written, hostile ones refused."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.data.columns import image_column
from kmex_core.models import catalogue as models
from kmex_core.stages.subject import subject_of
from tests.helpers.datasets import close_datasets
from tests.helpers.layouts import classes, load, numbers, picture, pixels

pytestmark = pytest.mark.usefixtures("store")

NAMES = ["cat", "dog", "eel"]
FINE, COARSE = [at % 3 for at in range(30)], [at % 2 for at in range(30)]
IMAGES = [picture(at) for at in range(30)]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def structs(images: list[bytes] = IMAGES) -> pa.Array:
    return pa.array([{"bytes": image, "path": f"{at}.png"} for at, image in enumerate(images)], STRUCT)


def declared(table: pa.Table, **kinds: dict[str, Any]) -> pa.Table:
    """A table with Hugging Face's metadata."""
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": kinds}})})


def class_label(names: list[str]) -> dict[str, Any]:
    return {"names": names, "_type": "ClassLabel"}


def parquet(folder: Path, table: pa.Table) -> None:
    pq.write_table(table, folder / "train.parquet")


def arrow(folder: Path, table: pa.Table) -> None:
    """As `Dataset.save_to_disk` writes it: a stream in batches, and the list of files."""
    folder.mkdir(exist_ok=True)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as out,
    ):
        out.write_table(table, max_chunksize=7)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (folder / "dataset_info.json").write_text("{}")


STORED = pytest.mark.parametrize("store_table", [parquet, arrow], ids=lambda of: of.__name__)


# ---- columns --------------------------------------------------------------------------------------------------------


@STORED
@pytest.mark.parametrize("image", ["img", "pixel_values", "image"])
@pytest.mark.parametrize("kind", ["struct", "binary", "large binary", "bytes alone"])
@pytest.mark.parametrize("label", ["fine_label", "label", "category"])
def test_columns_with_any_names(
    tmp_path: Path, store_table: Callable[[Path, pa.Table], None], image: str, kind: str, label: str
) -> None:
    column = {
        "struct": structs(),
        "binary": pa.array(IMAGES, pa.binary()),
        "large binary": pa.array(IMAGES, pa.large_binary()),
        "bytes alone": pa.array([{"bytes": of} for of in IMAGES], pa.struct([("bytes", pa.binary())])),
    }[kind]
    store_table(tmp_path, declared(pa.table({image: column, label: FINE}), **{label: class_label(NAMES)}))
    data = load(tmp_path)
    assert classes(data) == {at: NAMES[FINE[at]] for at in range(30)}
    assert data.class_column == ("" if label == "label" else label)
    again = load(tmp_path, class_column=data.class_column, image_column=image)
    assert again.fingerprint == data.fingerprint


@STORED
def test_the_only_other_column_is_the_class(tmp_path: Path, store_table: Callable[[Path, pa.Table], None]) -> None:
    store_table(tmp_path, pa.table({"img": structs(), "species": [NAMES[at] for at in FINE]}))
    assert classes(load(tmp_path)) == {at: NAMES[FINE[at]] for at in range(30)}


@STORED
def test_what_is_declared_comes_before_other_columns(
    tmp_path: Path, store_table: Callable[[Path, pa.Table], None]
) -> None:
    table = pa.table({"thumb": pa.array([b"x"] * 30), "photo": structs(), "class": COARSE, "species": FINE})
    store_table(tmp_path, declared(table, photo={"_type": "Image"}, species=class_label(NAMES)))
    assert classes(load(tmp_path)) == {at: NAMES[FINE[at]] for at in range(30)}


@STORED
def test_several_columns_are_listed_and_can_be_named(
    tmp_path: Path, store_table: Callable[[Path, pa.Table], None]
) -> None:
    other = structs([picture(at + 100) for at in range(30)])
    table = pa.table({"front": structs(), "back": other, "fine_label": FINE, "coarse_label": COARSE})
    store_table(tmp_path, declared(table, fine_label=class_label(NAMES), coarse_label=class_label(["x", "y"])))
    with pytest.raises(InputError, match="2 columns of images: front and back. Name one: --image-column front"):
        load(tmp_path)
    with pytest.raises(
        InputError, match="2 columns that may be the class: fine_label, coarse_label. Name it: --label-column"
    ):
        load(tmp_path, image_column="back")
    back = load(tmp_path, image_column="back", class_column="coarse_label")
    assert classes(back) == {at + 100: "xy"[COARSE[at]] for at in range(30)}
    front = load(tmp_path, image_column="front", class_column="coarse_label")
    assert classes(front) == {at: "xy"[COARSE[at]] for at in range(30)}
    assert front.fingerprint != back.fingerprint
    with pytest.raises(InputError, match="no column 'side'; it has: front, back"):
        load(tmp_path, image_column="side")
    with pytest.raises(InputError, match="'fine_label' has no encoded images"):
        load(tmp_path, image_column="fine_label")


def test_no_column_of_images_is_an_error() -> None:
    with pytest.raises(InputError, match="has no column of encoded images .*; it has: a, b"):
        image_column({"a": "", "b": ""}, "x.parquet")


def test_parquet_files_without_splits_in_their_names_are_training_images(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": structs(), "label": FINE}), tmp_path / "0000.parquet")
    data = load(tmp_path)
    assert data.test_from == "held out"
    assert any("say no split" in note for note in data.notes)


@pytest.mark.parametrize("content", [b"", b"text " * 1000, b"PAR1" + bytes(100) + b"PAR1", pickle.dumps([1, 2])])
def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.parquet").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as parquet"):
        load(tmp_path)
    (tmp_path / "train.parquet").rename(tmp_path / "mine.parquet")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        load(tmp_path)


# ---- save_to_disk ---------------------------------------------------------------------------------------------------


def dataset_dict(folder: Path, **counts: int) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(counts)}))
    start = 0
    for split, count in counts.items():
        images = structs([picture(at) for at in range(start, start + count)])
        arrow(folder / split, declared(pa.table({"image": images, "label": FINE[:count]}), label=class_label(NAMES)))
        start += count
    return folder


@pytest.mark.parametrize("deep", ["", "inner"])
def test_a_dictionary_of_data_sets(tmp_path: Path, deep: str) -> None:
    dataset_dict(tmp_path / deep, train=12, test=6, valid=3, unsupervised=3)
    data = load(tmp_path)
    assert {split: len(of) for split, of in data.splits.items()} == {"train": 12, "test": 6, "validation": 3}
    assert numbers(data, "test") == list(range(12, 18))
    assert data.class_names == tuple(NAMES)
    assert any("unsupervised" in note for note in data.notes)


def test_images_of_arrow_files_stay_in_the_file(tmp_path: Path) -> None:
    big = [picture(at, 200) for at in range(30)]
    arrow(tmp_path, pa.table({"image": structs(big), "label": FINE}))
    before = pa.total_allocated_bytes()
    data = load(tmp_path)
    assert pa.total_allocated_bytes() - before < sum(map(len, big)) / 10
    np.testing.assert_array_equal(data.split("train").image(0)[0, 0], pixels(numbers(data, "train")[0], 200)[0, 0])


def test_a_damaged_arrow_data_set_is_refused(tmp_path: Path) -> None:
    arrow(tmp_path, pa.table({"image": structs(), "label": FINE}))
    file, state = tmp_path / "data-00000-of-00001.arrow", tmp_path / "state.json"
    whole = file.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], pickle.dumps(1)):
        file.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as arrow"):
            load(tmp_path)
    file.write_bytes(whole)
    for text in ("", "{}", "[" * 100_000, '{"_data_files": [{"filename": "../x.arrow"}]}', '{"_data_files": []}'):
        state.write_text(text)
        with pytest.raises(InputError, match=r"state\.json"):
            load(tmp_path)


def test_offsets_that_lead_out_of_an_arrow_file_are_refused(tmp_path: Path) -> None:
    column = pa.array(IMAGES, pa.binary())
    offsets = np.frombuffer(column.buffers()[1], np.int32).copy()
    offsets[5] = 2**31 - 1
    bad = pa.Array.from_buffers(pa.binary(), 30, [None, pa.py_buffer(offsets.tobytes()), column.buffers()[2]])
    arrow(tmp_path, pa.table({"image": bad, "label": FINE}))
    with pytest.raises(InputError, match="cannot be read as arrow"):
        load(tmp_path)


def test_what_the_library_saves_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    features = datasets.Features({"img": datasets.Image(), "fine_label": datasets.ClassLabel(names=NAMES)})
    pictures = [Image.fromarray(pixels(at)) for at in range(30)]
    whole = datasets.Dataset.from_dict({"img": pictures, "fine_label": FINE}, features=features)
    datasets.DatasetDict({"train": whole.select(range(20)), "test": whole.select(range(20, 30))}).save_to_disk(
        str(tmp_path / "d")
    )
    whole.save_to_disk(str(tmp_path / "one"))
    for folder in ("d", "one"):
        assert classes(load(tmp_path / folder)) == {at: NAMES[FINE[at]] for at in range(30)}
    assert numbers(load(tmp_path / "d"), "test") == list(range(20, 30))


# ---- .npz -----------------------------------------------------------------------------------------------------------


def stacked(channels: int, start: int = 0, count: int = 30) -> np.ndarray:
    return np.stack([pixels(at, channels=channels) for at in range(start, start + count)])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["plain", "compressed"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("style", ["medmnist", "keras", "single", "one hot", "texts", "channels first", "floats"])
def test_arrays(tmp_path: Path, save: Any, channels: int, style: str) -> None:
    train, test, labels, others = stacked(channels), stacked(channels, 100, 9), np.array(FINE), np.array(FINE[:9])
    first = train[:, None] if channels == 1 else train.transpose(0, 3, 1, 2)
    arrays = {
        "medmnist": {
            "train_images": train, "train_labels": labels[:, None], "val_images": test, "val_labels": others[:, None],
            "test_images": test, "test_labels": others[:, None],
        },
        "keras": {"x_train": train, "y_train": labels, "x_test": test, "y_test": others},
        "single": {"images": train, "labels": labels, "extra": labels},
        "one hot": {"X": train, "y": np.eye(3)[labels]},
        "texts": {"images": train, "labels": np.array(NAMES)[labels]},
        "channels first": {"images": first, "labels": labels, "class_names": np.array(NAMES)},
        "floats": {"images": train / 255.0, "labels": labels.astype(float)},
    }[style]  # fmt: skip
    save(tmp_path / "mine.npz", **arrays)
    data = load(tmp_path / "mine.npz")
    named = style in ("texts", "channels first")
    assert data.class_names == (tuple(NAMES) if named else ("0", "1", "2"))
    assert data.channels == channels
    whole = np.concatenate(
        [np.stack(list(data.split(split).images(range(len(data.split(split)))))) for split in data.splits]
    )
    assert len(whole) == {"medmnist": 48, "keras": 39}.get(style, 30)
    assert {image.tobytes() for image in whole} == {
        image.tobytes() for image in (*train, *(test if len(whole) > 30 else ()))
    }
    of_train = {at: label for at, label in classes(data).items() if at < 30}
    assert of_train == {at: data.class_names[FINE[at]] for at in range(30)}
    assert load(tmp_path).fingerprint == data.fingerprint


def test_identical_arrays_are_known_as_copies(tmp_path: Path) -> None:
    images = stacked(1)
    images[7] = images[4]
    np.savez(tmp_path / "a.npz", images=images, labels=np.array(FINE))
    assert any("1 of the 30 training images is a copy" in note for note in load(tmp_path).notes)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.array([{}] * 3, dtype=object), "labels": np.arange(3)}, "not objects, which are pickled"),
        ({"a": np.zeros(3), "b": np.zeros(3)}, "found: a, b"),
        ({"images": np.zeros((30, 8)), "labels": np.array(FINE)}, r"shape \(30, 8\)"),
        ({"images": np.zeros((30, 8, 8, 4), np.uint8), "labels": np.array(FINE)}, r"shape \(30, 8, 8, 4\)"),
        ({"images": stacked(1).astype(int) * 9, "labels": np.array(FINE)}, "expected 0 to 255"),
        ({"images": np.full((30, 8, 8), np.nan), "labels": np.array(FINE)}, "no finite numbers"),
        ({"images": stacked(1), "labels": np.array(FINE[:9])}, "9 labels for 30 images"),
        ({"images": stacked(1), "labels": np.ones((30, 4), int)}, "not one class"),
        ({"images": stacked(1), "labels": np.linspace(0, 1, 30)}, "Regression"),
        ({"images": stacked(1), "x": stacked(1), "labels": np.array(FINE)}, "several arrays .*: images, x"),
        ({"images": np.asfortranarray(stacked(1)), "labels": np.array(FINE)}, "Fortran"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:20],
)  # fmt: skip
def test_arrays_that_are_no_images_and_classes_are_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(InputError, match=message):
        load(tmp_path / "mine.npz")


def test_arrays_with_other_names_can_be_named(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", images=stacked(1), masks=stacked(1, 50), dx_train=np.array(COARSE), labels=np.array(FINE)
    )
    assert len(load(tmp_path).class_names) == 3
    np.savez(tmp_path / "a.npz", photo_train=stacked(1), photo_test=stacked(1, 50, 9), dx_train=FINE, dx_test=FINE[:9])
    data = load(tmp_path, image_column="photo_train", class_column="dx_train")
    assert (len(data.split("train")), len(data.split("test"))) == (30, 9)


def test_a_pickle_in_an_npz_file_never_runs(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    for name, content in (("a.npz", pickle.dumps(Evil())), ("b.npz", b"text"), ("c.npz", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be read as an \.npz file"):
            load(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("images.npy", pickle.dumps(Evil()))
        archive.writestr("labels.npy", pickle.dumps(Evil()))
    with pytest.raises(InputError, match=r"cannot be read as an \.npz file"):
        load(tmp_path / "d.npz")
    assert not (tmp_path / "ran").exists()


def header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("shape", [(10**9, 10**6), (30, 8, 8), (-30, 8, -8)])
def test_sizes_of_arrays_are_checked_before_they_are_read(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", header(shape) + bytes(10))
        archive.writestr("labels.npy", header((30,)) + bytes(30))
    with pytest.raises(InputError, match="another size than its header says"):
        load(tmp_path / "a.npz")


def test_arrays_that_do_not_fit_in_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", images=stacked(3), labels=np.array(FINE))
    monkeypatch.setattr("kmex_core.data.sources.arrays.SHARE", 1e-9)
    with pytest.raises(InputError, match="over half of this machine's memory"):
        load(tmp_path / "a.npz")


# ---- WebDataset -----------------------------------------------------------------------------------------------------


def shard(path: Path, members: dict[str, bytes], kind: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, cast(Any, kind)) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def samples(label: Callable[[int], dict[str, bytes]], numbers_: range = range(30)) -> dict[str, bytes]:
    """Members of a shard: a picture for each number, and what is known of it."""
    return {
        f"part/{at:04}.{kind}": content
        for at in numbers_
        for kind, content in {"png": picture(at), **label(at)}.items()
    }


LABELS: dict[str, Callable[[int], dict[str, bytes]]] = {
    "cls": lambda at: {"cls": str(FINE[at % 30]).encode(), "json": b'{"height": 8}'},
    "cls names": lambda at: {"cls": NAMES[FINE[at % 30]].encode()},
    "json": lambda at: {"json": json.dumps({"label": FINE[at % 30], "wide": at % 5 == 0, "box": [1]}).encode()},
    "txt": lambda at: {"txt": NAMES[FINE[at % 30]].encode() + b"\n"},
}


@pytest.mark.parametrize("kind", list(LABELS))
@pytest.mark.parametrize("where", ["names", "folders", "no splits", "file"])
def test_shards(tmp_path: Path, kind: str, where: str) -> None:
    if where in ("names", "folders"):
        files = (
            ["train-000.tar", "train-001.tar", "test-000.tar"]
            if where == "names"
            else ["train/0.tar", "train/1.tar", "test/0.tar"]
        )
        for at, file in enumerate(files):
            shard(tmp_path / file, samples(LABELS[kind], range(at * 10, at * 10 + 10)))
        data = load(tmp_path)
        assert numbers(data, "test") == list(range(20, 30))
    else:
        shard(tmp_path / "000.tar", samples(LABELS[kind]))
        data = load(tmp_path / "000.tar" if where == "file" else tmp_path)
        assert data.test_from == "held out"
    named = "names" in kind or kind == "txt"
    assert classes(data) == {at: NAMES[FINE[at]] if named else str(FINE[at]) for at in range(30)}
    if kind == "json":
        split = data.split("train")
        assert split.attribute_names == ("wide",)
        wide = [int(split.image(row)[0, 0, 0]) % 5 == 0 for row in range(len(split))]
        assert split.attributes[:, 0].tolist() == wide


def test_a_field_of_the_json_is_the_class(tmp_path: Path) -> None:
    def known(at: int) -> dict[str, bytes]:
        return {"json": json.dumps({"id": at, "dx": NAMES[FINE[at]], "kind": COARSE[at]}).encode()}

    shard(tmp_path / "000.tar", samples(known))
    with pytest.raises(InputError, match="has no classes.*found: id, dx, kind"):
        load(tmp_path)
    data = load(tmp_path, class_column="dx")
    assert classes(data) == {at: NAMES[FINE[at]] for at in range(30)}
    assert data.class_column == "dx"


def test_shards_are_indexed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import kmex_core.data.content as content
    from kmex_core.data.sources import shards

    monkeypatch.setattr(content, "FRESH_NS", 0)
    shard(tmp_path / "000.tar", samples(LABELS["cls"]))
    before = load(tmp_path)
    monkeypatch.setattr(shards, "_index_of", lambda path: pytest.fail("indexed again"))
    assert load(tmp_path).fingerprint == before.fingerprint
    with (tmp_path / "000.tar").open("ab") as file:
        file.write(bytes(10240))
    with pytest.raises(InputError, match="has changed"):
        before.split("train").image(0)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({**samples(LABELS["cls"]), "part/0000.jpg": b"x"}, "two pictures with the key 'part/0000'"),
        ({**samples(LABELS["cls"]), "part/0000.cls": b"1" * 100_000}, "expected a label or a few fields"),
        ({**samples(LABELS["json"]), "part/0000.json": b"[" * 50_000}, "cannot be read"),
        ({**samples(LABELS["json"]), "part/0000.json": b"no json"}, "cannot be read"),
        ({**samples(LABELS["cls"]), "part/0003.png": b"no picture"}, "1 of 30 .* is broken"),
    ],
    ids=["twice", "long", "deep", "text", "broken"],
)
def test_hostile_shards_are_refused(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    shard(tmp_path / "000.tar", members)
    with pytest.raises(InputError, match=message):
        load(tmp_path)


def test_a_link_in_a_shard_is_no_picture(tmp_path: Path) -> None:
    path = shard(tmp_path / "000.tar", samples(LABELS["cls"]))
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("part/9999.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert len(classes(load(tmp_path))) == 30


def test_damage_in_the_middle_of_a_shard_is_noticed(tmp_path: Path) -> None:
    path = shard(tmp_path / "000.tar", samples(LABELS["cls"]))
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        at = archive.getmembers()[20].offset
    content[at : at + 8] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as a tar file"):
        load(tmp_path)


# ---- models ---------------------------------------------------------------------------------------------------------


def test_a_model_finds_its_columns_again(tmp_path: Path, store: Store) -> None:
    other = structs([picture(at + 100) for at in range(30)])
    table = pa.table({"front": structs(), "back": other, "fine_label": FINE, "coarse_label": COARSE})
    pq.write_table(declared(table, coarse_label=class_label(["x", "y"])), tmp_path / "train.parquet")
    columns = ["--image-column", "back", "--label-column", "coarse_label", "--json"]
    train = ["train", "--dataset", str(tmp_path), "--backbone", "resnet20", "--epochs", "1", "--name", "backs"]
    trained = CliRunner().invoke(app, [*train, *columns])
    assert trained.exit_code == 0, trained.output
    info = models.describe(store, "backs")
    assert (info.image_column, info.class_column) == ("back", "coarse_label")
    close_datasets()
    subject = subject_of(store, "backs")
    assert classes(subject.data) == {at + 100: "xy"[COARSE[at]] for at in range(30)}
    assert classes(subject.grouped_by("fine_label").data) == {at + 100: str(FINE[at]) for at in range(30)}

    CliRunner().invoke(app, ["export", "--model", "backs", "--out", str(tmp_path / "backs.safetensors")])
    arguments = ["import", "--checkpoint", str(tmp_path / "backs.safetensors"), "--dataset", str(tmp_path), "--json"]
    imported = CliRunner().invoke(app, [*arguments, "--name", "again"])
    assert imported.exit_code == 0, imported.output
    assert models.describe(store, "again").image_column == "back"
