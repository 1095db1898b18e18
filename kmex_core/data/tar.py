"""Members of tar files from users, read one after the other with bounded memory."""

from __future__ import annotations

import contextlib
import io
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from kmex_core.base.errors import InputError
from kmex_core.data.pictures import SUFFIXES

MOST_HEADER = 1 << 20  # bytes of a member's header, such as a long name; a hostile one would fill the memory
MOST_AFTER = 64 << 20  # bytes that may follow the last member, usually zeros
MOST_DICTIONARY = 256 << 20  # bytes that xz may need to decompress
CLASS, TEXT, JSON = "cls", "txt", "json"  # what WebDataset calls a class, a text and further fields of a picture
LOOKED_AT = 50  # members, to tell a shard from another tar file
_PIECE = 1 << 16


class Bounded(io.RawIOBase):
    """A stream for `tarfile` that can skip, and refuses to read more than `MOST_HEADER` bytes at once, as it would have
    to for a hostile header.

    Args:
        source: decompressed bytes.
        file: the file that they come from.

    Attributes:
        block: the last block of a tar file that was read.
    """

    def __init__(self, source: Any, file: IO[bytes]) -> None:
        super().__init__()
        self.block = b""
        self._source = source
        self._file = file
        self._position = 0

    @property
    def packed(self) -> int:
        """How many bytes of the file have been read."""
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            tarfile.ReadError: for too many at once.
        """
        if size < 0 or size > MOST_HEADER:
            raise tarfile.ReadError("a header is far too long")
        parts, missing = [], size
        while missing and (part := self._source.read(min(missing, _PIECE))):
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        self._position += len(data)
        if size == tarfile.BLOCKSIZE:
            self.block = data
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Skip to a position, from the beginning, which for a compressed file must be further on."""
        if self._source is self._file:
            self._position = self._file.seek(offset)
            return self._position
        if offset < self._position:
            raise io.UnsupportedOperation("a compressed file is read forwards only")
        while self._position < offset and self.read(min(_PIECE, offset - self._position)):
            pass
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        self._source.close()
        self._file.close()
        super().close()


class _Xz(io.RawIOBase):
    """The decompressed bytes of an xz file, with a limit on the memory of the decompressor, which `lzma` has not."""

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__()
        self._source = source
        self._decoder = lzma.LZMADecompressor(memlimit=MOST_DICTIONARY)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`, none at the end."""
        while True:
            if self._decoder.eof:
                rest = self._decoder.unused_data.lstrip(b"\0") or self._source.read(_PIECE).lstrip(b"\0")
                if not rest:
                    return b""
                self._decoder = lzma.LZMADecompressor(memlimit=MOST_DICTIONARY)  # several streams in a row
                data = rest
            else:
                data = self._source.read(_PIECE) if self._decoder.needs_input else b""
                if not data and self._decoder.needs_input:
                    raise EOFError("the file ends before its xz stream")
            if piece := self._decoder.decompress(data, size):
                return piece

    def close(self) -> None:
        self._source.close()
        super().close()


def decompressed(path: Path) -> Bounded:
    """The bytes of a file, decompressed if its first bytes say gzip, bzip2, xz or Zstandard.

    Raises:
        OSError: when it cannot be opened.
    """
    import bz2
    import gzip

    file = path.open("rb")
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return Bounded(gzip.GzipFile(fileobj=file), file)
    if start.startswith(b"BZh"):
        return Bounded(bz2.BZ2File(file), file)
    if start == b"\xfd7zXZ\0":
        return Bounded(_Xz(file), file)
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        return Bounded(pa.CompressedInputStream(file, "zstd"), file)
    return Bounded(file, file)


def members(source: Bounded, where: str) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The members of an open tar file in order, each with the file, for `extractfile`; none of them is kept.

    Args:
        source: from `decompressed`.
        where: its name in messages.

    Raises:
        InputError: when it is no tar file or is damaged.
    """
    try:
        with tarfile.open(fileobj=source, mode="r:") as archive:
            while (member := archive.next()) is not None:
                yield archive, member
                archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
            if source.block.strip(b"\0"):
                raise tarfile.ReadError(f"what follows byte {archive.offset:,} is no member")
            end = source.tell()
            while source.read(_PIECE):  # to the end of what is compressed, where its checksum is
                if source.tell() - end > MOST_AFTER:
                    raise tarfile.ReadError("there is more after its end")
    except tarfile.ReadError as error:
        raise InputError(f"{where} cannot be read as a tar file ({error}).") from error
    except (tarfile.TarError, EOFError, OSError, ValueError, lzma.LZMAError, MemoryError, ArithmeticError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where} is damaged ({type(error).__name__}: {error}).") from error


def is_shard(path: Path) -> bool:
    """Whether an uncompressed tar file is one of WebDataset: a picture and a label or text share a key."""
    kinds: dict[str, set[str]] = {}
    # damage further on is an error when the shard is read, and does not make it something else
    with contextlib.suppress(InputError, OSError), decompressed(path) as source:
        for number, (_, member) in enumerate(members(source, str(path))):
            key, kind = key_of(member.name)
            kinds.setdefault(key, set()).add(kind)
            if number >= LOOKED_AT:
                break
    return any(of & set(SUFFIXES) and of & {CLASS, TEXT, JSON} for of in kinds.values())


def key_of(name: str) -> tuple[str, str]:
    """A member's key and kind: everything before, and after, the first dot of its file name."""
    folder, _, file = name.rpartition("/")
    key, _, kind = file.partition(".")
    return f"{folder}/{key}" if folder else key, kind.lower()
