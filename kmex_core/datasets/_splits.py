"""Which split a file or a folder belongs to, by the whole words of its name: one rule for pictures and for parquet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kmex_core.errors import InputError

SPLITS = ("train", "test", "validation")
WORDS = {
    "train": "train", "training": "train",
    "test": "test", "testing": "test",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
}  # fmt: skip
_SHARD = re.compile(r"-(\d+)-of-(\d+)")


def split_of(name: str) -> str:
    """The split that a name says, "" for none: `Train`, `my-train-2.parquet`, `validation-00000-of-00002.parquet`.

    Only whole words count, that is letters between anything else: `latest_train` is "train", `contest` says nothing.

    Args:
        name: of a file or a folder, without the path before it.

    Raises:
        InputError: for a name that says two splits.
    """
    stem = name.rsplit(".parquet", 1)[0]
    said = dict.fromkeys(WORDS[word] for word in re.findall(r"[^\W\d_]+", stem.lower()) if word in WORDS)
    if len(said) > 1:
        raise InputError(
            f"'{name}' names two splits ({' and '.join(said)}). Rename it after one of them: {', '.join(WORDS)}."
        )
    return next(iter(said), "")


@dataclass(frozen=True)
class Layout:
    """Where a folder's splits are.

    Attributes:
        kind: "parquet", "folder", or "" when there is no training split.
        places: by split, its parquet files in order, or its one folder.
        others: names of parquet files and of split folders that are not used.
        notes: what a person should know about the choice.
    """

    kind: str
    places: dict[str, list[Path]] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def layout_of(folder: Path) -> Layout:
    """The splits in a folder: parquet files in it, in its `data/`, or in folders named after splits in either; else
    folders of pictures named after splits.

    Raises:
        InputError: when a name says two splits, or two folders say the same one.
    """
    homes = [folder, folder / "data"] if (folder / "data").is_dir() else [folder]
    by_split: dict[str, list[Path]] = {}
    others = []
    for home in homes:
        named = [(path, split_of(path.name)) for path in _parquet(home)]
        for inner in _folders(home):
            if files := _parquet(inner):
                split = split_of(inner.name)
                named += [(path, split or split_of(path.name)) for path in files] if split else []
        for path, split in named:
            if split:
                by_split.setdefault(split, []).append(path)
            else:
                others.append(path.name)
    if "train" in by_split:
        return Layout("parquet", by_split, tuple(others), _shard_notes(by_split))
    folders: dict[str, list[Path]] = {}
    for inner in _folders(folder):
        if split := split_of(inner.name):
            folders.setdefault(split, []).append(inner)
    places, unused = {}, []
    for split, found in folders.items():
        exact = [path for path in found if path.name.lower() in WORDS]
        chosen = exact if len(exact) == 1 else found
        if len(chosen) > 1:
            names = " and ".join(f"'{path.name}'" for path in chosen[:3])
            raise InputError(f"{folder} has more than one folder for the {split} split: {names}. Keep one of them.")
        places[split] = chosen
        unused += [path.name for path in found if path not in chosen]
    return Layout("folder" if "train" in places else "", places, (*unused, *others))


def _parquet(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _shard_notes(by_split: dict[str, list[Path]]) -> tuple[str, ...]:
    """What is odd about the files of each split: parts that are missing, or whole files side by side."""
    notes = []
    for split, paths in by_split.items():
        shards = [_SHARD.search(path.stem) for path in paths]
        expected = max((int(shard[2]) for shard in shards if shard), default=0)
        present = {int(shard[1]) for shard in shards if shard}
        if expected > len(present) and expected <= 100_000:
            missing = [str(number) for number in range(expected) if number not in present]
            notes.append(
                f"The {split} split is incomplete: {len(missing):,} of its {expected:,} files are missing "
                f"({_some(missing)})."
            )
        if len(paths) - sum(shard is not None for shard in shards) > 1:
            notes.append(f"The {split} split is read from {len(paths)} files: {_some(path.name for path in paths)}.")
    return tuple(notes)


def _some(names: Iterable[str], most: int = 4) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
