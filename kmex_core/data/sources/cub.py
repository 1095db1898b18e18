"""Caltech-UCSD Birds 200 (Wah et al. 2011), in the layout of its official archive."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Progress
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.content import Watch
from kmex_core.data.dataset import EncodedSplit, ImageDataset, fingerprint
from kmex_core.data.files import Tally, examine, file_digests
from kmex_core.data.listing import FileState, state_of
from kmex_core.data.pictures import DECODER
from kmex_core.data.source import DataSource

FOLDER = "CUB_200_2011"
TABLES = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")
IMAGE_SIZE = 224


class CUB200(DataSource):
    """CUB-200-2011."""

    name = "cub200"
    title = "CUB-200"
    about = "11,788 birds of 200 species, 224×224 colour; to be downloaded by hand"
    place = 9

    def is_there(self, root: Path) -> bool:
        """Whether the four tables and the folder of pictures are under `root`."""
        folder = root / FOLDER
        return all((folder / name).is_file() for name in TABLES) and (folder / "images").is_dir()

    def load(self, spec: DatasetSpec, progress: Progress) -> ImageDataset:
        """The official training and test images, whole (without the bounding boxes).

        Raises:
            InputError: when files are missing (the message says which, and where to get them), or the tables do not
                match.
        """
        folder = Path(spec.root) / FOLDER
        if not self.is_there(Path(spec.root)):
            missing = [name for name in TABLES if not (folder / name).is_file()]
            missing += [] if (folder / "images").is_dir() else ["images/"]
            raise InputError(
                f"CUB-200 is not complete in {folder}; missing: {', '.join(missing)}. Get CUB_200_2011.tgz (1.1 GB) "
                "from https://data.caltech.edu/records/65de6-vp158, and unpack it in the data root "
                "(--data-root or KMEX_DATA)."
            )
        paths, classes, training, names = (_table(folder / name) for name in TABLES)
        if set(paths) != set(classes) or set(paths) != set(training):
            raise InputError(
                f"The tables in {folder} do not list the same images ({len(paths):,} paths, {len(classes):,} classes, "
                f"{len(training):,} splits). Unpack the archive again."
            )
        numbers = {number: label for label, number in enumerate(sorted(names, key=int))}
        unknown = sorted(set(classes.values()) - set(numbers))
        if unknown:
            raise InputError(f"{folder / TABLES[1]} has class {unknown[0]}, which is missing in {TABLES[3]}.")
        files: dict[str, list[FileState]] = {"train": [], "test": []}
        lost: list[Path] = []
        labels: dict[str, list[int]] = {"train": [], "test": []}
        for number, name in paths.items():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise InputError(f"{folder / TABLES[0]} names '{name}', which is outside its folder of pictures.")
            split = "train" if training[number] == "1" else "test"
            path = folder / "images" / name
            try:
                files[split].append(state_of(path, name))
            except OSError:
                lost.append(path)
                continue
            labels[split].append(numbers[classes[number]])
        if lost:
            raise InputError(f"{len(lost):,} pictures are missing, for example {lost[0]}. Unpack the archive again.")
        shown = tuple(names[number].partition(".")[2].replace("_", " ") or names[number] for number in numbers)
        tally = Tally()
        examined = examine(files, spec.skip_broken, str(folder), tally, progress)
        splits = {
            split: EncodedSplit(
                [files[split][row] for row in rows],
                np.array(labels[split], dtype=np.int64)[rows],
                examined.digests[split],
                3,
                str(folder),
            )
            for split, rows in examined.sound.items()
        }
        return ImageDataset(
            name=spec.name,
            splits=splits,
            class_names=shown,
            channels=3,
            image_size=spec.image_size or IMAGE_SIZE,
            augmentation="flip-crop",
            fingerprint=fingerprint(
                [*examined.identity, *file_digests([(folder / name, name) for name in TABLES])], spec.name, DECODER
            ),
            notes=examined.notes,
            left_out=tally.result(),
            watched=tuple(Watch(folder / name) for name in (*TABLES, "images")),
        )


def _table(path: Path) -> dict[str, str]:
    """The words by number from a file with a number and a word per line."""
    values: dict[str, str] = {}
    for line_number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        number, _, rest = line.strip().partition(" ")
        if not number.isdecimal() or not rest:
            raise InputError(f"Line {line_number} of {path}: expected a number and a word, got '{line[:60]}'.")
        values[number] = rest.strip()
    return values
