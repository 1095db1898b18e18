"""One stored result: where it is, what names it, how it is made when it is missing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np

from kmex_core.base.errors import StoreError
from kmex_core.base.files import Arrays
from kmex_core.base.progress import Progress, silent
from kmex_core.base.provenance import versions
from kmex_core.base.store import Store


class Keyed(Protocol):
    """A frozen description of what makes a result."""

    @property
    def key(self) -> str:
        """The result's name in its room of the store."""
        ...


class StoredResult:
    """A frozen dataclass of arrays and JSON-like values, which the store keeps as it is."""

    def to_arrays(self) -> Arrays:
        """The array fields by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    def to_description(self) -> dict[str, Any]:
        """The other fields by name, but for results within this one."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if not isinstance(value, np.ndarray | StoredResult)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], **rest: Any) -> Self:
        """The result from its array fields and its other fields; further arrays are ignored."""
        names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: array for name, array in arrays.items() if name in names}, **rest)


SpecT = TypeVar("SpecT", bound=Keyed)
ResultT = TypeVar("ResultT")


class Artifact(ABC, Generic[SpecT, ResultT]):
    """A result that the store keeps: read when it is there, made once when it is not.

    A subclass says what names it (`spec`), how it is made (`make`), and how it becomes arrays and a description and
    back (`pack` and `unpack`).

    Args:
        store: where it is kept.
        progress: called while it is made; it may raise to stop.
    """

    room: ClassVar[str]

    def __init__(self, store: Store, progress: Progress = silent) -> None:
        self.store, self.progress = store, progress

    @cached_property
    @abstractmethod
    def spec(self) -> SpecT:
        """What makes the result."""

    @property
    def key(self) -> str:
        """Its name in its room."""
        return self.spec.key

    @abstractmethod
    def make(self) -> ResultT:
        """Compute it."""

    @abstractmethod
    def pack(self, result: ResultT) -> tuple[Arrays, dict[str, Any]]:
        """Its arrays, and what its description holds beside spec and versions."""

    @classmethod
    @abstractmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> ResultT:
        """The result that `pack` made these of."""

    @classmethod
    def stored(cls, store: Store, key: str) -> ResultT | None:
        """The result of this name if the store has it undamaged, else None. Computes nothing and needs no torch."""
        stored = store.get(cls.room, key)
        return None if stored is None else cls.unpack(*stored)

    def exists(self) -> bool:
        """Whether the store has it (existence only; integrity is checked when it is read)."""
        return self.store.has(self.room, self.key)

    def peek(self) -> ResultT | None:
        """The result if the store has it undamaged, else None. Computes nothing and needs no torch."""
        return self.stored(self.store, self.key)

    def described(self) -> dict[str, Any] | None:
        """The description alone, without reading the arrays; None when it is missing or damaged."""
        try:
            return self.store.description(self.room, self.key)
        except (FileNotFoundError, StoreError):
            return None  # a damaged file is made again when it is next needed

    def get(self) -> ResultT:
        """The result, from the store or made now; only one process makes it at a time.

        Raises:
            StoreError: when the store cannot be written.
        """
        return self.unpack(*self.store.made(self.room, self.key, self._packed, self.progress))

    def _packed(self) -> tuple[Arrays, dict[str, Any]]:
        arrays, description = self.pack(self.make())
        spec = asdict(self.spec) if is_dataclass(self.spec) and not isinstance(self.spec, type) else None
        return arrays, {"spec": spec, "versions": versions()} | description
