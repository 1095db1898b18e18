"""What is kept in memory: the last used, up to a number and a size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

ValueT = TypeVar("ValueT")


class Bounded(Generic[ValueT]):
    """Values by key, for several threads; what was not used for longest goes first.

    Args:
        most: how many are kept.
        most_bytes: how many bytes they have together; a value that alone has more is not kept.
        size: the bytes of a value.
    """

    def __init__(self, most: int, most_bytes: int, size: Callable[[ValueT], int]) -> None:
        self._most, self._most_bytes, self._size = most, most_bytes, size
        self._kept: OrderedDict[Hashable, tuple[ValueT, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """The size of all that is kept."""
        return self._bytes

    def get(self, key: Hashable) -> ValueT | None:
        """A value, which is now the last used; None for one that is not kept."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: Hashable, value: ValueT) -> None:
        """Keep a value, and let others go for it."""
        size = self._size(value)
        with self._lock:
            if key in self._kept:
                self._bytes -= self._kept.pop(key)[1]
            if size > self._most_bytes:
                return
            self._kept[key] = value, size
            self._bytes += size
            while len(self._kept) > self._most or self._bytes > self._most_bytes:
                self._bytes -= self._kept.popitem(last=False)[1][1]

    def made(self, key: Hashable, make: Callable[[], ValueT]) -> ValueT:
        """A value that is kept, or made now: once, however many threads ask for it at the same time. What fails is
        not kept."""
        with self._lock:
            turn = self._making.setdefault(key, threading.Lock())
        try:
            with turn:
                if (value := self.get(key)) is None:
                    value = make()
                    self.put(key, value)
                return value
        finally:
            with self._lock:
                if not turn.locked():
                    self._making.pop(key, None)
