"""What the workspace answers in binary columns, read as its format says."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from kmex_core.base.jsontext import read_json


def unpacked(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and columns, read as the format says."""
    (length,) = struct.unpack_from("<I", content)
    header = read_json(content[4 : 4 + length])
    start, columns = -(-(4 + length) // 8) * 8, {}
    for name, (kind, count) in header["columns"].items():
        columns[name] = np.frombuffer(content, np.dtype(kind).newbyteorder("<"), count, start)
        start += -(-columns[name].nbytes // 8) * 8
    assert start == len(content)
    return header, columns
