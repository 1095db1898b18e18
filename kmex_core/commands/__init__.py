"""The commands of `kmex` or `python -m kmex_core`, which register themselves with `app` when they are imported."""

from kmex_core.commands import convert, dashboard, evaluate, store, train
from kmex_core.commands._shared import app

__all__ = ["app", "convert", "dashboard", "evaluate", "store", "train"]
