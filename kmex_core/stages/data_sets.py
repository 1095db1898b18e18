"""The data sets that models were trained on, and those that were uploaded, without opening any of them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kmex_core.base.errors import StoreError
from kmex_core.base.files import read_description, read_length
from kmex_core.base.location import SHIPPED_RESULTS
from kmex_core.base.store import Store
from kmex_core.data import registry, uploads
from kmex_core.models.info import ModelInfo
from kmex_core.stages.embedding import SplitEmbedding


@dataclass(frozen=True)
class DataSetEntry:
    """A data set in a list.

    Attributes:
        title: of the data set; for one without a name, that of its folder.
        images: in all of its splits; None while no model has embedded them.
        classes: how many each column that is a class has, ascending; empty if that is unknown.
        bytes: how much was uploaded; None for one that was not.
        uploaded: the date of an upload, "" for others.
        models: the names of the models trained on it.
    """

    title: str
    images: int | None
    classes: tuple[int, ...]
    bytes: int | None
    uploaded: str
    models: tuple[str, ...]


def data_sets(store: Store, infos: Sequence[ModelInfo]) -> list[DataSetEntry]:
    """The data sets of some models, in their order, and after them the uploads that no model was trained on."""
    counts = _image_counts(store)
    received = {upload.path.resolve(): upload for upload in uploads.listed(store)}
    by_name: dict[str, list[ModelInfo]] = {}
    for info in infos:
        by_name.setdefault(info.dataset, []).append(info)
    entries = []
    for name, models in by_name.items():
        upload = None if registry.registered(name) else received.pop(Path(name).resolve(), None)
        known = [counts[state] for info in models if (state := str(info.made_by.get("data", ""))) in counts]
        entries.append(
            DataSetEntry(
                registry.title(name),
                max(known, default=None),
                tuple(sorted({len(info.class_names) for info in models})),
                upload.bytes if upload else None,
                f"{upload.date:%Y-%m-%d}" if upload else "",
                tuple(info.name for info in models),
            )
        )
    unused = (
        DataSetEntry(upload.name, None, (), upload.bytes, f"{upload.date:%Y-%m-%d}", ()) for upload in received.values()
    )
    return [*entries, *unused]


def _image_counts(store: Store) -> dict[str, int]:
    """The number of images of data sets that were embedded, by their fingerprints."""
    splits: dict[str, dict[str, int]] = {}
    room = SplitEmbedding.room
    paths = [store.path(room, name) for name in store.names(room)]
    for path in [*paths, *sorted((SHIPPED_RESULTS / room).glob("*.safetensors"))]:
        with contextlib.suppress(FileNotFoundError, StoreError, KeyError, TypeError):  # damaged, or just removed
            spec = read_description(path)["spec"]
            splits.setdefault(str(spec["data"]), {})[str(spec["split"])] = read_length(path, "labels")
    return {state: sum(counts.values()) for state, counts in splits.items()}
