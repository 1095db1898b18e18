"""Archives as data sets: a zip or tar file is unpacked once, safely, into the store, and read like any folder.

Archives come from strangers. A member is written only below the folder, as a regular file; names that lead elsewhere
are refused, links and devices are left out; numbers, sizes and the disk's free space are checked before and while
something is written.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.base.location import default_root
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.store import READ_ONLY, read_only
from kmex_core.data.dataset import LeftOut
from kmex_core.data.files import Tally, file_digests
from kmex_core.data.tar import decompressed, members

ROOM = "unpacked"
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
MOST_MEMBERS = 2_000_000
MOST_UNPACKED = 1 << 40  # bytes in all
MOST_RATIO = 100  # of unpacked to packed bytes, beyond `FREE_OF_RATIO`
FREE_OF_RATIO = 64 << 20
MOST_PATH = 1000  # bytes of a member's name
MOST_PART = 240  # bytes of a folder's or file's name
DEEPEST = 32
SPARE = 1 << 30  # bytes of the disk that stay free
PIECE = 1 << 20
LINKS = "links and devices in the archive"
_DIGEST = re.compile(r"[0-9a-f]{32}")
_DRIVE = re.compile(r"[A-Za-z]:")
_DAMAGE = (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error,
           tarfile.TarError, lzma.LZMAError)  # fmt: skip


@dataclass(frozen=True)
class Unpacked:
    """An archive in the store.

    Attributes:
        folder: of its files.
        left_out: members that were not unpacked.
    """

    folder: Path
    left_out: tuple[LeftOut, ...]


def is_archive(path: Path) -> bool:
    """Whether a file's name is that of an archive that is unpacked."""
    return path.name.lower().endswith(SUFFIXES)


def unpacked(path: Path, progress: Progress = silent) -> Unpacked:
    """An archive's files, unpacked now unless they are in the store; the folder is named by the archive's digest.

    Args:
        path: of a zip file or of a tar file, by content, that may be compressed (gzip, bzip2, xz, Zstandard).
        progress: called while it is read; may raise to cancel, which leaves nothing behind.

    Raises:
        InputError: when it is no such file, is damaged or encrypted, is hostile (see the module), or does not fit on
            the disk; or when the store is read-only and it is not unpacked yet.
        StoreError: when the store cannot be written.
    """
    (digest,) = file_digests([(path, path.name)], progress)
    room = default_root() / ROOM
    folder, record = room / digest.hex(), room / f"{digest.hex()}.json"
    if (known := _recorded(folder, record)) is not None:
        return known
    if read_only():
        raise InputError(
            f"{path} is an archive that is not unpacked yet, and this server or command is read-only ({READ_ONLY} is "
            "set). Open it once without that, or pass the path of its unpacked folder."
        )
    try:
        room.mkdir(parents=True, exist_ok=True)
        with FileLock(room / f".{digest.hex()}.lock"):
            if (known := _recorded(folder, record)) is not None:
                return known
            return _unpack(path, folder, record, progress)
    except InputError:
        raise
    except OSError as error:
        raise StoreError(f"{path} cannot be unpacked into {room}: {error.strerror or error}.") from error


def _recorded(folder: Path, record: Path) -> Unpacked | None:
    """What was unpacked to its end, which the record says."""
    if not folder.is_dir():
        return None
    try:
        left_out = read_json(record.read_text(encoding="utf-8"))["left_out"]
        return Unpacked(
            folder, tuple(LeftOut(str(of["reason"]), int(of["count"]), tuple(map(str, of["names"]))) for of in left_out)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unpack(path: Path, folder: Path, record: Path, progress: Progress) -> Unpacked:
    shutil.rmtree(folder, ignore_errors=True)  # without a record it is not whole
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        (part / "files").mkdir()
        writer = _Writer(path, part / "files", progress)
        try:
            writer.write_all()
        except InputError:
            raise
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise InputError(f"{path} is damaged ({type(error).__name__}: {error}).") from error
        os.replace(part / "files", folder)
        left_out = writer.tally.result()
        described = {
            "archive": str(path),
            "members": writer.members,
            "bytes": writer.written,
            "left_out": [vars(item) for item in left_out],
        }
        (part / "record").write_text(write_json(described), encoding="utf-8")
        os.replace(part / "record", record)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Unpacked(folder, left_out)


class _Writer:
    """Writes the members of one archive below a folder.

    Args:
        path: of the archive.
        folder: an empty one.
        progress: called while it is read.
    """

    def __init__(self, path: Path, folder: Path, progress: Progress) -> None:
        self.tally = Tally()
        self.members = 0
        self.written = 0
        self._path = path
        self._folder = folder
        self._progress = progress
        self._size = path.stat().st_size
        self._most = min(MOST_UNPACKED, max(FREE_OF_RATIO, MOST_RATIO * self._size))
        self._checked = 0  # bytes written when the disk was last looked at

    def write_all(self) -> None:
        """Unpack everything.

        Raises:
            InputError: see `unpacked`.
            OSError: when the disk refuses.
        """
        with self._path.open("rb") as file:
            start = file.read(4)
        if start in (b"PK\3\4", b"PK\5\6") and zipfile.is_zipfile(self._path):
            self._write_zip()
        else:
            self._write_tar()
        if not self.members:
            raise InputError(f"{self._path} is an archive without files.")
        self._progress(Event("Unpacking", self._size, self._size))

    def _write_zip(self) -> None:
        with zipfile.ZipFile(self._path) as archive:
            infos = archive.infolist()
            if len(infos) > MOST_MEMBERS:
                raise InputError(f"{self._path} has {len(infos):,} members; the limit is {MOST_MEMBERS:,}.")
            self._check_total(sum(info.file_size for info in infos))
            done = 0
            for info in infos:
                name = info.filename.replace("\\", "/")
                kind = (info.external_attr >> 16) & 0o170000  # the Unix mode, where it is known
                if info.is_dir() or name.endswith("/"):
                    self._target(name)
                elif kind not in (0, 0o100000):
                    self._leave_out(name)
                elif info.flag_bits & 1:
                    raise InputError(f"{self._path} is encrypted. Unpack it, and pass the folder's path.")
                elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
                    raise InputError(
                        f"{self._path}: '{name}' is compressed by a method that is not read here (number "
                        f"{info.compress_type}). Unpack it, and pass the folder's path."
                    )
                else:
                    with archive.open(info) as source:
                        self._write(name, source, done)
                done += info.compress_size

    def _write_tar(self) -> None:
        with decompressed(self._path) as source:
            for archive, member in members(source, str(self._path)):
                if member.isdir():
                    self._target(member.name)
                elif not member.isreg() or member.issparse():
                    self._leave_out(member.name)
                elif (extracted := archive.extractfile(member)) is not None:
                    self._check_total(self.written + member.size)
                    with extracted:
                        self._write(member.name, extracted, source.packed)

    def _target(self, name: str) -> Path:
        """Where a member goes.

        Raises:
            InputError: for a name that leads elsewhere, or is too long or too deep.
        """
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        shown = repr(name[:80])
        if name.startswith(("/", "\\")) or _DRIVE.match(name) or ".." in parts or "\0" in name:
            raise InputError(f"{self._path} has a member outside its folder: {shown}. It was not unpacked.")
        try:
            lengths = [len(os.fsencode(part)) for part in parts]
        except UnicodeEncodeError:
            raise InputError(
                f"{self._path} has a member whose name is no text: {shown}. It was not unpacked."
            ) from None
        if sum(lengths) > MOST_PATH or len(parts) > DEEPEST or max(lengths, default=0) > MOST_PART:
            raise InputError(f"{self._path} has a member with too long or deep a path: {shown}. It was not unpacked.")
        if self.members >= MOST_MEMBERS:
            raise InputError(f"{self._path} has more than {MOST_MEMBERS:,} members.")
        return self._folder.joinpath(*parts)

    def _leave_out(self, name: str) -> None:
        self._target(name)
        self.tally.add(LINKS, name)

    def _write(self, name: str, source: IO[bytes], packed: int) -> None:
        target = self._target(name)
        if target == self._folder:
            raise InputError(f"{self._path} has a file without a name.")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                while piece := source.read(PIECE):
                    self.written += len(piece)
                    self._check_written()
                    file.write(piece)
                    self._progress(Event("Unpacking", min(packed, self._size), self._size))
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise InputError(
                f"{self._path} has two members for one path: {name[:80]!r}. (Names that differ only in case are one on "
                "some disks.) It was not unpacked."
            ) from error
        self.members += 1

    def _check_written(self) -> None:
        if self.written > self._most:
            raise InputError(self._bomb(f"more than {self._most / 2**20:,.0f} MB"))
        if self.written - self._checked > 64 * PIECE:
            self._checked = self.written
            self._check_disk(0)

    def _check_total(self, total: int) -> None:
        """Refuse what is too large by its own account."""
        if total > self._most:
            raise InputError(self._bomb(f"{total / 2**20:,.0f} MB"))
        self._check_disk(total - self.written)

    def _check_disk(self, more: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < more + SPARE:
            raise InputError(
                f"There is not enough room on the disk of the store to unpack {self._path}: it needs "
                f"{more / 2**30:,.1f} GB more, and {SPARE >> 30} GB must stay free of {free / 2**30:,.1f} GB."
            )

    def _bomb(self, size: str) -> str:
        return (
            f"{self._path} would unpack to {size} from {self._size / 2**20:,.1f} MB, over {MOST_RATIO} times as much: "
            "no pictures are packed like that. It was not unpacked."
        )


# ---- upkeep ---------------------------------------------------------------------------------------------------------


def needless_folders(root: Path, used: Callable[[Path], bool], age: float) -> Iterator[tuple[Path, str]]:
    """Folders and records in the room that can go: rests of killed unpacking, and archives that no model uses.

    Args:
        root: of the store.
        used: whether an archive's path is the data set of a model.
        age: seconds since the last change from which something is judged.
    """
    room = root / ROOM
    if room.is_symlink() or not room.is_dir():
        return
    for path in sorted(room.iterdir()):
        if path.is_symlink() or not path.is_dir() or time.time() - path.stat().st_mtime < age:
            continue
        if path.name.startswith(".part-"):
            yield path, "the rest of an unpacking that was killed"
        elif _DIGEST.fullmatch(path.name):
            try:
                archive = Path(read_json(path.with_suffix(".json").read_text(encoding="utf-8"))["archive"])
            except (OSError, ValueError, KeyError, TypeError):
                yield path, "the rest of an unpacking that was killed"
                continue
            if not used(archive):
                yield path, "an unpacked archive that no model uses"


def remove_folder(folder: Path) -> bool:
    """Remove an unpacked archive, or the rest of one, unless it is being unpacked now.

    Returns:
        Whether it was removed.

    Raises:
        StoreError: when it cannot be removed.
    """
    if folder.is_symlink() or not folder.is_dir():
        return False
    lock = folder.parent / f".{folder.name}.lock"
    try:
        with FileLock(lock, timeout=0):
            folder.with_suffix(".json").unlink(missing_ok=True)
            shutil.rmtree(folder)
            lock.unlink(missing_ok=True)
    except Timeout:
        return False
    except OSError as error:
        raise StoreError(f"{folder} cannot be removed: {error.strerror or error}.") from error
    return True


def forget(root: Path, path: Path) -> None:
    """Remove what was unpacked of an archive that is gone.

    Args:
        root: of the store.
        path: where the archive was.

    Raises:
        StoreError: when it cannot be removed.
    """
    for folder, _ in list(needless_folders(root, lambda archive: archive != path, 0.0)):
        if _DIGEST.fullmatch(folder.name):
            remove_folder(folder)


def size_of(folder: Path) -> int:
    """The bytes of the files in a folder."""
    return sum(os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names)
