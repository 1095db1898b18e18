"""The engine's sentences on pages."""

from __future__ import annotations

from pathlib import Path

from kmex_core import datasets
from kmex_core.plain_text import message as as_markdown
from kmex_core.store import default_root


def short(text: str) -> str:
    """`text` without where the store, the data root and the home are: that is nobody's business but this machine's."""
    for place, instead in ((datasets.data_root(), ""), (default_root(), ""), (Path.home(), "~/")):
        if len(place.parts) > 1:  # not the root of the file system, which every path begins with
            text = text.replace(f"{place}/", instead)
    return text


def message(text: str) -> str:
    """An error message or a note of the engine as Markdown: with the names in it as they are, and `short` paths."""
    return as_markdown(short(text))
