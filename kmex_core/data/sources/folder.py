"""Image data sets in folders: a folder per class, in one folder per split or in one for all."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.annotations import annotate, read_annotations
from kmex_core.data.content import Watch
from kmex_core.data.dataset import EncodedSplit, ImageDataset, Split, fingerprint, survey, usual_size
from kmex_core.data.files import LOOSE, Tally, examine, file_digests, scan
from kmex_core.data.held_out import with_test_split
from kmex_core.data.layouts import FOLDER_LEVEL
from kmex_core.data.listing import Files
from kmex_core.data.pictures import SUFFIXES
from kmex_core.data.splits import SPLITS, Layout
from kmex_core.data.tables import matched, table_beside


@dataclass(frozen=True)
class _Levels:
    """Which folder of a picture's path is what.

    Attributes:
        top: how many folders are above the first that can be a class: 1 for the split's, 0 without splits.
        level: of the class, from 1.
    """

    top: int
    level: int

    def class_of(self, name: str) -> str:
        """The class folder of a picture."""
        return name.split("/")[self.top + self.level - 1]

    def session_of(self, name: str) -> str:
        """The other of the two outer folders of a picture, "" if there is only one."""
        folders = name.split("/")[self.top : -1]
        return folders[2 - self.level] if len(folders) > 1 and self.level <= 2 else ""

    def inside(self, files: Files, tally: Tally) -> Files:
        """The pictures that are in class folders, sorted by class and name.

        Args:
            files: sorted by name.
            tally: receives the others.
        """
        rows = array("q")
        for row, name in enumerate(files.names()):
            if name.count("/") < self.top + self.level:
                tally.add(LOOSE, name)
            else:
                rows.append(row)
        inside = files.take(np.array(rows, dtype=np.int64))
        return inside.take(np.argsort(self.labels_of(inside, self.classes_of([inside])), kind="stable"))

    def classes_of(self, parts: Iterable[Files]) -> list[str]:
        """The names of the class folders of all pictures, sorted."""
        return sorted({self.class_of(name) for part in parts for name in part.names()})

    def labels_of(self, files: Files, classes: Sequence[str]) -> np.ndarray:
        """(N,) int64, the position of each picture's class folder in `classes`."""
        number = {name: label for label, name in enumerate(classes)}
        return np.fromiter((number[self.class_of(name)] for name in files.names()), np.int64, len(files))


def load_folder(spec: DatasetSpec, layout: Layout, progress: Progress = silent) -> ImageDataset:
    """A folder with one folder per split, or without splits, and in it one folder per class; pictures may be nested
    deeper.

    A table beside them (see `tables.matched`) gives attributes, and with `class_column` the class; the pictures
    may then be nested in any way. Pictures are recognised by suffix; everything else is counted in `left_out`.

    Args:
        spec: `root` is the folder that contains the splits; the class column "folder:2" is the second folder of a path.
        layout: its splits, "folder" or "classes".
        progress: called while pictures are read for the first time.

    Raises:
        InputError: when there are no classes or pictures, a picture cannot be read, or a table does not match.
    """
    folder = Path(spec.root)
    places = {split: layout.places[split][0] for split in SPLITS if split in layout.places}
    beside = table_beside(folder)
    given = FOLDER_LEVEL.fullmatch(spec.class_column)
    level = int(given[1]) if given else layout.level
    levels = _Levels(1 if layout.kind == "folder" else 0, level)
    named = f"folder:{level}" if given or level > 1 else ""
    column = "" if named else spec.class_column or layout.class_column
    if column and beside is None:
        raise InputError(
            f"{folder} has no table with a column '{column}': expected attributes.csv or attributes.parquet "
            f"beside {places['train'].name}/."
        )
    tally, files, empty = Tally(), dict[str, Files](), set[str]()
    for split, place in places.items():
        scanned = scan(place, folder, tally, {beside.name} if beside else ())
        files[split] = scanned.files if column else levels.inside(scanned.files, tally)
        if not column and level == 1:
            empty |= set(scanned.folders) - set(levels.classes_of([files[split]]))
        if split == "train" and not column and not scanned.folders:
            raise InputError(f"{place} has no subfolders; expected one folder of pictures per class.")
    if not files["train"]:
        raise InputError(f"{places['train']} has no pictures ({', '.join(SUFFIXES)}) in its class folders.")
    examined = examine(files, spec.skip_broken, str(folder), tally, progress)
    files = {split: files[split].take(rows) for split, rows in examined.sound.items()}
    if not files["train"]:
        raise InputError(f"{places['train']} has no readable picture.")
    names = [] if column else levels.classes_of(files.values())
    shapes, channels, decoder = survey(files["train"], str(folder))
    splits: dict[str, Split] = {
        split: EncodedSplit(
            part,
            np.zeros(len(part), dtype=np.int64) if column else levels.labels_of(part, names),
            examined.digests[split],
            channels,
            str(folder),
        )
        for split, part in files.items()
    }
    notes = [*layout.notes, *examined.notes]
    tables = []
    if beside is not None:
        images = [name for part in files.values() for name in part.names()]
        table, unmatched = matched(beside, images, ())
        annotations = read_annotations(table, len(files["train"]), column, beside.name)
        splits, without = annotate(splits, annotations, beside.name)
        names = list(annotations.class_names) or names
        notes += [*without, *unmatched, *annotations.notes]
        tables += file_digests([(beside, beside.name)])
    empty -= set(names)
    if empty:
        quoted = [f"'{name}'" for name in sorted(empty)]
        notes.append(f"Left out, because they contain no pictures: {first_few(quoted)}.")
    sessions = _sessions(files["train"], levels.session_of) if layout.kind == "classes" else None
    divided = with_test_split(splits, names, sessions)
    return ImageDataset(
        name=spec.name,
        splits=divided.splits,
        class_names=tuple(names),
        channels=channels,
        image_size=spec.image_size or usual_size(shapes),
        augmentation="flip-crop" if channels == 3 else "none",
        fingerprint=fingerprint(
            itertools.chain(examined.identity, tables), layout.kind, decoder, names, named or column, *divided.marks
        ),
        notes=(*divided.notes, *notes),
        class_column=named or column,
        test_from=divided.test_from,
        left_out=tally.result(),
        watched=(
            *(Watch(place, deep=False) for place in layout.seen),
            *(Watch(place) for place in places.values()),
        ),
    )


def _sessions(files: Files, session_of: Callable[[str], str]) -> np.ndarray | None:
    """(N,) the session of each picture, None if there are none."""
    sessions = np.array([session_of(name) for name in files.names()])
    return sessions if (sessions != "").any() else None
