"""The location of the store."""

from __future__ import annotations

import os
from pathlib import Path

from kmex_core.base.paths import user_cache, user_path

SHIPPED = Path(__file__).resolve().parent.parent / "demo"  # models that are part of the product
SHARDED = "sharded"  # the room of sharded embeddings, each of them a folder (see `scale.sharded`)
REPRODUCTIONS = "reproduction"  # the room of reports on the paper's tables (see `reproduction.stored`)
SHIPPED_RESULTS = SHIPPED / "results"  # rooms of a store, which hold what the first demo needs to open at once


def default_root() -> Path:
    """`KMEX_CACHE`, else `data_cache/` in the clone this package belongs to, else `store/` in the user's cache.

    Raises:
        InputError: when `KMEX_CACHE` cannot be a path; when the store would be in the user's cache, and the user has
            no home directory.
    """
    if chosen := os.environ.get("KMEX_CACHE"):
        return user_path(chosen).resolve()
    in_clone = Path(__file__).resolve().parent.parent.parent / "data_cache"
    return in_clone if in_clone.is_dir() else user_cache() / "store"
