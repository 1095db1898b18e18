"""The commands of `python -m kmex_core`, which register themselves with `app` when they are imported."""

from kmex_core.commands import convert, evaluate, store, train
from kmex_core.commands._shared import app

__all__ = ["app", "convert", "evaluate", "store", "train"]
