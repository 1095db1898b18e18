"""Pictures in folders: each directory is listed once, each file read once, and skipped files are counted by reason."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Progress, silent
from kmex_core.data.content import DIGEST_BYTES, contents
from kmex_core.data.dataset import LeftOut
from kmex_core.data.dicom import SUFFIXES as DICOM_SUFFIXES
from kmex_core.data.listing import Files, FileState, Listing, numbers, state_of
from kmex_core.data.pictures import DECODER, SUFFIXES, read_header, read_picture

BESIDE = "DICOM files beside pictures of other formats"
UNKNOWN = "files with a suffix that no picture has"
ARCHIVED = "archives, which are not unpacked inside a data set"
BARE = "files without a suffix"
HIDDEN = "hidden or system files and folders"
IRREGULAR = "entries that are not regular files"
CLOSED = "folders that cannot be read"
LINKED = "links to folders"
LOOSE = "pictures outside the class folders"
BROKEN = "files that cannot be read as pictures"
SKIP = "Repair or remove {pronoun}, or leave broken files out with --skip-broken."
ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
SYSTEM = (
    "__macosx", "@eadir", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "#recycle", "lost+found",
    "system volume information", "__pycache__", "icon\r",
)  # fmt: skip


def is_system(name: str) -> bool:
    """Whether a file or folder belongs to the operating system or a program, not to the user."""
    return name.startswith((".", "~$")) or name.lower() in SYSTEM


def is_picture(name: str) -> bool:
    """Whether a file has a picture's suffix, and is not the system's."""
    return os.path.splitext(name)[1].lower().lstrip(".") in SUFFIXES and not is_system(name)


class BrokenPictures(InputError):
    """Pictures that cannot be decoded, and are not to be left out."""


class Tally:
    """Counts skipped files by reason."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        """Count one."""
        self._names.setdefault(reason, []).append(name)

    def result(self) -> tuple[LeftOut, ...]:
        """The counts, most frequent first."""
        ordered = sorted(self._names.items(), key=lambda item: -len(item[1]))
        return tuple(LeftOut(reason, len(names), tuple(sorted(names)[:5])) for reason, names in ordered)


@dataclass(frozen=True)
class Found:
    """The pictures below a folder.

    Attributes:
        files: sorted by name.
        folders: the names of its folders, with or without pictures.
    """

    files: Files
    folders: list[str]


def scan(folder: Path, root: Path, tally: Tally, used: Collection[str] = ()) -> Found:
    """All pictures below a folder at any depth, by suffix; lists each directory once and reads no file.

    DICOM files count only where there is nothing else: beside other pictures they are, as a rule, what those were made
    from, and whether they can be read depends on a package.

    Links to files and to direct subfolders are followed; deeper links to folders are not.

    Args:
        folder: where to look.
        root: of the data set. Names are relative to it and in NFC, so they are the same on every system.
        tally: receives what is left out.
        used: names of other files that the data set is made of, such as tables.

    Raises:
        InputError: when the folder cannot be read.
    """
    listing, dicom, folders = Listing(str(root)), Listing(str(root)), list[str]()
    waiting = [(str(folder), "" if folder == root else name_in(folder, root) + "/")]
    while waiting:
        directory, prefix = waiting.pop()
        top = directory == str(folder)
        for entry in _listed(directory, top, prefix.rstrip("/"), tally):
            name = prefix + _text(entry.name)
            if is_system(entry.name):
                tally.add(HIDDEN, name)
                continue
            try:
                status = entry.stat()
            except OSError:  # a broken link
                tally.add(IRREGULAR, name)
                continue
            suffix = os.path.splitext(entry.name)[1]
            if stat.S_ISDIR(status.st_mode):
                if not top and entry.is_symlink():
                    tally.add(LINKED, name)
                    continue
                waiting.append((entry.path, name + "/"))
                if top:
                    folders.append(_text(entry.name))
            elif not stat.S_ISREG(status.st_mode):
                tally.add(IRREGULAR, name)
            elif suffix.lower().lstrip(".") in DICOM_SUFFIXES:
                dicom.add(entry.path, name, status)
            elif suffix.lower().lstrip(".") in SUFFIXES:
                listing.add(entry.path, name, status)
            elif name not in used:
                tally.add(ARCHIVED if suffix.lower() in ARCHIVES else UNKNOWN if suffix else BARE, name)
    every, others = listing.files(), dicom.files()
    if not len(every):
        every, others = others, every
    for file in others:
        tally.add(BESIDE, file.name)
    return Found(every.take(every.by_name()), sorted(folders))


def _listed(directory: str, top: bool, name: str, tally: Tally) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder, one at a time: there may be hundreds of thousands.

    Raises:
        InputError: when the folder on `top` cannot be read; others are counted as left out.
    """
    try:
        with os.scandir(directory) as entries:
            yield from entries
    except OSError as error:
        if top:
            raise InputError(f"{directory} cannot be read: {error.strerror or error}.") from error
        tally.add(CLOSED, name)


def name_in(path: Path, root: Path) -> str:
    """A path relative to a data set's folder, with `/`, normalised by `_text`."""
    return _text(path.relative_to(root).as_posix())


def _text(name: str) -> str:
    """A name in NFC, the same on every system; invalid bytes become �."""
    return name if name.isascii() else unicodedata.normalize("NFC", os.fsencode(name).decode(errors="replace"))


def flaw_of(source: bytes | Path) -> str:
    """A picture's defect, by a cheap check of header and end; formats without such a check are decoded."""
    try:
        if isinstance(source, Path) or not _looks_whole(source):
            read_picture(source, "It")
        else:
            read_header(source, "It")
    except InputError as error:
        return str(error)
    return ""


def thorough_flaw_of(source: bytes | Path) -> str:
    """A picture's defect, by decoding all of it."""
    try:
        read_picture(source, "It")
    except InputError as error:
        return str(error)
    return ""


def _looks_whole(content: bytes) -> bool:
    """Whether a JPEG or PNG file is complete: a JPEG by its last marker, a PNG by its chunks' checksums."""
    if content.startswith(b"\xff\xd8"):
        return content[-64:].rstrip(b"\0").endswith(b"\xff\xd9")
    return content.startswith(b"\x89PNG\r\n\x1a\n") and _png_sums(content)


def _png_sums(content: bytes) -> bool:
    import zlib

    position = 8
    while position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        end = position + 8 + length
        if end + 4 > len(content) or zlib.crc32(memoryview(content)[position + 4 : end]) != int.from_bytes(
            content[end : end + 4], "big"
        ):
            return False
        if content[position + 4 : position + 8] == b"IEND":
            return True
        position = end + 4
    return False


def check_of(skip_broken: bool) -> tuple[Callable[[bytes | Path], str], str]:
    """The check of pictures and its name: a full decode if broken pictures are left out."""
    return (thorough_flaw_of, f"whole-{DECODER}") if skip_broken else (flaw_of, f"quick-{DECODER}")


@dataclass(frozen=True)
class Examined:
    """Pictures of several splits, read once.

    Attributes:
        sound: by split, the positions of those that can be decoded.
        digests: by split, (N,) bytes of the sound ones.
        identity: the input of the fingerprint.
        notes: what a person should know.
    """

    sound: dict[str, np.ndarray]
    digests: dict[str, np.ndarray]
    identity: Identity
    notes: tuple[str, ...]


def examine(
    files: Mapping[str, Sequence[FileState]], skip_broken: bool, where: str, tally: Tally, progress: Progress = silent
) -> Examined:
    """Digest every picture and check that it can be decoded; unchanged files come from the cache.

    Args:
        files: by split.
        skip_broken: leave out pictures that cannot be decoded; each is then decoded completely.
        where: the name of the data set in messages.
        tally: receives what is left out.
        progress: called as files are read.

    Raises:
        InputError: for a broken picture (unless `skip_broken`), or a file that cannot be read at all.
    """
    look, level = check_of(skip_broken)
    sound, digests, parts, flaws = {}, {}, {}, list[tuple[str, str]]()
    for split, of_split in files.items():
        listed = of_split if isinstance(of_split, Files) else Listing.of(of_split)
        try:
            read = contents(listed, look, level, progress)
        except OSError as error:
            raise InputError(f"{error.filename or where} cannot be read: {error.strerror or error}.") from error
        flaws += [(listed[row].name, flaw) for row, flaw in sorted(read.flaws.items())]
        sound[split] = np.setdiff1d(np.arange(len(listed)), sorted(read.flaws))
        parts[split] = listed.take(sound[split]) if read.flaws else listed
        digests[split] = read.digests[sound[split]] if read.flaws else read.digests
    refuse_broken(flaws, sum(len(of_split) for of_split in files.values()), skip_broken, where, tally)
    return Examined(sound, digests, Identity(parts, digests), shared_notes(parts, digests))


class Identity:
    """What identifies pictures: a line for each of every split, in order of names. It can be iterated again and again.

    Args:
        files: by split.
        digests: by split, (N,) bytes.
    """

    def __init__(self, files: Mapping[str, Files], digests: Mapping[str, np.ndarray]) -> None:
        self._files = files
        self._digests = digests

    def __iter__(self) -> Iterator[bytes]:
        for split, files in self._files.items():
            order = files.by_name()
            held = self._digests[split].tobytes()  # a digest may end in zeros, which NumPy cuts off
            for row, name in zip(numbers(order), files.take(order).names(), strict=True):
                yield os.fsencode(name) + b"|" + held[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]


def refuse_broken(broken: Sequence[tuple[str, str]], total: int, skip_broken: bool, where: str, tally: Tally) -> None:
    """Count broken pictures as left out, or refuse them.

    Args:
        broken: name and flaw of each.
        total: how many pictures there are.
        skip_broken, where, tally: see `examine`.

    Raises:
        BrokenPictures: when there are broken pictures and they are not left out.
    """
    if not broken:
        return
    if skip_broken:
        for name, _ in broken:
            tally.add(BROKEN, name)
        return
    name, flaw = broken[0]
    if len(broken) == 1:
        raise BrokenPictures(
            f"1 of {total:,} pictures in {where} is broken: {name}. {flaw} {SKIP.format(pronoun='it')}"
        )
    raise BrokenPictures(
        f"{len(broken):,} of {total:,} pictures in {where} are broken: {first_few([name for name, _ in broken])}. "
        f"The first: {flaw} {SKIP.format(pronoun='them')}"
    )


def shared_notes(files: Mapping[str, Files], digests: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """A note if images of the test or validation split are also training images."""
    notes = []
    for split, of_split in files.items():
        shared = np.flatnonzero(np.isin(digests[split], digests["train"])) if split != "train" else np.empty(0, int)
        if len(shared):
            twin = np.flatnonzero(digests["train"] == digests[split][shared[0]])[-1]
            first = f"{of_split[int(shared[0])].name} is {files['train'][int(twin)].name}"
            notes.append(shared_note(split, len(shared), len(of_split), first))
    return tuple(notes)


def shared_note(split: str, count: int, total: int, first: str) -> str:
    """The note about images that are in two splits."""
    many = f"{count:,} of {total:,} {split} images are" if count > 1 else f"1 of {total:,} {split} images is"
    return f"{many} also in the training split ({first}), so results on them are too optimistic."


def file_digests(paths: Iterable[tuple[Path, str]], progress: Progress = silent) -> list[bytes]:
    """The digests of files other than pictures, such as tables, given by path and name.

    Raises:
        InputError: when one cannot be read.
    """
    try:
        held = contents([state_of(*path) for path in paths], progress=progress).digests.tobytes()
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror or error}.") from error
    return [held[at : at + DIGEST_BYTES] for at in range(0, len(held), DIGEST_BYTES)]
