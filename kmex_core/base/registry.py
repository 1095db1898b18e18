"""Entries by name, in the order in which they were added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from kmex_core.base.errors import unknown_name

EntryT = TypeVar("EntryT")


class Registry(Mapping[str, EntryT]):
    """A mapping of names to entries.

    Args:
        what: what an entry is called in messages, as in "metric".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._entries: dict[str, EntryT] = {}

    def register(self, name: str, entry: EntryT) -> None:
        """Add an entry.

        Raises:
            ValueError: when the name is taken.
        """
        if name in self._entries:
            raise ValueError(f"There are two {self._what}s named '{name}'.")
        self._entries[name] = entry

    def named(self, name: str) -> EntryT:
        """The entry of a name that a person gave.

        Raises:
            InputError: when there is none; it suggests the nearest names.
        """
        if name not in self._entries:
            raise unknown_name(self._what, name, self._entries)
        return self._entries[name]

    def __getitem__(self, name: str) -> EntryT:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
