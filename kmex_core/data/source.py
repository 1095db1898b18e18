"""Registered data sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from kmex_core.base.progress import Progress
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.dataset import ImageDataset


class DataSource(ABC):
    """A registered data set. To add one, add a file with a subclass to `data.sources`.

    Attributes:
        name: its name on the command line and in the store.
        title: its name for people.
        about: number, kind, size and origin of the images.
        place: its position in lists.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    place: ClassVar[int]

    def is_there(self, root: Path) -> bool:
        """Whether the data set can be loaded from the data root `root` without a download."""
        return True

    @abstractmethod
    def load(self, spec: DatasetSpec, progress: Progress) -> ImageDataset:
        """Load the data set.
        Args:
            spec: its name, the data root, and the options.
            progress: called while files are read for the first time.

        Raises:
            InputError: when files are missing (the message says which, and where to get them) or cannot be used.
        """
