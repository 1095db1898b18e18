"""Tables of attributes beside images: parquet, CSV, CelebA's files, the faces; and QuickDraw-10's NumPy files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.data import opened
from kmex_core.data import registry as datasets
from kmex_core.data.annotations import boolean, read_annotations
from kmex_core.data.sources import celeba as _celeba
from kmex_core.data.sources import quickdraw as _quickdraw
from kmex_core.models import catalogue as models
from kmex_core.stages.subject import Subject
from tests.helpers.official import celeba_files, quickdraw_files
from tests.helpers.stores import net


def _png(value: int = 0) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value % 256, np.uint8)).save(out, "PNG")
    return out.getvalue()


def _parquet(path: Path, count: int, columns: Mapping[str, Sequence[object]], named: bool = True) -> None:
    images = [
        {"bytes": _png(at), "path": f"{path.stem}-{at}.png"} if named else {"bytes": _png(at)} for at in range(count)
    ]
    pq.write_table(pa.table({"image": images, **columns}), path)


def _folder(root: Path, files: Sequence[str]) -> None:
    for at, name in enumerate(files):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(_png(at))


FILES = [f"train/{name}/{at}.png" for name in ("cat", "dog") for at in range(5)] + ["test/cat/a.png", "test/dog/b.png"]


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, False, True], [1, 0, 1]),
        ([1, 0, 1], [1, 0, 1]),
        ([1, -1, 1], [1, 0, 1]),
        ([1.0, -1.0, None], [1, 0, None]),
        (["yes", "No", "YES"], [1, 0, 1]),
        (["true", " False ", "t"], [1, 0, 1]),
        (["1", "-1", ""], [1, 0, None]),
        (["1", "0", "n/a"], [1, 0, None]),
        ([True, None, False], [1, None, 0]),
        ([0, 1, -1], None),
        ([0, 1, 2], None),
        (["red", "blue", "red"], None),
        ([None, None, None], None),
        ([0.5, 1.0, 0.0], None),
    ],
)
def test_a_boolean_column_is_known_by_its_values(values: list[object], expected: list[int | None] | None) -> None:
    found = boolean(pd.Series(values))
    if expected is None:
        assert found is None
        return
    assert found is not None
    has, known = found
    assert has.tolist() == [value == 1 for value in expected]
    assert known.tolist() == [value is not None for value in expected]
    assert has.flags.writeable


def test_categories_are_read_by_their_values() -> None:
    found = boolean(pd.Series(["yes", "no", "yes"], dtype="category"))
    assert found is not None
    assert found[0].tolist() == [True, False, True]


def test_what_is_the_same_for_all_training_images_is_no_attribute_and_said() -> None:
    table = pd.DataFrame({"a": [1, 0, 1, 0], "always": [1, 1, 1, 0], "never": [0, 0, 0, 0], "number": [1, 2, 3, 4]})
    said = read_annotations(table, 3, "", "the table")
    assert said.names == ("a",)
    assert "always, never" in said.notes[0]


def test_missing_values_are_counted_and_said() -> None:
    said = read_annotations(pd.DataFrame({"a": ["yes", "", "no", "yes"], "b": [1, 0, 1, 0]}), 4, "", "the table")
    assert said.known.tolist() == [[True, True], [False, True], [True, True], [True, True]]
    assert not said.has[1, 0]
    assert said.notes == (
        "1 values of attributes are missing (a). These images count neither as having the attribute nor as not having "
        "it.",
    )


# ---- parquet --------------------------------------------------------------------------------------------------------


def test_boolean_columns_of_parquet_files_are_attributes(tmp_path: Path) -> None:
    _parquet(tmp_path / "train.parquet", 6, {"label": [0, 1] * 3, "Hat": [True, False] * 3, "hue": [1, 2, 3, 4, 5, 6]})
    _parquet(tmp_path / "test.parquet", 2, {"label": [0, 1], "Hat": [False, True], "hue": [7, 8]})
    data = datasets.load(DatasetSpec(str(tmp_path)))
    assert data.class_names == ("0", "1")
    assert data.class_column == ""
    assert data.split("train").attribute_names == ("Hat",)
    assert data.split("test").attributes.tolist() == [[False], [True]]
    assert data.split("train").known is None


def test_a_column_becomes_the_class_and_no_attribute(tmp_path: Path) -> None:
    _parquet(
        tmp_path / "train.parquet", 6, {"Hat": [True, False] * 3, "Tie": [True] * 2 + [False] * 4, "hue": [7, 9, 9] * 2}
    )
    _parquet(tmp_path / "test.parquet", 2, {"Hat": [False, True], "Tie": [False, True], "hue": [9, 7]})
    by_hat = datasets.load(DatasetSpec(str(tmp_path), class_column="Hat"))
    assert by_hat.class_names == ("not Hat", "Hat")
    assert by_hat.split("train").labels.tolist() == [1, 0] * 3
    assert by_hat.split("train").attribute_names == ("Tie",)
    by_hue = datasets.load(DatasetSpec(str(tmp_path), class_column="hue"))
    assert by_hue.class_names == ("7", "9")
    assert by_hue.split("test").labels.tolist() == [1, 0]
    assert by_hue.fingerprint != by_hat.fingerprint


def test_without_a_label_the_columns_are_named(tmp_path: Path) -> None:
    _parquet(tmp_path / "train.parquet", 4, {"Hat": [True, False] * 2, "Tie": [True, False] * 2})
    with pytest.raises(InputError, match=r"no column 'label'.*--class.*Hat, Tie"):
        datasets.load(DatasetSpec(str(tmp_path)))
    with pytest.raises(InputError, match="no column named 'Hatt': did you mean 'Hat'"):
        datasets.load(DatasetSpec(str(tmp_path), class_column="Hatt"))


def test_images_without_a_class_are_left_out_and_said(tmp_path: Path) -> None:
    _parquet(tmp_path / "train.parquet", 6, {"Hat": [True, None, False] * 2, "Tie": [True, False, False] * 2})
    _parquet(tmp_path / "test.parquet", 2, {"Hat": [False, True], "Tie": [True, True]})
    data = datasets.load(DatasetSpec(str(tmp_path), class_column="Hat"))
    assert data.split("train").labels.tolist() == [1, 0, 1, 0]
    assert data.split("train").attributes[:, 0].tolist() == [True, False, True, False]
    assert data.split("train").image(1)[0, 0, 0] == 2
    assert any("2 images are left out" in note for note in data.notes)


@pytest.mark.parametrize("column", ["Same", "Float"])
def test_a_column_that_cannot_be_the_class_is_refused(tmp_path: Path, column: str) -> None:
    count = 1200
    values = {
        "Same": [True] * count,
        "Float": np.random.default_rng(0).random(count).tolist(),
        "Hat": [True, False] * (count // 2),
    }
    _parquet(tmp_path / "train.parquet", count, values)
    with pytest.raises(InputError, match="cannot be used as the class"):
        datasets.load(DatasetSpec(str(tmp_path), class_column=column))


def test_columns_whose_names_clash_are_refused(tmp_path: Path) -> None:
    _parquet(tmp_path / "train.parquet", 4, {"label": [0, 1] * 2, "Big_Hat": [True, False] * 2, "big hat": [True] * 4})
    with pytest.raises(InputError, match="'Big_Hat' and 'big hat' clash"):
        datasets.load(DatasetSpec(str(tmp_path)))


def test_a_table_beside_parquet_files_is_joined_by_path(tmp_path: Path) -> None:
    _parquet(tmp_path / "train.parquet", 4, {"label": [0, 1] * 2, "Tie": [True, False] * 2})
    _parquet(tmp_path / "test.parquet", 2, {"label": [0, 1], "Tie": [True, False]})
    names = [f"train-{at}.png" for at in range(4)] + ["test-0.png", "test-1.png"]
    table = pd.DataFrame({"path": names[::-1], "Hat": ["yes", "no", "yes", "no", "no", "no"]})
    table.to_parquet(tmp_path / "attributes.parquet")
    data = datasets.load(DatasetSpec(str(tmp_path)))
    assert data.split("train").attribute_names == ("Tie", "Hat")
    assert data.split("train").attributes[:, 1].tolist() == [False, False, False, True]
    assert data.split("test").attributes[:, 1].tolist() == [False, True]
    table.rename(columns={"Hat": "tie"}).to_parquet(tmp_path / "attributes.parquet")
    with pytest.raises(InputError, match="'Tie' and 'tie' clash"):
        datasets.load(DatasetSpec(str(tmp_path)))


def test_a_table_needs_paths_to_be_joined(tmp_path: Path) -> None:
    _parquet(tmp_path / "train.parquet", 5, {"label": [0, 1, 0, 1, 0]}, named=False)
    (tmp_path / "attributes.csv").write_text("path,Hat\nx.png,1\n")
    with pytest.raises(InputError, match="have no path"):
        datasets.load(DatasetSpec(str(tmp_path)))


# ---- folders --------------------------------------------------------------------------------------------------------


def test_a_table_beside_a_folder_of_classes(tmp_path: Path) -> None:
    _folder(tmp_path, FILES)
    rows = [f"{name},{'yes' if at % 2 else 'no'},{1 if at < 6 else -1}" for at, name in enumerate(FILES)]
    rows[1] = rows[1].replace("train/", "./train/")  # as `find` writes paths
    rows[3] = rows[3].replace("train/", "")  # relative to its split
    rows[-1] = rows[-1].replace("test/dog/", "")  # by its name alone
    (tmp_path / "attributes.csv").write_text("file_name,Odd,Early\n" + "\n".join(rows) + "\nlost.png,yes,1\n")
    data = datasets.load(DatasetSpec(str(tmp_path)))
    assert data.class_names == ("cat", "dog")
    train = data.split("train")
    assert train.attribute_names == ("Odd", "Early")
    assert train.attributes[:, 0].tolist() == [at % 2 == 1 for at in range(10)]
    assert train.attributes[:, 1].tolist() == [at < 6 for at in range(10)]
    assert data.split("test").attributes.tolist() == [[False, False], [True, False]]
    assert data.notes == ("1 rows of attributes.csv match no image and are left out; the first: lost.png.",)


def test_an_image_without_a_row_has_unknown_attributes(tmp_path: Path) -> None:
    _folder(tmp_path, FILES)
    rows = [f"{name},{at % 2}" for at, name in enumerate(FILES) if at != 4]
    (tmp_path / "attributes.csv").write_text("file_name,Odd\n" + "\n".join(rows))
    data = datasets.load(DatasetSpec(str(tmp_path)))
    known = data.split("train").known
    assert known is not None
    assert np.flatnonzero(~known[:, 0]).tolist() == [4]
    assert data.notes[0] == "1 images have no row in attributes.csv: their attributes are unknown."


def test_a_column_of_the_table_can_be_the_class_of_pictures_in_any_folders(tmp_path: Path) -> None:
    files = [f"train/{at}.png" for at in range(6)] + [f"train/more/{at}.png" for at in range(6, 10)]
    _folder(tmp_path, files)
    rows = [f"{name},{'red' if at % 2 else 'blue'},{at % 3 == 0}" for at, name in enumerate(files)]
    (tmp_path / "metadata.csv").write_text("file_name,colour,Third\n" + "\n".join(rows))
    data = datasets.load(DatasetSpec(str(tmp_path), class_column="colour"))
    assert data.class_names == ("blue", "red")
    assert len(data.split("train")) == 8
    assert len(data.split("test")) == 2
    for split in data.splits.values():
        for at in range(len(split)):
            value = int(split.image(at)[0, 0, 0])
            assert split.labels[at] == value % 2
            assert split.attributes[at, 0] == (value % 3 == 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Hat,Hat\nx,1\n", "clash"),
        ("name,Hat\na,1\n", "no column that names the images"),
        ("file_name,Hat\nnowhere.png,1\n", "No row of .* matches an image: 'file_name' contains 'nowhere.png'"),
        ("file_name,Hat\n", "matches an image"),
        (f"file_name,Hat\n{FILES[0]},1\n{FILES[0]},0\n", "more than one row for train/cat/0.png"),
        ("file_name,\na,1\n", "a column without a name"),
        ("", "no column that names|No columns"),
        (b"\xff\xfe\x00\x01", "cannot be read as a table"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    _folder(tmp_path, FILES)
    path = tmp_path / "attributes.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        datasets.load(DatasetSpec(str(tmp_path)))


def test_a_class_column_without_a_table_is_refused(tmp_path: Path) -> None:
    _folder(tmp_path, FILES)
    with pytest.raises(InputError, match=r"no table with a column 'Hat'"):
        datasets.load(DatasetSpec(str(tmp_path), class_column="Hat"))
    with pytest.raises(InputError, match="no table of attributes"):
        datasets.load(DatasetSpec("digits", class_column="Hat"))


# ---- faces ----------------------------------------------------------------------------------------------------------


def test_an_attribute_of_the_faces_can_be_the_class_and_they_stay_the_same_pictures() -> None:
    plain, by_hat = datasets.load(DatasetSpec("faces")), datasets.load(DatasetSpec("faces", class_column="Top_Hat"))
    at = plain.split("train").attribute_names.index("Top_Hat")
    assert by_hat.class_names == ("not Top_Hat", "Top_Hat")
    np.testing.assert_array_equal(by_hat.split("train").labels, plain.split("train").attributes[:, at])
    assert by_hat.split("train").attribute_names == tuple(
        name for name in plain.split("train").attribute_names if name != "Top_Hat"
    )
    for index in (0, 77, int(np.flatnonzero(by_hat.split("train").labels)[0])):
        np.testing.assert_array_equal(by_hat.split("train").image(index), plain.split("train").image(index))


# ---- CelebA ---------------------------------------------------------------------------------------------------------


def test_celeba_in_its_official_layout(tmp_path: Path) -> None:
    has = celeba_files(tmp_path)
    data = datasets.load(DatasetSpec("celeba", str(tmp_path)))
    assert datasets.available("celeba", str(tmp_path))
    assert data.class_names == ("not Male", "Male")
    assert (len(data.split("train")), len(data.split("test")), data.image_size) == (20, 6, 224)
    np.testing.assert_array_equal(data.split("train").labels, has[:20, 0])
    np.testing.assert_array_equal(data.split("test").attributes, has[24:, 1:])
    assert data.split("test").image(0).shape == (218, 178, 3)
    assert abs(int(data.split("test").image(0).mean()) - 24) <= 1
    assert data.pixels("test", [0]).shape == (1, 3, 224, 224)
    other = datasets.load(DatasetSpec("celeba", str(tmp_path), class_column="Attribute_7"))
    np.testing.assert_array_equal(other.split("train").labels, has[:20, 7])
    assert "Male" in other.split("train").attribute_names


def test_celeba_says_what_is_missing(tmp_path: Path) -> None:
    assert not datasets.available("celeba", str(tmp_path))
    with pytest.raises(InputError, match=r"missing: list_attr_celeba.txt, list_eval_partition.txt, img_align_celeba/"):
        datasets.load(DatasetSpec("celeba", str(tmp_path)))
    celeba_files(tmp_path)
    (tmp_path / "celeba" / _celeba.PICTURES / "000003.jpg").unlink()
    with pytest.raises(InputError, match="1 pictures are missing .* for example 000003.jpg"):
        datasets.load(DatasetSpec("celeba", str(tmp_path)))
    partition = tmp_path / "celeba" / _celeba.PARTITION
    partition.write_text("\n".join(partition.read_text().splitlines()[:-1]))
    with pytest.raises(InputError, match="do not list the same images"):
        datasets.load(DatasetSpec("celeba", str(tmp_path)))


# ---- QuickDraw-10 ---------------------------------------------------------------------------------------------------


def test_quickdraw_takes_the_first_thousand_of_each_class(tmp_path: Path) -> None:
    quickdraw_files(tmp_path, 1100)
    data = datasets.load(DatasetSpec("quickdraw10", str(tmp_path)))
    assert data.class_names == _quickdraw.CLASSES
    assert (len(data.split("train")), len(data.split("test"))) == (8000, 2000)
    assert (data.channels, data.image_size, data.notes) == (1, 32, ())
    np.testing.assert_array_equal(np.bincount(data.split("train").labels), [800] * 10)
    for split, first in (("train", 0), ("test", 800)):
        for index in (0, len(data.split(split)) - 1):
            image = data.split(split).image(index)
            assert image.shape == (28, 28)
            assert image[0, 0] == data.split(split).labels[index]
        low, high = data.split(split).image(0)[0, 1:3].tolist()
        assert low + 256 * high == first


def test_quickdraw_says_when_there_are_fewer(tmp_path: Path) -> None:
    quickdraw_files(tmp_path, 10)
    data = datasets.load(DatasetSpec("quickdraw10", str(tmp_path)))
    assert (len(data.split("train")), len(data.split("test"))) == (80, 20)
    assert "ant 10" in data.notes[0]


@pytest.mark.parametrize("content", [b"", b"not numpy", "float", "shape", "object"])
def test_quickdraw_refuses_other_files(tmp_path: Path, content: bytes | str) -> None:
    quickdraw_files(tmp_path, 10)
    path = tmp_path / "quickdraw" / "ant.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        arrays: dict[str, np.ndarray] = {
            "float": np.zeros((10, 784)),
            "shape": np.zeros((10, 30, 28), np.uint8),
            "object": np.array([{}], dtype=object),
        }
        np.save(path, arrays[content], allow_pickle=True)
    with pytest.raises(InputError, match=r"ant\.npy (cannot be read|contains)"):
        datasets.load(DatasetSpec("quickdraw10", str(tmp_path)))
    path.unlink()
    with pytest.raises(InputError, match=r"missing: ant\.npy"):
        datasets.load(DatasetSpec("quickdraw10", str(tmp_path)))


# ---- another column as the class ------------------------------------------------------------------------------------


def _dressed(root: Path, test: bool, **columns: Sequence[object]) -> Path:
    """40 training pictures of two classes (and 8 to test), all different, with a table of what is worn."""
    files = [f"train/{name}/{at:02}.bmp" for name in ("cat", "dog") for at in range(20)]
    files += [f"test/{name}/{at:02}.bmp" for name in ("cat", "dog") for at in range(4)] if test else []
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(list(file.encode())).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / file)
    rows = pd.DataFrame({"file_name": files} | {name: list(column)[: len(files)] for name, column in columns.items()})
    rows.to_csv(root / "attributes.csv", index=False)
    return root


def _paired(store: Store, spec: DatasetSpec, column: str) -> tuple[datasets.ImageDataset, datasets.ImageDataset]:
    """The data by its own and by another class, after the check that each embedding is that of its image."""
    info = net(store, spec)
    info = replace(info, class_column=spec.class_column)
    data = opened.dataset(spec)
    grouped = Subject(store, info, data).grouped_by(column)
    other = grouped.data
    for split in data.splits:
        found = grouped.embedding(split).get()
        np.testing.assert_array_equal(found.labels, other.split(split).labels)
        right = Subject(store, replace(info, class_column=column), other).embedding(split).get()
        np.testing.assert_array_equal(found.z, right.z)
    return data, other


def test_grouping_pairs_each_label_with_its_image_where_other_images_are_held_out(tmp_path: Path, store: Store) -> None:
    root = _dressed(tmp_path / "pets", False, Hat=[0, 1] * 20, Tie=[0, 0, 1, 1] * 10)
    data, other = _paired(store, DatasetSpec(str(root)), "Hat")
    assert [len(part) for part in data.splits.values()] == [len(part) for part in other.splits.values()] == [32, 8]
    assert (data.split("test").identity != other.split("test").identity).any()


def test_grouping_pairs_each_label_with_its_image_where_values_are_missing(tmp_path: Path, store: Store) -> None:
    hats, ties = ["", *[0, 1] * 23, 1], [*[0, 1] * 23, 1, ""]
    root = _dressed(tmp_path / "pets", True, Hat=hats, Tie=ties, Bow=[0, 0, 1, 1] * 12)
    data, other = _paired(store, DatasetSpec(str(root), class_column="Hat"), "Tie")
    assert (len(data.split("train")), len(other.split("train"))) == (39, 40)
    hats, ties = ["", *[0, 1] * 23, 1], [1, "", *[0, 1] * 23]
    root = _dressed(tmp_path / "equal" / "pets", True, Hat=hats, Tie=ties, Bow=[0, 0, 1, 1] * 12)
    data, other = _paired(store, DatasetSpec(str(root), class_column="Hat"), "Tie")
    assert len(data.split("train")) == len(other.split("train")) == 39


def test_grouping_computes_nothing_anew_where_the_images_are_the_same(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _dressed(tmp_path / "pets", True, Hat=[0, 1] * 24, Tie=[0, 0, 1, 1] * 12)
    info, data = net(store, DatasetSpec(str(root))), opened.dataset(DatasetSpec(str(root)))
    z = {split: Subject(store, info, data).embedding(split).get().z for split in data.splits}
    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("computed again"))
    grouped = Subject(store, info, data).grouped_by("Hat")
    for split in data.splits:
        np.testing.assert_array_equal(grouped.embedding(split).get().z, z[split])


def test_grouping_leaves_out_broken_pictures_as_the_command_says(tmp_path: Path, store: Store) -> None:
    root = _dressed(tmp_path / "pets", True, Hat=[0, 1] * 24, Tie=[0, 0, 1, 1] * 12)
    net(store, DatasetSpec(str(root)))
    (root / "train" / "cat" / "00.bmp").write_bytes(b"no picture")
    asked = ["attributes", "--model", "net", "--class", "Hat", "--k", "2", "--json"]
    assert "--skip-broken" in json.loads(CliRunner().invoke(app, asked).stdout)["error"]
    answer = CliRunner().invoke(app, [*asked, "--skip-broken"])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["class"] == "Hat"
