"""Which of a network's outputs are the classes of some images, by their names. Needs no torch."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence


def matched(names: Sequence[str], given: Sequence[str]) -> tuple[int, ...] | None:
    """The number of each class among named outputs; None unless each is there once, exactly or in other spelling.

    Args:
        names: C classes.
        given: the outputs' names.
    """
    for spelled in (str.strip, plain):
        listed = Counter(map(spelled, given))
        if all(listed[spelled(name)] == 1 for name in names):
            places = {spelled(name): at for at, name in enumerate(given)}
            return tuple(places[spelled(name)] for name in names)
    return None


def plain(name: str) -> str:
    """A name without case and spelling: "Blue_Sky" is "blue sky"."""
    return re.sub(r"[\W_]+", " ", name).strip().casefold()


def joined(names: Sequence[str]) -> str:
    """Names with commas, those that hold one in quotes; see `separated`."""
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(names)
    return written.getvalue()


def separated(text: str) -> list[str]:
    """Names that are separated by commas; one in double quotes may hold some."""
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]
