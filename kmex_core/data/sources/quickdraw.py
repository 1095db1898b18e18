"""QuickDraw-10 (Parekh et al. 2021): ten classes of Google's "Quick, Draw!" bitmaps, one NumPy file each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Progress
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.content import Watch
from kmex_core.data.dataset import ArraySplit, ImageDataset, Split, array_fingerprint
from kmex_core.data.source import DataSource

FOLDER = "quickdraw"
CLASSES = ("ant", "apple", "banana", "carrot", "cat", "cow", "dog", "frog", "grapes", "lion")
PER_CLASS, TRAIN = 1000, 0.8
SIDE, IMAGE_SIZE = 28, 32


def _file(folder: Path, name: str) -> Path | None:
    return next(
        (path for path in (folder / f"{name}.npy", folder / f"full_numpy_bitmap_{name}.npy") if path.is_file()), None
    )


class QuickDraw(DataSource):
    """QuickDraw-10."""

    name = "quickdraw10"
    title = "QuickDraw-10"
    about = "10,000 drawings of ten things, 28×28 grey; to be downloaded by hand"
    place = 7

    def is_there(self, root: Path) -> bool:
        """Whether a file of each class is under `root`."""
        return all(_file(root / FOLDER, name) for name in CLASSES)

    def load(self, spec: DatasetSpec, progress: Progress) -> ImageDataset:
        """The first 1,000 drawings of each class, 800 to train and 200 to test (paper A.1).

        Raises:
            InputError: when files are missing (the message says which, and where to get them) or contain no drawings.
        """
        folder = Path(spec.root) / FOLDER
        candidates = {name: _file(folder, name) for name in CLASSES}
        paths = {name: path for name, path in candidates.items() if path is not None}
        if len(paths) < len(CLASSES):
            raise InputError(
                f"QuickDraw-10 is not complete in {folder}; missing: "
                f"{', '.join(f'{name}.npy' for name in CLASSES if name not in paths)}. Get the NumPy bitmaps of these "
                "classes from https://github.com/googlecreativelab/quickdraw-dataset and put them into quickdraw/ in "
                "the data root (--data-root or KMEX_DATA)."
            )
        drawings = [_drawings(path) for path in paths.values()]
        cuts = [min(round(TRAIN * len(images)), len(images) - 1) for images in drawings]  # one or more for testing
        few = [
            f"{name} {len(images):,}" for name, images in zip(CLASSES, drawings, strict=True) if len(images) < PER_CLASS
        ]
        note = f"Fewer than {PER_CLASS:,} drawings: {', '.join(few)}. 80% of each class are used for training."
        splits: dict[str, Split] = {
            "train": _split([images[:cut] for images, cut in zip(drawings, cuts, strict=True)]),
            "test": _split([images[cut:] for images, cut in zip(drawings, cuts, strict=True)]),
        }
        return ImageDataset(
            name=spec.name,
            splits=splits,
            class_names=CLASSES,
            channels=1,
            image_size=spec.image_size or IMAGE_SIZE,
            augmentation="none",
            fingerprint=array_fingerprint(splits, spec.name),
            notes=(note,) if few else (),
            watched=tuple(Watch(path) for path in paths.values()),
        )


def _drawings(path: Path) -> np.ndarray:
    """(n, 28, 28) uint8, the first drawings of a file; the rest is not read."""
    try:
        whole = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a NumPy file ({error}). Download it again.") from error
    flat = whole.shape[1:] in ((SIDE * SIDE,), (SIDE, SIDE))
    if whole.dtype != np.uint8 or not flat or len(whole) < 2:
        raise InputError(
            f"{path} contains {whole.dtype} of shape {whole.shape}; expected uint8 of shape (n, {SIDE * SIDE}) or "
            f"(n, {SIDE}, {SIDE}), n at least 2."
        )
    return np.array(whole[:PER_CLASS]).reshape(-1, SIDE, SIDE)


def _split(drawings: list[np.ndarray]) -> ArraySplit:
    return ArraySplit(
        np.concatenate(drawings), np.repeat(np.arange(len(drawings)), [len(images) for images in drawings])
    )
