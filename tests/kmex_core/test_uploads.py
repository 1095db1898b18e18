"""Uploaded data sets: what may be sent, how it arrives in parts, and how it goes."""

from __future__ import annotations

import itertools
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import archives, receiving, registry, uploads
from kmex_core.data.receiving import OutOfStep, Part, TooLarge, UnknownUpload, begin, cancel, finish, received
from kmex_core.stages import upkeep
from tests.helpers.datasets import write_folder

FILES = {"cat/ü 1 <b>.jpg": b"one" * 9, "cat/empty.txt": b"", "dog/2.jpg": b"two" * 70_000, "last.csv": b""}


class Usage(NamedTuple):
    """What `shutil.disk_usage` gives."""

    total: int
    used: int
    free: int


def plan(files: dict[str, bytes]) -> list[list[object]]:
    return [[path, len(content)] for path, content in files.items()]


def send(store: Store, upload: str, content: bytes, pieces: int = 1) -> None:
    step = -(-len(content) // pieces) or 1
    for start in range(0, len(content), step):
        with Part(store, upload, start) as part:
            part.write(content[start : start + step])


def upload_all(store: Store, name: str, files: dict[str, bytes], pieces: int = 1) -> str:
    upload = begin(store, name, plan(files))
    send(store, upload, b"".join(files.values()), pieces)
    return finish(store, upload)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left(store: Store) -> set[str]:
    """What is in the room beside finished uploads, their records and locks."""
    names = {path.name for path in (store.root / uploads.ROOM).iterdir()}
    return {name for name in names if uploads.ASIDE.fullmatch(name)}


@pytest.mark.parametrize("pieces", [1, 2, 7, 1000])
def test_what_is_sent_is_what_is_stored(store: Store, pieces: int) -> None:
    name = upload_all(store, "My photos", FILES, pieces)
    (upload,) = uploads.listed(store)
    assert (upload.name, upload.files, upload.bytes) == (name, 4, sum(map(len, FILES.values())))
    assert name == "My-photos"
    assert content_of(upload.path) == FILES
    assert left(store) == set()
    assert not upkeep.verify(store).unknown


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=8), cuts=st.sets(st.integers(1, 200), max_size=6))
def test_any_cut_of_the_stream_gives_the_same_files(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], cuts: set[int]
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    files = {f"{number}/x": os.urandom(size) for number, size in enumerate(sizes)}
    whole = b"".join(files.values())
    upload = begin(store, "x", plan(files))
    edges = sorted({0, len(whole)} | {cut for cut in cuts if cut < len(whole)})
    for start, end in itertools.pairwise(edges):
        with Part(store, upload, start) as part:
            part.write(whole[start:end])
    assert content_of(uploads.path_of(store, finish(store, upload))) == files


def test_it_opens_as_a_data_set_and_goes_with_what_was_unpacked(store: Store, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "photos", ("cat", "dog"), 6, 4)
    archive = Path(shutil.make_archive(str(tmp_path / "photos"), "zip", folder))
    as_folder = upload_all(store, "photos", content_of(folder))
    as_zip = upload_all(store, archive.name, {archive.name: archive.read_bytes()})
    assert (as_folder, as_zip) == ("photos", "photos-2")
    first, second = (registry.load(DatasetSpec(str(uploads.path_of(store, name)))) for name in (as_folder, as_zip))
    assert first.class_names == second.class_names
    assert uploads.path_of(store, as_zip).name == "photos.zip"
    assert len(list((store.root / archives.ROOM).glob("*.json"))) == 1
    uploads.delete(store, as_zip)
    assert list((store.root / archives.ROOM).glob("*.json")) == []
    assert [upload.name for upload in uploads.listed(store)] == ["photos"]
    with pytest.raises(InputError, match="no uploaded data set 'photos-2'"):
        uploads.path_of(store, as_zip)
    assert left(store) == set()


def test_names_are_plain_and_each_is_given_once(store: Store) -> None:
    given_names = [
        "Fotos für Öl.tar.gz",
        "../../etc",
        "",
        "写真",
        "a.weights",
        "PHOTOS",
        "photos",
        "x" * 300,
        ".zip",
        "con.",
    ]
    names = [upload_all(store, name, {"a.txt": b"a"}) for name in given_names]
    assert names == ["Fotos-fur-Ol", "etc", "images", "images-2", "a-weights", "PHOTOS", "photos-2", "x" * 48,
                     "images-3", "con"]  # fmt: skip
    assert all(uploads.NAME.fullmatch(name) for name in names)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "../x", "a/../../x", "a/..", "C:/x", "c:x", "a\\b", "\\\\host\\x", "", "a//b", "./a", "a/",
        "a\0b", "a\nb", "a\x1b[31m", "a\x7fb", "a\u2028b", "\ud800", ".hidden", "a/.git/config", "Thumbs.db",
        "__MACOSX/a", "x" * 241, "ü" * 121, "a/" * 32 + "a", "/".join(["x" * 200] * 6),
    ],
)  # fmt: skip
def test_a_path_that_cannot_be_written_safely_is_refused(store: Store, path: str) -> None:
    with pytest.raises(InputError):
        begin(store, "x", [["fine.jpg", 1], [path, 1]])
    assert not (store.root / uploads.ROOM).exists()


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "no files"),
        ([["a", 1], ["A", 1]], "one file on some disks"),
        ([["\u00e9", 1], ["e\u0301", 1]], "one file on some disks"),
        ([["a", 1], ["a/b", 1]], "is a file, and a folder"),
        ([["A/b/c", 1], ["a", 1]], "is a file, and a folder"),
        ([["a", -1]], "list of"),
        ([["a", 1.5]], "list of"),
        ([["a", True]], "list of"),
        ([["a"]], "list of"),
        ([{"path": "a"}], "list of"),
        (["ab"], "list of"),
    ],
)  # fmt: skip
def test_a_list_that_makes_no_sense_is_refused(store: Store, files: list[object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        begin(store, "x", files)


def test_limits_hold_before_anything_is_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TooLarge, match="2 GB"):
        begin(store, "x", [["a", receiving.MOST_BYTES], ["b", 1]])
    monkeypatch.setattr(receiving, "MOST_FILES", 3)
    with pytest.raises(TooLarge, match="3 files"):
        begin(store, "x", [[str(number), 0] for number in range(4)])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, archives.SPARE + 5))
    begin(store, "x", [["a", 5]])
    with pytest.raises(TooLarge, match="not enough room"):
        begin(store, "x", [["a", 6]])
    monkeypatch.setattr(receiving, "MOST_WAITING", 1)
    with pytest.raises(TooLarge, match="unfinished"):
        begin(store, "x", [["a", 5]])


def test_a_part_follows_on_what_has_arrived(store: Store) -> None:
    upload = begin(store, "x", [["a", 6], ["b", 4]])
    with pytest.raises(OutOfStep, match="begins at 3; 0 bytes"):
        Part(store, upload, 3)
    with Part(store, upload, 0) as part:
        part.write(b"12345678")
        with pytest.raises(OutOfStep, match="is being written"):
            Part(store, upload, 8)
    assert received(store, upload) == 8
    with pytest.raises(OutOfStep, match="8 of 10"):
        finish(store, upload)
    with Part(store, upload, 8) as part, pytest.raises(InputError, match="announced"):
        part.write(b"123")
    with Part(store, upload, 8) as part:
        part.write(b"90")
    name = finish(store, upload)
    assert finish(store, upload) == name, "an answer that was lost is given again"
    assert content_of(uploads.path_of(store, name)) == {"a": b"123456", "b": b"7890"}
    with pytest.raises(UnknownUpload):
        Part(store, upload, 10)


def test_a_killed_writer_leaves_no_doubled_bytes(store: Store) -> None:
    """Its last bytes are on the disk, and the state of before: they are sent and written again."""
    upload = begin(store, "x", [["a", 4], ["b", 4]])
    folder = store.root / uploads.ROOM / f".{upload}.part"
    with Part(store, upload, 0) as part:
        part.write(b"12")
    before = (folder / receiving.STATE).read_bytes()
    with Part(store, upload, 2) as part:
        part.write(b"3456")
    (folder / receiving.STATE).write_bytes(before)
    with Part(store, upload, received(store, upload)) as part:
        part.write(b"345678")
    assert content_of(uploads.path_of(store, finish(store, upload))) == {"a": b"1234", "b": b"5678"}


def test_two_uploads_of_one_name_at_once(store: Store) -> None:
    one, two = begin(store, "x", [["a", 2]]), begin(store, "X", [["a", 2]])
    with Part(store, one, 0) as first, Part(store, two, 0) as second:
        first.write(b"1")
        second.write(b"2")
        first.write(b"1")
        second.write(b"2")
    assert [finish(store, two), finish(store, one)] == ["X", "x-2"]
    assert content_of(uploads.path_of(store, "X")) == {"a": b"22"}


def test_a_full_disk_is_a_sentence_and_the_upload_can_go_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = begin(store, "x", [["a", 4]])
    free = shutil.disk_usage
    with Part(store, upload, 0) as part:
        part.write(b"1")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 3))
        with pytest.raises(TooLarge, match="not enough room"):
            part.write(b"23")
    monkeypatch.setattr(shutil, "disk_usage", free)
    opened = Path.open

    def full(*_: object, **__: object) -> IO[bytes]:
        raise OSError(28, "No space left on device")

    with Part(store, upload, 1) as part:
        monkeypatch.setattr(Path, "open", full)
        with pytest.raises(StoreError, match="No space left"):
            part.write(b"23")
        monkeypatch.setattr(Path, "open", opened)
    with Part(store, upload, 1) as part:
        part.write(b"234")
    assert content_of(uploads.path_of(store, finish(store, upload))) == {"a": b"1234"}


def test_what_is_cancelled_is_gone(store: Store) -> None:
    upload = begin(store, "x", [["a", 4]])
    send(store, upload, b"12")
    cancel(store, upload)
    assert left(store) == set()
    for lost in (upload, "0" * 32, "../x", ""):
        with pytest.raises(UnknownUpload):
            received(store, lost)
        with pytest.raises(UnknownUpload):
            finish(store, lost)
    upload = begin(store, "x", [["a", 4]])
    with Part(store, upload, 0) as part:
        cancel(store, upload)  # the part is still on its way
        part.write(b"12")
        with pytest.raises(UnknownUpload):
            received(store, upload)
    assert left(store) == set()
    assert uploads.listed(store) == []


def test_upkeep_clears_what_was_never_finished(store: Store) -> None:
    kept = upload_all(store, "kept", {"a": b"1"})
    old, new, sending = (begin(store, "x", [["a", 4]]) for _ in range(3))
    gone = store.root / uploads.ROOM / f".{'0' * 32}.gone"
    gone.mkdir()
    record = store.root / uploads.ROOM / "lost.json"
    record.write_text("{}")
    past = time.time() - 2 * upkeep.HOUR
    parts = {upload: store.root / uploads.ROOM / f".{upload}.part" for upload in (old, new, sending)}
    with Part(store, sending, 0) as part:
        part.write(b"1")
        for path in (parts[old], parts[sending], record):
            os.utime(path, (past, past))
        findings = [finding for finding in upkeep.needless(store) if finding.path.startswith("uploads/")]
        rest = {Path(finding.path).name for finding in findings} - {".names.lock"}
        assert rest == {parts[old].name, parts[sending].name, gone.name, record.name}
        assert upkeep.remove(store, findings)[0] == 4
    assert left(store) == {parts[new].name, parts[sending].name}
    assert [upload.name for upload in uploads.listed(store)] == [kept]
    os.utime(parts[new], (past - receiving.DAY, past - receiving.DAY))
    begin(store, "x", [["a", 4]])
    assert not parts[new].exists(), "a new upload clears what is a day old"


def test_a_lost_record_costs_a_look_at_the_files(store: Store) -> None:
    name = upload_all(store, "x", FILES)
    before = uploads.listed(store)
    (store.root / uploads.ROOM / f"{name}.json").write_text('{"files": "many"}')
    (after,) = uploads.listed(store)
    assert (after.files, after.bytes, after.path) == (before[0].files, before[0].bytes, before[0].path)


def changes(store: Store, upload: str) -> list[Callable[[], object]]:
    return [
        lambda: begin(store, "x", [["a", 1]]),
        lambda: Part(store, upload, 0),
        lambda: finish(store, upload),
        lambda: cancel(store, upload),
        lambda: uploads.delete(store, "kept"),
    ]


def test_a_read_only_store_takes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_all(store, "kept", {"a": b"1"})
    upload = begin(store, "x", [["a", 1]])
    monkeypatch.setenv("KMEX_READ_ONLY", "1")
    for change in changes(store, upload):
        with pytest.raises(InputError, match="read-only"):
            change()
    assert [one.name for one in uploads.listed(store)] == ["kept"]


def test_links_and_strangers_in_the_room_are_no_uploads(store: Store, tmp_path: Path) -> None:
    upload_all(store, "kept", {"a": b"1"})
    room = store.root / uploads.ROOM
    (tmp_path / "secret").mkdir()
    (room / "link").symlink_to(tmp_path / "secret")
    (room / "x.weights").write_bytes(b"w")
    assert [one.name for one in uploads.listed(store)] == ["kept"]
    for name in ("link", "x.weights", "..", "kept/..", "."):
        with pytest.raises(InputError, match="no uploaded data set"):
            uploads.delete(store, name)
    assert (tmp_path / "secret").is_dir()


def test_two_gigabytes_of_text_named_parquet_are_refused(store: Store) -> None:
    """The file is sparse: what its end says is looked at, its bytes are not."""
    name = upload_all(store, "table", {"table.parquet": b"a,b\n1,2\n"})
    os.truncate(uploads.path_of(store, name) / "table.parquet", receiving.MOST_BYTES)
    with pytest.raises(InputError, match=r"table\.parquet"):
        registry.load(DatasetSpec(str(uploads.path_of(store, name))))


def test_an_archive_that_leads_outside_is_refused_when_it_is_opened(store: Store, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("../outside.txt", "x")
    name = upload_all(store, "x.zip", {"x.zip": (tmp_path / "x.zip").read_bytes()})
    with pytest.raises(InputError, match="outside its folder"):
        registry.load(DatasetSpec(str(uploads.path_of(store, name))))
    assert not (store.root / archives.ROOM / "outside.txt").exists()
