"""ONNX files, checked before anything of them is run.

An ONNX file is a graph of operators, not code, but it can name other files (external data), ask for operators from
libraries, claim any size, and loop for ever. What is let through consists of operators of the ONNX standard (and those
that onnxruntime brings along), has all of its weights inside, and computes nothing of a size that is not known before.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kmex_core.base.errors import InputError
from kmex_core.networks.file_kinds import foreign
from kmex_core.networks.foreign_network import MOST_VALUE, PROBES, UNKNOWN_SIDE, checked_shape

INSTALL = "ONNX files need the packages onnx and onnxruntime: `pip install 'kmex-explorer[onnx]'`."
MOST_BYTES = 2 * 2**30
MOST_NODES = 50_000
OLDEST_OPSET = 7
STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml"})
BUILT_IN = "com.microsoft"
# onnxruntime's own operators, without those that open files or call other code (EPContext, PythonOp, ATen, TritonOp …)
BUILT_IN_OPERATORS = frozenset(
    """
    Attention BiasGelu BiasSoftmax BiasSplitGelu BiasAdd ConvTransposeWithDynamicPads DequantizeLinear
    DynamicQuantizeMatMul EmbedLayerNormalization FastGelu FusedConv FusedGemm FusedMatMul FusedMatMulActivation Gelu
    GroupNorm Inverse LayerNormalization MatMulInteger16 MatMulIntegerToFloat MatMulNBits MultiHeadAttention NhwcConv
    NhwcFusedConv NhwcMaxPool Pad QAttention QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearConv
    QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere
    QuantizeLinear QuickGelu RelativePositionBias SimplifiedLayerNormalization SkipGroupNorm SkipLayerNormalization
    SkipSimplifiedLayerNormalization Trilu Unique
    """.split()  # noqa: SIM905 (as words)
)
LOOPS = frozenset({"Loop", "Scan", "SequenceMap"})
RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)
FLOAT, UINT8, FLOAT16, DOUBLE = 1, 2, 10, 11  # TensorProto.DataType
EXTERNAL = 1  # TensorProto.DataLocation


def library(name: str) -> Any:
    """onnx or onnxruntime, which are optional.

    Raises:
        InputError: when it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(INSTALL) from error


def read_onnx(path: Path) -> bytes:
    """An ONNX file that may be run: the model without its texts about itself.

    Raises:
        InputError: with the reason.
    """
    onnx = library("onnx")
    try:
        if not path.is_file():
            raise InputError(f"{path} is not a file." if path.exists() else f"There is no file {path}.")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path} has {size / 2**30:.1f} GiB; the limit is {MOST_BYTES // 2**30}.")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    model = _parsed(content, onnx, f"{path} {_why_not(path)}")
    del content
    cleaned(model)
    _check_model(str(path), model, size, onnx)
    _check_sizes(str(path), model, onnx)
    return bytes(model.SerializeToString(deterministic=True))


def check_onnx(name: str, content: bytes) -> None:
    """Check a model from a store or an exported KMEx: others may have made it.

    Raises:
        InputError: with the reason.
    """
    onnx = library("onnx")
    model = _parsed(content, onnx, f"{name} is damaged.")
    _check_model(name, model, len(content), onnx)
    _check_sizes(name, model, onnx)


def _parsed(content: bytes, onnx: Any, otherwise: str) -> Any:
    try:
        model = onnx.ModelProto.FromString(content)
    except Exception as error:  # google.protobuf's DecodeError, and what its versions raise beside it
        raise InputError(otherwise) from error
    if not model.graph.node:
        raise InputError(otherwise)
    return model


def cleaned(model: Any) -> None:
    """Drop what is not needed to run: texts, training, and the shapes of values, which are inferred."""
    for field in ("metadata_props", "training_info", "doc_string"):
        model.ClearField(field)
    for field in ("value_info", "metadata_props", "doc_string", "quantization_annotation"):
        model.graph.ClearField(field)
    for node in model.graph.node:
        node.ClearField("doc_string")
        if hasattr(node, "metadata_props"):
            node.ClearField("metadata_props")


def graph_input(path: str, graph: Any) -> tuple[Any, tuple[int, int | None, int | None], int | None, bool]:
    """The input that takes the images: itself, (channels, H, W), the number of images if it is fixed, and whether the
    channels come last.

    Raises:
        InputError: when the graph does not take one batch of images.
    """
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(f"'{value.name[:40]}'" for value in inputs[:6])
        raise InputError(f"{path} has {len(inputs)} inputs{f' ({names})' if names else ''}; expected one, the images.")
    kind = inputs[0].type.tensor_type
    if inputs[0].type.WhichOneof("value") != "tensor_type" or len(kind.shape.dim) != 4:
        raise InputError(
            f"{path} takes '{inputs[0].name[:40]}' with {len(kind.shape.dim)} dimensions; expected images (N, "
            "channels, H, W)."
        )
    if kind.elem_type not in (FLOAT, UINT8, FLOAT16, DOUBLE):
        raise InputError(
            f"{path} takes images as numbers of type {kind.elem_type}; expected float32, float16, float64 or uint8."
        )
    sizes = [int(dim.dim_value) if dim.dim_value > 0 else None for dim in kind.shape.dim]
    batch, sides = sizes[0], sizes[1:]
    last = sides[2] in (1, 3, 4) and sides[0] not in (1, 3, 4)
    if last:
        sides = [sides[2], sides[0], sides[1]]
    if sides[0] is None:
        sides[0] = 3  # a name in place of the channels: a picture has three
    if batch is not None and batch > 1024:
        raise InputError(f"{path} takes {batch:,} images at once; the limit is 1,024.")
    return inputs[0], checked_shape(path, tuple(sides)), batch, last


# ---------------------------------------------------------------------------------------------------------------------


def _why_not(path: Path) -> str:
    reason = foreign(path)
    if reason and "ONNX" not in reason:
        return f"is not an ONNX file: it {reason}"
    return "is damaged, truncated, or not an ONNX file. Download or copy it again."


def graphs(graph: Any) -> Iterator[Any]:
    """A graph, and those in the attributes of its nodes."""
    waiting = [graph]
    while waiting:
        current = waiting.pop()
        yield current
        for node in current.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)


def _check_model(path: str, model: Any, size: int, onnx: Any) -> None:
    if model.ir_version > onnx.IR_VERSION or model.ir_version < 3:
        raise InputError(
            f"{path} has version {model.ir_version} of the ONNX format; versions 3 to {onnx.IR_VERSION} are read by "
            "the installed packages. Update onnx and onnxruntime, or export the model for an older version."
        )
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    opset, newest = opsets.get("", opsets.get("ai.onnx", 0)), onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise InputError(
            f"{path} uses opset {opset} of ONNX; {OLDEST_OPSET} to {newest} are read by the installed packages. "
            f"Export the model with `opset_version={min(newest, 18)}`."
        )
    if model.functions:
        raise InputError(
            f"{path} defines operators of its own ('{model.functions[0].name[:40]}'). Inline them with "
            "`onnx.inliner.inline_local_functions(model)`, and save it again."
        )
    count = 0
    for graph in graphs(model.graph):
        count += len(graph.node)
        if count > MOST_NODES:
            raise InputError(f"{path} has more than {MOST_NODES:,} operators.")
        if graph.sparse_initializer:
            raise InputError(f"{path} has sparse weights, which are not read. Export the model with ordinary ones.")
        for tensor in graph.initializer:
            _check_tensor(path, tensor, size)
        for node in graph.node:
            _check_node(path, node, size)


def _check_node(path: str, node: Any, size: int) -> None:
    name = node.op_type
    if node.domain not in STANDARD and not (node.domain == BUILT_IN and name in BUILT_IN_OPERATORS):
        raise InputError(
            f"{path} uses the operator '{name[:40]}' of '{node.domain[:60]}', which needs code from elsewhere. "
            "Export the model with standard ONNX operators."
        )
    if name in LOOPS:
        raise InputError(f"{path} has a loop ({name}): how long it runs cannot be known. Export the model without.")
    if name in RANDOM:
        raise InputError(f"{path} draws random numbers ({name}): export the model in evaluation mode (`model.eval()`).")
    for attribute in node.attribute:
        if attribute.name == "training_mode" and attribute.i:
            raise InputError(f"{path} is in training mode ({name}): export it in evaluation mode (`model.eval()`).")
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise InputError(f"{path} has sparse weights, which are not read. Export the model with ordinary ones.")
        if attribute.HasField("t"):
            _check_tensor(path, attribute.t, size)
        for tensor in attribute.tensors:
            _check_tensor(path, tensor, size)


def _check_tensor(path: str, tensor: Any, size: int) -> None:
    if tensor.data_location == EXTERNAL or tensor.external_data:
        raise InputError(
            f"{path} keeps weights in other files ('{tensor.name[:60]}'), which are not opened. Save it as one file: "
            "`onnx.save(onnx.load('model.onnx'), 'one_file.onnx')`."
        )
    if any(dim < 0 for dim in tensor.dims) or math.prod(tensor.dims) > 8 * size:
        raise InputError(
            f"{path} is damaged: '{tensor.name[:60]}' claims {list(tensor.dims)[:6]} numbers, more than the file has."
        )


def _check_sizes(path: str, model: Any, onnx: Any) -> None:
    """Refuse values that are known to be too large for a few images; of others the session limits the memory."""
    trial = onnx.ModelProto()
    trial.CopyFrom(model)
    value, shape, batch, last = graph_input(path, trial.graph)
    sides = [shape[1] or UNKNOWN_SIDE, shape[2] or UNKNOWN_SIDE]
    sizes = [batch or PROBES, *([*sides, shape[0]] if last else [shape[0], *sides])]
    for dim, number in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
        dim.dim_value = number
    for output in trial.graph.output:  # their names of dimensions contradict the numbers
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    try:
        trial = onnx.shape_inference.infer_shapes(trial, data_prop=True)
    except Exception as error:  # onnx raises several kinds, of which one is public
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} is not a valid ONNX graph ({line[:200]}).") from error
    known: dict[str, int] = {}
    for graph in graphs(trial.graph):
        for entry in [*graph.value_info, *graph.output]:
            kind = entry.type.tensor_type
            if entry.type.WhichOneof("value") == "tensor_type" and kind.HasField("shape"):
                dims = [int(dim.dim_value) if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
                if all(dim >= 0 for dim in dims):
                    known[entry.name] = math.prod(dims)
    for name, count in known.items():
        if 4 * count > MOST_VALUE:
            raise InputError(
                f"{path} computes a value '{name[:60]}' of {count:,} numbers for {sizes[0]} images; the limit is "
                f"{MOST_VALUE // 4:,}."
            )
