"""Image data sets in folders: a folder per class, in one folder per split or in one for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.annotations import annotate, read_annotations
from kmex_core.data.content import FileState, Watch
from kmex_core.data.dataset import EncodedSplit, ImageDataset, Split, fingerprint, survey, usual_size
from kmex_core.data.files import LOOSE, Tally, examine, file_digests, scan
from kmex_core.data.held_out import with_test_split
from kmex_core.data.layouts import FOLDER_LEVEL
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

    def class_of(self, file: FileState) -> str:
        """The class folder of a picture."""
        return file.name.split("/")[self.top + self.level - 1]

    def session_of(self, file: FileState) -> str:
        """The other of the two outer folders of a picture, "" if there is only one."""
        folders = file.name.split("/")[self.top : -1]
        return folders[2 - self.level] if len(folders) > 1 and self.level <= 2 else ""

    def inside(self, files: list[FileState], tally: Tally) -> list[FileState]:
        """The pictures that are in class folders, sorted by class and name."""
        deep = self.top + self.level
        for file in files:
            if file.name.count("/") < deep:
                tally.add(LOOSE, file.name)
        return sorted(
            (file for file in files if file.name.count("/") >= deep), key=lambda file: (self.class_of(file), file.name)
        )


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
    tally, files, empty = Tally(), dict[str, list[FileState]](), set[str]()
    for split, place in places.items():
        scanned = scan(place, folder, tally, {beside.name} if beside else ())
        files[split] = scanned.files if column else levels.inside(scanned.files, tally)
        if not column and level == 1:
            empty |= set(scanned.folders) - {levels.class_of(file) for file in files[split]}
        if split == "train" and not column and not scanned.folders:
            raise InputError(f"{place} has no subfolders; expected one folder of pictures per class.")
    if not files["train"]:
        raise InputError(f"{places['train']} has no pictures ({', '.join(SUFFIXES)}) in its class folders.")
    examined = examine(files, spec.skip_broken, str(folder), tally, progress)
    files = {split: [files[split][row] for row in rows] for split, rows in examined.sound.items()}
    if not files["train"]:
        raise InputError(f"{places['train']} has no readable picture.")
    names = [] if column else sorted({levels.class_of(file) for part in files.values() for file in part})
    number = {name: label for label, name in enumerate(names)}
    shapes, channels, decoder = survey(files["train"], str(folder))
    splits: dict[str, Split] = {
        split: EncodedSplit(
            part,
            np.array([0 if column else number[levels.class_of(file)] for file in part], dtype=np.int64),
            examined.digests[split],
            channels,
            str(folder),
        )
        for split, part in files.items()
    }
    notes = [*layout.notes, *examined.notes]
    identity = list(examined.identity)
    if beside is not None:
        images = [file.name for part in files.values() for file in part]
        table, unmatched = matched(beside, images, ())
        annotations = read_annotations(table, len(files["train"]), column, beside.name)
        splits, without = annotate(splits, annotations, beside.name)
        names = list(annotations.class_names) or names
        notes += [*without, *unmatched, *annotations.notes]
        identity += file_digests([(beside, beside.name)])
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
        fingerprint=fingerprint(identity, layout.kind, decoder, names, named or column, *divided.marks),
        notes=(*divided.notes, *notes),
        class_column=named or column,
        test_from=divided.test_from,
        left_out=tally.result(),
        watched=(
            *(Watch(place, deep=False) for place in layout.seen),
            *(Watch(place) for place in places.values()),
        ),
    )


def _sessions(files: list[FileState], session_of: Callable[[FileState], str]) -> np.ndarray | None:
    """(N,) the session of each picture, None if there are none."""
    sessions = np.array([session_of(file) for file in files])
    return sessions if (sessions != "").any() else None
