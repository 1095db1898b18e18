"""Image data sets in folders: `train/<class>/*`, and `test/<class>/*` if there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kmex_core.datasets._base import EncodedSplit, ImageDataset, fingerprint, survey, usual_size, with_test
from kmex_core.errors import InputError
from kmex_core.images import SUFFIXES
from kmex_core.specs import DatasetSpec


def load_folder(spec: DatasetSpec) -> ImageDataset:
    """A folder with one subfolder per class in `train/`; files with other suffixes than pictures have are left out.

    Raises:
        InputError: when there are no classes or no pictures, or one that cannot be read.
    """
    folder = Path(spec.root)
    parts = [part for part in ("train", "test") if (folder / part).is_dir()]
    names = sorted(
        {
            path.name
            for part in parts
            for path in (folder / part).iterdir()
            if path.is_dir() and not path.name.startswith(".")
        }
    )
    if not names:
        raise InputError(f"{folder / 'train'} has no subfolders: one folder of pictures per class was expected.")
    found: dict[str, tuple[list[Path], np.ndarray]] = {}
    for part in parts:
        files, labels = [], []
        for label, name in enumerate(names):
            here = folder / part / name
            pictures = sorted(path for path in here.glob("*") if path.suffix.lower().lstrip(".") in SUFFIXES)
            files += pictures
            labels += [label] * len(pictures)
        found[part] = files, np.array(labels, dtype=np.int64)
    if not found["train"][0]:
        raise InputError(f"{folder / 'train'} has no pictures ({', '.join(SUFFIXES)}) in its class folders.")
    shapes, channels = survey(found["train"][0], str(folder))
    splits = {part: EncodedSplit(files, labels, channels, str(folder)) for part, (files, labels) in found.items()}
    both, notes = with_test(splits["train"], splits.get("test"), names)
    return ImageDataset(
        name=spec.name,
        splits=both,
        class_names=tuple(names),
        channels=channels,
        image_size=spec.image_size or usual_size(shapes),
        augmentation="flip-crop" if channels == 3 else "none",
        fingerprint=fingerprint([path for files, _ in found.values() for path in files], "folder", names),
        notes=notes,
    )
