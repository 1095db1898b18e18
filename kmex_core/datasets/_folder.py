"""Image data sets in folders: `train/<class>/*` and, if there is one, `test/<class>/*`; or a table with the class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kmex_core.datasets._attributes import annotate, matched, read_annotations, table_beside
from kmex_core.datasets._base import EncodedSplit, ImageDataset, Split, fingerprint, survey, usual_size, with_test
from kmex_core.errors import InputError
from kmex_core.images import DECODER, SUFFIXES
from kmex_core.specs import DatasetSpec


def load_folder(spec: DatasetSpec) -> ImageDataset:
    """A folder with one subfolder per class in `train/`; files with other suffixes than pictures have are left out.

    A table beside `train/` (see `_attributes.matched`) gives attributes, and with `class_column` the class: the
    pictures may then lie in `train/` in any way.

    Raises:
        InputError: when there are no classes or no pictures, one that cannot be read, or a table that does not fit.
    """
    folder = Path(spec.root)
    parts = [part for part in ("train", "test") if (folder / part).is_dir()]
    beside = table_beside(folder)
    if spec.class_column:
        if beside is None:
            raise InputError(
                f"{folder} has no table with a column '{spec.class_column}': attributes.csv or attributes.parquet was "
                "expected beside train/."
            )
        names: list[str] = []
        files = {part: _pictures(folder / part, "**/*") for part in parts}
        labels = {part: np.zeros(len(files[part]), dtype=np.int64) for part in parts}
    else:
        names = _class_folders(folder, parts)
        by_class = {part: [_pictures(folder / part / name, "*") for name in names] for part in parts}
        files = {part: [path for found in by_class[part] for path in found] for part in parts}
        labels = {part: np.repeat(np.arange(len(names)), [len(found) for found in by_class[part]]) for part in parts}
    if not files["train"]:
        raise InputError(f"{folder / 'train'} has no pictures ({', '.join(SUFFIXES)}) in its class folders.")
    shapes, channels = survey(files["train"], str(folder))
    splits: dict[str, Split] = {part: EncodedSplit(files[part], labels[part], channels, str(folder)) for part in parts}
    notes: tuple[str, ...] = ()
    if beside is not None:
        images = [path.relative_to(folder).as_posix() for part in parts for path in files[part]]
        table, unmatched = matched(beside, images, ())
        said = read_annotations(table, len(files["train"]), spec.class_column, beside.name)
        splits, left_out = annotate(splits, said, beside.name)
        names = list(said.class_names) or names
        notes = (*left_out, *unmatched, *said.notes)
    both, held_out = with_test(splits["train"], splits.get("test"), names)
    return ImageDataset(
        name=spec.name,
        splits=both,
        class_names=tuple(names),
        channels=channels,
        image_size=spec.image_size or usual_size(shapes),
        augmentation="flip-crop" if channels == 3 else "none",
        fingerprint=fingerprint(
            [*(path for found in files.values() for path in found), *([beside] if beside else [])],
            "folder", DECODER, names, *([spec.class_column] if spec.class_column else []),
        ),
        notes=(*held_out, *notes),
        class_column=spec.class_column,
    )  # fmt: skip


def _class_folders(folder: Path, parts: list[str]) -> list[str]:
    names = {
        path.name
        for part in parts
        for path in (folder / part).iterdir()
        if path.is_dir() and not path.name.startswith(".")
    }
    if not names:
        raise InputError(f"{folder / 'train'} has no subfolders: one folder of pictures per class was expected.")
    return sorted(names)


def _pictures(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.suffix.lower().lstrip(".") in SUFFIXES)
