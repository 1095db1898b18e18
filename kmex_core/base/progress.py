"""How long work reports where it is: events to a callable, so that the engine knows neither a terminal nor a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Event:
    """Where long work is.

    Attributes:
        stage: what is being done.
        done, total: steps of the stage that are done, and how many it has (`total` is 0 while unknown).
        group: what it is done with or to, where a stage comes several times ("Training images"); "" where it does not.
        part, parts: which of several equal parts of the stage this is, from 1 (epochs); `done` and `total` are over all
            parts. 0 where there is only one.
        values: numbers worth seeing meanwhile, by name.
    """

    stage: str
    done: int
    total: int
    group: str = ""
    part: int = 0
    parts: int = 0
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, str]:
        """What tells this stage from others: within one, `done` only grows up to `total`."""
        return self.stage, "" if self.parts else self.group

    @property
    def text(self) -> str:
        """The stage with its group, its part and its values, as people read it."""
        stage = f"{self.stage} {self.part}/{self.parts}" if self.parts else self.stage
        head = f"{self.group}: {stage[:1].lower()}{stage[1:]}" if self.group else stage
        return ", ".join([head, *(f"{name} {value:.4g}" for name, value in self.values.items())])


class Progress(Protocol):
    """Called between steps of long work; it may raise to cancel the work."""

    def __call__(self, event: Event) -> None:
        """Take the report of a step."""


def silent(event: Event) -> None:
    """A `Progress` that shows nothing."""
