"""Foreign weights: read without running any code, and matched to an architecture by name and shape.

Sizes are checked before memory is taken: what a file says of itself (its directory, the shapes in its header) is read
first, its tensors stay on disk where the format allows, and only those that have a place in the network are loaded.
"""

from __future__ import annotations

import pickletools
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kmex_core.base.errors import InputError
from kmex_core.networks.file_kinds import SAVED, directory, foreign, safetensors_header

MOST_BYTES = 4 * 2**30
MOST_HEADER = 16 * 2**20  # of a safetensors file, and the pickle in a file of torch.save
MOST_TENSORS, MOST_PARTS, LONGEST_NAME = 20_000, 64, 512
HOLDERS = (
    "state_dict", "model_state_dict", "model_state", "model", "network", "net", "net_state_dict", "module", "weights",
    "params", "ema", "state_dict_ema", "ema_state_dict", "model_ema", "params_ema",
)  # fmt: skip
WAY_OUT = (
    f"If you trust it, save only its weights with {SAVED} or "
    "`safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')`, and import that."
)
# harmless things beside the weights: their place is taken by something that keeps nothing and does nothing
BESIDE = (
    "argparse.Namespace", "types.SimpleNamespace", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
    "numpy.dtype", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath", "pathlib._local.PosixPath",
    "datetime.datetime", "datetime.timedelta",
)  # fmt: skip
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # how torch.save began before PyTorch 1.6


class _Nothing:
    """Takes the place of something in a checkpoint that is not needed."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


# ---------------------------------------------------------------------------------------------------------------------
# reading


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a file that `torch.save` wrote of a state dict, by name.

    No code of the file is run: what is more than tensors, numbers, texts, lists and dicts is refused. The tensors are
    as they were saved: of any type, layout and stride (see `converted`).

    Raises:
        InputError: when there is no such file, it is too large, damaged, of another framework, a whole pickled model,
            or has no tensors.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path} is not a file." if path.exists() else f"There is no file {path}.")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path} has {size / 2**30:.1f} GiB; the limit is {MOST_BYTES // 2**30}.")
        if why := foreign(path):
            raise InputError(f"{path} {why}")
        with path.open("rb") as file:
            start = file.read(16)
        if start[8:9] == b"{":
            return _checked(path, _safetensors(path))
        loaded = _zipped(path) if start[:2] == b"PK" else _legacy(path, size)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    return _checked(path, _tensors(path, loaded))


def _checked(path: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    if len(state) > MOST_TENSORS:
        raise InputError(f"{path} has {len(state):,} tensors; the limit is {MOST_TENSORS:,}.")
    for name in state:
        if len(name) > LONGEST_NAME or name.count(".") >= MOST_PARTS:
            raise InputError(
                f"{path} names a tensor '{name[:40]} …' with {len(name):,} characters and {name.count('.'):,} dots: no "
                f"network has such names (at most {LONGEST_NAME} and {MOST_PARTS - 1} are read)."
            )
    return state


def _safetensors(path: Path) -> dict[str, Tensor]:
    header = safetensors_header(path, MOST_HEADER)
    if header is None:
        raise InputError(f"{path} is damaged or not a safetensors file (its header cannot be read).")
    if len(header) > MOST_TENSORS + 1:
        raise InputError(f"{path} has {len(header):,} tensors; the limit is {MOST_TENSORS:,}.")
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or not a safetensors file ({_first_line(error)}).") from error
    if not state:
        raise InputError(f"{path} has no tensors.")
    return state


def _zipped(path: Path) -> Any:
    """A file of torch.save since PyTorch 1.6, its tensors left on disk."""
    size = path.stat().st_size
    try:
        with directory(path) as archive:
            members = archive.infolist()
            pickles = [info for info in members if info.filename.rpartition("/")[2] == "data.pkl"]
            if any(info.compress_type != zipfile.ZIP_STORED for info in members):
                total = sum(info.file_size for info in members)
                raise InputError(
                    f"{path} is a compressed zip archive ({total / 2**20:,.0f} MiB unpacked), which torch.save never "
                    f"writes. If you trust it, load it in Python and save it again: {SAVED}."
                )
            if sum(info.file_size for info in members) > size:
                raise InputError(f"{path} is damaged: the parts of the archive are larger than the file.")
            if len(pickles) != 1 or len({info.filename for info in members}) != len(members):
                raise InputError(f"{path} is damaged: it does not contain exactly one checkpoint.")
            if pickles[0].file_size > MOST_HEADER:
                raise InputError(
                    f"{path} holds {pickles[0].file_size / 2**20:,.0f} MiB besides its tensors; the limit is "
                    f"{MOST_HEADER // 2**20}. {WAY_OUT}"
                )
            _scan(path, archive.read(pickles[0]), size)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is damaged or truncated ({_first_line(error)}). Download or copy it again."
        ) from error
    return _load(path, True)


def _legacy(path: Path, size: int) -> Any:
    """A file of torch.save before PyTorch 1.6, or any other pickle (which torch then refuses)."""
    with path.open("rb") as file:
        pickles = 5 if file.read(len(LEGACY)) == LEGACY else 1
        file.seek(0)
        # a magic number, a version, what the machine was like, the object, the keys of its storages
        for _ in range(pickles):
            _scan(path, file, size)
    return _load(path, False)


def _scan(path: Path, content: Any, size: int) -> None:
    """Refuse a pickle that asks for more memory than its file has bytes; nothing of it is run."""
    numbers: list[int] = []
    count = 0
    try:
        for opcode, argument, _ in pickletools.genops(content):
            count += 1
            name = opcode.name
            if isinstance(argument, str) and argument.split()[-1:] == ["bytearray"]:  # of any size, by its number
                raise InputError(f"{path} contains more than weights (a bytearray). {WAY_OUT}")
            if isinstance(argument, int) and name.startswith(("BININT", "LONG", "INT")):
                numbers.append(argument)
            elif name == "BINPERSID" and numbers and numbers[-1] > size:
                raise InputError(f"{path} is damaged: a tensor of {numbers[-1]:,} numbers is larger than the file.")
            if count > 100 * MOST_TENSORS:
                raise InputError(f"{path} holds too much beside its tensors. {WAY_OUT}")
    except InputError:
        raise
    except (
        ValueError,
        IndexError,
        KeyError,
        EOFError,
        OverflowError,
        UnicodeDecodeError,
        MemoryError,
        struct.error,
    ) as error:
        raise InputError(
            f"{path} is damaged or truncated ({_first_line(error)}). Download or copy it again."
        ) from error


def _load(path: Path, mapped: bool) -> Any:
    try:
        with _nothing_beside(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of old and sparse formats, which are read all the same
            return torch.load(path, map_location="cpu", mmap=mapped, weights_only=True)
    except UnpicklingError as error:
        raise InputError(
            f"{path} contains more than weights: a whole model or other Python objects, pickled. Reading those could "
            f"run arbitrary code, so it is refused. {WAY_OUT} ({_first_line(error)})"
        ) from error
    except (
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        MemoryError,
        AssertionError,
        OverflowError,
        RecursionError,
        NotImplementedError,
        ImportError,
        struct.error,
    ) as error:
        raise InputError(
            f"{path} is damaged, truncated, or not a checkpoint ({_first_line(error)}). Expected a safetensors file, "
            "or a "
            "state dict written by torch.save."
        ) from error


@contextmanager
def _nothing_beside() -> Iterator[None]:
    with torch.serialization.safe_globals([(_Nothing, name) for name in BESIDE]):
        yield


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _tensors(path: Path, loaded: Any) -> dict[str, Tensor]:
    """The state dict in what a file holds: by itself, under a holder's name, or in parts that belong together."""
    for _ in range(4):
        if not isinstance(loaded, Mapping):
            break
        inner = next((loaded[name] for name in HOLDERS if _holds(loaded.get(name))), None)
        if inner is None:
            break
        loaded = inner
    if isinstance(loaded, Tensor):
        raise InputError(f"{path} contains a single tensor; a network has many. Save its state dict with {SAVED}.")
    state = _named(loaded)
    dotted = any("." in name for name in state)
    if isinstance(loaded, Mapping) and not dotted:
        parts = {str(name): _named(value) for name, value in loaded.items() if isinstance(value, Mapping)}
        parts = {name: part for name, part in parts.items() if part}
        if len(parts) == 1:
            return next(iter(parts.values()))
        if parts:
            return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    if not state:
        raise InputError(
            f"{path} contains no named weights. Expected a state dict, by itself or under one of {', '.join(HOLDERS)}."
        )
    return state


def _named(value: Any) -> dict[str, Tensor]:
    if not isinstance(value, Mapping):
        return {}
    return {name: tensor for name, tensor in value.items() if isinstance(name, str) and isinstance(tensor, Tensor)}


def _holds(value: Any) -> bool:
    """Whether there are tensors in a mapping, or in a holder within it."""
    if not isinstance(value, Mapping):
        return False
    return bool(_named(value)) or any(_named(value.get(name)) for name in HOLDERS)
