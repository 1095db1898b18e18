"""The figures that the paper published (Tables 3 to 8), to be shown beside measured ones, never mixed with them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent / "published.json"
_OTHER_NAMES = {"fashionmnist": "fMNIST", "quickdraw10": "QuickDraw"}


@dataclass(frozen=True)
class Published:
    """One published number.

    Attributes:
        table: the paper's table.
        metric: a name in `metrics.catalogue.METRICS`.
        model: as the paper calls it: "ResNet34" (the black box), "R34+KMEx", "ProtoPNet", "ProtoPNet+KMEx", …
        dataset: as the paper calls it.
        mean, std: in the metric's unit (shares as fractions).
        variant: over which images and runs, and how it was computed.
    """

    table: int
    metric: str
    model: str
    dataset: str
    mean: float
    std: float
    variant: str


@lru_cache(maxsize=1)
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def source() -> tuple[str, str]:
    """The paper, and the setting of all its figures."""
    return _content()["source"], _content()["setting"]


@lru_cache(maxsize=1)
def figures() -> tuple[Published, ...]:
    """All published numbers."""
    return tuple(
        Published(table["table"], table["metric"], row["model"], dataset, mean, std, table["variant"])
        for table in _content()["tables"]
        for row in table["rows"]
        for dataset, (mean, std) in row["values"].items()
    )


def papers_name(title: str) -> str:
    """What the paper calls the data set with this title, "" when it has none of that name."""
    wanted = "".join(filter(str.isalnum, title.lower()))
    names = {"".join(filter(str.isalnum, figure.dataset.lower())): figure.dataset for figure in figures()}
    return (names | _OTHER_NAMES).get(wanted, "")


def of_dataset(title: str) -> tuple[Published, ...]:
    """The numbers published for the data set with this title (of the product's registry, or a folder's name)."""
    name = papers_name(title)
    return tuple(figure for figure in figures() if figure.dataset == name)
