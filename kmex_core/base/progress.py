"""Progress reports: long work sends events to a callable, independent of any terminal or page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Event:
    """A step of long work.

    Attributes:
        stage: the current activity.
        done, total: completed steps of the stage, and all its steps (`total` is 0 while unknown).
        group: what a repeated stage is applied to ("Training images"); "" for a stage that occurs once.
        part, parts: the current one of several equal parts of the stage, from 1 (epochs); `done` and `total` cover all
            parts. 0 if there is only one.
        values: intermediate numbers to show, by name.
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
        """Identifies the stage; within a stage, `done` only grows, up to `total`."""
        return self.stage, "" if self.parts else self.group

    @property
    def text(self) -> str:
        """The stage with its group, part and values, in words."""
        stage = f"{self.stage} {self.part}/{self.parts}" if self.parts else self.stage
        head = f"{self.group}: {stage[:1].lower()}{stage[1:]}" if self.group else stage
        return ", ".join([head, *(f"{name} {value:.4g}" for name, value in self.values.items())])


class Progress(Protocol):
    """Called between steps of long work; may raise to cancel it."""

    def __call__(self, event: Event) -> None:
        """Receive the report of a step."""


def silent(event: Event) -> None:
    """A `Progress` that shows nothing."""
