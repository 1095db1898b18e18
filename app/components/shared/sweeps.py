"""Whether a page itself computes what it needs for every number of prototypes per class."""

from __future__ import annotations

from app import read
from app.selection import SMALL, Selection
from kmex_core.base.store import read_only


def computed_here(chosen: Selection) -> bool:
    """Whether the page computes what is missing by itself: a second's work."""
    train = read.embeddings(chosen.model, "train")
    return train.z.size <= SMALL and not read_only()
