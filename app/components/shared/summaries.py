"""What is in the store for each number of prototypes per class."""

from __future__ import annotations

from dataclasses import replace

from app import read
from app.selection import KS, Selection
from kmex_core.prototypes.types import Summary


def stored_summaries(chosen: Selection) -> dict[int, Summary]:
    """The summaries that are there, by number of prototypes per class."""
    summaries = {k: read.summary(replace(chosen, source=replace(chosen.kmeans, k=k))) for k in KS}
    return {k: summary for k, summary in summaries.items() if summary is not None}
