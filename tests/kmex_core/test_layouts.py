"""The layouts of folders that people have, each read as what it is; what is unclear is said or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kmex_core.base.errors import InputError
from kmex_core.data.layouts import is_session
from tests.helpers.layouts import classes, load, numbers, picture, write

pytestmark = pytest.mark.usefixtures("store")


def names(template: str, **parts: list[str]) -> list[str]:
    """Paths from all combinations of parts."""
    paths = [template]
    for part, values in parts.items():
        paths = [path.replace(f"{{{part}}}", value) for path in paths for value in values]
    return paths


def digits(count: int) -> list[str]:
    return [str(number) for number in range(count)]


# ---- classes and splits by folders ----------------------------------------------------------------------------------


def test_class_folders_without_splits(tmp_path: Path) -> None:
    paths = names("{c}/{i}.png", c=["cat", "dog", "test tube"], i=digits(10))
    data = load(write(tmp_path, paths))
    assert data.class_names == ("cat", "dog", "test tube")
    assert classes(data) == {number: path.split("/")[0] for number, path in enumerate(paths)}
    assert (data.test_from, len(data.split("train")), len(data.split("test"))) == ("held out", 24, 6)
    assert np.bincount(data.split("test").labels).tolist() == [2, 2, 2]
    assert any("are read as classes" in note for note in data.notes)
    assert numbers(load(tmp_path), "test") == numbers(data, "test")  # seeded


def test_class_folders_have_a_table_of_attributes(tmp_path: Path) -> None:
    paths = names("{c}/{i}.png", c=["cat", "dog"], i=digits(10))
    write(tmp_path, paths)
    rows = [f"{path},{number % 2}" for number, path in enumerate(paths)]
    (tmp_path / "attributes.csv").write_text("file_name,Odd\n" + "\n".join(rows))
    data = load(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert data.left_out == ()
    for split in data.splits.values():
        odd = [int(split.image(row)[0, 0, 0]) % 2 == 1 for row in range(len(split))]
        assert split.attributes[:, 0].tolist() == odd


@pytest.mark.parametrize("home", ["", "my-dataset/", "a/b/c/", "data/"])
@pytest.mark.parametrize("words", [("TRAIN", "Test"), ("train", "VAL"), ("Training", "testing")])
def test_splits_in_any_capitals_one_folder_deeper(tmp_path: Path, home: str, words: tuple[str, str]) -> None:
    write(tmp_path, names(f"{home}{{s}}/{{c}}/{{i}}.png", s=list(words), c=["a", "b"], i=digits(5)))
    data = load(tmp_path)
    assert (len(data.split("train")), len(data.split("test"))) == (10, 10)
    assert any("Read from" in note for note in data.notes) == (home not in ("", "data/"))


def test_only_one_of_several_folders_has_a_data_set(tmp_path: Path) -> None:
    write(tmp_path, names("set/train/{c}/{i}.png", c=["a", "b"], i=digits(5)))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "readme.txt").write_text("x")
    data = load(tmp_path)
    assert data.notes[-1 if len(data.notes) == 1 else 1].startswith("Read from set/")
    write(tmp_path, names("other/train/{c}/{i}.png", c=["a", "b"], i=digits(5)))
    with pytest.raises(InputError, match=r"several data sets: other/ and set/\. Pass the path"):
        load(tmp_path)


def test_split_folders_without_a_training_split_are_no_classes(tmp_path: Path) -> None:
    write(tmp_path, names("{s}/{c}/{i}.png", s=["test", "val"], c=["a", "b"], i=digits(5)))
    with pytest.raises(InputError, match="several data sets|no readable data set"):
        load(tmp_path)


def test_what_cannot_be_read_is_listed_with_the_layouts(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("x")
    (tmp_path / "b.doc").write_text("x")
    with pytest.raises(InputError, match=r"Found: folders notes/; 1 files with \.(doc|txt).*save_to_disk.*zip or tar"):
        load(tmp_path)


# ---- sessions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["session_1", "Session 12", "2020-05-01", "20200501", "p07", "s1", "day3", "12", "cam_2b"]
)
def test_names_of_sessions(name: str) -> None:
    assert is_session(name)


@pytest.mark.parametrize("name", ["cat", "malignant", "class", "patient", "type IV", "b", "7up bottle", "airbus a380"])
def test_names_of_classes(name: str) -> None:
    assert not is_session(name)


def sessions_of(paths: list[str], part: int, held: list[int]) -> tuple[set[str], set[str]]:
    """The sessions of the held out pictures, and of all others."""
    of = {number: path.split("/")[part] for number, path in enumerate(paths)}
    return {of[number] for number in held}, {session for number, session in of.items() if number not in held}


def test_sessions_outside_classes(tmp_path: Path) -> None:
    paths = names("{s}/{c}/{i}.png", s=[f"session_{at}" for at in range(10)], c=["cat", "dog"], i=digits(4))
    data = load(write(tmp_path, paths))
    assert data.class_names == ("cat", "dog")
    assert data.class_column == "folder:2"
    assert any("Read as <session>/<class>" in note and "folder:1" in note for note in data.notes)
    held, kept = sessions_of(paths, 0, numbers(data, "test"))
    assert len(held) == 2
    assert not held & kept
    assert any("2 of 10 sessions, each as a whole, with 20% to 20% of each class" in note for note in data.notes)
    again = load(tmp_path, class_column="folder:2")
    assert (again.fingerprint, again.class_names) == (data.fingerprint, data.class_names)


def test_sessions_inside_classes(tmp_path: Path) -> None:
    paths = [
        f"{name}/visit {visit + 10 * at}/{i}.png"
        for at, name in enumerate(("cat", "dog"))
        for visit in range(6)
        for i in digits(5)
    ]
    data = load(write(tmp_path, paths))
    assert (data.class_names, data.class_column) == (("cat", "dog"), "")
    assert any("Read as <class>/<session>" in note and "--label-column folder:2" in note for note in data.notes)
    held, kept = sessions_of(paths, 1, numbers(data, "test"))
    assert len(held) == 4  # two of six of each class: the first gives less than a fifth
    assert not held & kept


def test_which_folder_is_the_class_can_be_named(tmp_path: Path) -> None:
    write(tmp_path, names("{a}/{b}/{i}.png", a=["paris", "rome"], b=["cat", "dog", "eel"], i=digits(6)))
    assert load(tmp_path).class_names == ("paris", "rome")
    data = load(tmp_path, class_column="folder:2")
    assert (data.class_names, data.class_column) == (("cat", "dog", "eel"), "folder:2")


def test_sessions_that_are_too_few_are_torn_apart_and_that_is_said(tmp_path: Path) -> None:
    data = load(write(tmp_path, names("{c}/{s}/{i}.png", c=["cat", "dog"], s=["morning", "noon"], i=digits(10))))
    assert np.bincount(data.split("test").labels).tolist() == [4, 4]
    assert any("Images of one session are on both sides" in note for note in data.notes)


def test_sessions_that_share_a_picture_stay_together(tmp_path: Path) -> None:
    paths = names("{s}/{c}/{i}.png", s=[f"day {at}" for at in range(10)], c=["cat", "dog"], i=digits(3))
    write(tmp_path, paths)
    for at in range(0, 10, 2):  # days come in pairs
        (tmp_path / f"day {at}/cat/0.png").write_bytes((tmp_path / f"day {at + 1}/cat/0.png").read_bytes())
    data = load(tmp_path)
    held = {number // 6 for number in numbers(data, "test")}
    assert sorted({at // 2 for at in held}) == [at // 2 for at in sorted(held)[::2]]
    assert len(held) == 2


def test_classes_in_training_folders_that_look_like_sessions_are_noted(tmp_path: Path) -> None:
    write(tmp_path, names("train/{s}/{c}/{i}.png", s=["day 1", "day 2"], c=["cat", "dog"], i=digits(5)))
    data = load(tmp_path)
    assert data.class_names == ("day 1", "day 2")  # as in every earlier version
    assert any("look like sessions" in note and "folder:2" in note for note in data.notes)
    assert load(tmp_path, class_column="folder:2").class_names == ("cat", "dog")


# ---- tables that give the classes -----------------------------------------------------------------------------------

FLAT = [f"images/part {at % 2}/img_{at:02}.png" for at in range(40)]
BREEDS = ["pug", "basset", "collie", "dingo"]


def breed(number: int) -> str:
    return BREEDS[number * 7 % 4]


def csv(rows: pd.DataFrame, path: Path) -> None:
    rows.to_csv(path, index=False)


def lines(rows: pd.DataFrame, path: Path) -> None:
    path.with_suffix(".jsonl").write_text("\n".join(json.dumps(row) for row in rows.to_dict("records")))


def semicolons(rows: pd.DataFrame, path: Path) -> None:
    rows.to_csv(path, index=False, sep=";")


def tabs(rows: pd.DataFrame, path: Path) -> None:
    rows.to_csv(path.with_suffix(".tsv"), index=False, sep="\t")


def parquet(rows: pd.DataFrame, path: Path) -> None:
    rows.to_parquet(path.with_suffix(".parquet"))


@pytest.mark.parametrize("write_table", [csv, lines, semicolons, tabs, parquet], ids=lambda of: of.__name__)
@pytest.mark.parametrize("named", ["path", "file", "stem", "elsewhere"])
def test_a_flat_folder_with_a_table(
    tmp_path: Path, write_table: Callable[[pd.DataFrame, Path], None], named: str
) -> None:
    write(tmp_path, FLAT)
    given = {
        "path": FLAT,
        "file": [Path(path).name for path in FLAT],
        "stem": [Path(path).stem for path in FLAT],
        "elsewhere": [f"C:\\Users\\me\\{Path(path).name}" for path in FLAT],
    }[named]
    order = np.random.default_rng(0).permutation(40)
    table = pd.DataFrame(
        {
            "id": range(40),
            "which": [given[at] for at in order],
            "Breed": [breed(at) for at in order],
            "age": [at / 7 for at in order],
        }
    )
    write_table(table, tmp_path / "train_labels.csv")
    data = load(tmp_path)
    assert data.class_names == tuple(sorted(BREEDS))
    assert classes(data) == {number: breed(number) for number in range(40)}
    assert (data.class_column, data.test_from, data.left_out) == ("Breed", "held out", ())
    assert any("'which' names the picture, 'Breed' is the class" in note for note in data.notes)
    assert load(tmp_path, class_column="Breed").fingerprint == data.fingerprint


def table_of(folder: Path, **columns: object) -> None:
    pd.DataFrame({"image_id": [Path(path).stem for path in FLAT], **columns}).to_csv(folder / "list.csv", index=False)


def test_a_column_of_the_table_gives_the_split(tmp_path: Path) -> None:
    write(tmp_path, FLAT)
    split = ["train", "Train", "val", "test"] * 10
    table_of(tmp_path, label=[at // 4 % 3 for at in range(40)], split=split)
    data = load(tmp_path)
    assert {name: len(of) for name, of in data.splits.items()} == {"train": 20, "test": 10, "validation": 10}
    assert numbers(data, "test") == list(range(3, 40, 4))
    assert data.class_names == ("0", "1", "2")
    assert any("its column 'split' gives the split" in note for note in data.notes)


def test_tables_named_after_splits(tmp_path: Path) -> None:
    write(tmp_path, FLAT)
    for split, rows in (("train", range(30)), ("test", range(30, 40))):
        frame = pd.DataFrame({"image": [Path(FLAT[at]).name for at in rows], "class": [breed(at) for at in rows]})
        frame.to_csv(tmp_path / f"{split}.csv", index=False)
    data = load(tmp_path)
    assert numbers(data, "test") == list(range(30, 40))
    assert data.test_from == "test"
    (tmp_path / "test.csv").write_text("image\n" + "\n".join(Path(FLAT[at]).name for at in range(30, 40)))
    data = load(tmp_path)
    assert data.test_from == "held out"
    assert any("gives no class: test.csv" in note for note in data.notes)
    assert [(item.reason, item.count) for item in data.left_out if "row" in item.reason] == [
        ("pictures that no row of the table names", 10)
    ]


def test_two_columns_that_say_the_same_are_one_class(tmp_path: Path) -> None:
    write(tmp_path, FLAT)
    table_of(tmp_path, label=[BREEDS.index(breed(at)) for at in range(40)], class_name=[breed(at) for at in range(40)])
    assert load(tmp_path).class_names == tuple(sorted(BREEDS))


def test_several_columns_that_may_be_the_class_are_listed(tmp_path: Path) -> None:
    write(tmp_path, FLAT)
    table_of(tmp_path, sex=["f", "m"] * 20, dx=[breed(at) for at in range(40)])
    with pytest.raises(InputError, match=r"2 columns that may be the class: sex, dx\. Name it: --label-column sex"):
        load(tmp_path)
    assert load(tmp_path, class_column="dx").class_names == tuple(sorted(BREEDS))
    with pytest.raises(InputError, match="no column 'dy'.*sex, dx"):
        load(tmp_path, class_column="dy")


def test_a_class_of_zero_and_one_has_names_that_say_so(tmp_path: Path) -> None:
    write(tmp_path, FLAT)
    table_of(tmp_path, target=[at % 2 for at in range(40)])
    assert load(tmp_path).class_names == ("0", "1")
    table_of(tmp_path, smiling=[at % 2 for at in range(40)])
    assert load(tmp_path).class_names == ("not smiling", "smiling")


def test_several_columns_that_name_pictures_are_listed(tmp_path: Path) -> None:
    write(tmp_path, [*FLAT, *(path.replace("img", "mask") for path in FLAT)])
    columns = {part: [Path(path).name.replace("img", part) for path in FLAT] for part in ("img", "mask")}
    frame = pd.DataFrame({"photo": columns["img"], "mask": columns["mask"], "label": [breed(at) for at in range(40)]})
    frame.to_csv(tmp_path / "list.csv", index=False)
    with pytest.raises(
        InputError, match=r"2 columns that name pictures: photo and mask\. Name one: --image-column photo"
    ):
        load(tmp_path)
    data = load(tmp_path, image_column="photo")
    assert classes(data) == {number: breed(number) for number in range(40)}
    assert load(tmp_path, image_column="mask").fingerprint != data.fingerprint


def test_several_tables_are_listed(tmp_path: Path) -> None:
    write(tmp_path, FLAT)
    table_of(tmp_path, label=[breed(at) for at in range(40)])
    (tmp_path / "old.csv").write_bytes((tmp_path / "list.csv").read_bytes())
    with pytest.raises(InputError, match=r"several tables.*list\.csv and old\.csv\. Keep one"):
        load(tmp_path)


def test_two_rows_for_a_picture_are_refused(tmp_path: Path) -> None:
    write(tmp_path, FLAT)
    table_of(tmp_path, label=[breed(at) for at in range(40)])
    with (tmp_path / "list.csv").open("a") as file:
        file.write("img_03,pug\n")
    with pytest.raises(InputError, match=r"more than one row for images/part 1/img_03\.png"):
        load(tmp_path)


def test_rows_without_a_picture_and_without_a_class_are_counted(tmp_path: Path) -> None:
    write(tmp_path, FLAT)
    table_of(tmp_path, label=[breed(at) if at else "" for at in range(40)])
    with (tmp_path / "list.csv").open("a") as file:
        file.write("../../etc/passwd,pug\n")
    data = load(tmp_path)
    assert 0 not in classes(data)
    assert any("1 rows of list.csv match no picture" in note and "passwd" in note for note in data.notes)
    assert any("1 images are left out, because they have no class" in note for note in data.notes)


def test_a_table_beside_class_folders_is_used_if_it_says_label_alone(tmp_path: Path) -> None:
    write(tmp_path, FLAT)
    (tmp_path / "images" / "part 0").rename(tmp_path / "part 0")
    (tmp_path / "images" / "part 1").rename(tmp_path / "part 1")
    table_of(tmp_path, dx=[breed(at) for at in range(40)])
    data = load(tmp_path)
    assert data.class_names == ("part 0", "part 1")
    assert any("list.csv names pictures, but no column" in note and "--label-column" in note for note in data.notes)
    assert load(tmp_path, class_column="dx").class_names == tuple(sorted(BREEDS))
    table_of(tmp_path, label=[breed(at) for at in range(40)])
    assert load(tmp_path).class_names == tuple(sorted(BREEDS))


# ---- Hugging Face's imagefolder -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("where", ["root", "splits"])
@pytest.mark.parametrize("inner", ["", "pictures/"])
def test_an_image_folder_with_metadata(tmp_path: Path, kind: str, where: str, inner: str) -> None:
    paths = names(f"{{s}}/{inner}{{i}}.png", s=["train", "test"], i=digits(12))
    write(tmp_path, paths)
    tables = (
        {"": paths}
        if where == "root"
        else {f"{split}/": [of for of in paths if of.startswith(split)] for split in ("train", "test")}
    )
    for prefix, of in tables.items():
        frame = pd.DataFrame(
            {
                "file_name": [path.removeprefix(prefix) for path in of],
                "label": [breed(paths.index(path)) for path in of],
                "caption": [f"picture {path}" for path in of],
            }
        )
        {"csv": csv, "jsonl": lines, "parquet": parquet}[kind](frame, tmp_path / prefix / "metadata.csv")
    data = load(tmp_path)
    assert {name: len(of) for name, of in data.splits.items()} == {"train": 12, "test": 12}
    assert classes(data) == {number: breed(number) for number in range(24)}
    assert (data.class_column, data.test_from) == ("label", "test")
    again = load(tmp_path, class_column="label")  # as a model finds it
    assert (again.fingerprint, again.class_names) == (data.fingerprint, data.class_names)


def test_class_folders_beside_metadata_keep_their_classes(tmp_path: Path) -> None:
    paths = names("train/{c}/{i}.png", c=["a", "b"], i=digits(10))
    write(tmp_path, paths)
    rows = pd.DataFrame({"file_name": [path.removeprefix("train/") for path in paths], "label": ["x", "y"] * 10})
    csv(rows, tmp_path / "train" / "metadata.csv")
    assert load(tmp_path).class_names == ("a", "b")


# ---- hostile tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00", b"a" * 5_000_000, b'"unclosed\n' * 1000, b"PAR1 no parquet", b"[" * 100_000, b"\0" * 1000],
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_file_that_is_no_table_changes_nothing(tmp_path: Path, content: bytes, suffix: str) -> None:
    write(tmp_path, names("{c}/{i}.png", c=["a", "b"], i=digits(5)))
    (tmp_path / f"list{suffix}").write_bytes(content)
    data = load(tmp_path)
    assert data.class_names == ("a", "b")
    assert sum(item.count for item in data.left_out) == 1


@pytest.mark.parametrize("name", ["<b>bold", "=cmd|'x'", "**x** :red[y]", "a\nb", "café", "a\\b"])
def test_names_that_mean_something_elsewhere_are_text(tmp_path: Path, name: str) -> None:
    data = load(write(tmp_path, names("{c}/{i}.png", c=[name, "other"], i=digits(5))))
    assert name in data.class_names


def test_a_symbolic_link_to_the_outside_gives_no_class(tmp_path: Path) -> None:
    write(tmp_path / "set", FLAT)
    (tmp_path / "secret.png").write_bytes(picture(99))
    frame = pd.DataFrame({"file": [*FLAT, "../secret.png"], "label": [*(breed(at) for at in range(40)), "pug"]})
    frame.to_csv(tmp_path / "set" / "list.csv", index=False)
    assert 99 not in classes(load(tmp_path / "set"))


@pytest.mark.parametrize("name", ["train.parquet", "labels.csv", "rows.jsonl"])
def test_two_gigabytes_of_text_are_not_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / name).open("wb") as file:
        file.write(b"file,label\n" * 1000)
        file.truncate(2 << 30)  # takes no room on the disk
    write(tmp_path, names("{c}/{i}.png", c=["a", "b"], i=digits(5)))
    monkeypatch.setattr(pd, "read_csv", lambda *_, **__: pytest.fail("read"))
    if name == "train.parquet":
        with pytest.raises(InputError, match=r"train\.parquet cannot be read as parquet"):
            load(tmp_path)
    else:
        data = load(tmp_path)
        assert data.class_names == ("a", "b")
        assert [item.names for item in data.left_out] == [(name,)]


def test_a_class_table_that_is_too_large_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kmex_core.data.tables.MOST_BYTES", 100)
    write(tmp_path, FLAT)
    table_of(tmp_path, label=[breed(at) for at in range(40)])
    with pytest.raises(InputError, match="the limit for a table of text"):
        load(tmp_path, image_column="image_id")
