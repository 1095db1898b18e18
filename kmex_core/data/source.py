"""What a registered data set is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from kmex_core.base.progress import Progress
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.dataset import ImageDataset


class DataSource(ABC):
    """A data set with a name. A file in `data.sources` with a subclass adds one.

    Attributes:
        name: its name on the command line and in the store.
        title: its name for people.
        about: how many images of what, of which size, and where they come from.
        place: its place in lists.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    place: ClassVar[int]

    def is_there(self, root: Path) -> bool:
        """Whether it can be loaded from the data root `root` without downloading anything."""
        return True

    @abstractmethod
    def load(self, spec: DatasetSpec, progress: Progress) -> ImageDataset:
        """The data set.

        Args:
            spec: its name, the data root, and what is asked of it.
            progress: called while files are read for the first time.

        Raises:
            InputError: when files are missing (it says which, and where to get them) or cannot be used.
        """
