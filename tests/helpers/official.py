"""Files of the official layouts of the data sets that are known by name, with generated content."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from kmex_core.data.registry import DATASETS
from kmex_core.data.sources import quickdraw as _quickdraw
from kmex_core.data.sources.official import Official
from tests.helpers.pictures import encoded, striped

TRAIN, TEST = 30, 10
OFFICIAL = {name: source for name, source in DATASETS.items() if isinstance(source, Official)}
ROWS = 30  # pictures of CelebA


def _idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_idx(root: Path, name: str) -> np.ndarray:
    random = np.random.default_rng(0)
    train = random.integers(0, 256, (TRAIN, 28, 28), dtype=np.uint8)
    raw = root / name / "raw"
    _idx(raw / "train-images-idx3-ubyte", train)
    _idx(raw / "train-labels-idx1-ubyte", np.arange(TRAIN) % 10)
    _idx(raw / "t10k-images-idx3-ubyte", train[:TEST])
    _idx(raw / "t10k-labels-idx1-ubyte", np.arange(TEST) % 10)
    return train


def _write_svhn(root: Path) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (TRAIN, 32, 32, 3), dtype=np.uint8)
    for split, count in (("train", TRAIN), ("test", TEST)):
        labels = np.arange(count) % 10
        labels[labels == 0] = 10  # as the official files write the digit 0
        scipy.io.savemat(root / f"{split}_32x32.mat", {"X": images[:count].transpose(1, 2, 3, 0), "y": labels[:, None]})
    return images


def _write_cifar(root: Path) -> np.ndarray:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (TRAIN, 32, 32, 3), dtype=np.uint8)
    flat = images.transpose(0, 3, 1, 2).reshape(TRAIN, -1)
    labels = [i % 10 for i in range(TRAIN)]
    for i in range(5):
        part = slice(i * 6, i * 6 + 6)
        (folder / f"data_batch_{i + 1}").write_bytes(pickle.dumps({"data": flat[part], "labels": labels[part]}))
    (folder / "test_batch").write_bytes(pickle.dumps({"data": flat[:TEST], "labels": labels[:TEST]}))
    names = OFFICIAL["cifar10"].class_names
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(names)}))
    return images


def _write_stl(root: Path) -> np.ndarray:
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (TRAIN, 96, 96, 3), dtype=np.uint8)
    stored = images.transpose(0, 3, 2, 1)  # the official files are column-major
    for split, count in (("train", TRAIN), ("test", TEST)):
        (folder / f"{split}_X.bin").write_bytes(stored[:count].tobytes())
        (folder / f"{split}_y.bin").write_bytes((np.arange(count) % 10 + 1).astype(np.uint8).tobytes())
    (folder / "unlabeled_X.bin").write_bytes(stored[:1].tobytes())
    (folder / "class_names.txt").write_text("\n".join(OFFICIAL["stl10"].class_names))
    (folder / "fold_indices.txt").write_text("0 1 2\n")
    return images


WRITERS = {
    "mnist": lambda root: write_idx(root, "MNIST"),
    "fashion-mnist": lambda root: write_idx(root, "FashionMNIST"),
    "svhn": _write_svhn,
    "cifar10": _write_cifar,
    "stl10": _write_stl,
}


def celeba_files(root: Path) -> np.ndarray:
    """CelebA's official layout with 30 images; gives their 40 attributes."""
    here = root / "celeba"
    (here / "img_align_celeba").mkdir(parents=True)
    has = np.random.default_rng(0).random((ROWS, 40)) < 0.5
    has[:2] = [[True] * 40, [False] * 40]
    names = ["Male", *(f"Attribute_{at}" for at in range(1, 40))]
    files = [f"{at + 1:06d}.jpg" for at in range(ROWS)]
    for at, name in enumerate(files):
        Image.fromarray(np.full((218, 178, 3), at, np.uint8)).save(here / "img_align_celeba" / name, quality=95)
    lines = [f"{name}  {' '.join(' 1' if value else '-1' for value in has[at])}" for at, name in enumerate(files)]
    (here / "list_attr_celeba.txt").write_text("\n".join([str(ROWS), " ".join(names) + " ", *lines]) + "\n")
    parts = [0] * 20 + [1] * 4 + [2] * 6
    (here / "list_eval_partition.txt").write_text(
        "".join(f"{name} {part}\n" for name, part in zip(files, parts, strict=True))
    )
    return has


def quickdraw_files(root: Path, count: int) -> None:
    (root / "quickdraw").mkdir(parents=True, exist_ok=True)
    for at, name in enumerate(_quickdraw.CLASSES):
        drawings = np.zeros((count, 784), np.uint8)
        drawings[:, 0] = at
        drawings[:, 1] = np.arange(count) % 256
        drawings[:, 2] = np.arange(count) // 256
        file = f"full_numpy_bitmap_{name}.npy" if at % 2 else f"{name}.npy"
        np.save(root / "quickdraw" / file, drawings)


def write_cub(root: Path, classes: int = 3, each: int = 6) -> Path:
    """The official layout, with striped pictures of different shapes."""
    here = root / "CUB_200_2011"
    tables: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": [], "classes": []}
    number = 0
    for label in range(classes):
        name = f"{label + 1:03}.Black_footed_Albatross{label}"
        tables["classes"].append(f"{label + 1} {name}")
        (here / "images" / name).mkdir(parents=True)
        for at, image in enumerate(striped(label, each, 64, 3)):
            number += 1
            (here / "images" / name / f"bird_{at}.jpg").write_bytes(encoded(image[: 48 + 4 * (at % 3)], "JPEG"))
            tables["images"].append(f"{number} {name}/bird_{at}.jpg")
            tables["image_class_labels"].append(f"{number} {label + 1}")
            tables["train_test_split"].append(f"{number} {int(at < each - 2)}")
    for name, lines in tables.items():
        (here / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return here
