"""What the server imports in the background: pages while the browser loads, and torch when it is about to be needed."""

from __future__ import annotations

import functools
import gc
import importlib
import threading
from collections.abc import Sequence

# what the first pages import; their views are scripts, which run
PAGES = (
    "app.state",
    "app.components.models.notices",
    "app.components.home.doors",
    "app.components.home.how",
    "app.components.home.models",
    "app.components.shared.spread",
    "app.components.explore.header",
    "app.components.explore.workspace",
    "app.routes.workspace",
    "app.components.shared.notes",
    "app.components.shared.preparation",
)
# seconds, and more memory than all the rest of the server
ENGINE = ("torch", "kmex_core.relevance", "kmex_core.models.kmex")


def _import_all(names: Sequence[str]) -> None:
    for name in names:
        importlib.import_module(name)
    # Streamlit collects garbage in full after each run, holding back its last messages; modules are never garbage
    gc.collect()
    gc.freeze()


@functools.cache
def _imported(names: Sequence[str]) -> None:
    threading.Thread(target=_import_all, args=(names,), daemon=True).start()


def pages() -> None:
    """Import what the first pages need. Returns at once."""
    _imported(PAGES)


def engine() -> None:
    """Import torch and what explains images, once. Returns at once."""
    _imported(ENGINE)
