"""The one writer and reader of JSON. What it writes is always JSON: numbers that are not finite become null.

Python's own writer puts `NaN` and `Infinity` into the text, which JSON does not have and other readers refuse. Whoever
knows why a number is missing gives None; what slips through is written as null all the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def write_json(value: Any, indent: int | None = None, sort_keys: bool = False, compact: bool = False) -> str:
    """A JSON text in ASCII, whatever the terminal or file it goes to can show.

    Args:
        value: mappings, sequences, sets, text, numbers (NumPy's, too), arrays, None; anything else is written as its
            text.
        indent: spaces per level; one line when None.
        sort_keys: names in order.
        compact: no space after separators.
    """
    separators = (",", ":") if compact else None
    return json.dumps(plain(value), indent=indent, sort_keys=sort_keys, separators=separators, allow_nan=False)


def read_json(text: str | bytes) -> Any:
    """What a JSON text holds. `NaN` and `Infinity`, which older versions of this project wrote, are read as None.

    Raises:
        ValueError: for a text that is not JSON.
    """
    return json.loads(text, parse_constant=lambda _: None)


def plain(value: Any) -> Any:
    """`value` made of what JSON has; numbers that are not finite become None."""
    if value is None or isinstance(value, str | bool | int):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(one) for one in value), key=str)
    return str(value)
