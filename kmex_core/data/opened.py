"""Open data sets, reopened when their files change."""

from __future__ import annotations

import threading
import time

from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.data import registry
from kmex_core.data.dataset import ImageDataset

OPEN = 4
LOOK_EVERY, LOOK_SHARE, QUICK = 1.0, 20.0, 0.05


class _Open:
    """An open data set, and whether its files have changed since.

    Its directories are checked at most once a second and for at most a twentieth of the time; a slow check runs in the
    background.
    """

    def __init__(self, data: ImageDataset) -> None:
        self.data = data
        self._state, self._took = self._look()
        self._looked, self._stale, self._looking = time.monotonic(), False, False

    def changed(self) -> bool:
        """Whether a file is known to have changed."""
        due = time.monotonic() - self._looked > max(LOOK_EVERY, LOOK_SHARE * self._took)
        if due and not self._stale and not self._looking:
            self._looking = True
            if self._took > QUICK:
                threading.Thread(target=self._again, daemon=True).start()
            else:
                self._again()
        return self._stale

    def _again(self) -> None:
        try:
            state, self._took = self._look()
            self._stale = state != self._state
        finally:
            self._looked, self._looking = time.monotonic(), False

    def _look(self) -> tuple[str, float]:
        started = time.monotonic()
        return registry.signature(self.data.watched), time.monotonic() - started


_opened: dict[DatasetSpec, _Open] = {}
_opening: dict[DatasetSpec, threading.Lock] = {}


def dataset(spec: DatasetSpec, progress: Progress = silent) -> ImageDataset:
    """The current state of a data set; the last few are kept open, and reopened when a file has changed.

    Raises:
        InputError: see `registry.load`.
    """
    with _opening.setdefault(spec, threading.Lock()):  # two sessions do not open the same data set at once
        opened = _opened.pop(spec, None)
        if opened is None or opened.changed():
            opened = _Open(registry.load(spec, progress))
        _opened[spec] = opened  # the last used is the last
    for old in list(_opened)[:-OPEN]:
        _opened.pop(old, None)
    return opened.data
