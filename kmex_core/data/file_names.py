"""The names of a split's image files, where its images are files."""

from __future__ import annotations

from kmex_core.data.dataset import EncodedSplit, Split, Subset
from kmex_core.data.listing import FileState


def file_name(split: Split, index: int) -> str | None:
    """An image's path in its data set, with `/`; None for an image that is no file."""
    if isinstance(split, Subset):
        return file_name(split.whole, int(split.indices[index]))
    source = split.sources[index] if isinstance(split, EncodedSplit) else None
    return source.name if isinstance(source, FileState) else None
