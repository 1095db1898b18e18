"""How long work reports where it is: a callable, so that the engine knows neither a terminal nor a page."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called between steps of long work; it may raise to cancel the work."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report `done` of `total` steps (`total` is 0 while unknown) of the stage named `stage`."""


def silent(stage: str, done: int, total: int) -> None:
    """A `Progress` that shows nothing."""
