"""Archives as data sets: unpacked once, read like any folder; hostile ones are refused or harmless."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Event
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import READ_ONLY, Store
from kmex_core.data import archives, opened, registry
from kmex_core.stages import upkeep
from tests.helpers.layouts import classes, load, picture, write
from tests.helpers.stores import net

PATHS = [f"pets/{name}/{at}.png" for name in ("cat", "dog") for at in range(6)]
EXPECTED = {number: path.split("/")[1] for number, path in enumerate(PATHS)}


def zipped(folder: Path, target: Path) -> Path:
    return Path(shutil.make_archive(str(target.with_suffix("")), "zip", folder))


def tarred(kind: str) -> Callable[[Path, Path], Path]:
    def make(folder: Path, target: Path) -> Path:
        path = target.with_suffix(f".tar{kind}")
        with tarfile.open(path, cast(Any, f"w:{kind[1:]}")) as archive:
            for inner in sorted(folder.iterdir()):
                archive.add(inner, inner.name)
        return path

    return make


def zstandard(folder: Path, target: Path) -> Path:
    plain = tarred("")(folder, target)
    path = target.with_suffix(".tar.zst")
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        file.write(plain.read_bytes())
    plain.unlink()
    return path


KINDS = {"zip": zipped, **{kind or "tar": tarred(kind) for kind in ("", ".gz", ".bz2", ".xz")}, "zst": zstandard}


def folders(store: Store) -> list[Path]:
    """What the room of unpacked archives has, locks aside."""
    room = store.root / archives.ROOM
    return sorted(path for path in room.iterdir() if not path.name.endswith(".lock")) if room.is_dir() else []


@pytest.mark.parametrize("kind", list(KINDS))
def test_an_archive_is_unpacked_once_and_read_like_a_folder(
    tmp_path: Path, store: Store, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = write(tmp_path / "plain", PATHS)
    path = KINDS[kind](plain, tmp_path / "mine")
    events: list[Event] = []
    data = registry.load(DatasetSpec(str(path)), lambda event: events.append(event))
    assert classes(data) == EXPECTED
    assert data.name == str(path)
    assert data.fingerprint == load(plain).fingerprint
    assert any(event.stage == "Unpacking" and event.done == event.total for event in events)
    folder, record = folders(store)
    assert record.name == f"{folder.name}.json"
    assert not any(path.stat().st_mode & 0o111 for path in folder.rglob("*") if path.is_file())
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr(archives, "_unpack", lambda *_: pytest.fail("unpacked again"))
    other = shutil.copy(path, tmp_path / f"copy of {path.name}")
    assert load(Path(other)).fingerprint == data.fingerprint
    monkeypatch.setenv(READ_ONLY, "1")
    assert load(path).fingerprint == data.fingerprint
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("layout", ["splits", "table", "parquet", "npz"])
def test_an_archive_of_any_layout(tmp_path: Path, store: Store, layout: str) -> None:
    plain = tmp_path / "plain"
    if layout == "splits":
        write(plain, [f"x/Train/{name}/{at}.png" for name in "ab" for at in range(6)])
    elif layout == "table":
        write(plain, [f"{at}.png" for at in range(12)])
        (plain / "labels.csv").write_text("file,label\n" + "\n".join(f"{at}.png,{'ab'[at % 2]}" for at in range(12)))
    elif layout == "parquet":
        import pyarrow.parquet as pq

        plain.mkdir()
        pq.write_table(
            pa.table({"img": [picture(at) for at in range(12)], "class": ["a", "b"] * 6}), plain / "0.parquet"
        )
    else:
        import numpy as np

        plain.mkdir()
        np.savez(
            plain / "x.npz",
            images=np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8),
            labels=["a", "b"] * 6,
        )
    assert load(zipped(plain, tmp_path / "mine")).class_names == ("a", "b")


def test_a_model_finds_its_archive_again_under_a_data_root(tmp_path: Path, store: Store) -> None:
    path = zipped(write(tmp_path / "plain", PATHS), tmp_path / "mine")
    data = load(path)
    (tmp_path / "elsewhere").mkdir()
    path.rename(tmp_path / "elsewhere" / path.name)
    moved = registry.load(DatasetSpec(str(path), str(tmp_path / "elsewhere")))
    assert moved.fingerprint == data.fingerprint


def test_a_changed_archive_is_read_anew(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_EVERY", "LOOK_SHARE"):
        monkeypatch.setattr(opened, name, 0.0)
    path = zipped(write(tmp_path / "plain", PATHS), tmp_path / "mine")
    before = opened.dataset(DatasetSpec(str(path)))
    (tmp_path / "plain/pets/cat/0.png").write_bytes(picture(200))
    zipped(tmp_path / "plain", tmp_path / "mine")
    after = opened.dataset(DatasetSpec(str(path)))
    assert 200 in classes(after)
    assert after.fingerprint != before.fingerprint


def test_a_read_only_store_unpacks_nothing(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(write(tmp_path / "plain", PATHS), tmp_path / "mine")
    monkeypatch.setenv(READ_ONLY, "1")
    with pytest.raises(InputError, match=f"not unpacked yet.*read-only .{READ_ONLY} is set"):
        load(path)
    assert not store.root.exists()


def test_cancelling_leaves_nothing_and_the_next_time_works(tmp_path: Path, store: Store) -> None:
    path = zipped(write(tmp_path / "plain", PATHS), tmp_path / "mine")
    calls = []

    def stop(event: Event) -> None:
        if event.stage == "Unpacking":
            calls.append(event)
            if len(calls) == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        registry.load(DatasetSpec(str(path)), stop)
    assert folders(store) == []
    assert classes(load(path)) == EXPECTED


def test_an_unpacking_that_was_killed_is_begun_anew(tmp_path: Path, store: Store) -> None:
    path = zipped(write(tmp_path / "plain", PATHS), tmp_path / "mine")
    load(path)
    folder, record = folders(store)
    record.unlink()
    (folder / "pets/cat/0.png").unlink()
    assert classes(load(path)) == EXPECTED


def test_archives_inside_are_left_alone_and_counted(tmp_path: Path, store: Store) -> None:
    plain = write(tmp_path / "plain", PATHS)
    (plain / "pets/cat/more.zip").write_bytes(zipped(plain, tmp_path / "inner").read_bytes())
    data = load(zipped(plain, tmp_path / "mine"))
    assert [(item.reason, item.names) for item in data.left_out] == [
        ("archives, which are not unpacked inside a data set", ("cat/more.zip",))
    ]


# ---- hostile archives -----------------------------------------------------------------------------------------------


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tar_of(path: Path, members: dict[str, bytes], extra: tuple[tarfile.TarInfo, ...] = (), kind: str = "w") -> Path:
    with tarfile.open(path, cast(Any, kind)) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in extra:
            archive.addfile(member)
    return path


PETS = {path: picture(number) for number, path in enumerate(PATHS)}
BOTH = pytest.mark.parametrize(("make", "suffix"), [(zip_of, ".zip"), (tar_of, ".tar")], ids=["zip", "tar"])
Make = Callable[[Path, dict[str, bytes]], Path]


def refused(path: Path, store: Store, message: str) -> None:
    """The archive is refused, and nothing of it is anywhere."""
    around = {of for of in path.parent.rglob("*") if not of.is_relative_to(store.root)}
    with pytest.raises(InputError, match=message):
        load(path)
    assert folders(store) == []
    assert {of for of in path.parent.rglob("*") if not of.is_relative_to(store.root)} == around


@BOTH
@pytest.mark.parametrize(
    "name",
    ["../evil.png", "pets/../../evil.png", "/tmp/kmex-evil.png", "C:/evil.png", "C:\\evil.png", "\\evil.png",
     "..\\..\\evil.png", "pets/cat/..", "//host/share/evil.png", "z:evil.png"],
)  # fmt: skip
def test_a_path_outside_is_refused(tmp_path: Path, store: Store, make: Make, suffix: str, name: str) -> None:
    refused(make(tmp_path / f"mine{suffix}", {**PETS, name: b"x"}), store, "a member outside its folder")
    assert not Path("/tmp/kmex-evil.png").exists()


@BOTH
@pytest.mark.parametrize("name", ["a" * 250 + ".png", "d/" * 40 + "x.png", ("b" * 200 + "/") * 6 + "x.png"])
def test_a_path_too_long_or_deep_is_refused(tmp_path: Path, store: Store, make: Make, suffix: str, name: str) -> None:
    refused(make(tmp_path / f"mine{suffix}", {**PETS, name: b"x"}), store, "too long or deep a path")


def read_or_refused(path: Path) -> tuple[dict[int, str], str]:
    """The classes of an archive's pictures, or the message of its refusal."""
    try:
        return classes(load(path)), ""
    except InputError as error:
        return {}, str(error)


def special(kind: bytes, name: str = "pets/cat/x.png", link: str = "/etc/passwd") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


SPECIAL = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)


def test_links_and_devices_in_a_tar_file_are_left_out(tmp_path: Path, store: Store) -> None:
    extra = tuple(special(kind, f"pets/cat/{kind.decode()}.png") for kind in SPECIAL)
    data = load(tar_of(tmp_path / "mine.tar", PETS, extra))
    assert classes(data) == EXPECTED
    assert [(item.reason, item.count) for item in data.left_out] == [("links and devices in the archive", 5)]
    assert all(path.is_dir() or (path.is_file() and not path.is_symlink()) for path in folders(store)[0].rglob("*"))


def test_a_file_below_a_link_goes_nowhere_else(tmp_path: Path, store: Store) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with tarfile.open(tmp_path / "mine.tar", "w") as archive:
        archive.addfile(special(tarfile.SYMTYPE, "pets/cat/link", str(outside)))
        for name, content in {**PETS, "pets/cat/link/evil.png": picture(77)}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert classes(load(tmp_path / "mine.tar")) == {**EXPECTED, 77: "cat"}
    assert list(outside.iterdir()) == []


def test_links_in_a_zip_file_are_left_out(tmp_path: Path, store: Store) -> None:
    path = zip_of(tmp_path / "mine.zip", PETS)
    with zipfile.ZipFile(path, "a") as archive:
        for name, kind in (("pets/cat/x.png", stat.S_IFLNK), ("pets/cat/y.png", stat.S_IFIFO)):
            member = zipfile.ZipInfo(name)
            member.create_system, member.external_attr = 3, (kind | 0o777) << 16
            archive.writestr(member, "/etc/passwd")
    data = load(path)
    assert classes(data) == EXPECTED
    assert [item.count for item in data.left_out] == [2]


def test_a_zip_bomb_is_refused_by_its_own_account(tmp_path: Path, store: Store) -> None:
    path = zip_of(tmp_path / "mine.zip", {**PETS, "pets/cat/zeros.bmp": bytes(100 << 20)})
    refused(path, store, "would unpack to 100 MB from 0.1 MB, over 100 times as much")


def lying(path: Path) -> Path:
    """A zip file whose last member says that it is tiny."""
    zip_of(path, {**PETS, "pets/cat/zeros.bmp": bytes(100 << 20)})
    content, size = path.read_bytes(), (100 << 20).to_bytes(4, "little")
    assert content.count(size) >= 2
    path.write_bytes(content.replace(size, (100).to_bytes(4, "little")))
    return path


def test_a_zip_file_that_lies_about_sizes_writes_no_more_than_it_says(tmp_path: Path, store: Store) -> None:
    refused(lying(tmp_path / "mine.zip"), store, "is damaged")


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2"])
def test_a_compressed_tar_bomb_is_refused(tmp_path: Path, store: Store, kind: str) -> None:
    path = tar_of(tmp_path / f"mine.tar.{kind}", {**PETS, "pets/cat/zeros.bmp": bytes(100 << 20)}, kind=f"w:{kind}")
    refused(path, store, "over 100 times as much")


def test_many_small_members_that_add_up_are_refused(tmp_path: Path, store: Store) -> None:
    members = {f"pets/cat/{at}.bmp": bytes(1 << 20) for at in range(80)}
    refused(tar_of(tmp_path / "mine.tar.gz", members, kind="w:gz"), store, "over 100 times as much")


def test_zeros_in_zeros_stay_an_archive(tmp_path: Path, store: Store) -> None:
    inner = zip_of(tmp_path / "inner.zip", {"zeros": bytes(50 << 20)}).read_bytes()
    outer = zip_of(tmp_path / "outer.zip", {f"{at}.zip": inner for at in range(20)}).read_bytes()
    data = load(zip_of(tmp_path / "mine.zip", {**PETS, "pets/cat/bomb.zip": outer}))
    assert classes(data) == EXPECTED
    assert sum(path.stat().st_size for path in folders(store)[0].rglob("*") if path.is_file()) < 1 << 20


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path, store: Store) -> None:
    member = tarfile.TarInfo("pax")
    member.type, member.size = tarfile.XHDTYPE, 80 << 20
    with tarfile.open(tmp_path / "mine.tar.gz", "w:gz") as archive:
        archive.addfile(member, io.BytesIO(bytes(80 << 20)))
    refused(tmp_path / "mine.tar.gz", store, "a header is far too long")


def test_an_xz_file_that_wants_too_much_memory_is_refused(tmp_path: Path, store: Store) -> None:
    import lzma

    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    plain = tar_of(tmp_path / "plain.tar", PETS).read_bytes()
    (tmp_path / "mine.tar.xz").write_bytes(lzma.compress(plain, filters=filters))
    (tmp_path / "plain.tar").unlink()
    refused(tmp_path / "mine.tar.xz", store, "mine.tar.xz (is damaged|cannot be read)")


def test_too_many_members_are_refused(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 10)
    refused(zip_of(tmp_path / "mine.zip", PETS), store, "has 12 members; the limit is 10")
    refused(tar_of(tmp_path / "mine.tar", PETS), store, "more than 10 members")


@BOTH
def test_a_full_disk_is_noticed_before_anything_is_written(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, make: Make, suffix: str
) -> None:
    path = make(tmp_path / f"mine{suffix}", PETS)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: os.terminal_size((0, 0)) and type("U", (), {"free": 1 << 29}))
    refused(path, store, "not enough room on the disk")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@BOTH
def test_two_members_for_one_path_are_refused(tmp_path: Path, store: Store, make: Make, suffix: str) -> None:
    path = make(tmp_path / f"mine{suffix}", PETS)
    with zipfile.ZipFile(path, "a") if suffix == ".zip" else tarfile.open(path, "a") as archive:
        if isinstance(archive, zipfile.ZipFile):
            archive.writestr(PATHS[0], picture(50))
        else:
            member = tarfile.TarInfo(f"./{PATHS[0]}")
            member.size = len(picture(50))
            archive.addfile(member, io.BytesIO(picture(50)))
    refused(path, store, "two members for one path")


@BOTH
def test_a_file_and_a_folder_of_one_name_are_refused(tmp_path: Path, store: Store, make: Make, suffix: str) -> None:
    refused(make(tmp_path / f"mine{suffix}", {**PETS, f"{PATHS[0]}/x.png": b"x"}), store, "two members for one path")


@BOTH
def test_names_that_differ_in_case_alone_are_two(tmp_path: Path, store: Store, make: Make, suffix: str) -> None:
    path = make(tmp_path / f"mine{suffix}", {**PETS, "pets/cat/A.png": picture(70), "pets/cat/a.png": picture(71)})
    read, error = read_or_refused(path)
    assert {70, 71} <= set(read) or "differ only in case" in error  # on a disk where they are one


@BOTH
@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "**b** :red[x]", "a\nb", "=cmd|'x'", "ä\u202eb"])
def test_names_are_text(tmp_path: Path, store: Store, make: Make, suffix: str, name: str) -> None:
    data = load(
        make(tmp_path / f"mine{suffix}", {**PETS, **{f"pets/{name}/{at}.png": picture(90 + at) for at in range(5)}})
    )
    assert name in data.class_names


@BOTH
def test_backslashes_are_folders_as_on_windows(tmp_path: Path, store: Store, make: Make, suffix: str) -> None:
    path = make(tmp_path / f"mine{suffix}", {name.replace("/", "\\"): content for name, content in PETS.items()})
    assert classes(load(path)) == EXPECTED


def test_an_encrypted_zip_file_is_refused(tmp_path: Path, store: Store) -> None:
    path = zip_of(tmp_path / "mine.zip", PETS)
    content = bytearray(path.read_bytes())
    for at, mark in ((6, b"PK\x03\x04"), (8, b"PK\x01\x02")):
        place = content.find(mark)
        while place >= 0:
            content[place + at] |= 1
            place = content.find(mark, place + 4)
    path.write_bytes(content)
    refused(path, store, "is encrypted")


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst"])
@pytest.mark.parametrize(
    "content", [b"", b"just text " * 1000, b"PK\x03\x04" + bytes(50), b"\x80\x04K\x01.", b"\x1f\x8b" + bytes(9)]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, store: Store, suffix: str, content: bytes) -> None:
    (tmp_path / f"mine{suffix}").write_bytes(content)
    refused(tmp_path / f"mine{suffix}", store, "mine.* (cannot be read as a tar file|is damaged|without files)")


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("damage", ["short", "flipped"])
def test_damage_is_never_read(tmp_path: Path, store: Store, kind: str, damage: str) -> None:
    path = KINDS[kind](write(tmp_path / "plain", PATHS), tmp_path / "mine")
    content = bytearray(path.read_bytes())
    if damage == "short":
        content = content[: len(content) * 2 // 3]
    else:
        content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    read, error = read_or_refused(path)
    assert error or read == EXPECTED  # where nothing depends on the byte
    if error and "broken" not in error:  # formats without a checksum leave that to the pictures
        assert folders(store) == []


def test_it_is_read_as_other_programs_write_it(tmp_path: Path, store: Store) -> None:
    plain = write(tmp_path / "plain", PATHS)
    for program, arguments in (
        ("tar", ["-czf", "mine.tgz", "-C", str(plain), "pets"]),
        ("zip", ["-qr", "mine.zip", "plain"]),
    ):
        if shutil.which(program) is None:
            continue
        subprocess.run([program, *arguments], cwd=tmp_path, check=True)
        assert classes(load(tmp_path / arguments[1])) == EXPECTED


@pytest.mark.parametrize("name", ["pipe.zip", "pipe.tar", "pipe.npz", "pipe"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, store: Store, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="There is no data set named"):
        load(tmp_path / name)


def test_crc_is_checked(tmp_path: Path, store: Store) -> None:
    with zipfile.ZipFile(tmp_path / "mine.zip", "w", zipfile.ZIP_STORED) as archive:
        for name, content in PETS.items():
            archive.writestr(name, content)
    content = (tmp_path / "mine.zip").read_bytes()
    sum_ = zlib.crc32(PETS[PATHS[0]]).to_bytes(4, "little")
    assert content.count(sum_) == 2
    (tmp_path / "mine.zip").write_bytes(content.replace(sum_, b"abcd"))
    refused(tmp_path / "mine.zip", store, "is damaged")


# ---- upkeep ---------------------------------------------------------------------------------------------------------


def test_an_unpacked_archive_goes_when_no_model_uses_it(tmp_path: Path, store: Store) -> None:
    used = zipped(write(tmp_path / "plain", PATHS), tmp_path / "used")
    unused = zip_of(tmp_path / "unused.zip", {**PETS, "pets/cat/more.png": picture(99)})
    net(store, DatasetSpec(str(used)))
    load(unused)
    (store.root / archives.ROOM / ".part-killed").mkdir()
    assert upkeep.needless(store) == []  # all of it is new
    old = time.time() - 2 * upkeep.HOUR
    for path in folders(store):
        os.utime(path, (old, old))
    assert upkeep.verify(store).unknown == []
    found = upkeep.needless(store)
    assert sorted(item.why for item in found) == [
        "an unpacked archive that no model uses",
        "the rest of an unpacking that was killed",
    ]
    size = sum(len(content) for content in PETS.values()) + len(picture(99))
    assert upkeep.remove(store, found) == (2, size)
    assert len(folders(store)) == 2  # a folder, and its record
    assert classes(load(used)) == EXPECTED
    assert len(classes(load(unused))) == 13
