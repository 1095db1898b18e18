"""CelebA (Liu et al. 2015), in the layout of torchvision and its authors: faces with 40 binary attributes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Progress
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.annotations import annotate, read_annotations
from kmex_core.data.content import Watch
from kmex_core.data.dataset import EncodedSplit, ImageDataset, Split, fingerprint
from kmex_core.data.files import Tally, examine, file_digests
from kmex_core.data.listing import FileState, state_of
from kmex_core.data.pictures import DECODER
from kmex_core.data.source import DataSource

FOLDER, PICTURES = "celeba", "img_align_celeba"
ATTRIBUTES, PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"
CLASS = "Male"
IMAGE_SIZE = 224
PARTS = {"train": 0, "test": 2, "validation": 1}  # the paper does not use the last


def _missing(folder: Path) -> list[str]:
    lost = [name for name in (ATTRIBUTES, PARTITION) if not (folder / name).is_file()]
    return lost + ([] if (folder / PICTURES).is_dir() else [f"{PICTURES}/"])


class CelebA(DataSource):
    """CelebA."""

    name = "celeba"
    title = "CelebA"
    about = "182,732 faces with 40 attributes, 224×224 colour; to be downloaded by hand"
    place = 8

    def is_there(self, root: Path) -> bool:
        """Whether both tables and the folder of pictures are under `root`."""
        return not _missing(root / FOLDER)

    def load(self, spec: DatasetSpec, progress: Progress) -> ImageDataset:
        """The official training and test images (162,770 and 19,962); class: `Male`, or any other of the 40 attributes.

        The validation images (19,867) are included if all of them are present.

        Raises:
            InputError: when files are missing (the message says which, and where to get them), or the tables do not
                match.
        """
        import pandas as pd

        folder, class_column = Path(spec.root) / FOLDER, spec.class_column or CLASS
        if missing := _missing(folder):
            raise InputError(
                f"CelebA is not complete in {folder}; missing: {', '.join(missing)}. Its licence is for you to accept. "
                "Get img_align_celeba.zip, list_attr_celeba.txt and list_eval_partition.txt from "
                "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, unpack the first, and put all three into celeba/ "
                "in the data root (--data-root or KMEX_DATA)."
            )
        try:
            values = pd.read_csv(folder / ATTRIBUTES, sep=r"\s+", skiprows=1, header=0)
            partition = pd.read_csv(
                folder / PARTITION, sep=r"\s+", header=None, names=["file", "part"], index_col="file"
            )
        except (ValueError, OSError) as error:
            raise InputError(f"The tables in {folder} cannot be read ({error}). Download them again.") from error
        if not partition.index.equals(values.index) and set(partition.index) != set(values.index):
            raise InputError(
                f"The tables in {folder} do not list the same images: {ATTRIBUTES} has {len(values):,} rows, "
                f"{PARTITION} {len(partition):,}. Download them again."
            )
        rows = {split: partition.index[partition["part"] == part] for split, part in PARTS.items()}
        paths = _pictures(folder / PICTURES, (name for names in rows.values() for name in names))
        if any(name not in paths for name in rows["validation"]):
            del rows["validation"]
        lost = [name for names in rows.values() for name in names if name not in paths]
        if lost:
            raise InputError(
                f"{len(lost):,} pictures are missing in {folder / PICTURES}, for example {lost[0]}. Unpack the "
                "archive again."
            )
        tally = Tally()
        files = {split: [paths[name] for name in names] for split, names in rows.items()}
        examined = examine(files, spec.skip_broken, str(folder), tally, progress)
        rows = {split: names[examined.sound[split]] for split, names in rows.items()}
        splits: dict[str, Split] = {
            split: EncodedSplit(
                [paths[name] for name in names],
                np.zeros(len(names), dtype=np.int64),
                examined.digests[split],
                3,
                str(folder),
            )
            for split, names in rows.items()
        }
        table = values.loc[[name for names in rows.values() for name in names]].reset_index(drop=True)
        annotations = read_annotations(table, len(rows["train"]), class_column, ATTRIBUTES)
        splits, left_out = annotate(splits, annotations, ATTRIBUTES)
        return ImageDataset(
            name=spec.name,
            splits=splits,
            class_names=annotations.class_names,
            channels=3,
            image_size=spec.image_size or IMAGE_SIZE,
            augmentation="flip-crop",
            fingerprint=fingerprint(
                [*examined.identity, *file_digests([(folder / name, name) for name in (ATTRIBUTES, PARTITION)])],
                spec.name,
                DECODER,
                class_column,
            ),
            notes=(*left_out, *examined.notes, *annotations.notes),
            class_column=class_column,
            left_out=tally.result(),
            watched=(Watch(folder / ATTRIBUTES), Watch(folder / PARTITION), Watch(folder / PICTURES)),
        )


def _pictures(folder: Path, wanted: Iterable[str]) -> dict[str, FileState]:
    """The wanted files of a folder, by name, listing it once."""
    names = set(wanted)
    with os.scandir(folder) as entries:
        return {
            entry.name: state_of(Path(entry.path), entry.name, entry.stat())
            for entry in entries
            if entry.name in names and entry.is_file()
        }
