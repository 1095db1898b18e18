"""The only writer and reader of JSON. Its output is always valid JSON: non-finite numbers become null.

Python's own writer emits `NaN` and `Infinity`, which are not JSON and which other readers reject.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def write_json(value: Any, indent: int | None = None, sort_keys: bool = False, compact: bool = False) -> str:
    """A JSON text in ASCII, safe for any terminal or file encoding.

    Args:
        value: mappings, sequences, sets, text, numbers (NumPy's, too), arrays, None; anything else is written as
            `str(value)`.
        indent: spaces per level; one line when None.
        sort_keys: sort the keys of mappings.
        compact: no space after separators.
    """
    separators = (",", ":") if compact else None
    return json.dumps(plain(value), indent=indent, sort_keys=sort_keys, separators=separators, allow_nan=False)


def read_json(text: str | bytes) -> Any:
    """The content of a JSON text. `NaN` and `Infinity`, written by older versions of this project, become None.

    Raises:
        ValueError: for a text that is not JSON.
    """
    return json.loads(text, parse_constant=lambda _: None)


def plain(value: Any) -> Any:
    """`value` as JSON types; non-finite numbers become None."""
    if value is None or isinstance(value, str | bool | int):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    return str(value)
