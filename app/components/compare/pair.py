"""Two models on linked maps."""

from __future__ import annotations
from collections.abc import Sequence
from app.selection import Selection


def show_pair(chosen: Selection, options: Sequence[Selection]) -> None:
    return
