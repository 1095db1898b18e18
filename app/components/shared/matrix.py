"""A table whose heads, rows and cells open the images that they are about in Explore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from app.components.shared.gallery import TINY
from app.components.shared.web import component
from app.explore_links import explore_address
from app.routes import pictures
from kmex_core.models.info import ModelInfo

MOST_CELLS = 8_000  # what a browser draws at once

_matrix = component("matrix")


@dataclass(frozen=True)
class Head:
    """The head of a column.

    Attributes:
        title, note: the note is below the title.
        picture: its address below the data set's pictures, without ".png"; "" for none.
        about: what it is, in words.
        upright: the title runs from bottom to top.
        group, colour: what neighbouring columns have in common, and its colour.
        conditions: on the images that it opens in Explore; none where it opens nothing.
    """

    title: str = ""
    note: str = ""
    picture: str = ""
    about: str = ""
    upright: bool = False
    group: str = ""
    colour: str = ""
    conditions: Sequence[str] = ()


@dataclass(frozen=True)
class Bar:
    """A value with its interval and the band of chance, each 0…1 of the width; `beside` is a second value."""

    value: float
    low: float
    high: float
    bandLow: float
    bandHigh: float
    beside: float | None = None


@dataclass(frozen=True)
class Cell:
    """What a row shows in a column.

    Attributes:
        text: its number.
        about: the same in words, with what it opens.
        conditions: see `Head`.
        tint: −1…1, how strongly it is coloured.
        mark: it has a filled square.
        strong: it stands out.
        bar: instead of a text.
    """

    text: str = ""
    about: str = ""
    conditions: Sequence[str] = ()
    tint: float = 0.0
    mark: bool = False
    strong: bool = False
    bar: Bar | None = None


@dataclass(frozen=True)
class Row:
    """A row: its title opens `conditions`; `fold` is the label of what unfolds `rows`; `picked` marks it."""

    title: str
    cells: Sequence[Cell]
    note: str = ""
    about: str = ""
    conditions: Sequence[str] = ()
    picked: bool = False
    fold: str = ""
    rows: Sequence[Row] = ()


@dataclass(frozen=True)
class Section:
    """Rows under a title, which may be empty."""

    rows: Sequence[Row]
    title: str = ""
    note: str = ""


def show_matrix(
    key: str,
    about: str,
    corner: str,
    heads: Sequence[Head],
    sections: Sequence[Section],
    info: ModelInfo,
    state: str,
    height: float = 40,
) -> None:
    """Show a matrix, whose links load Explore: one entry in the browser's history, so that Back leads back.

    Args:
        key: what names it on its page.
        about: what it shows, in words.
        corner: the head of the first column.
        heads: of the other columns.
        sections: the rows; each has a cell per head.
        info, state: the model and the fingerprint of its data set, for the pictures' addresses.
        height: from which it scrolls, in rem.
    """
    _matrix(
        key=key,
        data={
            "about": about,
            "corner": corner,
            "explore": explore_address(),
            "pictures": pictures.folder(info.name, state),
            "pixelated": info.image_size <= TINY,
            "height": height,
            "heads": [asdict(head) for head in heads],
            "sections": [asdict(section) for section in sections],
        },
    )
