"""The graph in a file of torch.export (schema 8), as a checked program, and the linear layer at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from kmex_core.base.errors import InputError
from kmex_core.networks.exported_program import IGNORED, MOST_NODES, Argument, Node, Program
from kmex_core.networks.foreign_network import checked_shape

SCHEMA = 8
SAVE_AGAIN = (
    "If you trust it, load it in Python with `torch.export.load` of the PyTorch that wrote it, export the model again "
    "with a current one, and save it with `torch.export.save`."
)
_LONGEST_NAME = 512
# what may come after the class scores, or after the features that a linear layer takes, without changing the decision
_AFTER_SCORES = frozenset(
    """
    softmax _softmax log_softmax _log_softmax sigmoid argmax dropout
    alias clone contiguous detach to _to_copy lift_fresh_copy squeeze view reshape flatten
    mean adaptive_avg_pool2d _adaptive_avg_pool2d
    """.split()  # noqa: SIM905 (as words)
)


@dataclass(frozen=True)
class LinearEnd:
    """The last linear layer of a program.

    Attributes:
        features: the value that it takes: (N, D), or (N, D, H, W) before a 1×1 convolution.
        scores: the value that it gives.
        weight: (C, D).
        bias: (C,), if any.
    """

    features: str
    scores: str
    weight: Tensor
    bias: Tensor | None


def kept_graph(path: str, text: Any) -> tuple[Program, dict[str, tuple[str, str]], tuple[str, ...]]:
    """The program in the JSON of an exported program, where its weights are stored, and the names of its outputs.

    Raises:
        InputError: for a graph that is not a network of one batch of images, or not made of known operators.
        KeyError, TypeError, AttributeError, ValueError: for JSON of another layout.
    """
    version = text["schema_version"]["major"]
    if version != SCHEMA:
        raise InputError(f"{path} has schema {str(version)[:20]} of torch.export; {SCHEMA} is read. {SAVE_AGAIN}")
    module = text["graph_module"]
    graph, signature = module["graph"], module["signature"]
    if len(graph["nodes"]) > MOST_NODES:
        raise InputError(f"{path} has {len(graph['nodes']):,} operations; the limit is {MOST_NODES:,}.")
    stored, images = _inputs(path, signature["input_specs"])
    outputs = _outputs(path, signature["output_specs"])
    meta = graph["tensor_values"][images]
    if len(meta["sizes"]) != 4:
        raise InputError(
            f"{path} takes a tensor of {len(meta['sizes'])} dimensions; expected images (N, channels, H, W)."
        )
    if meta["dtype"] not in (6, 7, 8, 13):
        raise InputError(
            f"{path} takes images of whole numbers; expected decimal ones (float32). Export it with those."
        )
    sizes = [part.get("as_int") for part in meta["sizes"]]
    if not all(size is None or type(size) is int for size in sizes):
        raise InputError(f"{path} has a size that is not a number.")
    if sizes[0] is not None and not 1 <= sizes[0] <= 1024:
        raise InputError(f"{path} takes {sizes[0]:,} images at once; the limit is 1,024. Export it with fewer.")
    shape = checked_shape(path, tuple(sizes[1:]))
    nodes = tuple(node for node in map(_node, graph["nodes"]) if node.operator not in IGNORED)
    used = {name for node in nodes for name in node.values()} | set(outputs)
    weights = tuple(name for name in stored if name in used)
    program = Program(images, shape, sizes[0], weights, nodes, outputs[0])
    program.check()
    known = {images, *weights, *(name for node in nodes for name in node.outputs)}
    if not set(outputs) <= known:
        raise InputError(f"{path} is damaged: an output is never computed.")
    return program, stored, outputs


def _inputs(path: str, specs: list[Mapping[str, Any]]) -> tuple[dict[str, tuple[str, str]], str]:
    """Where each weight is stored, by value name, and the name of the images."""
    stored: dict[str, tuple[str, str]] = {}
    images = []
    for each in specs:
        ((kind, spec),) = each.items()
        if kind == "parameter":
            stored[_name(spec["arg"])] = ("weights", spec["parameter_name"])
        elif kind == "buffer":
            place = "weights" if spec["persistent"] else "constants"
            stored[_name(spec["arg"])] = (place, spec["buffer_name"])
        elif kind == "tensor_constant":
            stored[_name(spec["arg"])] = ("constants", spec["tensor_constant_name"])
        elif kind == "user_input" and "as_tensor" in spec["arg"]:
            images.append(_name(spec["arg"]["as_tensor"]))
        elif kind == "constant_input" or (kind == "user_input" and "as_none" in spec["arg"]):
            continue
        else:
            raise InputError(
                f"{path} has an input of kind '{kind[:40]}': objects beside tensors are code of the file, and not read."
            )
    if len(images) != 1:
        raise InputError(f"{path} takes {len(images)} tensors; expected one, the images (N, channels, H, W).")
    return stored, images[0]


def _outputs(path: str, specs: list[Mapping[str, Any]]) -> tuple[str, ...]:
    names = []
    for each in specs:
        ((kind, spec),) = each.items()
        if kind == "user_output":
            if "as_tensor" in spec["arg"]:
                names.append(_name(spec["arg"]["as_tensor"]))
        else:
            raise InputError(
                f"{path} changes its own state when it runs ({kind[:40]}): it is in training mode. Call `model.eval()` "
                "before `torch.export.export(model, …)`, and save it again."
            )
    if not names:
        raise InputError(f"{path} gives no tensor; expected class scores or an embedding for each image.")
    return tuple(names)


def _name(value: Mapping[str, Any]) -> str:
    name = value["name"]
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise InputError("The exported network names a value by something else than a short text.")
    return name


def _node(node: Mapping[str, Any]) -> Node:
    target = node["target"]
    if not isinstance(target, str):
        raise InputError("The exported network calls something that is not an operator.")
    if target.startswith("torch.ops.higher_order") or any("as_graph" in each["arg"] for each in node["inputs"]):
        raise InputError(
            f"The exported network has a graph inside its graph ({target[:80]}): a condition, a loop or a change of "
            "gradient mode in `forward`. Export a model without it, for example without `torch.no_grad()` inside."
        )
    arguments = [_argument(each["arg"]) for each in node["inputs"] if each.get("kind") in (None, 0, 1)]
    options = {each["name"]: _argument(each["arg"]) for each in node["inputs"] if each.get("kind") == 2}
    outputs: list[str] = []
    listed = False
    for each in node["outputs"]:
        ((kind, value),) = each.items()
        if kind == "as_tensors":
            listed = True
            outputs.extend(_name(part) for part in value)
        elif kind == "as_tensor":
            outputs.append(_name(value))
        elif kind in ("as_sym_int", "as_sym_bool", "as_sym_float"):
            outputs.append(value["as_name"])
        elif kind != "as_none":
            raise InputError(
                f"The exported network's '{target[:80]}' gives something that is not a tensor ({kind[:40]})."
            )
        else:
            outputs.append("")  # keeps the place of a result that nobody uses
    short = target.removeprefix("torch.ops.")
    if "." not in short:
        raise InputError(f"The exported network calls '{target[:80]}', which is not an operator.")
    return Node(short, tuple(arguments), options, tuple(outputs), listed)


def _argument(union: Mapping[str, Any]) -> Argument:
    """An argument of the schema; expressions, objects, graphs and operators are refused."""
    ((kind, value),) = union.items()
    if kind == "as_none":
        return ["c", None]
    if kind == "as_tensor":
        return ["v", _name(value)]
    if kind == "as_tensors":
        return ["l", [["v", _name(part)] for part in value]]
    if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
        return ["v", value["as_name"]] if "as_name" in value else ["c", _only(value)]
    if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools"):
        return ["l", [["v", part["as_name"]] if "as_name" in part else ["c", _only(part)] for part in value]]
    if kind == "as_optional_tensor":
        return _argument(value)
    if kind == "as_optional_tensors":
        return ["l", [_argument(part) for part in value]]
    if kind in ("as_int", "as_bool"):
        return ["c", value]
    if kind == "as_float":
        return ["c", float(value)]  # infinity is written as a text
    if kind == "as_string":
        return ["c", str(value)]
    if kind in ("as_ints", "as_bools", "as_floats"):
        return ["l", [["c", float(part) if kind == "as_floats" else part] for part in value]]
    if kind == "as_scalar_type":
        return ["d", value]
    if kind == "as_memory_format":
        return ["m", value]
    if kind == "as_layout" and value == 7:
        return ["y"]
    if kind == "as_device":
        return ["w"]  # wherever the images are
    raise InputError(f"The exported network has an argument of kind '{kind[:40]}', which is not read from files.")


def _only(value: Mapping[str, Any]) -> Any:
    ((kind, number),) = value.items()
    if kind not in ("as_int", "as_float", "as_bool"):
        raise InputError("The exported network has a symbolic expression where a number is expected.")
    return number


# ---------------------------------------------------------------------------------------------------------------------
# the linear layer at the end


def linear_end(program: Program, weights: Mapping[str, Tensor], outputs: tuple[str, ...]) -> LinearEnd | None:
    """The linear layer that the first possible output comes from, if only things that keep the decision are after it.

    Args:
        program: the whole program.
        weights: by value name.
        outputs: its outputs.
    """
    by_output = {name: node for node in program.nodes for name in node.outputs}
    for output in outputs:
        value: str = output
        while (node := by_output.get(value)) is not None:
            found = _linear(node, by_output, weights, value)
            if found is not None:
                return found
            first = node.arguments[0] if node.arguments else ["c", None]
            if node.operator not in _AFTER_SCORES or first[0] != "v":
                break
            value = str(first[1])
    return None


def _linear(node: Node, by_output: Mapping[str, Node], weights: Mapping[str, Tensor], scores: str) -> LinearEnd | None:
    def tensor(argument: Argument | None, transposed: bool = False) -> Tensor | None:
        """A weight, as it is or through a transposition."""
        if argument is None or argument[0] != "v":
            return None
        turned = by_output.get(argument[1])
        if turned is not None and turned.operator in ("t", "permute", "transpose") and transposed:
            inner = tensor(turned.arguments[0])
            return inner.t() if inner is not None and inner.ndim == 2 else None
        if turned is not None and turned.operator in ("alias", "detach", "clone", "contiguous", "to", "_to_copy"):
            return tensor(turned.arguments[0], transposed)
        return weights.get(argument[1])

    name, given = node.operator, node.arguments
    weight: Tensor | None = None
    bias: Tensor | None = None
    features: Argument | None = None
    last = given[2] if len(given) > 2 else node.options.get("bias")
    if name == "linear":
        features, weight = given[0], tensor(given[1])
        bias = tensor(last)
        if bias is None and last not in (None, ["c", None]):
            return None
    elif name in ("mm", "matmul"):
        features, matrix = given[0], tensor(given[1], True)
        weight = matrix.t() if matrix is not None and matrix.ndim == 2 else None
    elif name == "addmm" and len(given) == 3 and not node.options:
        features, matrix, bias = given[1], tensor(given[2], True), tensor(given[0])
        weight = matrix.t() if matrix is not None and bias is not None else None
    elif name == "add" and len(given) == 2 and not node.options:
        for inner, added in ((given[0], given[1]), (given[1], given[0])):
            product = by_output.get(inner[1]) if inner[0] == "v" else None
            part = _linear(product, by_output, weights, inner[1]) if product is not None else None
            value = tensor(added)
            if part is not None and part.bias is None and value is not None and value.shape == part.weight.shape[:1]:
                return LinearEnd(part.features, scores, part.weight, value)
        return None
    elif name in ("conv2d", "convolution"):
        features, kernel, bias = given[0], tensor(given[1]), tensor(last)
        pointwise = kernel is not None and kernel.ndim == 4 and kernel.shape[2:] == (1, 1)
        plain = all(
            argument[0] != "l" or all(part[1] in (0, 1, False) for part in argument[1]) for argument in given[3:]
        )
        if pointwise and plain and kernel is not None:
            weight = kernel.flatten(1)
    if weight is None or features is None or features[0] != "v" or weight.ndim != 2 or weight.shape[0] < 1:
        return None
    if features[1] in weights:
        return None
    return LinearEnd(features[1], scores, weight, bias)
