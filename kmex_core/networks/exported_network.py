"""Networks saved by `torch.export.save` (.pt2), run without PyTorch's loader.

`torch.export.load` unpickles the sample inputs, the tensor subclasses and the custom objects of an archive, passes its
expression strings to sympy, looks operators up by name (custom ones and higher-order ones included) and opens compiled
libraries: each of these can run code of the file. Nothing of that is done here. Only two parts of the archive are read:
the graph, as JSON, of which calls of known operators are kept (see `exported_program`), and the weights as raw numbers.
Whatever the archive has beside them is not opened (sample inputs, symbolic expressions, guards, call signatures) or
makes it be refused (compiled libraries, custom objects, pickled tensors).
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.networks.exported_program import DTYPES, MOST_NODES, MOST_TEXT, Program
from kmex_core.networks.exported_reading import SAVE_AGAIN, kept_graph, linear_end
from kmex_core.networks.file_kinds import directory, foreign
from kmex_core.networks.foreign_network import (
    Arrays,
    ForeignNetwork,
    as_buffer,
    as_bytes,
    close,
    head_of,
    linear,
    pooled,
    pooling_note,
)

MOST_BYTES = 4 * 2**30
MOST_MEMBERS = 50_000
_KNOWN = re.compile(
    r"models/model\.json|data/(weights|constants)/(model_\w+_config\.json|(weight|tensor)_\d+)"
    r"|data/sample_inputs/model\.pt|extra/.*|archive_format|archive_version|byteorder|\.data/\w+|version"
)
_COMPILED = (".so", ".cpp", ".o", ".cubin", ".hsaco", ".dll", ".pyd", ".dylib", ".py", ".pyc")
_CLOSE = 1e-4


class ExportedNetwork(ForeignNetwork):
    """A network of a .pt2 file. Its state dict has the program up to the head ("program", JSON as bytes), its weights
    ("weights.0", "weights.1", …) once, and the head.

    Args:
        program: what computes the features.
        weights: in the order of the program's.
        head: the last linear layer.
    """

    differentiable = True

    def __init__(self, program: Program, weights: list[Tensor], head: nn.Linear | None) -> None:
        super().__init__()
        self._program = program
        self.image_shape, self.batch, self.notes = program.shape, program.batch, ()
        self.program: Tensor
        self.register_buffer("program", as_buffer(program.text()))
        self.weights = nn.Module()
        for i, value in enumerate(weights):
            self.weights.register_buffer(str(i), value)
        self.head = head

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """See `ForeignNetwork.from_arrays`; the program is checked again, whoever stored it."""
        if "program" not in arrays:
            raise InputError("The exported network's program is missing: its file is damaged.")
        program = Program.parse(as_bytes(arrays["program"]))
        names = [f"weights.{i}" for i in range(len(program.weights))]
        if missing := [name for name in names if name not in arrays]:
            raise InputError(f"The exported network's '{missing[0]}' is missing: its file is damaged.")
        made = cls(program, [torch.as_tensor(arrays[name]).clone() for name in names], head_of(arrays))
        program.try_out(made.probes().to(made.dtype or torch.float32), made.values())
        return made

    def features(self, images: Tensor) -> Tensor:
        """See `ForeignNetwork.features`."""
        result: Tensor = self._program.run(images.to(self.dtype or images.dtype), self.values())
        return result.to(images.dtype)

    def values(self) -> dict[str, Tensor]:
        """The weights by their names in the program."""
        return dict(zip(self._program.weights, self.weights.buffers(), strict=True))

    @property
    def dtype(self) -> torch.dtype | None:
        """The type of the weights; None without any."""
        kinds = (value.dtype for value in self.weights.buffers() if value.is_floating_point())
        return next(kinds, None)


def read_exported(path: Path) -> ExportedNetwork:
    """The network of a file of `torch.export.save`, read without running code of the file, and tried on random images.

    Raises:
        InputError: for anything but a network of images in evaluation mode that consists of PyTorch's own operators.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path} is not a file." if path.exists() else f"There is no file {path}.")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path} has {size / 2**30:.1f} GiB; the limit is {MOST_BYTES // 2**30}.")
        if not _is_zip(path):
            raise InputError(f"{path} {foreign(path) or 'is not a file of torch.export.save.'}")
        with directory(path) as archive:
            members = _members(path, archive, size)
            text = _json(archive, members["models/model.json"])
            program, stored, outputs = kept_graph(str(path), text)
            weights = _weights(path, archive, members, stored, program.weights)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged or truncated ({error}). Download or copy it again.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} does not have the layout of torch.export.save ({type(error).__name__}: {str(error)[:80]}). "
            f"{SAVE_AGAIN}"
        ) from error
    try:
        return _tried(path, program, weights, outputs)
    except (RuntimeError, IndexError, TypeError, NotImplementedError, OverflowError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} cannot be run on images ({line[:200]}).") from error


# ---------------------------------------------------------------------------------------------------------------------
# the archive


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _members(path: Path, archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The archive's members without their common folder."""
    infos = archive.infolist()
    if len(infos) > MOST_MEMBERS:
        raise InputError(f"{path} has {len(infos):,} parts; the limit is {MOST_MEMBERS:,}.")
    if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise InputError(f"{path} is a compressed zip archive, which torch.export.save never writes. {SAVE_AGAIN}")
    if sum(info.file_size for info in infos) > size:
        raise InputError(f"{path} is damaged: the parts of the archive are larger than the file.")
    root = infos[0].filename.partition("/")[0] + "/" if infos else ""
    members = {info.filename.removeprefix(root): info for info in infos}
    if len(members) != len(infos):
        raise InputError(f"{path} is damaged: two parts of the archive have one name.")
    if "serialized_exported_program.json" in {info.filename.rpartition("/")[2] for info in infos}:
        raise InputError(f"{path} was written by an old PyTorch (before 2.8), which pickled the weights. {SAVE_AGAIN}")
    for name, info in members.items():
        if name.startswith("data/aotinductor") or name.lower().endswith(_COMPILED):
            raise InputError(
                f"{path} has compiled code ({name[:80]}), which would have to be run to be read. Save the program "
                "itself: `torch.export.save(torch.export.export(model.eval(), (images,)), 'model.pt2')`."
            )
        if not info.filename.startswith(root) or not _KNOWN.fullmatch(name):
            raise InputError(
                f"{path} has a part '{name[:80]}' that is neither a graph nor weights of one model, so it is not read."
            )
    if "models/model.json" not in members:
        raise InputError(f"{path} is not a file of torch.export.save: it has no graph. {foreign(path) or ''}".strip())
    order = archive.read(members["byteorder"]).strip() if "byteorder" in members else b"little"
    if order != b"little":
        raise InputError(f"{path} was written on a machine of another byte order. {SAVE_AGAIN}")
    return members


def _json(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    if info.file_size > MOST_TEXT:
        raise InputError(
            f"{archive.filename} has {info.file_size / 2**20:,.0f} MiB of graph; the limit is {MOST_TEXT // 2**20}."
        )
    return json.loads(archive.read(info))


def _weights(
    path: Path,
    archive: zipfile.ZipFile,
    members: Mapping[str, zipfile.ZipInfo],
    stored: Mapping[str, tuple[str, str]],
    names: tuple[str, ...],
) -> dict[str, Tensor]:
    """The tensors of the graph's weights, by value name.

    Args:
        path, archive, members: the file.
        stored: where each is listed ("weights" or "constants"), and under which name.
        names: those that the graph uses.
    """
    lists = {
        kind: _json(archive, members[f"data/{kind}/model_{kind}_config.json"])["config"]
        for kind in {stored[name][0] for name in names}
    }
    payloads: dict[str, bytearray] = {}
    tensors = {}
    total = 0
    for name in names:
        kind, listed = stored[name]
        entry = lists[kind][listed]
        if (
            entry["use_pickle"]
            or entry["tensor_meta"] is None
            or not entry["path_name"].startswith(("weight_", "tensor_"))
        ):
            raise InputError(
                f"{path}: '{listed[:80]}' is stored as a pickled object (a quantised tensor or another subclass). "
                "Reading it could run code. Export the model with ordinary tensors."
            )
        part = f"data/{kind}/{entry['path_name']}"
        if part not in payloads:
            payloads[part] = bytearray(archive.read(members[part]))
        tensors[name] = _tensor(path, listed, payloads[part], entry["tensor_meta"])
        total += tensors[name].nbytes
        if total > MOST_BYTES:
            raise InputError(f"{path} claims weights of more than {MOST_BYTES // 2**30} GiB.")
    return tensors


def _tensor(path: Path, name: str, payload: bytearray, meta: Mapping[str, Any]) -> Tensor:
    """A tensor of raw numbers, of which the description is not trusted."""
    dtype = DTYPES.get(meta["dtype"])
    if dtype is None or meta["layout"] != 7:
        raise InputError(
            f"{path}: '{name[:80]}' has a type of numbers or a layout that is not read (quantised, sparse)."
        )
    sizes, strides = ([_whole(path, name, part) for part in meta[key]] for key in ("sizes", "strides"))
    offset = _whole(path, name, meta["storage_offset"])
    count = math.prod(sizes)
    if count == 0:
        return torch.zeros(sizes, dtype=dtype) if max(sizes) <= MOST_NODES else _refuse_size(path, name, sizes)
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if max(count, last + 1) * dtype.itemsize > len(payload):
        return _refuse_size(path, name, sizes)
    flat = torch.frombuffer(payload, dtype=dtype, count=len(payload) // dtype.itemsize)
    return flat.as_strided(sizes, strides, offset).clone(memory_format=torch.contiguous_format)


def _refuse_size(path: Path, name: str, sizes: list[int]) -> Tensor:
    raise InputError(f"{path} is damaged: '{name[:80]}' claims {sizes} numbers, more than the file has.")


def _whole(path: Path, name: str, value: Mapping[str, Any]) -> int:
    number = value.get("as_int")
    if type(number) is not int or not 0 <= number < 2**40:
        raise InputError(f"{path}: '{name[:80]}' has a size that is not a plain number.")
    return number


# ---------------------------------------------------------------------------------------------------------------------
# its end, and a trial


def _tried(path: Path, program: Program, weights: dict[str, Tensor], outputs: tuple[str, ...]) -> ExportedNetwork:
    """The network with its head, if it has one and runs as the whole program does."""
    start = ExportedNetwork(program, [], None)
    images = start.probes()
    floats = [value.dtype for value in weights.values() if value.is_floating_point()]
    typed = images.to(floats[0] if floats else images.dtype)
    program.try_out(typed, weights)
    tolerance = _CLOSE if typed.dtype in (torch.float32, torch.float64) else 2e-2
    found = linear_end(program, weights, outputs)
    with torch.no_grad():
        if found is not None:
            features, scores = program.up_to(found.scores).run(typed, weights, keep=found.features)[::-1]
            head = linear(found.weight, found.bias)
            made = _network(program.up_to(found.features), weights, head)
            made.notes = (f"Head: {head.in_features} to {head.out_features}.", pooling_note(tuple(features.shape)))
            wanted = pooled(scores)
        else:
            output = outputs[0]
            wanted = pooled(program.up_to(output).run(typed, weights))
            made = _network(program.up_to(output), weights, None)
            made.notes = ("The network does not end in a linear layer: it is taken as an encoder.",
                          f"Embedding: its output of {wanted.shape[-1]} numbers.")  # fmt: skip
        before = [value._version for value in made.buffers()]
        got = made(images)
        if before != [value._version for value in made.buffers()]:
            raise InputError(f"{path}: the network changes its own weights when it runs. Export it after `.eval()`.")
        _check(path, made, got, wanted.to(got.dtype), images, tolerance)
    return made


def _network(program: Program, weights: Mapping[str, Tensor], head: nn.Linear | None) -> ExportedNetwork:
    return ExportedNetwork(program, [weights[name] for name in program.weights], head)


def _check(path: Path, made: ExportedNetwork, got: Tensor, wanted: Tensor, images: Tensor, tolerance: float) -> None:
    if got.ndim != 2 or len(got) != len(images) or not bool(got.isfinite().all()):
        raise InputError(
            f"{path} gives {tuple(got.shape)} for images {tuple(images.shape)}; expected finite class scores or an "
            "embedding for each image."
        )
    if not close(got, wanted, tolerance):
        raise InputError(f"{path}: the network in two parts does not compute what the whole does.")
    if not close(made(images.flip(0)).flip(0), got, tolerance):
        raise InputError(f"{path}: what the network computes for an image depends on the other images with it.")
    alone = made(images[:1])
    if not close(alone, got[:1], tolerance):
        raise InputError(
            f"{path} gives an image another result when it comes alone. Export the network with a dynamic batch: "
            "`torch.export.export(model.eval(), (images,), dynamic_shapes=({0: torch.export.Dim('batch')},))`."
        )
