"""Tasks for engines, which Ray's workers import."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.files import Arrays
from kmex_core.base.store import Store
from kmex_core.scale.extraction import _part, _Task
from kmex_core.scale.parts import Part


@dataclass(frozen=True)
class Number:
    value: int

    @property
    def file(self) -> str:
        return f"number-{self.value}"


def noted(folder: Path, what: object) -> None:
    """Append a line that no other process's line can break."""
    descriptor = os.open(folder / "notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{what} {os.getpid()}\n".encode())
    os.close(descriptor)


def notes(folder: Path) -> list[list[str]]:
    path = folder / "notes"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def doubled(shared: int, item: int) -> int:
    return shared + 2 * item


def refused(shared: int, item: int) -> int:
    raise InputError(f"No {item}.")


def squared(folder: Path, item: Number) -> Arrays:
    """Writes down that it ran; the first worker that meets number 3 is killed in the middle of its work."""
    noted(folder, item.value)
    marker = folder / "killed"
    if item.value == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return {"square": np.array([item.value**2])}


def slow(folder: Path, item: Number) -> Arrays:
    noted(folder, item.value)
    time.sleep(0.25)
    return {"square": np.array([item.value**2])}


def killed_part(task: _Task, number: int) -> Part:
    """A part of an embedding, whose first worker is killed before it has finished its second part."""
    folder = Store(task.images.root).root
    noted(folder, number)
    marker = folder / "killed"
    if number == 1 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return _part(task, number)
