"""One stored result: its place in the store, its key, and how it is computed when missing."""

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
from kmex_core.base.specs import Spec
from kmex_core.base.store import Store
from kmex_core.base.tensor_file import Rows


class Keyed(Protocol):
    """A frozen description of everything a result depends on."""

    @property
    def key(self) -> str:
        """The result's name in its room of the store."""
        ...


class StoredResult:
    """A frozen dataclass of arrays and JSON-like values, stored field by field."""

    def to_arrays(self) -> Arrays:
        """The array fields by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    def to_description(self) -> dict[str, Any]:
        """The other fields by name, except nested results."""
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
    """A stored result: read if present, otherwise computed once.

    A subclass defines its key (`spec`), its computation (`make`), and the conversion to arrays and a description and
    back (`pack` and `unpack`).

    Args:
        store: where the result is kept.
        progress: called during the computation; it may raise to stop.
    """

    room: ClassVar[str]

    def __init__(self, store: Store, progress: Progress = silent) -> None:
        self.store, self.progress = store, progress

    @cached_property
    @abstractmethod
    def spec(self) -> SpecT:
        """Everything the result depends on."""

    @property
    def key(self) -> str:
        """The result's name in its room of the store."""
        return self.spec.key

    @abstractmethod
    def make(self) -> ResultT:
        """Compute the result."""

    @abstractmethod
    def pack(self, result: ResultT) -> tuple[Arrays, dict[str, Any]]:
        """The result's arrays, and the entries of its description besides spec and versions."""

    @classmethod
    @abstractmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> ResultT:
        """The inverse of `pack`."""

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
            return None  # a damaged file is recomputed when next needed

    def get(self) -> ResultT:
        """The result, from the store or computed now; only one process computes it at a time.

        Raises:
            StoreError: when the store cannot be written.
        """
        return self.unpack(*self.store.get_or_make(self.room, self.key, self._packed, self.progress))

    def _packed(self) -> tuple[Arrays | Rows, dict[str, Any]]:
        arrays, description = self.pack(self.make())
        return arrays, self._origin() | description

    def _origin(self) -> dict[str, Any]:
        """Spec and versions, which every description has."""
        spec = None
        if isinstance(self.spec, Spec):
            spec = self.spec.described()
        elif is_dataclass(self.spec) and not isinstance(self.spec, type):
            spec = asdict(self.spec)
        return {"spec": spec, "versions": versions()}
