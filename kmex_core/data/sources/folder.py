"""Image data sets in folders: one per split with a subfolder per class, or with a table that gives the class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.annotations import annotate, matched, read_annotations, table_beside
from kmex_core.data.content import FileState, Watch
from kmex_core.data.dataset import (
    EncodedSplit,
    ImageDataset,
    Split,
    fingerprint,
    survey,
    usual_size,
    with_test_split,
)
from kmex_core.data.files import LOOSE, Tally, examine, file_digests, scan
from kmex_core.data.pictures import SUFFIXES
from kmex_core.data.splits import SPLITS, Layout


def load_folder(spec: DatasetSpec, layout: Layout, progress: Progress = silent) -> ImageDataset:
    """A folder with one folder per split, and in each one folder per class; pictures may be nested deeper.

    A table beside them (see `annotations.matched`) gives attributes, and with `class_column` the class; the pictures
    may then be nested in any way. Pictures are recognised by suffix; everything else is counted in `left_out`.

    Args:
        spec: `root` is the folder that contains the splits.
        layout: its splits.
        progress: called while pictures are read for the first time.

    Raises:
        InputError: when there are no classes or pictures, a picture cannot be read, or a table does not match.
    """
    folder = Path(spec.root)
    places = {split: layout.places[split][0] for split in SPLITS if split in layout.places}
    beside = table_beside(folder)
    if spec.class_column and beside is None:
        raise InputError(
            f"{folder} has no table with a column '{spec.class_column}': expected attributes.csv or attributes.parquet "
            f"beside {places['train'].name}/."
        )
    tally, files, empty = Tally(), dict[str, list[FileState]](), set[str]()
    for split, place in places.items():
        scanned = scan(place, folder, tally)
        files[split] = scanned.files if spec.class_column else _in_classes(scanned.files, tally)
        if not spec.class_column:
            empty |= set(scanned.folders) - {_class_of(file) for file in files[split]}
        if split == "train" and not spec.class_column and not scanned.folders:
            raise InputError(f"{place} has no subfolders; expected one folder of pictures per class.")
    if not files["train"]:
        raise InputError(f"{places['train']} has no pictures ({', '.join(SUFFIXES)}) in its class folders.")
    examined = examine(files, spec.skip_broken, str(folder), tally, progress)
    files = {split: [files[split][row] for row in rows] for split, rows in examined.sound.items()}
    if not files["train"]:
        raise InputError(f"{places['train']} has no readable picture.")
    names = [] if spec.class_column else sorted({_class_of(file) for part in files.values() for file in part})
    number = {name: label for label, name in enumerate(names)}
    shapes, channels, decoder = survey(files["train"], str(folder))
    splits: dict[str, Split] = {
        split: EncodedSplit(
            part,
            np.array([number.get(_class_of(file), 0) for file in part], dtype=np.int64),
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
        annotations = read_annotations(table, len(files["train"]), spec.class_column, beside.name)
        splits, without = annotate(splits, annotations, beside.name)
        names = list(annotations.class_names) or names
        notes += [*without, *unmatched, *annotations.notes]
        identity += file_digests([(beside, beside.name)])
    empty -= set(names)
    if empty:
        quoted = [f"'{name}'" for name in sorted(empty)]
        notes.append(f"Left out, because they contain no pictures: {first_few(quoted)}.")
    divided = with_test_split(splits, names)
    return ImageDataset(
        name=spec.name,
        splits=divided.splits,
        class_names=tuple(names),
        channels=channels,
        image_size=spec.image_size or usual_size(shapes),
        augmentation="flip-crop" if channels == 3 else "none",
        fingerprint=fingerprint(identity, "folder", decoder, names, spec.class_column, *divided.marks),
        notes=(*divided.notes, *notes),
        class_column=spec.class_column,
        test_from=divided.test_from,
        left_out=tally.result(),
        watched=(
            *(Watch(place, deep=False) for place in layout.seen),
            *(Watch(place) for place in places.values()),
        ),
    )


def _class_of(file: FileState) -> str:
    """The class folder of a picture: the first level below the split's folder."""
    return file.name.split("/")[1]


def _in_classes(files: list[FileState], tally: Tally) -> list[FileState]:
    inside = []
    for file in files:
        if file.name.count("/") < 2:
            tally.add(LOOSE, file.name)
        else:
            inside.append(file)
    return sorted(inside, key=lambda file: (_class_of(file), file.name))
