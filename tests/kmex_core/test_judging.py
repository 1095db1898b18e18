"""Data are judged when they are loaded: splits by whole words, classes, labels and counts, broken and odd files."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.data.content import digest_of
from kmex_core.data.dataset import Subset
from kmex_core.data.registry import ImageDataset
from kmex_core.data.sources import rows as _rows
from kmex_core.data.splits import layout_of, split_of
from tests.helpers.datasets import write_folder, write_parquet
from tests.helpers.pictures import encoded, striped

PICTURE = encoded(np.zeros((8, 8, 3), np.uint8))


def picture(seed: int) -> bytes:
    return encoded(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8))


def tree(root: Path, counts: dict[str, int]) -> Path:
    """Pictures, all different: how many in each folder; 0 makes an empty one."""
    seed = 0
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for at in range(count):
            seed += 1
            (root / folder / f"{at}.png").write_bytes(picture(seed))
    return root


def table(path: Path, labels: object, kind: object = None, names: list[str] | None = None, start: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = pa.array(labels, kind)
    rows = [{"bytes": picture(start + at), "path": f"{at}.png"} for at in range(len(values))]
    made = pa.table(
        {"image": pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())])), "label": values}
    )
    if names is not None:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        made = made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(made, path)
    return path


def load(root: Path, **more: Any) -> ImageDataset:
    return datasets.load(DatasetSpec(str(root), **more))


def counts(data: ImageDataset, split: str) -> dict[str, int]:
    return dict(
        zip(
            data.class_names,
            np.bincount(data.split(split).labels, minlength=len(data.class_names)).tolist(),
            strict=True,
        )
    )


def indices(data: ImageDataset, name: str) -> np.ndarray:
    """Which images of the whole a split that was held out has."""
    split = data.split(name)
    assert isinstance(split, Subset)
    return split.indices


pytestmark = pytest.mark.usefixtures("store")

# ---- which split a name says ----


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("latest_train.parquet", "train"), ("train-00000-of-00002.parquet", "train"), ("TRAIN", "train"),
        ("my.training.set", "train"), ("train2017", "train"), ("0000-train-1f3a.parquet", "train"),
        ("test", "test"), ("Test_Images", "test"), ("testing", "test"), ("strain_test.parquet", "test"),
        ("val", "validation"), ("valid", "validation"), ("validation-00000-of-00001.parquet", "validation"),
        ("dev", "validation"), ("VAL2017", "validation"),
        ("contest.parquet", ""), ("latest", ""), ("pretrained", ""), ("trainval", ""), ("device", ""), ("values", ""),
        ("invalid", ""), ("", ""), ("prüftest", ""),
    ],
)  # fmt: skip
def test_a_split_is_a_whole_word(name: str, split: str) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize("name", ["train_test.parquet", "train-val-00000.parquet", "Dev Test", "test.train"])
def test_a_name_that_says_two_splits_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="names two splits"):
        split_of(name)


HOMES = {"": "", "data/": "data/", "folders": "{split}/"}
NAMES = {"plain": "{split}.parquet", "shard": "{split}-00000-of-00001.parquet", "mixed case": "My_{Split}.parquet"}
VALIDATION = ("val", "valid", "validation", "dev")


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("others", [(), ("test",), *((word,) for word in VALIDATION), ("test", "val"), ("Test", "Dev")])
def test_parquet_layouts(tmp_path: Path, home: str, name: str, others: tuple[str, ...]) -> None:
    for at, split in enumerate(("train", *others)):
        file = HOMES[home].format(split=split) + NAMES[name].format(split=split, Split=split.title())
        table(tmp_path / file, [0, 1] * (10 if split == "train" else 3), start=100 * at)
    (tmp_path / "readme.parquet").write_bytes(b"not looked at")
    data = load(tmp_path)
    validation = [word for word in others if word.lower() != "test"]
    expected = "test" if len(validation) < len(others) else "validation" if validation else "held out"
    assert data.test_from == expected
    sizes = {split: len(part) for split, part in data.splits.items()}
    assert sizes == {
        "train": 16 if expected == "held out" else 20,
        "test": 4 if expected == "held out" else 6,
        **({"validation": 6} if expected == "test" and validation else {}),
    }
    assert any("no test split" in note for note in data.notes) == (expected != "test")
    assert any("readme.parquet" in note for note in data.notes)
    train = {data.split("train").image(at).tobytes() for at in range(sizes["train"])}
    for split in set(sizes) - {"train"}:
        assert not train & {data.split(split).image(at).tobytes() for at in range(sizes[split])}


@pytest.mark.parametrize("train", ["train", "Training", "my train"])
@pytest.mark.parametrize("other", ["", "TEST", *VALIDATION])
@pytest.mark.parametrize("deep", ["", "2020/01/"])
def test_folder_layouts(tmp_path: Path, train: str, other: str, deep: str) -> None:
    files = {f"{train}/{name}/{deep}": 10 for name in ("a", "b")}
    data = load(tree(tmp_path, files | ({f"{other}/{name}/{deep}": 4 for name in ("a", "b")} if other else {})))
    expected = "held out" if not other else "test" if other.lower() == "test" else "validation"
    assert data.test_from == expected
    assert data.class_names == ("a", "b")
    assert counts(data, "train") == {"a": 8 if not other else 10, "b": 8 if not other else 10}
    assert counts(data, "test") == {"a": 4 if other else 2, "b": 4 if other else 2}


def test_a_validation_split_is_kept_beside_a_test_split(tmp_path: Path) -> None:
    data = load(
        tree(
            tmp_path,
            {f"{split}/{name}": count for split, count in (("train", 6), ("test", 2), ("val", 3)) for name in "ab"},
        )
    )
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 12, "test": 4, "validation": 6}
    assert data.test_from == "test"


def test_two_folders_for_one_split_are_refused_unless_one_has_its_name(tmp_path: Path) -> None:
    tree(tmp_path, {f"{split}/{name}": 6 for split in ("train", "train_old", "test") for name in "ab"})
    data = load(tmp_path)
    assert len(data.split("train")) == 12
    assert any("train_old" in note for note in data.notes)
    (tmp_path / "train").rename(tmp_path / "train_new")
    with pytest.raises(InputError, match="'train_new' and 'train_old'"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["eval", "evaluation", "Holdout", "my_eval_set"])
@pytest.mark.parametrize("beside", ["", "val", "test"])
@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_an_evaluation_split_is_the_test_split_where_no_other_is(
    tmp_path: Path, name: str, beside: str, kind: str
) -> None:
    for split, count in {"train": 6, name: 2, **({beside: 3} if beside else {})}.items():
        if kind == "folder":
            tree(tmp_path, {f"{split}/{label}": count for label in "ab"})
        else:
            table(tmp_path / f"{split}.parquet", [0, 1] * count, start=len(split) * 100)
    data = load(tmp_path)
    assert data.test_from == "test"
    sizes = {"train": 12, "test": 6 if beside == "test" else 4} | ({"validation": 6} if beside == "val" else {})
    assert {split: len(part) for split, part in data.splits.items()} == sizes
    assert any(note.startswith("Not used") and name in note for note in data.notes) == (beside == "test")


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_a_name_of_two_splits_is_refused_only_where_it_is_needed(tmp_path: Path, kind: str) -> None:
    def add(split: str) -> None:
        if kind == "folder":
            tree(tmp_path, {f"{split}/{label}": 6 for label in "ab"})
        else:
            table(tmp_path / f"{split}.parquet", [0, 1] * 6, start=len(split) * 100)

    for split in ("train", "train_val", "trainval"):
        add(split)
    data = load(tmp_path)
    assert data.test_from == "held out"
    assert any(note.startswith("Not used") and "train_val" in note and "trainval" in note for note in data.notes)
    add("test_val")
    with pytest.raises(InputError, match="'test_val.*' names two splits"):
        load(tmp_path)
    add("test")
    assert load(tmp_path).test_from == "test"


def test_every_folder_and_table_that_is_not_used_is_said(tmp_path: Path) -> None:
    split = {f"{split}/{name}": 6 for split in ("train", "test") for name in "ab"}
    tree(tmp_path / "pictures", split | {"extra/a": 1, "data/train/a": 1, "__MACOSX/a": 1, ".git/a": 1})
    table(tmp_path / "pictures" / "test.parquet", [0, 1])
    notes = load(tmp_path / "pictures").notes
    assert any(
        note.startswith("Not used") and note.endswith("one that is already in use: extra, data/train.")
        for note in notes
    )
    assert "Not used, because the training split is in folders of pictures: test.parquet." in notes
    tree(tmp_path / "tables", {"test/a": 6})
    table(tmp_path / "tables" / "train.parquet", [0, 1] * 5)
    table(tmp_path / "tables" / "archive" / "train-0.parquet", [0, 1] * 5, start=50)
    pq.write_table(
        pa.table({"file_name": [f"{at}.png" for at in range(10)], "Hat": [True, False] * 5}),
        tmp_path / "tables" / "attributes.parquet",
    )
    data = load(tmp_path / "tables")
    assert data.split("train").attribute_names == ("Hat",)
    assert any(note.startswith("Not used") and note.endswith(": archive/train-0.parquet.") for note in data.notes)
    assert "Not used, because the training split is in parquet files: test." in data.notes


@pytest.mark.parametrize("home", ["", "data/"])
def test_a_suffix_in_capitals_is_a_suffix(tmp_path: Path, home: str) -> None:
    table(tmp_path / f"{home}train.PARQUET", [0, 1] * 5)
    table(tmp_path / f"{home}test.Parquet", [0, 1], start=50)
    assert {split: len(part) for split, part in load(tmp_path).splits.items()} == {"train": 10, "test": 2}


def test_pictures_in_data_are_read_as_those_beside_it(tmp_path: Path) -> None:
    tree(tmp_path / "data", {f"{split}/{name}": 6 for split in ("train", "test") for name in "ab"})
    (tmp_path / "data" / "attributes.csv").write_text("file_name,Hat\ntrain/a/0.png,1\ntrain/b/0.png,0\n")
    data = load(tmp_path)
    assert data.name == str(tmp_path)
    assert data.class_names == ("a", "b")
    assert data.split("train").attribute_names == ("Hat",)
    assert data.fingerprint == load(tmp_path / "data").fingerprint


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"], False),
        (["train.parquet", "data/train-00000-of-00001.parquet"], True),
        (["train-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"], True),
        (["train-00000-of-00001.parquet", "train-00000-of-00002.parquet", "train-00001-of-00002.parquet"], True),
        (["data/train/a.parquet", "data/train/b.parquet"], True),
        (["train.parquet"], False),
    ],
)
def test_several_sets_of_files_for_one_split_are_said(tmp_path: Path, files: list[str], said: bool) -> None:
    for at, file in enumerate(files):
        table(tmp_path / file, [0, 1] * 5, start=10 * at)
    assert any(f"is read from {len(files)} files" in note for note in load(tmp_path).notes) == said


# ---- copies ----


def plain(shade: int) -> bytes:
    """A file whose bytes are the same everywhere."""
    return encoded(np.full((8, 8, 3), shade, np.uint8), "BMP")


def test_without_copies_held_out_images_and_fingerprints_are_those_of_earlier_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = {"a": 13, "b": 17, "c": 5}

    def folder(name: str, test: dict[str, int]) -> ImageDataset:
        shade = 0
        for split, classes in (("train", numbers), ("test", test)):
            for label, count in classes.items():
                (tmp_path / name / split / label).mkdir(parents=True)
                for at in range(count):
                    shade += 1
                    (tmp_path / name / split / label / f"{at:02}.bmp").write_bytes(plain(shade))
        return load(tmp_path / name)

    alone = folder("alone", {})
    assert alone.fingerprint == "c1-8f1b6cdd3778a464b184"
    assert indices(alone, "test").tolist() == [2, 10, 17, 18, 24, 33]
    assert folder("tested", {"a": 2, "b": 2}).fingerprint == "c1-0d01d86c2eab1c51eed7"
    monkeypatch.setattr(
        _rows, "file_digests", lambda paths, progress=None: [digest_of([name.encode()]) for _, name in paths]
    )  # versions of pyarrow write different bytes
    labels = [label for label, count in enumerate(numbers.values()) for _ in range(count)]
    tables = tmp_path / "tables"
    write_parquet(tables / "train.parquet", [plain(shade) for shade in range(35)], list(labels), list(numbers))
    data = load(tables)
    assert data.fingerprint == "c1-fcdc7baa589645f877e0"
    assert indices(data, "test").tolist() == [2, 10, 17, 18, 24, 33]
    hats = [f"{at}.png,{('red', 'blue', 'green', '')[at % 4]},{at % 2}\n" for at in range(35)]
    (tables / "attributes.csv").write_text("file_name,Hat,Odd\n" + "".join(hats))
    by_hat = load(tables, class_column="Hat")
    assert by_hat.fingerprint == "c1-7ae96f6a7b3fa4bdd427"
    assert indices(by_hat, "test").tolist() == [8, 13, 24]


def sides(data: ImageDataset) -> tuple[set[bytes], set[bytes]]:
    train, test = (
        {data.split(split).image(at).tobytes() for at in range(len(data.split(split)))} for split in ("train", "test")
    )
    return train, test


def test_copies_of_pictures_are_held_out_together(tmp_path: Path) -> None:
    tree(tmp_path, {"train/a": 20, "train/b": 20})
    before = load(tmp_path)
    for path in list((tmp_path / "train").rglob("*.png")):
        (path.parent / f"{path.stem}_copy.png").write_bytes(path.read_bytes())
    data = load(tmp_path)
    train, test = sides(data)
    assert not train & test
    assert counts(data, "test") == {"a": 8, "b": 8}
    assert "identical images stay on the same side" in data.notes[0]
    assert "40 of the 80 training images are copies of others." in data.notes
    assert not any("copies" in note or "same side" in note for note in before.notes)


def test_a_table_beside_its_own_shards_is_held_out_together(tmp_path: Path) -> None:
    table(tmp_path / "train.parquet", [0, 1] * 20)
    table(tmp_path / "data" / "train-00000-of-00001.parquet", [0, 1] * 20)
    data = load(tmp_path)
    train, test = sides(data)
    assert not train & test
    assert counts(data, "test") == {"0": 8, "1": 8}
    table(tmp_path / "test.parquet", [0, 1], start=90)
    assert "40 of the 80 training images are copies of others." in load(tmp_path).notes


def test_copies_in_other_classes_and_in_great_number(tmp_path: Path) -> None:
    tree(tmp_path, {"train/a": 20, "train/b": 10, "train/rare": 5})
    for at in range(60):
        (tmp_path / "train" / "b" / f"again{at}.png").write_bytes((tmp_path / "train/b/0.png").read_bytes())
    for at in range(5):
        (tmp_path / "train" / "a" / f"rare{at}.png").write_bytes((tmp_path / f"train/rare/{at}.png").read_bytes())
    data = load(tmp_path)
    train, test = sides(data)
    assert not train & test
    assert counts(data, "test") == {"a": 5, "b": 2, "rare": 1}
    assert len(test) == 7
    assert "65 of the 100 training images are copies of others." in data.notes


def test_copies_are_no_reason_to_call_a_class_large_enough(tmp_path: Path) -> None:
    tree(tmp_path, {"train/a": 1, "train/b": 1})
    for path in list((tmp_path / "train").rglob("*.png")):
        for at in range(10):
            (path.parent / f"copy{at}.png").write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="at least 5 different training images"):
        load(tmp_path)


def test_shards_that_are_missing_are_said(tmp_path: Path) -> None:
    for shard in (0, 2):
        table(tmp_path / f"train-{shard:05}-of-00004.parquet", [0, 1] * 5, start=10 * shard)
    table(tmp_path / "test.parquet", [0, 1], start=90)
    assert any("2 of its 4 files are missing (1, 3)" in note for note in load(tmp_path).notes)
    assert layout_of(tmp_path).kind == "parquet"


# ---- labels ----


@pytest.mark.parametrize(
    ("labels", "kind", "names", "expected"),
    [
        ([True, False] * 6, None, None, {"False": 6, "True": 6}),
        ([True, False] * 6, None, ["no", "yes"], {"no": 6, "yes": 6}),
        ([1, 2, 3] * 5, None, None, {"1": 5, "2": 5, "3": 5}),
        ([7, 1000] * 5, pa.uint16(), None, {"7": 5, "1000": 5}),
        ([-1, 1] * 5, None, None, {"-1": 5, "1": 5}),
        ([0.0, 1.0, 2.0] * 5, None, None, {"0": 5, "1": 5, "2": 5}),
        (["b", "a"] * 5, None, None, {"a": 5, "b": 5}),
        (["b", "a"] * 5, pa.large_string(), None, {"a": 5, "b": 5}),
        (pa.array(["x", "y"] * 5).dictionary_encode(), None, None, {"x": 5, "y": 5}),
        ([0, 1, None] * 5, None, ["cat", "dog"], {"cat": 5, "dog": 5}),
        ([0, 1, -1] * 5, None, ["cat", "dog"], {"cat": 5, "dog": 5}),
        ([0.0, float("nan"), 1.0] * 5, None, None, {"0": 5, "1": 5}),
        ([0, 2] * 5, None, ["cat", "dog", "eel"], {"cat": 5, "eel": 5}),
        (["é", "e", unicodedata.normalize("NFD", "é")] * 4, None, None, {"e": 4, "é": 8}),
        (["a ", "b", "", " a"] * 5, None, None, {"a": 10, "b": 5}),
    ],
    ids=lambda value: "",
)
def test_labels_of_every_kind(
    tmp_path: Path, labels: Sequence[Any], kind: object, names: list[str] | None, expected: dict[str, int]
) -> None:
    table(tmp_path / "train.parquet", labels, kind, names)
    table(tmp_path / "test.parquet", labels, kind, names, start=500)
    data = load(tmp_path)
    assert counts(data, "train") == counts(data, "test") == expected
    missing = len(labels) - sum(expected.values())
    assert sum(item.count for item in data.left_out) == 2 * missing
    assert all("label" in item.reason for item in data.left_out)


@pytest.mark.parametrize(
    ("labels", "kind", "names", "message"),
    [
        ([0.5, 1.5] * 5, None, None, "0.5.*Regression is not supported"),
        ([0.0, 1.25] * 5, pa.float32(), ["a", "b"], "1.25.*Regression is not supported"),
        ([[0, 1], [1]] * 5, None, None, "Multi-label data are not supported"),
        ([{"x": 1}] * 5, None, None, "one class per image"),
        ([0, 3] * 5, None, ["a", "b"], "is 3, but there are 2 class names"),
        ([0, -2] * 5, None, ["a", "b"], "is -2, but there are 2 class names"),
        ([4] * 10, None, None, r"one class with training images: '4' \(8 training"),
        ([None] * 10, pa.int64(), ["a", "b"], "No readable training image .* has a label"),
        (list(range(30)), None, None, "no test split, and too few images"),
        (["Cat", "dog"] * 5, None, ["Cat", "Cat"], "same name|does not|expected 0 to|two classes"),
    ],
    ids=lambda value: "",
)
def test_labels_that_are_not_one_class_each_are_refused(
    tmp_path: Path, labels: Sequence[Any], kind: object, names: list[str] | None, message: str
) -> None:
    table(tmp_path / "train.parquet", labels, kind, names)
    with pytest.raises(InputError, match=message):
        load(tmp_path)


@pytest.mark.parametrize(
    ("part", "kind", "value"),
    [
        ("bytes", pa.list_(pa.uint8()), [1, 2]),
        ("bytes", pa.int64(), 1),
        ("bytes", pa.struct([("x", pa.int8())]), {"x": 1}),
        ("path", pa.list_(pa.string()), ["x"]),
        ("path", pa.struct([("x", pa.int8())]), {"x": 1}),
    ],
    ids=str,
)
def test_images_of_another_type_are_refused_in_words(
    tmp_path: Path, part: str, kind: pa.DataType, value: object
) -> None:
    image = {"bytes": picture(0), "path": "x"} | {part: value}
    fields = [
        (name, kind if name == part else whole) for name, whole in (("bytes", pa.binary()), ("path", pa.string()))
    ]
    pq.write_table(
        pa.table({"image": pa.array([image] * 10, pa.struct(fields)), "label": [0, 1] * 5}), tmp_path / "train.parquet"
    )
    with pytest.raises(InputError, match=r"column 'image' is struct.*expected struct\{bytes, path\}"):
        load(tmp_path)


def test_identifiers_are_not_classes(tmp_path: Path) -> None:
    table(tmp_path / "train.parquet", [f"file {at}" for at in range(40)])
    table(tmp_path / "test.parquet", [f"file {at}" for at in range(40)], start=500)
    with pytest.raises(InputError, match="40 classes for 40 training images, one each.*identifiers"):
        load(tmp_path)


def test_the_names_of_labels_go_by_the_name_where_splits_number_them_differently(tmp_path: Path) -> None:
    table(tmp_path / "train.parquet", [0, 1] * 5, None, ["cat", "dog"])
    table(tmp_path / "test.parquet", [0, 0, 0, 1], None, ["dog", "cat"], start=100)
    assert counts(load(tmp_path), "test") == {"cat": 1, "dog": 3}


def test_a_column_that_is_the_class_keeps_its_names(tmp_path: Path) -> None:
    path = table(tmp_path / "train.parquet", [0, 1] * 10)
    made = pq.read_table(path).append_column("breed", pa.array([0, 1, 2, None] * 5))
    features = {"breed": {"names": ["pug", "husky", "poodle"], "_type": "ClassLabel"}}
    pq.write_table(made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path)
    data = load(tmp_path, class_column="breed")
    assert counts(data, "train") == {"pug": 4, "husky": 4, "poodle": 4}
    assert any("5 images are left out" in note for note in data.notes)


def test_an_unlabelled_test_split_counts_as_none(tmp_path: Path) -> None:
    table(tmp_path / "train.parquet", [0, 1] * 10, None, ["a", "b"])
    table(tmp_path / "test.parquet", [-1] * 5, None, ["a", "b"], start=100)
    table(tmp_path / "validation.parquet", [0, 1], None, ["a", "b"], start=200)
    data = load(tmp_path)
    assert data.test_from == "validation"
    assert len(data.split("test")) == 2


# ---- classes ----


@pytest.mark.parametrize(
    "empty", ["__MACOSX", ".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN", ".hidden", "__pycache__"]
)
def test_folders_of_systems_are_not_classes(tmp_path: Path, empty: str) -> None:
    tree(tmp_path, {"train/a": 6, "train/b": 6, "test/a": 2, "test/b": 2, f"train/{empty}": 3, f"test/{empty}": 1})
    data = load(tmp_path)
    assert data.class_names == ("a", "b")
    assert {item.reason: item.count for item in data.left_out} == {"hidden or system files and folders": 2}
    assert any(empty in note for note in data.notes)


@pytest.mark.parametrize(
    ("folders", "names", "said"),
    [
        ({"train/bird": 0}, ("a", "b"), "'bird'"),
        ({"train/bird": 0, "test/bird": 0}, ("a", "b"), "'bird'"),
        ({"test/bird": 3}, ("a", "b"), r"class 'bird' \(3 test images\)"),
        ({"train/bird": 5}, ("a", "b", "bird"), r"1 of 3 classes have no test images.*'bird' \(5\)"),
        ({"train/A": 5, "test/A": 2}, ("A", "a", "b"), "'A' .* and 'a' .* differ only in case"),
    ],
)
def test_classes_that_are_not_everywhere_are_said(
    tmp_path: Path, folders: dict[str, int], names: tuple[str, ...], said: str
) -> None:
    data = load(tree(tmp_path, {"train/a": 6, "train/b": 6, "test/a": 2, "test/b": 2} | folders))
    assert data.class_names == names
    assert min(counts(data, "train").values()) > 0
    assert any(__import__("re").search(said, note) for note in data.notes)
    for split in data.splits.values():
        assert split.labels.max() < len(names)
        assert split.image(len(split) - 1).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({"train/a": 6, "train/b": 6, "test/A": 2, "test/b": 2}, r"'A' \(0 training and 2 other images\) and 'a' \(6"),
        ({"train/Straße": 6, "train/b": 6, "test/STRASSE": 2}, "differ only in case"),
        ({"train/a b": 6, "train/b": 6, "val/a  b": 2}, "differ only in case or spaces"),
        ({"train/a": 6, "test/a": 2}, r"one class with training images: 'a' \(6"),
        ({"train/a": 6, "train/b": 0, "test/a": 2, "test/b": 2}, "one class with training images.*'b'"),
        ({"train/a": 6, "train/b": 6, "test/c": 2}, "no test images for the classes.*'c' .2 test images"),
        ({"train/a": 4, "train/b": 3}, "no test split, and too few images"),
        ({"train": 6, "test/a": 2}, "no subfolders"),
    ],
)
def test_classes_that_cannot_be_learned_or_measured_are_refused(
    tmp_path: Path, folders: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(tree(tmp_path, folders))


def test_one_name_in_two_normal_forms_is_one_class(tmp_path: Path) -> None:
    composed, decomposed = "café", unicodedata.normalize("NFD", "café")
    tree(tmp_path, {f"train/{composed}": 6, "train/b": 6, f"test/{decomposed}": 2, "test/b": 2})
    data = load(tmp_path)
    assert counts(data, "train") == {"b": 6, composed: 6}
    assert counts(data, "test") == {"b": 2, composed: 2}


# ---- what is left out ----


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path) -> None:
    tree(tmp_path, {"train/a": 6, "train/b": 6, "test/a": 2, "test/b": 2, "train/a/deeper/still": 3, "outside": 1})
    (tmp_path / "train" / "a" / "notes.txt").write_text("x")
    (tmp_path / "train" / "a" / "picture").write_bytes(PICTURE)
    (tmp_path / "train" / "b" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "train" / "b" / "._1.png").write_bytes(b"x")
    (tmp_path / "train" / "loose.png").write_bytes(picture(999))
    (tmp_path / "train" / "b" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "train" / "b" / "linked").symlink_to(tmp_path / "outside")
    os.mkfifo(tmp_path / "test" / "a" / "pipe.png")
    data = load(tmp_path)
    assert counts(data, "train") == {"a": 9, "b": 6}
    assert {item.reason: item.count for item in data.left_out} == {
        "files with a suffix that no picture has": 1,
        "files without a suffix": 1,
        "hidden or system files and folders": 2,
        "pictures outside the class folders": 1,
        "entries that are not regular files": 2,
        "links to folders": 1,
    }
    note = next(note for note in data.notes if note.startswith("Left out: "))
    assert "train/loose.png" in note
    assert "1 files with" in note or "notes.txt" in note


def damage(kind: str) -> bytes:
    sound = encoded(
        np.random.default_rng(5).integers(0, 256, (40, 40, 3), dtype=np.uint8),
        "JPEG" if "jpg" in kind else "WEBP" if "webp" in kind else "PNG",
    )
    return {
        "empty png": b"",
        "text png": b"not a picture",
        "short png": sound[: len(sound) // 2],
        "flipped png": sound[:60] + bytes([sound[60] ^ 1]) + sound[61:],
        "headless png": sound[20:],
        "short jpg": sound[: len(sound) // 2],
        "short webp": sound[: len(sound) // 2],
    }[kind]


KINDS = ("empty png", "text png", "short png", "flipped png", "headless png", "short jpg", "short webp")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["folder", "parquet"])
def test_a_broken_picture_is_found_at_once_and_can_be_left_out(tmp_path: Path, kind: str, where: str) -> None:
    if where == "folder":
        write_folder(tmp_path, ("a", "b"), 6, 2)
        (tmp_path / "train" / "b" / f"bad.{kind.split()[1]}").write_bytes(damage(kind))
        name = r"train/b/bad\."
    else:
        images = [encoded(image) for label in (0, 1) for image in striped(label, 6, 16, 3)]
        write_parquet(tmp_path / "train.parquet", [*images, damage(kind)], [0] * 6 + [1] * 7, ["a", "b"])
        write_parquet(tmp_path / "test.parquet", [picture(1), picture(2)], [0, 1], ["a", "b"])
        name = "row 12 of the train split"
    for _ in range(2):  # read, then remembered
        with pytest.raises(InputError, match=f"1 of .* is broken: {name}.*--skip-broken"):
            load(tmp_path)
    data = load(tmp_path, skip_broken=True)
    assert counts(data, "train") == {"a": 6, "b": 6}
    assert [(item.reason, item.count) for item in data.left_out] == [("files that cannot be read as pictures", 1)]
    assert data.pixels("train", range(12)).shape == (12, 3, 32, 32)


def test_without_broken_pictures_leaving_them_out_changes_nothing(tmp_path: Path) -> None:
    write_folder(tmp_path, ("a", "b"), 6, 2)
    assert load(tmp_path).fingerprint == load(tmp_path, skip_broken=True).fingerprint


def test_images_in_two_splits_are_said(tmp_path: Path) -> None:
    write_folder(tmp_path, ("a", "b"), 6, 3)
    for at in range(2):
        (tmp_path / "test" / "a" / f"copy{at}.png").write_bytes((tmp_path / "train/a/000.png").read_bytes())
    said = "2 of 8 test images are also in the training split (test/a/copy0.png is train/a/000.png)"
    assert any(said in note for note in load(tmp_path).notes)


def test_quickdraw_with_two_drawings_each_has_a_test_split(tmp_path: Path, store: Store) -> None:
    from kmex_core.data.sources.quickdraw import CLASSES

    (tmp_path / "quickdraw").mkdir()
    for at, name in enumerate(CLASSES):
        pixels = np.random.default_rng(at).integers(0, 256, (2, 784), dtype=np.uint8)
        np.save(tmp_path / "quickdraw" / f"{name}.npy", pixels)
    data = datasets.load(DatasetSpec("quickdraw10", str(tmp_path)))
    assert (len(data.split("train")), len(data.split("test"))) == (10, 10)
