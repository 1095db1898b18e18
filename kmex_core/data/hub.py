"""Data sets of the Hugging Face hub by name (`hf:NAME`): downloaded once as Arrow files, then read like any folder."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.store import READ_ONLY, read_only
from kmex_core.data.splits import word_of

PREFIX = "hf:"
OLDEST = 4  # the first version of `datasets` that runs no code from the hub
FOLDER = "huggingface"  # in the data root
# owner/name or name, perhaps with a configuration: hf:uoft-cs/cifar100, hf:mnist:mnist
_NAME = re.compile(r"([A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?)(?::([\w.-]{1,96}))?")


def is_hub_name(name: str) -> bool:
    """Whether a data set's name is one of the hub."""
    return name.startswith(PREFIX)


def folder_of(name: str, root: Path) -> Path:
    """Where a data set of the hub is kept in the data root.

    Raises:
        InputError: for a name that the hub cannot have.
    """
    match = _NAME.fullmatch(name.removeprefix(PREFIX))
    if match is None or ".." in name:
        raise InputError(
            f"'{name[:120]}' is no name of a data set on the Hugging Face hub: expected hf:OWNER/NAME, or "
            "hf:OWNER/NAME:CONFIGURATION."
        )
    return root / FOLDER / "--".join(part.replace("/", "--") for part in match.groups() if part)


def from_hub(name: str, root: Path, progress: Progress = silent) -> Path:
    """The folder of a data set of the hub; it is downloaded and saved as Arrow files if it is not there yet.

    The package `datasets` does this, which runs no code from the hub.

    Args:
        name: "hf:OWNER/NAME", or "hf:OWNER/NAME:CONFIGURATION".
        root: the data root.
        progress: called before and after the download.

    Raises:
        InputError: when `datasets` is not installed, the hub cannot be reached or has no such data set, the data set
            needs code or a configuration, or nothing may be written.
        StoreError: when it cannot be saved.
    """
    folder = folder_of(name, root)
    if (folder / "dataset_dict.json").is_file():
        return folder
    if read_only():
        raise InputError(
            f"{name} is not in {folder.parent}, and a read-only server or command ({READ_ONLY} is set) downloads "
            "nothing."
        )
    if importlib.util.find_spec("datasets") is None:
        raise InputError(
            f"{name} is a data set of the Hugging Face hub, which the package 'datasets' reads: pip install datasets. "
            "Or download its parquet files, and pass their folder."
        )
    progress(Event("Downloading from the Hugging Face hub", 0, 1))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            if not (folder / "dataset_dict.json").is_file():
                _save(_loaded(name), folder)
    except InputError:
        raise
    except OSError as error:
        raise StoreError(f"{name} cannot be saved in {folder.parent}: {error.strerror or error}.") from error
    progress(Event("Downloading from the Hugging Face hub", 1, 1))
    return folder


def _loaded(name: str) -> Any:
    """A `DatasetDict`."""
    datasets = importlib.import_module("datasets")
    match = _NAME.fullmatch(name.removeprefix(PREFIX))
    assert match is not None  # see `folder_of`
    if int(str(datasets.__version__).partition(".")[0]) < OLDEST:
        raise InputError(
            f"{name}: datasets {datasets.__version__} may run code from the hub; version {OLDEST} never does: "
            f"pip install 'datasets>={OLDEST}'."
        )
    if Path(match[1]).exists():  # which the library would read instead
        raise InputError(f"There is a folder {match[1]} here. Pass it as ./{match[1]}, or start from another folder.")
    try:
        loaded = datasets.load_dataset(match[1], match[2])
    except Exception as error:  # the library raises many kinds, and those of its own dependencies
        raise InputError(
            f"{name} cannot be loaded from the Hugging Face hub ({type(error).__name__}: {str(error)[:300]}). Check "
            "the name, the configuration (hf:OWNER/NAME:CONFIGURATION) and the network. Data sets that need code of "
            "their own are not read."
        ) from error
    if not isinstance(loaded, datasets.DatasetDict):
        loaded = datasets.DatasetDict({"train": loaded})
    if not any(word_of(split) == "train" for split in loaded):
        raise InputError(f"{name} has no training split, only: {', '.join(map(str, loaded))}.")
    return loaded


def _save(loaded: Any, folder: Path) -> None:
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        loaded.save_to_disk(str(part / "data"))
        shutil.rmtree(folder, ignore_errors=True)  # without `dataset_dict.json` it is not whole
        os.replace(part / "data", folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
