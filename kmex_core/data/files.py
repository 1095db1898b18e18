"""Pictures in folders: found with one look at each directory, read once, and what is left out counted by reason."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Progress, silent
from kmex_core.data.content import FileState, as_array, contents, state_of
from kmex_core.data.dataset import LeftOut, some
from kmex_core.data.pictures import DECODER, SUFFIXES, read_header, read_picture

UNKNOWN = "files with a suffix that no picture has"
BARE = "files without a suffix"
HIDDEN = "hidden or system files and folders"
IRREGULAR = "entries that are not regular files"
CLOSED = "folders that cannot be read"
LINKED = "links to folders"
LOOSE = "pictures outside the class folders"
BROKEN = "files that cannot be read as pictures"
SKIP = "Repair or remove {them}, or leave broken files out with --skip-broken."
_SYSTEM = (
    "__macosx", "@eadir", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "#recycle", "lost+found",
    "system volume information", "__pycache__", "icon\r",
)  # fmt: skip


def is_system(name: str) -> bool:
    """Whether a file or folder is an operating system's or a program's own, not the user's."""
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM


class Tally:
    """Counts what is left out, by reason."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        """Count one."""
        self._names.setdefault(reason, []).append(name)

    def result(self) -> tuple[LeftOut, ...]:
        """What was counted, the most frequent first."""
        ordered = sorted(self._names.items(), key=lambda item: -len(item[1]))
        return tuple(LeftOut(reason, len(names), tuple(sorted(names)[:5])) for reason, names in ordered)


@dataclass(frozen=True)
class Found:
    """The pictures below a folder.

    Attributes:
        files: sorted by name.
        folders: the names of the folders in it, with or without pictures.
    """

    files: list[FileState] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


def scan(folder: Path, root: Path, tally: Tally) -> Found:
    """All pictures below a folder, however deep, by suffix; one look at each directory, no file is read.

    Links to files and to the folders directly in it are followed, deeper links to folders are not.

    Args:
        folder: where to look.
        root: of the data set: names are relative to it, in NFC, so that a copy made by another system has the same.
        tally: gets what is left out.

    Raises:
        InputError: when the folder cannot be read.
    """
    files, folders = [], []
    waiting = [(str(folder), name_in(folder, root) + "/")]
    while waiting:
        here, prefix = waiting.pop()
        top = here == str(folder)
        try:
            with os.scandir(here) as entries:
                listed = list(entries)
        except OSError as error:
            if top:
                raise InputError(f"{folder} cannot be read: {error.strerror or error}.") from error
            tally.add(CLOSED, prefix.rstrip("/"))
            continue
        for entry in listed:
            name = prefix + _text(entry.name)
            if is_system(entry.name):
                tally.add(HIDDEN, name)
                continue
            try:
                status = entry.stat()
            except OSError:  # a link that leads nowhere
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
            elif suffix.lower().lstrip(".") in SUFFIXES:
                files.append(state_of(entry.path, name, status))
            else:
                tally.add(UNKNOWN if suffix else BARE, name)
    return Found(sorted(files, key=lambda file: file.name), sorted(folders))


def name_in(path: Path, root: Path) -> str:
    """A path relative to a data set's folder, with `/`, as `_text` has it."""
    return _text(path.relative_to(root).as_posix())


def _text(name: str) -> str:
    """A name in NFC, so that a copy made by another system has the same; bytes that are no text are shown as �."""
    return name if name.isascii() else unicodedata.normalize("NFC", os.fsencode(name).decode(errors="replace"))


def flaw_of(source: bytes | Path) -> str:
    """What is wrong with a picture, cheaply: header and end are checked, and whole formats that have no other check."""
    try:
        if isinstance(source, Path) or not _looks_whole(source):
            read_picture(source, "It")
        else:
            read_header(source, "It")
    except InputError as error:
        return str(error)
    return ""


def thorough_flaw_of(source: bytes | Path) -> str:
    """What is wrong with a picture, by decoding it to its end."""
    try:
        read_picture(source, "It")
    except InputError as error:
        return str(error)
    return ""


def _looks_whole(content: bytes) -> bool:
    """Whether a JPEG or PNG file reaches its own end: a JPEG by its last marker, a PNG by the sums of its parts."""
    if content.startswith(b"\xff\xd8"):
        return content[-64:].rstrip(b"\0").endswith(b"\xff\xd9")
    return content.startswith(b"\x89PNG\r\n\x1a\n") and _png_sums(content)


def _png_sums(content: bytes) -> bool:
    import zlib

    at = 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(content) or zlib.crc32(memoryview(content)[at + 4 : end]) != int.from_bytes(
            content[end : end + 4], "big"
        ):
            return False
        if content[at + 4 : at + 8] == b"IEND":
            return True
        at = end + 4
    return False


def check_of(skip_broken: bool) -> tuple[Callable[[bytes | Path], str], str]:
    """How pictures are checked, and a name for that: to their end where the broken ones are left out."""
    return (thorough_flaw_of, f"whole-{DECODER}") if skip_broken else (flaw_of, f"quick-{DECODER}")


@dataclass(frozen=True)
class Examined:
    """Pictures of several splits, read once.

    Attributes:
        sound: by split, the positions of those that can be decoded.
        digests: by split, (N,) bytes of the sound ones.
        identity: what the fingerprint is made of, name and digest by name.
        notes: what a person should know.
    """

    sound: dict[str, np.ndarray]
    digests: dict[str, np.ndarray]
    identity: list[bytes]
    notes: tuple[str, ...]


def examine(
    files: Mapping[str, Sequence[FileState]], skip_broken: bool, where: str, tally: Tally, progress: Progress = silent
) -> Examined:
    """Read every picture once (or remember it): its digest, and whether it can be decoded.

    Args:
        files: by split.
        skip_broken: leave out pictures that cannot be decoded, which are then decoded to their end.
        where: what to call the data set in a message.
        tally: gets what is left out.
        progress: called as files are read.

    Raises:
        InputError: for a broken picture, unless they are left out; when a file cannot be read at all.
    """
    look, level = check_of(skip_broken)
    every = [file for of_split in files.values() for file in of_split]
    try:
        read = contents(every, look, level, progress)
    except OSError as error:
        raise InputError(f"{error.filename or where} cannot be read: {error.strerror or error}.") from error
    broken = [(file.name, content.flaw) for file, content in zip(every, read, strict=True) if content.flaw]
    refuse_broken(broken, len(every), skip_broken, where, tally)
    sound, digests, identity, by_split = {}, {}, [], {}
    at = 0
    for split, of_split in files.items():
        part = read[at : at + len(of_split)]
        at += len(of_split)
        sound[split] = np.array([row for row, content in enumerate(part) if not content.flaw], dtype=np.int64)
        by_split[split] = [(of_split[row].name, part[row].digest) for row in sound[split]]
        digests[split] = as_array(b"".join(digest for _, digest in by_split[split]))
        identity += [os.fsencode(name) + b"|" + digest for name, digest in sorted(by_split[split])]
    return Examined(sound, digests, identity, shared_notes(by_split))


def refuse_broken(broken: Sequence[tuple[str, str]], total: int, skip_broken: bool, where: str, tally: Tally) -> None:
    """Count broken pictures as left out, or refuse them.

    Args:
        broken: name and flaw of each.
        total: how many pictures there are.
        skip_broken, where, tally: see `examine`.

    Raises:
        InputError: when there are some and they are not left out.
    """
    if not broken:
        return
    if skip_broken:
        for name, _ in broken:
            tally.add(BROKEN, name)
        return
    name, flaw = broken[0]
    if len(broken) == 1:
        raise InputError(f"1 of {total:,} pictures in {where} is broken: {name}. {flaw} {SKIP.format(them='it')}")
    raise InputError(
        f"{len(broken):,} of {total:,} pictures in {where} are broken: {some([one for one, _ in broken])}. The first: "
        f"{flaw} {SKIP.format(them='them')}"
    )


def shared_notes(by_split: Mapping[str, Sequence[tuple[str, bytes]]]) -> tuple[str, ...]:
    """A note when images of the test split (or of the validation split) are training images as well."""
    train = {digest: name for name, digest in by_split.get("train", ())}
    notes = []
    for split, files in by_split.items():
        shared = [(name, train[digest]) for name, digest in files if split != "train" and digest in train]
        if shared:
            notes.append(shared_note(split, len(shared), len(files), f"{shared[0][0]} is {shared[0][1]}"))
    return tuple(notes)


def shared_note(split: str, count: int, total: int, first: str) -> str:
    """The sentence for images that are in two splits."""
    many = f"{count:,} of {total:,} {split} images are" if count > 1 else f"1 of {total:,} {split} images is"
    return f"{many} in the training split as well ({first}), which makes numbers on them too good."


def file_digests(paths: Iterable[tuple[Path, str]], progress: Progress = silent) -> list[bytes]:
    """The digests of files that are not pictures, such as tables; path and name of each.

    Raises:
        InputError: when one cannot be read.
    """
    try:
        return [content.digest for content in contents([state_of(*path) for path in paths], progress=progress)]
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror or error}.") from error
