"""Which of a network's outputs are the classes of some images, by their names. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence


def matched(names: Sequence[str], given: Sequence[str]) -> tuple[int, ...] | None:
    """The number of each class among named outputs; None unless each is there once.

    Args:
        names: C classes.
        given: the outputs' names.
    """
    outputs = [plain(name) for name in given]
    if any(outputs.count(plain(name)) != 1 for name in names):
        return None
    return tuple(outputs.index(plain(name)) for name in names)


def plain(name: str) -> str:
    """A name without case and spelling: "Blue_Sky" is "blue sky"."""
    return re.sub(r"[\W_]+", " ", name).strip().casefold()
