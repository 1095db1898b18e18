"""The split of a file or folder, from the whole words of its name: one rule for pictures and parquet."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.data.files import is_system, name_in
from kmex_core.data.sheets import Sheets
from kmex_core.data.tables import FILES

SPLITS = ("train", "test", "validation")
WORDS = {
    "train": "train", "training": "train",
    "test": "test", "testing": "test",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
}  # fmt: skip
# as on Hugging Face; next to a "test" these words are ambiguous, so they count only if nothing else names a split
SPARE_WORDS = {"eval": "test", "evaluation": "test", "holdout": "test"}
_PARQUET = "*.[pP][aA][rR][qQ][uU][eE][tT]"
_SHARD = re.compile(r"-(\d+)-of-(\d+)")


def split_of(name: str) -> str:
    """The split in a name, "" for none: `Train`, `my-train-2.parquet`, `validation-00000-of-00002.parquet`.

    Only whole words count: `latest_train` is "train", `contest` names no split.

    Args:
        name: of a file or folder, without its path.

    Raises:
        InputError: for a name with two splits.
    """
    splits, _ = _said(name)
    if len(splits) > 1:
        raise InputError(
            f"'{name}' names two splits ({' and '.join(splits)}). Rename it after one of them: {', '.join(WORDS)}."
        )
    return next(iter(splits), "")


def _said(name: str) -> tuple[list[str], bool]:
    """The splits in a name, and whether they come from `SPARE_WORDS` alone."""
    words = re.findall(r"[^\W\d_]+", name.lower().removesuffix(".parquet"))
    sure = list(dict.fromkeys(WORDS[word] for word in words if word in WORDS))
    spare = list(dict.fromkeys(SPARE_WORDS[word] for word in words if word in SPARE_WORDS))
    return sure or spare, not sure


@dataclass(frozen=True)
class Layout:
    """The splits in a folder.

    Attributes:
        kind: how it is read, see `layouts.find`; "" when there is no training split.
        home: the folder that contains the splits: the data set's, or its `data/`.
        places: by split, its parquet files in order, or its one folder.
        others: parquet files and folders that are unused because of their names.
        notes: what a person should know about the choice.
        seen: the folders in which another parquet file or folder would change the choice.
        level: the level of folders that are classes, from 1, below the splits or else the data set's folder.
        sheets: tables that give the classes.
        class_column: the column that is the class, "" where none was found.
    """

    kind: str
    home: Path
    places: dict[str, list[Path]] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seen: tuple[Path, ...] = ()
    level: int = 1
    sheets: Sheets | None = None
    class_column: str = ""


Named = list[tuple[Path, str]]  # paths, and the names that determine their splits


def layout_of(folder: Path) -> Layout:
    """The splits in a folder: parquet files in it, in its `data/`, or in folders named after splits in either; else
    folders of pictures named after splits, in it or else in its `data/`.

    Raises:
        InputError: when a name contains two splits and no other names one of them, or two folders name the same one.
    """
    homes = [folder, folder / "data"] if (folder / "data").is_dir() else [folder]
    inner = {home: [path for path in _folders(home) if path not in homes] for home in homes}
    tables: Named = []
    for home in homes:
        tables += [(path, path.name) for path in parquet_files(home)]
        tables += [(path, of.name) for of in inner[home] for path in parquet_files(of)]
    files, unused = _by_split(tables)
    pictures = {home: _by_split([(path, path.name) for path in inner[home]]) for home in homes}
    if "train" in files:
        _refuse_unclear(unused, files)
        others = _names(unused, folder)
        holding = {path.parent for path, _ in tables}
        unread = [path for of, _ in pictures.values() for paths in of.values() for path in paths if path not in holding]
        seen = (*homes, *(path for of in inner.values() for path in of if _said(path.name)[0]))
        notes = (*_shard_notes(files), *_unused_notes(others), *_unread_notes(unread, folder, "parquet files"))
        return Layout("parquet", folder, files, others, notes, seen)
    home = next((home for home in homes if "train" in pictures[home][0]), folder)
    folders, rest = pictures[home]
    _refuse_unclear(rest, folders)
    if "train" not in folders:
        _refuse_unclear(unused, files)
        return Layout("", folder, others=_names(rest + unused, folder))
    for other in homes:
        if other != home:
            by_split, unsaid = pictures[other]
            rest += [*((path, path.name) for paths in by_split.values() for path in paths), *unsaid]
    places = {}
    for split, paths in folders.items():
        exact = [path for path in paths if path.name.lower() in WORDS | SPARE_WORDS]
        chosen = exact if len(exact) == 1 else paths
        if len(chosen) > 1:
            names = " and ".join(f"'{path.name}'" for path in chosen[:3])
            raise InputError(f"{home} has more than one folder for the {split} split: {names}. Keep one of them.")
        places[split] = chosen
        rest += [(path, path.name) for path in paths if path not in chosen]
    others = _names(rest + unused, folder)
    unread = [path for paths in files.values() for path in paths]
    notes = (*_unused_notes(others), *_unread_notes(unread, folder, "folders of pictures"))
    return Layout("folder", home, places, others, notes, tuple(homes))


def _by_split(named: Named) -> tuple[dict[str, list[Path]], Named]:
    """The paths of each split, and the unused ones."""
    named_splits = [_said(name) for _, name in named]
    certain = {splits[0] for splits, spare in named_splits if len(splits) == 1 and not spare}
    places: dict[str, list[Path]] = {}
    unused = []
    for (path, name), (splits, spare) in zip(named, named_splits, strict=True):
        if len(splits) == 1 and not (spare and splits[0] in certain):
            places.setdefault(splits[0], []).append(path)
        else:
            unused.append((path, name))
    return places, unused


def _refuse_unclear(unused: Named, places: Mapping[str, list[Path]]) -> None:
    """Refuse a name with several splits if no other path provides one of them: it must be meant as one."""
    for _, name in unused:
        if not any(split in places for split in _said(name)[0]):
            split_of(name)


def word_of(text: str) -> str:
    """The one split in a name or word, "" for none or several."""
    splits, _ = _said(text)
    return splits[0] if len(splits) == 1 else ""


def parquet_files(folder: Path) -> list[Path]:
    """The parquet files in a folder that may have images, sorted."""
    return sorted(path for path in folder.glob(_PARQUET) if path.name not in FILES and not is_system(path.name))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_system(path.name))


def _names(named: Named, root: Path) -> tuple[str, ...]:
    return tuple(name_in(path, root) for path, _ in named)


def _unused_notes(others: Sequence[str]) -> tuple[str, ...]:
    because = "their names give no split, several splits, or one that is already in use"
    return (f"Not used, because {because}: {first_few(others)}.",) if others else ()


def _unread_notes(paths: Sequence[Path], root: Path, kind: str) -> tuple[str, ...]:
    names = [name_in(path, root) for path in paths]
    return (f"Not used, because the training split is in {kind}: {first_few(names)}.",) if names else ()


def _shard_notes(by_split: dict[str, list[Path]]) -> tuple[str, ...]:
    """Notes on odd files of a split: missing parts, or several sets of files side by side."""
    notes = []
    for split, paths in by_split.items():
        shards = [_SHARD.search(path.stem) for path in paths]
        expected = max((int(shard[2]) for shard in shards if shard), default=0)
        present = {int(shard[1]) for shard in shards if shard}
        if expected > len(present) and expected <= 100_000:
            missing = [str(number) for number in range(expected) if number not in present]
            notes.append(
                f"The {split} split is incomplete: {len(missing):,} of its {expected:,} files are missing "
                f"({first_few(missing)})."
            )
        sets = {
            (path.parent, path.stem[: shard.start()], shard[2]) if shard else path
            for path, shard in zip(paths, shards, strict=True)
        }
        if len(sets) > 1:
            root = Path(os.path.commonpath([path.parent for path in paths]))
            notes.append(
                f"The {split} split is read from {len(paths)} files: "
                f"{first_few([name_in(path, root) for path in paths])}."
            )
    return tuple(notes)
