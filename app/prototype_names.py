"""What names a prototype in addresses: its class and its place in it, so that it means the same for another number."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from kmex_core.base.plain_text import markdown


def prototype_place(p: int, classes: np.ndarray) -> int:
    """The place of a prototype among those of its class, from 0; `classes` (K,) are all prototypes' classes."""
    return int((classes[:p] == classes[p]).sum())


def prototype_name(p: int, classes: np.ndarray) -> str:
    """What names a prototype in links: its class and its place in it, so that it means the same for another k."""
    return f"{classes[p]}.{prototype_place(p, classes)}"


def prototype_title(p: int, classes: np.ndarray, class_names: Sequence[str]) -> str:
    """What people call a prototype: its number in its class, from 1, and the class."""
    return f"Prototype {prototype_place(p, classes) + 1} of {class_names[classes[p]]}"


def prototype_index(name: str, classes: np.ndarray) -> int | None:
    """The prototype that `prototype_name` named, None when there is none among these."""
    match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", name, re.ASCII)
    if match is None:
        return None
    of_class = np.flatnonzero(classes == int(match[1]))
    return int(of_class[int(match[2])]) if int(match[2]) < len(of_class) else None


def missing_prototype(name: str, classes: np.ndarray, class_names: Sequence[str]) -> str:
    """Why there is no prototype of such a name among those of these classes (K,), as a sentence of Markdown."""
    match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", name, re.ASCII)
    if match is None or int(match[1]) >= len(class_names):
        return f"Name a class, 0 to {len(class_names) - 1:,}, and a position in the class, for example 0.0."
    count = int((classes == int(match[1])).sum())
    label = markdown(class_names[int(match[1])])
    return f"Class {label} has {count} prototypes now, so there is no number {int(match[2]) + 1}."
