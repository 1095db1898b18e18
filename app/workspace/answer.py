"""What a workspace answers, and what it is asked with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import write_json

BINARY, JSON = "application/octet-stream", "application/json"
ALIGNED = 8  # bytes, so that a browser can read a column where it lies
Rows: TypeAlias = "np.ndarray | slice"  # images, training images first, ascending
ALL = slice(None)


class Gone(InputError):
    """What an address names is not, or no longer, what the store has."""


@dataclass(frozen=True)
class Answer:
    """The content of an answer.

    Attributes:
        content: its bytes.
        media_type: what they are.
        lasting: whether the same address always has the same content.
    """

    content: bytes
    media_type: str = BINARY
    lasting: bool = True


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        key: of the result, as the address names it.
        query: parameters of the address.
        body: what was sent; empty for what is only read.
        name: of the file that was sent, a text from outside.
    """

    key: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    name: str = ""

    def __getitem__(self, parameter: str) -> str:
        """A parameter of the address.

        Raises:
            InputError: when it is missing.
        """
        if parameter not in self.query:
            raise InputError(f"The address needs '{parameter}'.")
        return self.query[parameter]


def json_answer(value: Any, lasting: bool = True) -> Answer:
    """A value as JSON."""
    return Answer(write_json(value, compact=True).encode(), JSON, lasting)


def columns(arrays: Sequence[np.ndarray]) -> bytes:
    """Arrays one after the other, each from a multiple of `ALIGNED` bytes on, little end first."""
    parts: list[bytes | memoryview] = []
    for array in arrays:
        little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        parts += [little.data.cast("B"), bytes(-little.nbytes % ALIGNED)]
    return b"".join(parts)


def with_header(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays with a description: the header's length as uint32, the header as JSON, then the columns.

    Args:
        header: JSON-like; the names, kinds and lengths of the columns are added to it as "columns".
        arrays: one-dimensional, by name.
    """
    about = {name: [array.dtype.name, len(array)] for name, array in arrays.items()}
    text = write_json({**header, "columns": about}, compact=True).encode()
    return _padded(np.uint32(len(text)).astype("<u4").tobytes() + text) + columns(list(arrays.values()))


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % ALIGNED)
