"""Networks from ONNX files: the graph runs in onnxruntime, its last linear layer in PyTorch."""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError, KMExError
from kmex_core.networks.foreign_network import (
    Arrays,
    ForeignNetwork,
    as_buffer,
    as_bytes,
    checked_shape,
    close,
    head_of,
    linear,
    pooled,
    pooling_note,
)
from kmex_core.networks.onnx_file import DOUBLE, FLOAT, FLOAT16, UINT8, check_onnx, graph_input, library, read_onnx
from kmex_core.networks.onnx_head import OnnxHead, find_head, part

_CLOSE = {FLOAT: 1e-4, DOUBLE: 1e-4, UINT8: 1e-3, FLOAT16: 2e-2}
_QUANTISING = ("QuantizeLinear", "DequantizeLinear", "QLinear", "Integer", "NBits", "QGemm")  # in names of operators
_QUANTISED = 2e-2  # onnxruntime rounds a quantised layer differently when it merges it with its neighbours
_NUMPY = {FLOAT: np.float32, DOUBLE: np.float64, UINT8: np.uint8, FLOAT16: np.float16}
MOST_MEMORY = 8 * 2**30  # bytes that the sessions of a process may take together
_OPEN = -1  # of a size in the buffer "images"


class OnnxNetwork(ForeignNetwork):
    """A network of an ONNX file, on the CPU, whatever device its images are on. It has no gradients.

    Its state dict has the graph up to the head as bytes ("graph"), what images it takes ("images": channels, H, W, N,
    -1 where open, whether the channels come last, and the type of its numbers as in TensorProto), and the head.

    Args:
        graph: an ONNX model with one output, the features.
        images: the six numbers.
        head: the last linear layer.
    """

    differentiable = False

    def __init__(self, graph: bytes, images: tuple[int, ...], head: nn.Linear | None) -> None:
        super().__init__()
        channels, height, width, batch, last, kind = images
        sides = tuple(None if side == _OPEN else side for side in (channels, height, width))
        self.image_shape = checked_shape("This ONNX network", sides)
        self.batch = None if batch == _OPEN else batch
        self.notes = ()
        self._channels_last, self._kind = bool(last), kind
        self.graph: Tensor
        self.images: Tensor
        self.register_buffer("graph", as_buffer(graph))
        self.register_buffer("images", torch.tensor(images))
        self.head = head
        self._runner = _Runner()

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """See `ForeignNetwork.from_arrays`; the graph is checked again, whoever stored it."""
        if "graph" not in arrays or "images" not in arrays:
            raise InputError("The ONNX network's graph is missing: its file is damaged.")
        images = tuple(int(number) for number in torch.as_tensor(arrays["images"]).flatten())
        if len(images) != 6 or images[5] not in _NUMPY or not (images[3] == _OPEN or 1 <= images[3] <= 1024):
            raise InputError("The ONNX network's description of its images is damaged.")
        graph = as_bytes(arrays["graph"])
        check_onnx("The graph of this ONNX network", graph)
        return cls(graph, images, head_of(arrays))

    def features(self, images: Tensor) -> Tensor:
        """See `ForeignNetwork.features`; without gradients."""
        array = images.detach().cpu()
        if self._channels_last:
            array = array.permute(0, 2, 3, 1)
        if self._kind == UINT8:
            array = array.round().clamp(0, 255)
        given: np.ndarray = np.ascontiguousarray(array.float().numpy().astype(_NUMPY[self._kind]))
        output = self._runner.run(self.graph, given)
        if output.dtype.kind != "f":
            raise InputError("The ONNX network gives whole numbers; expected scores or an embedding.")
        return torch.from_numpy(output.astype(np.float32)).to(images.device, images.dtype)

    def probes(self, count: int = 3) -> Tensor:
        """See `ForeignNetwork.probes`; from 0 to 255 where the file takes whole numbers."""
        images = super().probes(count)
        return (images * 60 + 128).clamp(0, 255).round() if self._kind == UINT8 else images

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._runner = _Runner()  # another graph, perhaps


class _Runner:
    """The session of a graph, opened when it is first needed, and shared by copies of the network."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Runner:
        return self

    def __reduce__(self) -> tuple[type[_Runner], tuple[()]]:
        return _Runner, ()

    def run(self, graph: Tensor, images: np.ndarray) -> np.ndarray:
        """The output for images in the layout and type that the graph takes."""
        with self._lock:
            if self._session is None:
                self._session = session(as_bytes(graph))
        output: np.ndarray = outputs(self._session, images)[0]
        return output


def session(graph: bytes) -> Any:
    """An onnxruntime session on the CPU with as many threads as torch has in this thread.

    Raises:
        InputError: when onnxruntime cannot run the graph.
    """
    runtime = library("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch's threads have the cores between
    _limit_memory()
    options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a dozen kinds, and no common one
        raise InputError(f"onnxruntime cannot open this network ({_line(error)}).") from error


@cache
def _limit_memory() -> None:
    """Give all sessions of this process one allocator that stops at half of the machine's memory."""
    runtime = library("onnxruntime")
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2 * MOST_MEMORY
    place = runtime.OrtMemoryInfo("Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT)
    arena = runtime.OrtArenaCfg(
        {
            "max_mem": min(MOST_MEMORY, total // 2),
            "arena_extend_strategy": 1,  # as much as is asked for
            "initial_chunk_size_bytes": 2**20,
            "max_dead_bytes_per_chunk": 2**20,
        }
    )
    runtime.create_and_register_allocator(place, arena)


def outputs(opened: Any, images: np.ndarray | None) -> list[np.ndarray]:
    """The outputs of a session for its one input, or none.

    Raises:
        KMExError: when it fails.
    """
    try:
        given = {opened.get_inputs()[0].name: images} if images is not None else {}
        found: list[np.ndarray] = opened.run(None, given)
    except Exception as error:
        shape = f" on images {images.shape}" if images is not None else ""
        raise KMExError(f"onnxruntime cannot run this network{shape} ({_line(error)}).") from error
    return found


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


# ---------------------------------------------------------------------------------------------------------------------
# from a file


def open_onnx(path: Path) -> OnnxNetwork:
    """The network of an ONNX file, checked (see `read_onnx`) and tried on random images against onnxruntime's own
    outputs of the whole graph.

    Raises:
        InputError: when it cannot be used, with the reason.
    """
    content = read_onnx(path)
    model = library("onnx").ModelProto.FromString(content)
    value, shape, batch, last = graph_input(str(path), model.graph)
    kind = int(value.type.tensor_type.elem_type)
    images = (*(side or _OPEN for side in shape), batch or _OPEN, int(last), kind)
    try:
        quantised = any(word in node.op_type for node in model.graph.node for word in _QUANTISING)
        tolerance = _QUANTISED if quantised else _CLOSE[kind]
        found = find_head(model, lambda constant: outputs(session(constant.SerializeToString()), None))
        made = _with_head(model, images, found, tolerance) if found is not None else None
        made = made or _encoder(str(path), model, images, tolerance)
        made = _any_batch(made, tolerance) if batch is not None else made
        _check_order(str(path), made, tolerance)
        if quantised:
            made.notes = (*made.notes, "The network is quantised: it runs as it is, and its scores are rounded.")
    except KMExError as error:
        raise error if isinstance(error, InputError) else InputError(f"{path}: {error}") from error
    return made


def _with_head(model: Any, images: tuple[int, ...], found: OnnxHead, tolerance: float) -> OnnxNetwork | None:
    """The network in two parts; None when they do not make the whole."""
    bias = None if found.bias is None else torch.from_numpy(found.bias)
    head = linear(torch.from_numpy(found.weight), bias)
    made = OnnxNetwork(part(model, [found.features]).SerializeToString(deterministic=True), images, head)
    tried = made.probes()
    whole = _Whole(made, session(part(model, [found.features, found.scores, found.output]).SerializeToString()))
    features, scores, decision = whole(tried)
    if pooled(features).ndim != 2 or pooled(features).shape[1] != head.in_features:
        return None
    wanted, got = pooled(scores), made(tried)
    if wanted.ndim != 2 or not close(got, wanted, tolerance):
        return None
    decision = decision.flatten(1) if decision.ndim > 1 else decision
    if decision.shape == got.shape:
        chosen = decision.gather(1, got.argmax(1, keepdim=True)).squeeze(1)
        if bool((chosen < decision.amax(1) - tolerance * decision.abs().amax()).any()):
            return None
    made.notes = (f"Head: {head.in_features} to {head.out_features}.", pooling_note(tuple(features.shape)))
    return made


def _encoder(path: str, model: Any, images: tuple[int, ...], tolerance: float) -> OnnxNetwork:
    """The network without a head: its first output that has one row per image, else its first."""
    names = [value.name for value in model.graph.output]
    whole = session(part(model, names).SerializeToString())
    tried = OnnxNetwork(b"", images, None)
    results = _Whole(tried, whole)(tried.probes())
    flat = [
        name for name, result in zip(names, results, strict=True) if result.ndim == 2 and result.is_floating_point()
    ]
    name = (flat or names)[0]
    features = results[names.index(name)]
    if not features.is_floating_point() or features.ndim not in (2, 3, 4) or not bool(features.isfinite().all()):
        raise InputError(
            f"{path} gives '{name[:60]}' of {tuple(features.shape)}; expected finite class scores or an embedding for "
            "each image."
        )
    made = OnnxNetwork(part(model, [name]).SerializeToString(deterministic=True), images, None)
    if not close(made(tried.probes()), pooled(features.float()), tolerance):
        raise InputError(f"{path} gives other numbers in every pass.")
    made.notes = (
        "The network does not end in a linear layer: it is taken as an encoder.",
        pooling_note(tuple(features.shape)),
    )
    return made


class _Whole:
    """A graph with several outputs, run on images as a network's features are."""

    def __init__(self, network: OnnxNetwork, opened: Any) -> None:
        self.network, self.opened = network, opened

    def __call__(self, images: Tensor) -> list[Tensor]:
        collected: list[np.ndarray] = []

        class Take(_Runner):
            def run(_, graph: Tensor, given: np.ndarray) -> np.ndarray:
                collected.extend(outputs(self.opened, given))
                return np.zeros((len(given), 1), np.float32)

        kept, self.network._runner = self.network._runner, Take()
        try:
            self.network.features(images)
        finally:
            self.network._runner = kept
        return [torch.from_numpy(np.ascontiguousarray(array)) for array in collected]


def _any_batch(made: OnnxNetwork, tolerance: float) -> OnnxNetwork:
    """The same network for any number of images, if its graph can be that; else itself, which works in portions."""
    model = library("onnx").ModelProto.FromString(as_bytes(made.graph))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    images = made.images.tolist()
    images[3] = _OPEN
    size = made.batch or 1
    try:
        free = OnnxNetwork(model.SerializeToString(deterministic=True), tuple(images), made.head)
        tried = free.probes(2 * size + 1)
        alike = close(free(tried), made(tried), tolerance)
    except KMExError:
        alike = False
    if alike:
        free.notes = (*made.notes, "The file is for a fixed number of images; it was found to work for any.")
        return free
    made.notes = (*made.notes, f"The file is for {size} image{'s' if size > 1 else ''} at a time: slower.")
    return made


def _check_order(path: str, made: OnnxNetwork, tolerance: float) -> None:
    """Whether an image's result is its own, whatever comes with it."""
    images = made.probes()
    got = made(images)
    if not close(made(images.flip(0)).flip(0), got, tolerance) or not close(made(images[:1]), got[:1], tolerance):
        raise InputError(
            f"{path}: what the network computes for an image depends on the images with it. Export it in evaluation "
            "mode, with a dynamic batch."
        )
