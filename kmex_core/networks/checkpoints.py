"""Weights from elsewhere: read without running anything, and matched to an architecture by name and shape.

Sizes are checked before memory is taken: what a file says of itself (its directory, the shapes in its header) is read
first, its tensors stay on disk where the format allows, and only those that have a place in the network are loaded.
"""

from __future__ import annotations

import math
import pickletools
import struct
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

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
    f"Where you trust it, save its weights alone, with {SAVED} or "
    "`safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')`, and import that."
)
# what the original ProtoPNet and ProtoVAE call their parts, and what they keep that needs no place here
ALIASES = {"head.prototypes": "prototype_vectors", "head.weight": "last_layer.weight"}
UNNEEDED = ("ones", "prototype_class_identity")
# buffers that a checkpoint may lack: they start as a new network has them
OPTIONAL = ("num_batches_tracked", "prototype_class", "picture")
# what takes no part in predictions, wherever it stands in a name: losses and metrics of a training framework, auxiliary
# heads, counters of profilers and of weight averages
IGNORED = (
    "crit", "criterion", "loss", "loss_fn", "loss_func", "loss_function", "cross_entropy", "ce_loss", "ema_loss",
    "train_acc", "val_acc", "test_acc", "train_accuracy", "val_accuracy", "test_accuracy", "metrics", "train_metrics",
    "val_metrics", "test_metrics", "AuxLogits", "aux1", "aux2", "aux_head", "aux_classifier", "auxiliary_head",
    "n_averaged", "total_ops", "total_params",
)  # fmt: skip
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


@dataclass(frozen=True)
class Match:
    """How a checkpoint fits an architecture.

    Attributes:
        state: tensors by the architecture's names; with those that found no place, by their own.
        matched: how many have a place.
        renamed: the checkpoint's name of each that is called otherwise here, by the name here.
        kept: buffers that the checkpoint lacks.
        ignored: what was left out, by the checkpoint's names.
        rivals: two beginnings of names in the checkpoint that fit equally well, so that neither was taken.
    """

    state: dict[str, Tensor]
    matched: int
    renamed: dict[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    rivals: tuple[str, str] | None = None


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
            raise InputError(f"{path} is no file." if path.exists() else f"There is no file {path}.")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path} has {size / 2**30:.1f} GiB; at most {MOST_BYTES // 2**30} are read.")
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
        raise InputError(f"{path} has {len(state):,} tensors; at most {MOST_TENSORS:,} are read.")
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
        raise InputError(f"{path} is damaged or no safetensors file (its header cannot be read).")
    if len(header) > MOST_TENSORS + 1:
        raise InputError(f"{path} has {len(header):,} tensors; at most {MOST_TENSORS:,} are read.")
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or no safetensors file ({_first_line(error)}).") from error
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
                    f"writes. Where you trust it, load it in Python and save it again: {SAVED}."
                )
            if sum(info.file_size for info in members) > size:
                raise InputError(f"{path} is damaged: the parts of the archive are larger than the file.")
            if len(pickles) != 1 or len({info.filename for info in members}) != len(members):
                raise InputError(f"{path} is damaged: it does not hold exactly one checkpoint.")
            if pickles[0].file_size > MOST_HEADER:
                raise InputError(
                    f"{path} holds {pickles[0].file_size / 2**20:,.0f} MiB beside its tensors; at most "
                    f"{MOST_HEADER // 2**20} are read. {WAY_OUT}"
                )
            _scan(path, archive.read(pickles[0]), size)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged or cut off ({_first_line(error)}). Download or copy it again.") from error
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
                raise InputError(f"{path} holds more than weights (a bytearray). {WAY_OUT}")
            if isinstance(argument, int) and name.startswith(("BININT", "LONG", "INT")):
                numbers.append(argument)
            elif name == "BINPERSID" and numbers and numbers[-1] > size:
                raise InputError(f"{path} is damaged: a tensor of {numbers[-1]:,} numbers is larger than the file.")
            if count > 100 * MOST_TENSORS:
                raise InputError(f"{path} holds too much beside its tensors. {WAY_OUT}")
    except InputError:
        raise
    except (
        ValueError, IndexError, KeyError, EOFError, OverflowError, UnicodeDecodeError, MemoryError, struct.error,
    ) as error:  # fmt: skip
        raise InputError(f"{path} is damaged or cut off ({_first_line(error)}). Download or copy it again.") from error


def _load(path: Path, mapped: bool) -> Any:
    try:
        with _nothing_beside(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of old and sparse formats, which are read all the same
            return torch.load(path, map_location="cpu", mmap=mapped, weights_only=True)
    except UnpicklingError as error:
        raise InputError(
            f"{path} holds more than weights: a whole model or other Python objects, pickled. Reading those can run "
            f"any code, so it is not done. {WAY_OUT} ({_first_line(error)})"
        ) from error
    except (
        RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, MemoryError,
        AssertionError, OverflowError, RecursionError, NotImplementedError, ImportError, struct.error,
    ) as error:  # fmt: skip
        raise InputError(
            f"{path} is damaged, cut off, or no checkpoint ({_first_line(error)}). A safetensors file, or a state dict "
            "written by torch.save, was expected."
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
        raise InputError(f"{path} holds a single tensor; a network has many. Save its state dict with {SAVED}.")
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
            f"{path} holds no named weights. A state dict was expected, by itself or under one of {', '.join(HOLDERS)}."
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


# ---------------------------------------------------------------------------------------------------------------------
# matching


def match(
    state: Mapping[str, Tensor],
    module: nn.Module,
    ignore: Sequence[str] = (),
    aliases: Mapping[str, str] = ALIASES,
) -> Match:
    """Find the place of each tensor of a checkpoint in a network, by its name or what is left of it.

    In this order: equal names; `aliases`; then one beginning of names for another (`module.features.` for `encoder.`,
    `classifier.` for `fc.`), where shapes are equal and no other place is as good. What finds no place and takes no
    part in predictions (`IGNORED`) is left out; all else keeps its name, so that loading refuses it.

    Args:
        state: the checkpoint.
        module: the network.
        ignore: patterns (`aux.*`, with `*`, `?` and `[…]`) of the checkpoint's names to leave out.
        aliases: other names by the network's.

    Raises:
        InputError: when a pattern fits no name.
    """
    for pattern in ignore:
        if not any(fnmatchcase(name, pattern) for name in state):
            raise InputError(
                f"--ignore '{pattern}' fits no tensor of the checkpoint; its names are like {', '.join([*state][:3])}."
            )
    expected = module.state_dict()
    given = {
        name: value
        for name, value in state.items()
        if name.rpartition(".")[2] not in UNNEEDED and not any(fnmatchcase(name, pattern) for pattern in ignore)
    }
    places = {name: name for name in expected if name in given and given[name].shape == expected[name].shape}
    for name, other in aliases.items():
        same = [candidate for candidate in given if candidate == other or candidate.endswith(f".{other}")]
        if name in expected and name not in places and len(same) == 1:
            if given[same[0]].numel() == expected[name].numel():
                given[same[0]] = given[same[0]].reshape(expected[name].shape)
            places[name] = same[0]
    by_prefix, rivals = _by_prefix(given, expected, places)
    places |= by_prefix
    taken = set(places.values())
    places |= {name: name for name in expected if name in given and name not in places and name not in taken}
    taken = set(places.values())
    kept = tuple(name for name in expected if name not in places and name.rpartition(".")[2] in OPTIONAL)
    left = {name: value for name, value in given.items() if name not in taken}
    idle = {name for name in left if not {*IGNORED}.isdisjoint(name.split("."))}
    return Match(
        {name: given[other] for name, other in places.items()}
        | {name: expected[name] for name in kept}
        | {name: value for name, value in left.items() if name not in idle},
        len(places),
        {name: other for name, other in places.items() if name != other},
        kept,
        tuple(name for name in state if name not in given or name in idle),
        rivals,
    )


def _by_prefix(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor], places: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, str] | None]:
    """Replace one beginning of names by another, first the pair of beginnings that places most tensors of equal shape.

    Where two pairs place equally many of the same tensors, neither is taken; the first such two of the checkpoint's are
    the second result.
    """
    free = set(given) - set(places.values())
    open_ = set(expected) - set(places)
    placed: dict[str, str] = {}
    rivals: tuple[str, str] | None = None
    while True:
        pairs = _pairs(
            {name: value for name, value in given.items() if name in free},
            {name: value for name, value in expected.items() if name in open_},
        )
        chosen: dict[str, str] = {}
        for size in sorted({len(names) for names in pairs.values()}, reverse=True):
            alike = {beginnings: names for beginnings, names in pairs.items() if len(names) == size}
            here = Counter(name for names in alike.values() for name in names)
            there = Counter(name for names in alike.values() for name in names.values())
            for names in alike.values():
                if all(here[name] == 1 and there[other] == 1 for name, other in names.items()):
                    chosen |= names
            if chosen:
                break
            if rivals is None and size > len(expected) // 2:
                beginnings = sorted({beginning for beginning, _ in alike})
                rivals = (beginnings[0], beginnings[1]) if len(beginnings) > 1 else None
        if not chosen:
            return placed, rivals
        placed |= chosen
        open_ -= set(chosen)
        free -= set(chosen.values())


def _pairs(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[tuple[str, str], dict[str, str]]:
    """For each pair of beginnings, what it would place: names in the checkpoint by names here."""
    shapes = {value.shape for value in expected.values()}
    by_end: dict[tuple[str, torch.Size], list[tuple[str, str]]] = {}
    for name, value in given.items():
        for beginning, end in _cuts(name) if value.shape in shapes else ():
            by_end.setdefault((end, value.shape), []).append((beginning, name))
    pairs: dict[tuple[str, str], dict[str, str]] = {}
    for name, value in expected.items():
        for beginning, end in _cuts(name):
            for other_beginning, other in by_end.get((end, value.shape), []):
                pairs.setdefault((other_beginning, beginning), {})[name] = other
    return pairs


def _cuts(name: str) -> list[tuple[str, str]]:
    parts = name.split(".")
    return [(".".join(parts[:at]), ".".join(parts[at:])) for at in range(len(parts))]


# ---------------------------------------------------------------------------------------------------------------------
# values


def converted(state: Mapping[str, Tensor], module: nn.Module, what: str) -> dict[str, Tensor]:
    """Matched tensors as a network computes with them: dense, contiguous, of its own types (float32).

    Only tensors of the network's own shapes are turned, so that no more memory is taken than the network has.

    Args:
        state: by the network's names; those that fit none of its tensors stay as they are.
        module: the network.
        what: what the tensors are, for the message.

    Raises:
        InputError: for tensors without values (meta), complex ones, integers in the place of weights, and types that
            torch cannot turn into float32.
    """
    expected = module.state_dict()
    result = dict(state)
    for name, place in expected.items():
        value = state.get(name)
        if value is None or value.shape != place.shape:
            continue
        kind = str(value.dtype).removeprefix("torch.")
        if value.is_meta:
            raise InputError(
                f"{what} have no values ('{name}' is on the device 'meta'). Save the network after loading."
            )
        if value.is_complex():
            raise InputError(
                f"{what} are complex numbers ('{name}' is {kind}), which this network cannot compute with."
            )
        if place.is_floating_point() and not (value.is_floating_point() or value.is_quantized):
            raise InputError(
                f"{what} are whole numbers ('{name}' is {kind}): a network that was quantised by another tool. Import "
                "the weights from before that."
            )
        try:
            dense = value.dequantize() if value.is_quantized else value.detach()
            dense = dense.to_dense() if dense.layout != torch.strided else dense
            if dense.untyped_storage().nbytes() < math.prod(dense.shape) * dense.element_size():
                dense = dense.clone(memory_format=torch.contiguous_format)
            result[name] = dense.to(place.dtype).contiguous()
        except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
            raise InputError(
                f"{what} are of a type that torch cannot turn into {str(place.dtype).removeprefix('torch.')} ('{name}' "
                f"is {kind}: {_first_line(error)}). Convert them in Python, and save them again."
            ) from error
    return result
