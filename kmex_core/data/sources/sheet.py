"""Pictures in any folders, with tables that name them and give their classes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.annotations import annotate, read_annotations
from kmex_core.data.columns import is_class_name
from kmex_core.data.content import Watch
from kmex_core.data.dataset import EncodedSplit, ImageDataset, Split, fingerprint, survey, usual_size
from kmex_core.data.files import Tally, examine, file_digests, scan
from kmex_core.data.held_out import with_test_split
from kmex_core.data.splits import SPARE_WORDS, SPLITS, WORDS, Layout, word_of

UNNAMED = "pictures that no row of the table names"


def load_sheet(spec: DatasetSpec, layout: Layout, progress: Progress = silent) -> ImageDataset:
    """Pictures in any folders whose classes are a column of tables.

    The split of a picture is that of its row, where the table has a column for it or is named after a split, else that
    of its folder, else "train". Boolean columns of the table are attributes.

    Args:
        spec: `root` is the folder.
        layout: "sheet", with its tables.
        progress: called while pictures are read for the first time.

    Raises:
        InputError: when a picture cannot be read, or no training image has a class.
    """
    assert layout.sheets is not None
    folder, sheets, tally = Path(spec.root), layout.sheets, Tally()
    found = scan(folder, folder, tally, {name for _, name in sheets.files}).files
    rows = np.full(len(found), -1, dtype=np.int64)
    rows[sheets.images] = np.arange(len(sheets.images))
    places = {place[0].relative_to(folder).as_posix() + "/": split for split, place in layout.places.items()}
    members: dict[str, list[int]] = {"train": []}
    for position, name in enumerate(found.names()):
        if rows[position] < 0:
            tally.add(UNNAMED, name)
        else:
            members.setdefault(_split_of(name, sheets.split[rows[position]], places), []).append(position)
    members = {split: members[split] for split in SPLITS if split in members}
    files = {split: found.take(np.array(of, dtype=np.int64)) for split, of in members.items()}
    if not files["train"]:
        raise InputError(f"{sheets.name} in {folder} names no training picture.")
    examined = examine(files, spec.skip_broken, str(folder), tally, progress)
    files = {split: files[split].take(sound) for split, sound in examined.sound.items()}
    if not files["train"]:
        raise InputError(f"{folder} has no readable training picture.")
    shapes, channels, decoder = survey(files["train"], str(folder))
    splits: dict[str, Split] = {
        split: EncodedSplit(part, np.zeros(len(part), dtype=np.int64), examined.digests[split], channels, str(folder))
        for split, part in files.items()
    }
    order = np.concatenate([np.array(members[split])[sound] for split, sound in examined.sound.items()])
    table = sheets.frame.iloc[rows[order]].reset_index(drop=True)
    annotations = read_annotations(
        table, len(files["train"]), sheets.label, sheets.name, words_only=is_class_name(sheets.label)
    )
    splits, without = annotate(splits, annotations, sheets.name)
    divided = with_test_split(splits, annotations.class_names)
    identity = itertools.chain(examined.identity, file_digests(sheets.files))
    return ImageDataset(
        name=spec.name,
        splits=divided.splits,
        class_names=annotations.class_names,
        channels=channels,
        image_size=spec.image_size or usual_size(shapes),
        augmentation="flip-crop" if channels == 3 else "none",
        fingerprint=fingerprint(identity, "sheet", decoder, spec.image_column, sheets.label, *divided.marks),
        notes=(*divided.notes, *layout.notes, *without, *examined.notes, *annotations.notes),
        class_column=sheets.label,
        test_from=divided.test_from,
        left_out=tally.result(),
        watched=(Watch(folder),),
    )


def _split_of(name: str, given: str, places: dict[str, str]) -> str:
    """The split of a picture: its row's, else that of a folder it is in, else "train"."""
    inside = (split for place, split in places.items() if name.startswith(place))
    return given or next(inside, "") or next(_splits_in(name), "") or "train"


def _splits_in(name: str) -> Iterator[str]:
    """The splits that whole names of the folders in a path say."""
    return (word_of(folder) for folder in name.split("/")[:-1] if folder.lower() in WORDS | SPARE_WORDS)
