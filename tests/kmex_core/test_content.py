"""Content decides: fingerprints of what files hold, remembered cheaply; changed data are noticed and said."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Event
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import READ_ONLY, Store
from kmex_core.data import content as _content
from kmex_core.data import opened
from kmex_core.data import registry as datasets
from kmex_core.data.files import check_of
from kmex_core.data.listing import FileState, state_of
from kmex_core.models import catalogue as models
from kmex_core.stages import training_runs
from kmex_core.stages.importing import ImportRequest, import_model
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.datasets import write_folder, write_parquet
from tests.helpers.official import WRITERS
from tests.helpers.pictures import encoded, striped
from tests.helpers.stores import net

Kind = tuple[Callable[[Path], DatasetSpec], str]


@pytest.fixture(autouse=True)
def _remember(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_content, "FRESH_NS", 0)  # files of a test are all fresh


def bmp(label: int, at: int) -> bytes:
    """Pictures of one size in bytes, whatever they show."""
    return encoded(striped(label, 1, 16, 3, seed=at)[0], "BMP")


def folder(root: Path) -> DatasetSpec:
    for split, count in (("train", 6), ("test", 2)):
        for label, name in enumerate("ab"):
            (root / "pets" / split / name).mkdir(parents=True)
            for at in range(count):
                (root / "pets" / split / name / f"{at}.bmp").write_bytes(bmp(label, at + 10 * len(split)))
    rows = [
        f"{split}/{name}/{at}.bmp,{at % 2}\n"
        for split, count in (("train", 6), ("test", 2))
        for name in "ab"
        for at in range(count)
    ]
    (root / "pets" / "attributes.csv").write_text("file_name,Odd\n" + "".join(rows))
    return DatasetSpec(str(root / "pets"))


def parquet(root: Path) -> DatasetSpec:
    images = [bmp(at % 2, at) for at in range(10)]
    write_parquet(root / "pq" / "train.parquet", images, [0, 1] * 5, ["a", "b"])
    write_parquet(root / "pq" / "test.parquet", [bmp(0, 90), bmp(1, 91)], [0, 1], ["a", "b"])
    return DatasetSpec(str(root / "pq"))


def celeba(root: Path) -> DatasetSpec:
    here = root / "celeba"
    (here / "img_align_celeba").mkdir(parents=True)
    names = [f"{at:06d}.bmp" for at in range(20)]
    (here / "list_attr_celeba.txt").write_text(
        "20\nMale Young\n"
        + "".join(f"{name} {1 if at % 2 else -1} {1 if at % 3 else -1}\n" for at, name in enumerate(names))
    )
    (here / "list_eval_partition.txt").write_text(
        "".join(f"{name} {[0, 0, 0, 1, 2, 2][at % 6]}\n" for at, name in enumerate(names))
    )
    for at, name in enumerate(names):
        (here / "img_align_celeba" / name).write_bytes(bmp(at % 2, at))
    return DatasetSpec("celeba", str(root))


def cub(root: Path) -> DatasetSpec:
    here = root / "CUB_200_2011"
    (here / "images").mkdir(parents=True)
    tables: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": []}
    for at in range(12):
        (here / "images" / f"{at}.bmp").write_bytes(bmp(at % 2, at))
        tables["images"].append(f"{at} {at}.bmp")
        tables["image_class_labels"].append(f"{at} {at % 2 + 1}")
        tables["train_test_split"].append(f"{at} {int(at < 8)}")
    for name, lines in tables.items():
        (here / f"{name}.txt").write_text("\n".join(lines))
    (here / "classes.txt").write_text("1 001.Wren\n2 002.Crow\n")
    return DatasetSpec("cub200", str(root))


def quickdraw(root: Path) -> DatasetSpec:
    from kmex_core.data.sources.quickdraw import CLASSES

    (root / "quickdraw").mkdir(parents=True)
    for at, name in enumerate(CLASSES):
        np.save(
            root / "quickdraw" / f"{name}.npy", np.random.default_rng(at).integers(0, 256, (10, 784), dtype=np.uint8)
        )
    return DatasetSpec("quickdraw10", str(root))


def mnist(root: Path) -> DatasetSpec:
    WRITERS["mnist"](root)
    return DatasetSpec("mnist", str(root))


KINDS: dict[str, Kind] = {
    "folder": (folder, "pets/train/b/3.bmp"),
    "table of a folder": (folder, "pets/attributes.csv"),
    "test picture": (folder, "pets/test/a/1.bmp"),
    "parquet": (parquet, "pq/train.parquet"),
    "celeba picture": (celeba, "celeba/img_align_celeba/000007.bmp"),
    "celeba validation picture": (celeba, "celeba/img_align_celeba/000003.bmp"),
    "celeba table": (celeba, "celeba/list_attr_celeba.txt"),
    "cub picture": (cub, "CUB_200_2011/images/5.bmp"),
    "cub table": (cub, "CUB_200_2011/classes.txt"),
    "quickdraw": (quickdraw, "quickdraw/cat.npy"),
    "mnist": (mnist, "MNIST/raw/train-images-idx3-ubyte"),
    "mnist labels": (mnist, "MNIST/raw/t10k-labels-idx1-ubyte"),
}


def alter(path: Path) -> None:
    """Change some content, keeping size and time of change."""
    status, held = path.stat(), bytearray(path.read_bytes())
    if path.suffix in (".csv", ".txt"):
        text = held.decode()
        if path.suffix == ".csv":  # swap two values
            text = text.replace(",0\n", ",?\n", 1).replace(",1\n", ",0\n", 1).replace(",?\n", ",1\n", 1)
        changed = text.replace("Wren", "Lark").replace("Young", "Youth")
        held = bytearray(changed.encode())
    elif "labels" in path.name:
        held[-1] = (held[-1] + 1) % 10
    elif path.suffix == ".parquet":
        at = bytes(held).index(b"BM") + 60
        held[at] ^= 8
    else:
        held[-40] ^= 8
    assert len(held) == status.st_size
    assert bytes(held) != path.read_bytes()
    path.write_bytes(bytes(held))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_content_is_a_change_of_the_fingerprint(kind: str, tmp_path: Path) -> None:
    write, changed = KINDS[kind]
    spec = write(tmp_path)
    before = datasets.load(spec)
    assert datasets.load(spec).fingerprint == before.fingerprint
    assert datasets.signature(before.watched) == datasets.signature(datasets.load(spec).watched)
    state = datasets.signature(before.watched)
    alter(tmp_path / changed)
    assert datasets.signature(before.watched) != state
    after = datasets.load(spec)
    assert after.fingerprint != before.fingerprint
    assert datasets.comparable(after.fingerprint, before.fingerprint)


@pytest.mark.parametrize("write", [folder, parquet, celeba, cub, quickdraw, mnist], ids=lambda write: write.__name__)
def test_a_copy_in_another_place_has_the_same_fingerprint(write: Callable[[Path], DatasetSpec], tmp_path: Path) -> None:
    spec = write(tmp_path / "here")
    before = datasets.load(spec).fingerprint
    shutil.copytree(tmp_path / "here", tmp_path / "there" / "deep")
    for path in (tmp_path / "there").rglob("*"):
        os.utime(path, (1, 1))
    there = dataclasses.replace(
        spec, name=spec.name.replace("/here/", "/there/deep/"), root=spec.root.replace("/here", "/there/deep")
    )
    assert datasets.load(there).fingerprint == before


def contents_read(monkeypatch: pytest.MonkeyPatch, what: str = "name") -> list[str]:
    """The names (or the places in their archive) of files whose content is read from now on."""
    read: list[str] = []
    real = _content._content

    def spy(file: FileState, look: Callable[[bytes | Path], str] | None) -> _content.Content:
        read.append(file.place if what == "place" else file.path.name)
        return real(file, look)

    monkeypatch.setattr(_content, "_content", spy)
    return read


def test_a_renamed_picture_and_another_class_column_are_other_content(tmp_path: Path) -> None:
    spec = folder(tmp_path)
    before = datasets.load(spec).fingerprint
    assert datasets.load(dataclasses.replace(spec, class_column="Odd")).fingerprint != before
    (tmp_path / "pets" / "attributes.csv").unlink()
    without = datasets.load(spec).fingerprint
    (tmp_path / "pets/train/a/0.bmp").rename(tmp_path / "pets/train/a/zero.bmp")
    assert len({before, without, datasets.load(spec).fingerprint}) == 3


def test_only_what_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = folder(tmp_path)
    read = contents_read(monkeypatch)
    datasets.load(spec)
    assert len(read) == 17
    read.clear()
    datasets.load(spec)
    assert read == []
    alter(tmp_path / "pets/train/b/3.bmp")
    (tmp_path / "pets/train/b/new.bmp").write_bytes(bmp(1, 77))
    os.replace(tmp_path / "pets/train/a/1.bmp", tmp_path / "pets/train/a/0.bmp")
    datasets.load(spec)
    assert sorted(read) == ["0.bmp", "3.bmp", "new.bmp"]


def database(store: Store) -> Path:
    return store.root / _content.FILE


def remembered(store: Store) -> dict[bytes, bytes]:
    """The digests that are remembered, by path."""
    with contextlib.closing(sqlite3.connect(database(store))) as memory:
        return dict(memory.execute("SELECT path, digest FROM files"))


def test_what_has_just_changed_is_not_remembered(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_content, "FRESH_NS", 3_600_000_000_000)
    spec = folder(tmp_path)
    datasets.load(spec)
    assert remembered(store) == {}
    monkeypatch.setattr(_content, "FRESH_NS", 0)
    datasets.load(spec)
    assert len(remembered(store)) == 17


@pytest.mark.parametrize(
    "damage",
    ["garbage", "cut", "empty", "other tables", "other version", "folder", "wrong types", "digests", "sizes", "flaws"],
)
def test_a_damaged_memory_is_made_anew(damage: str, store: Store, tmp_path: Path) -> None:
    spec = folder(tmp_path)
    before = datasets.load(spec).fingerprint
    path = database(store)
    held = path.read_bytes()
    path.unlink()
    if damage == "garbage":
        path.write_bytes(os.urandom(5000))
    elif damage == "cut":
        path.write_bytes(held[: len(held) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "folder":
        path.mkdir()
    else:
        path.write_bytes(held)
        with sqlite3.connect(path) as made:
            made.execute(
                {
                    "other tables": "DROP TABLE files",
                    "other version": "PRAGMA user_version = 99",
                    "wrong types": "UPDATE files SET digest = 'x', flaw = 7",
                    "digests": "UPDATE files SET digest = randomblob(16)",
                    "sizes": "UPDATE files SET mtime = mtime + 1",
                    "flaws": "UPDATE files SET flaw = 'It is damaged.'",
                }[damage]
            )
        made.close()
    assert datasets.load(spec).fingerprint == before
    assert datasets.load(spec).fingerprint == before
    if damage != "folder":
        assert len(remembered(store)) == 17


def test_many_at_once_share_the_memory(tmp_path: Path) -> None:
    specs = [folder(tmp_path / str(at)) for at in range(4)] * 2
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda spec=spec: found.append(datasets.load(spec).fingerprint)) for spec in specs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_names_that_are_no_text_are_remembered(tmp_path: Path, store: Store) -> None:
    spec = folder(tmp_path)
    odd = os.fsencode(tmp_path / "pets/train/a") + b"/\xff\xfe.bmp"
    Path(os.fsdecode(odd)).write_bytes(bmp(0, 55))
    data = datasets.load(spec)
    assert len(data.split("train")) == 13
    assert datasets.load(spec).fingerprint == data.fingerprint
    assert odd in remembered(store)
    assert data.pixels("train", range(13)).shape[0] == 13


def test_verify_reads_everything_again(tmp_path: Path) -> None:
    spec = folder(tmp_path)
    sound = datasets.load(spec).fingerprint
    assert datasets.verified(spec)[1] == []
    with _content._memory() as memory:  # as if the file had changed and kept size, times and inode
        state, other = state_of(tmp_path / "pets/train/b/3.bmp", ""), _content.Content(bytes(16), "")
        memory.remember([(state, other)], check_of(False)[1])
    assert datasets.load(spec).fingerprint != sound
    data, changed = datasets.verified(spec)
    assert [Path(path).name for path in changed] == ["3.bmp"]
    assert data.fingerprint == sound == datasets.load(spec).fingerprint


@pytest.mark.parametrize("write", [folder, parquet], ids=lambda write: write.__name__)
@pytest.mark.parametrize("memory", ["read-only", "cannot be written", "cannot be read"])
def test_verify_reads_everything_again_whatever_the_memory(
    write: Callable[[Path], DatasetSpec], memory: str, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write(tmp_path)
    sound = datasets.load(spec)
    changed = next(path for path in Path(spec.name).rglob("*") if path.suffix in (".bmp", ".parquet"))
    with _content._memory() as known:
        state, other = state_of(changed, ""), _content.Content(bytes(16), "")
        known.remember([(state, other)], check_of(False)[1] if write is folder else "")
    if memory == "read-only":
        monkeypatch.setenv(READ_ONLY, "1")
    elif memory == "cannot be written":
        monkeypatch.setattr(_content._Memory, "_write", lambda *_: None)
    else:
        database(store).unlink()
        database(store).mkdir()
    read = contents_read(monkeypatch, "place")
    data, found = datasets.verified(spec)
    assert data.fingerprint == sound.fingerprint
    assert found == ([str(changed)] if memory != "cannot be read" else [])
    assert len(read) == (17 if write is folder else 2)
    read.clear()
    datasets.load(spec)
    assert bool(read) == (memory == "cannot be read")


def test_two_checks_of_one_folder_are_both_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = folder(tmp_path)
    both = [spec, dataclasses.replace(spec, skip_broken=True)]
    for one in both:
        datasets.load(one)
    read = contents_read(monkeypatch)
    for one in both:
        datasets.load(one)
    assert read == []
    alter(tmp_path / "pets/train/b/3.bmp")
    for one in both:
        datasets.load(one)
    assert read == ["3.bmp", "3.bmp"]


def test_what_one_check_reads_is_not_contradicted_by_another(tmp_path: Path) -> None:
    spec = folder(tmp_path)
    thorough = dataclasses.replace(spec, skip_broken=True)
    sound = [datasets.load(one).fingerprint for one in (spec, thorough)]
    with _content._memory() as memory:  # as if the file had changed and kept size, times and inode
        state, other = state_of(tmp_path / "pets/train/b/3.bmp", ""), _content.Content(bytes(16), "")
        for level in (False, True):
            memory.remember([(state, other)], check_of(level)[1])
    datasets.verified(spec)
    assert [datasets.load(one).fingerprint for one in (spec, thorough)] == sound


def test_a_memory_of_an_earlier_version_is_made_anew(tmp_path: Path, store: Store) -> None:
    store.root.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(database(store))) as old, old:
        old.execute(
            "CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER, mtime INTEGER, ctime INTEGER, inode "
            "INTEGER, digest BLOB, flaw TEXT, level TEXT, mark INTEGER) WITHOUT ROWID"
        )
        old.execute("CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT, mark INTEGER) WITHOUT ROWID")
        old.execute("PRAGMA user_version = 2")
    datasets.load(folder(tmp_path))
    assert len(remembered(store)) == 17


def test_a_picture_that_changed_after_opening_is_not_read(tmp_path: Path) -> None:
    data = datasets.load(folder(tmp_path))
    alter(tmp_path / "pets/train/b/3.bmp")
    with pytest.raises(InputError, match=r"3\.bmp has changed or been removed since"):
        data.split("train").image(9)
    assert data.split("train").image(8).shape == (16, 16, 3)


# ---- a data set that is open ----


@pytest.mark.parametrize("quick", [60.0, -1.0], ids=["at once", "in the background"])
def test_an_open_data_set_is_opened_again_when_its_files_change(
    quick: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "QUICK", quick)
    monkeypatch.setattr(opened, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(opened, "LOOK_SHARE", 0.0)
    spec = folder(tmp_path)
    first = opened.dataset(spec)
    assert opened.dataset(spec) is first
    for change in (
        lambda: alter(tmp_path / "pets/train/b/3.bmp"),
        lambda: (tmp_path / "pets/train/a/more.bmp").write_bytes(bmp(0, 70)),
        lambda: (tmp_path / "pets/test/a/0.bmp").unlink(),
        lambda: shutil.copytree(tmp_path / "pets/test", tmp_path / "pets/val"),
    ):
        before = opened.dataset(spec)
        change()
        until = time.monotonic() + 10
        while (now := opened.dataset(spec)) is before and time.monotonic() < until:
            time.sleep(0.01)
        assert now.fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("there", "new"),
    [
        ("data/train-00000.parquet", "data/train-00001.parquet"),
        ("train.parquet", "data/train.parquet"),
        ("data/train/0.parquet", "data/train/1.PARQUET"),
        ("train/0.parquet", "train/1.parquet"),
        ("train.parquet", "test/0.parquet"),
        ("train.parquet", "test.parquet"),
        ("data/train/a/0.bmp", "data/train/a/5.bmp"),
        ("data/train/a/0.bmp", "data/test/a/5.bmp"),
        ("train/a/0.bmp", "train.parquet"),
        ("train/a/0.bmp", "data/train.parquet"),
    ],
)
@pytest.mark.parametrize("empty", [True, False], ids=["folder there before", "new folder"])
def test_a_new_file_is_noticed_wherever_it_counts(there: str, new: str, empty: bool, tmp_path: Path) -> None:
    def add(name: str, start: int) -> None:
        if name.endswith(".bmp"):
            for label in range(2):
                place = (tmp_path / name).parent.parent / "ab"[label]
                place.mkdir(parents=True, exist_ok=True)
                for at in range(start, start + 5):
                    (place / f"{at}.bmp").write_bytes(bmp(label, at))
        else:
            images = [bmp(at % 2, at) for at in range(start, start + 10)]
            write_parquet(tmp_path / name, images, [0, 1] * 5, ["a", "b"])

    add(there, 0)
    if empty:
        (tmp_path / new).parent.mkdir(parents=True, exist_ok=True)
    before = datasets.load(DatasetSpec(str(tmp_path)))
    state = datasets.signature(before.watched)
    assert datasets.signature(before.watched) == state
    add(new, 20)
    assert datasets.signature(before.watched) != state
    assert datasets.load(DatasetSpec(str(tmp_path))).fingerprint != before.fingerprint


def test_between_two_looks_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = folder(tmp_path)
    opened.dataset(spec)
    monkeypatch.setattr(datasets, "signature", lambda watched: pytest.fail("looked again"))
    for _ in range(100):
        opened.dataset(spec)


def test_changed_data_are_said_only_where_it_is_known(tmp_path: Path, store: Store) -> None:
    spec = folder(tmp_path)
    data = datasets.load(spec)
    same, old = net(store, spec, "same", data=data.fingerprint), net(store, spec, "old", data="0123456789abcdef0123")
    without, imported = net(store, spec, "none"), net(store, spec, "in", data=data.fingerprint, imported={"file": "x"})
    assert not any(Subject(Store(), info, data).warnings() for info in (same, old, without, imported))
    alter(tmp_path / "pets/train/b/3.bmp")
    now = datasets.load(spec)
    assert Subject(Store(), same, now).warnings()[0].startswith("The data set has changed since 'same' was trained.")
    assert Subject(Store(), imported, now).warnings()[0].startswith("The data set has changed since 'in' was imported.")
    assert not Subject(Store(), old, now).warnings() + Subject(Store(), without, now).warnings()
    assert Subject(Store(), same, now).notes()[1:] == list(now.notes)


def test_the_data_root_goes_before_where_the_data_were(tmp_path: Path, store: Store) -> None:
    info = net(store, folder(tmp_path / "here"))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    here, there = str(tmp_path / "here" / "pets"), str(tmp_path / "there" / "pets")
    assert dataset_of(info).name == here
    assert dataset_of(info, str(tmp_path / "there")).name == there
    assert dataset_of(info, str(tmp_path)).name == here  # nothing of that name there
    shutil.rmtree(here)
    assert dataset_of(info, str(tmp_path / "there")).name == there


def test_a_run_goes_on_with_a_copy_of_its_data(tmp_path: Path, store: Store) -> None:
    from kmex_core.models import training

    spec = DatasetSpec(str(write_folder(tmp_path / "here" / "pets", ("a", "b"), 6, 2)))
    recipe = training.default_recipe(datasets.load(spec), False, epochs=2, batch_size=6)

    def stop(event: Event) -> None:
        if event.part == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training_runs.train(
            store, training_runs.TrainRequest("run", spec, "resnet20", recipe, "cpu", "x"), progress=stop
        )
    shutil.move(tmp_path / "here", tmp_path / "there")
    copy = DatasetSpec(str(tmp_path / "there" / "pets"))
    again = training_runs.TrainRequest("run", copy, "resnet20", recipe, "cpu", "x")
    info = training_runs.train(store, again, resume=True)
    assert len(info.made_by["history"]) == 2
    assert info.dataset == copy.name


# ---- a test split that may have been trained on ----


@pytest.mark.parametrize(("splits", "caveat"), [((), True), (("val",), False), (("test",), False)])
def test_an_imported_model_without_a_test_split_says_so(
    splits: tuple[str, ...], caveat: bool, tmp_path: Path, store: Store
) -> None:
    root = write_folder(tmp_path / "pets", ("a", "b"), 10, 0)
    for split in splits:
        write_folder(tmp_path / "more", ("a", "b"), 3, 0)
        shutil.move(tmp_path / "more" / "train", root / split)
    info = net(store, DatasetSpec(str(root)))
    request = ImportRequest("mine", "blackbox", tmp_path / "w.safetensors", DatasetSpec(str(root)), "resnet20")
    from safetensors.torch import save_file

    save_file(models.load(store, info.name).model.state_dict(), request.checkpoint)
    mine, _ = import_model(store, request)
    assert bool(mine.caveat) == caveat
    described = models.describe(store, "mine")  # needs no data set
    assert described.caveat == mine.caveat
    if caveat:
        assert "no test split" in mine.caveat
        assert Subject(Store(), mine, dataset_of(mine)).notes()[0] == mine.caveat
        shutil.copy(models.path_of(store, "mine"), tmp_path / "export.safetensors")
        again = ImportRequest("again", "blackbox", tmp_path / "export.safetensors", DatasetSpec(str(root)), "resnet20")
        assert import_model(store, again)[0].caveat, "an export of it has not become sure"
