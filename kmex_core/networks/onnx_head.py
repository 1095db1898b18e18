"""The last linear layer of an ONNX graph, and the part of the graph before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kmex_core.networks.onnx_file import graphs, library

# what may come after the class scores without changing the decision, or between a 1×1 convolution and the scores
_AFTER_SCORES = frozenset(
    """
    Softmax LogSoftmax Sigmoid ArgMax TopK Identity Cast Flatten Reshape Squeeze Dropout
    GlobalAveragePool ReduceMean AveragePool QuantizeLinear DequantizeLinear
    """.split()  # noqa: SIM905 (as words)
)
LARGEST_HEAD = 2**28  # numbers


@dataclass(frozen=True)
class OnnxHead:
    """The last linear layer.

    Attributes:
        output: the graph's output that comes from it.
        features: the value that it takes.
        scores: the value that it gives.
        weight: (C, D) float32.
        bias: (C,) float32, if any.
    """

    output: str
    features: str
    scores: str
    weight: np.ndarray
    bias: np.ndarray | None


def part(model: Any, values: list[str]) -> Any:
    """A model with only what computes some values."""
    onnx = library("onnx")
    made = onnx.ModelProto()
    made.ir_version = model.ir_version
    made.opset_import.extend(model.opset_import)
    made.graph.name = "network"
    needed, kept = set(values), []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed.update(_read(node))
    made.graph.node.extend(reversed(kept))
    made.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in needed)
    names = {tensor.name for tensor in made.graph.initializer}
    made.graph.input.extend(value for value in model.graph.input if value.name not in names)
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in values)
    return made


def find_head(model: Any, run: Callable[[Any], list[np.ndarray]]) -> OnnxHead | None:
    """The linear layer that an output comes from, if only things that keep the decision are after it.

    Args:
        model: the whole model.
        run: the outputs of a model without inputs; for weights that are computed (transposed, dequantised).
    """
    by_output = {name: node for node in model.graph.node for name in node.output if name}
    weights = _Constants(model, by_output, run)
    for output in model.graph.output:
        value = output.name
        while (node := by_output.get(value)) is not None:
            found = _linear(node, by_output, weights)
            if found is not None:
                features, weight, bias = found
                return OnnxHead(output.name, features, value, weight, bias)
            if node.op_type not in _AFTER_SCORES:
                break
            value = node.input[0]
    return None


class _Constants:
    """The values of a graph that do not depend on its input."""

    def __init__(self, model: Any, by_output: Mapping[str, Any], run: Callable[[Any], list[np.ndarray]]) -> None:
        self.model, self.by_output, self.run = model, by_output, run
        self.stored = {tensor.name for tensor in model.graph.initializer}

    def get(self, name: str) -> np.ndarray | None:
        """One of them as numbers; None when it depends on the images."""
        waiting, seen = [name], set()
        while waiting:
            current = waiting.pop()
            if current in seen or current in self.stored or not current:
                continue
            seen.add(current)
            node = self.by_output.get(current)
            if node is None or node.op_type == "If":
                return None
            waiting.extend(node.input)
        model = part(self.model, [name])
        del model.graph.input[:]
        if name in self.stored:  # an output has to be computed by an operator
            model.graph.node.append(library("onnx").helper.make_node("Identity", [name], ["value of it"]))
            model.graph.output[0].name = "value of it"
        return self.run(model)[0]


def _linear(
    node: Any, by_output: Mapping[str, Any], weights: _Constants
) -> tuple[str, np.ndarray, np.ndarray | None] | None:
    """What a node takes as a linear layer, and its (C, D) weights and (C,) biases."""
    options = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "Gemm":
        if "transA" in options and options["transA"].i:
            return None
        weight = weights.get(node.input[1])
        bias = weights.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if weight is None or weight.ndim != 2 or (bias is None and len(node.input) > 2 and node.input[2]):
            return None
        alpha, beta = (float(options[name].f) if name in options else 1.0 for name in ("alpha", "beta"))
        turned = weight if "transB" in options and options["transB"].i else weight.T
        return _found(node.input[0], turned * alpha, None if bias is None else bias * beta)
    if node.op_type == "MatMul":
        weight = weights.get(node.input[1])
        return None if weight is None or weight.ndim != 2 else _found(node.input[0], weight.T, None)
    if node.op_type == "Add":
        for first, second in (node.input, reversed(node.input)):
            product = by_output.get(first)
            if product is None or product.op_type not in ("MatMul", "Gemm"):
                continue
            inner, bias = _linear(product, by_output, weights), weights.get(second)
            if inner is not None and inner[2] is None and bias is not None:
                return _found(inner[0], inner[1], bias)
    if node.op_type == "Conv":
        kernel = weights.get(node.input[1])
        bias = weights.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        group = int(options["group"].i) if "group" in options else 1
        moved = any(
            number != 1 for name in ("strides", "dilations") if name in options for number in options[name].ints
        )
        padded = "pads" in options and any(options["pads"].ints)
        if kernel is not None and kernel.ndim == 4 and kernel.shape[2:] == (1, 1) and group == 1:
            return None if moved or padded else _found(node.input[0], kernel[:, :, 0, 0], bias)
    return None


def _found(
    features: str, weight: np.ndarray, bias: np.ndarray | None
) -> tuple[str, np.ndarray, np.ndarray | None] | None:
    classes = len(weight)
    if not 1 <= weight.size <= LARGEST_HEAD or (bias is not None and bias.size not in (1, classes)):
        return None
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1), (classes,)).astype(np.float32)
    return features, np.ascontiguousarray(weight, dtype=np.float32), bias


def _read(node: Any) -> Iterator[str]:
    """The values that a node reads, those that its inner graphs take from outside included."""
    yield from node.input
    for attribute in node.attribute:
        for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            for graph in graphs(inner):
                yield from (value.name for value in graph.output)
                for each in graph.node:
                    yield from each.input
