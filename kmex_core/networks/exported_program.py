"""Programs of tensor operators as data: what is kept of a file of torch.export, checked and interpreted.

A program is a list of calls of operators in `OPERATORS`, which compute tensors from tensors and nothing else: they read
no file, draw no random number, call no code, and check the sizes of what they are given. Its text (JSON) is never
evaluated. Whole numbers that depend on the number of images (`x.shape[0] * 2`) are computed as calls too; symbolic
expressions are not read.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kmex_core.base.errors import InputError
from kmex_core.networks.foreign_network import MOST_VALUE

MOST_NODES = 20_000
MOST_TEXT = 64 * 2**20  # bytes
_LARGEST_NUMBER = 2**63

# tensors to tensors; the in-place ones among them are those that end in "_"
OPERATORS = frozenset(
    """
    linear addmm mm bmm baddbmm matmul einsum dot mv outer
    conv1d conv2d convolution conv_transpose2d _convolution
    batch_norm _native_batch_norm_legit_no_training layer_norm native_layer_norm group_norm
    native_group_norm rms_norm instance_norm cosine_similarity linalg_vector_norm norm
    relu relu_ relu6 relu6_ hardtanh hardtanh_ hardswish hardswish_ hardsigmoid hardsigmoid_ silu silu_ mish mish_ gelu
    gelu_ elu elu_ selu selu_ celu leaky_relu leaky_relu_ prelu _prelu_kernel softplus sigmoid sigmoid_ tanh
    tanh_ glu log_sigmoid softmax _softmax log_softmax _log_softmax
    dropout dropout_ feature_dropout alpha_dropout
    max_pool2d max_pool2d_with_indices avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d
    adaptive_avg_pool1d avg_pool1d max_pool1d mean sum amax amin max min var var_mean std std_mean prod cumsum any all
    upsample_nearest2d upsample_bilinear2d _upsample_bilinear2d_aa upsample_bicubic2d _upsample_bicubic2d_aa
    _upsample_nearest_exact2d pixel_shuffle pixel_unshuffle channel_shuffle
    pad constant_pad_nd reflection_pad2d replication_pad2d grid_sampler grid_sampler_2d im2col
    scaled_dot_product_attention
    view reshape _unsafe_view flatten unflatten squeeze squeeze_ unsqueeze unsqueeze_ permute transpose
    transpose_ t swapaxes movedim expand expand_as repeat repeat_interleave tile contiguous clone alias detach
    lift_fresh lift_fresh_copy view_as slice select narrow split split_with_sizes chunk unbind unfold unsafe_split
    unsafe_chunk cat concat stack hstack vstack roll flip rot90 index index_select gather take_along_dim as_strided
    slice_scatter select_scatter
    embedding topk sort argsort argmax argmin where masked_fill masked_fill_ tril triu diagonal meshgrid
    add add_ sub sub_ rsub mul mul_ div div_ pow sqrt sqrt_ rsqrt exp exp_ expm1 log log2 log1p sin cos atan2 erf abs
    neg reciprocal square floor ceil round trunc sign clamp clamp_ clamp_min clamp_min_ clamp_max clamp_max_ maximum
    minimum remainder fmod floor_divide
    addcmul addcdiv lerp square_ eq ne lt le gt ge logical_not logical_and logical_or
    bitwise_not bitwise_and bitwise_or isnan isinf nan_to_num
    zeros ones full arange linspace scalar_tensor eye zeros_like ones_like full_like new_zeros new_ones
    new_full copy copy_ fill_ zero_ to _to_copy type_as
  """.split()  # noqa: SIM905 (as words)
)
_UNCHECKED_NORM = (
    "_native_batch_norm_legit_no_training"  # reads beyond statistics of a wrong size: batch_norm is called
)
# checks and notes that compute nothing
IGNORED = frozenset(
    (
        "sym_constrain_range",
        "sym_constrain_range_for_size",
        "_assert_scalar",
        "_assert_tensor_metadata",
        "_assert_async",
    )
)
# what turns random numbers or batch statistics on, and where in the arguments
_TRAINING = {"batch_norm": "training", "dropout": "train", "dropout_": "train", "feature_dropout": "train",
             "alpha_dropout": "train"}  # fmt: skip
NUMBERS: dict[str, Callable[..., Any]] = {
    **{
        f"_operator.{name}": getattr(operator, name)
        for name in (
            "add",
            "sub",
            "mul",
            "floordiv",
            "truediv",
            "mod",
            "neg",
            "eq",
            "ne",
            "lt",
            "le",
            "gt",
            "ge",
            "not_",
        )
    },
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_float": float,
    "torch.sym_not": operator.not_,
    "math.floor": int,
    "math.trunc": int,
}
DTYPES = {1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
          7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16}  # fmt: skip
_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}
EVALUATION = "Call `model.eval()` before `torch.export.export(model, …)`, and save it again."
_OUT_OF_SHAPE = "The program of the exported network is damaged"

# an argument: ["v", name] a value, ["c", x] a number, text, bool or None, ["l", [arguments]], ["d", type of numbers],
# ["m", memory format], ["y"] dense layout, ["w"] the device of the images
Argument = list[Any]


@dataclass(frozen=True)
class Node:
    """A call of an operator.

    Attributes:
        target: "aten.NAME.OVERLOAD", "aten.sym_size.int", or a name in `NUMBERS`.
        arguments, options: its arguments, by place and by name.
        outputs: the names of its results.
        listed: whether the operator gives them as one list.
    """

    target: str
    arguments: tuple[Argument, ...]
    options: dict[str, Argument]
    outputs: tuple[str, ...]
    listed: bool = False

    @property
    def operator(self) -> str:
        """The operator's name without namespace and overload."""
        return self.target.split(".")[1]

    @property
    def in_place(self) -> bool:
        """Whether it writes into an argument."""
        return self.operator.endswith("_") and self.target not in NUMBERS

    def argument(self, place: int, name: str) -> Argument | None:
        """One argument, by place or by name; None when it has its default."""
        return self.arguments[place] if place < len(self.arguments) else self.options.get(name)

    def values(self) -> set[str]:
        """The names of the values that it reads."""
        found: set[str] = set()
        for argument in [*self.arguments, *self.options.values()]:
            _collect(argument, found)
        return found


@dataclass(frozen=True)
class Program:
    """A checked program: one batch of images in, one value out.

    Attributes:
        image: the name of the images' value.
        shape: (channels, H, W) of the images, None where any is taken.
        batch: the number of images, None for any.
        weights: the names of the values that are weights, in the order of the module's tensors.
        nodes: in the order in which they run.
        output: the name of the result.
    """

    image: str
    shape: tuple[int, int | None, int | None]
    batch: int | None
    weights: tuple[str, ...]
    nodes: tuple[Node, ...]
    output: str

    def text(self) -> bytes:
        """The program as JSON."""
        nodes = [
            [node.target, list(node.arguments), node.options, list(node.outputs), node.listed] for node in self.nodes
        ]
        fields = [1, self.image, list(self.shape), self.batch, list(self.weights), nodes, self.output]
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, text: bytes) -> Program:
        """A program from its JSON, checked.

        Raises:
            InputError: when it is not one, or calls an operator that is not allowed.
        """
        try:
            version, image, shape, batch, weights, listed, output = json.loads(text)
            if version != 1:
                raise InputError("This exported network was stored by a newer version: update KMEx Explorer.")
            nodes = tuple(
                Node(node[0], tuple(node[1]), dict(node[2]), tuple(node[3]), bool(node[4])) for node in listed
            )
            program = cls(image, tuple(shape), batch, tuple(weights), nodes, output)
            program.check()
        except InputError:
            raise
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(f"{_OUT_OF_SHAPE} ({type(error).__name__}).") from error
        return program

    def check(self) -> None:
        """Refuse operators that are not allowed, and values that come from nowhere.

        Raises:
            InputError: with the reason.
        """
        if len(self.nodes) > MOST_NODES:
            raise InputError(f"The exported network has {len(self.nodes):,} operations; the limit is {MOST_NODES:,}.")
        known = {self.image, *self.weights}
        if len(known) != len(self.weights) + 1:
            raise InputError(f"{_OUT_OF_SHAPE}: it names a value twice.")
        for node in self.nodes:
            check_target(node.target)
            _check_mode(node)
            if missing := node.values() - known:
                raise InputError(f"{_OUT_OF_SHAPE}: '{min(missing)[:60]}' is used before it is computed.")
            known |= set(node.outputs)
        if self.output not in known:
            raise InputError(f"{_OUT_OF_SHAPE}: it does not compute its result.")

    def up_to(self, value: str) -> Program:
        """The part that computes another value, without what is not needed for it. In-place operators before it stay,
        as they write into what others read."""
        last = next((i for i, node in enumerate(self.nodes) if value in node.outputs), -1)
        needed, kept = {value}, []
        for node in reversed(self.nodes[: last + 1]):
            if node.in_place or needed & set(node.outputs):
                kept.append(node)
                needed |= node.values()
        weights = tuple(name for name in self.weights if name in needed)
        return Program(self.image, self.shape, self.batch, weights, tuple(kept[::-1]), value)

    def run(self, images: Tensor, weights: Mapping[str, Tensor], most: int | None = None, keep: str = "") -> Any:
        """The output for a batch of images.

        Args:
            images: (N, channels, H, W); never written into.
            weights: by name.
            most: bytes of the largest value that is allowed.
            keep: another value to give, as a second result.

        Raises:
            InputError: when a value is larger than `most`.
        """
        values: dict[str, Any] = dict(weights)
        values[self.image] = images.clone() if any(node.in_place for node in self.nodes) else images
        last_use = {name: i for i, node in enumerate(self.nodes) for name in node.values()}
        for i, node in enumerate(self.nodes):
            result = _call(node, values, images.device)
            results = list(result) if node.listed or len(node.outputs) > 1 else [result]
            for name, value in zip(node.outputs, results, strict=False):
                if most is not None and isinstance(value, Tensor) and value.numel() * value.element_size() > most:
                    raise InputError(
                        f"The exported network computes a value of {tuple(value.shape)} for {len(images)} images, "
                        f"which is larger than {most // 2**20:,} MiB."
                    )
                values[name] = value
            for name in node.values():
                if last_use[name] == i and name not in (self.output, keep):
                    values.pop(name, None)
        return (values[self.output], values[keep]) if keep else values[self.output]

    def try_out(self, images: Tensor, weights: Mapping[str, Tensor]) -> None:
        """Run without numbers, for the sizes alone: no memory is taken before every value is known to be small enough.

        Raises:
            InputError: when a value is too large, or the operators do not fit together.
        """
        shapes = {name: value.to("meta") for name, value in weights.items()}
        try:
            with torch.no_grad():
                self.run(images.to("meta"), shapes, MOST_VALUE)
        except InputError:
            raise
        except Exception as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"The exported network cannot run on images {tuple(images.shape)} ({line[:200]})."
            ) from error


def check_target(target: str) -> None:
    """Refuse everything but calls of known operators.

    Raises:
        InputError: for any other target.
    """
    if target in NUMBERS or target == "aten.sym_size.int":
        return
    space, _, rest = target.partition(".")
    name, _, overload = rest.partition(".")
    if space == "aten" and name in IGNORED:
        return
    if space == "aten" and name in OPERATORS and "." not in overload:
        packet = getattr(torch.ops.aten, name, None)
        if packet is not None and overload in packet.overloads() and "out" not in overload.split("_"):
            return
    if space == "aten" and ("batch_norm" in name or "dropout" in name or name == "bernoulli"):
        raise InputError(f"The exported network is in training mode ({name}). {EVALUATION}")
    raise InputError(
        f"The exported network calls '{target[:80]}', which is not one of the tensor operators that are run from files "
        "(PyTorch's own, without side effects). Import the model by its source (torchvision, timm, hf or your own "
        "module:function), or export it to ONNX."
    )


def _check_mode(node: Node) -> None:
    name = node.operator
    schema = getattr(getattr(torch.ops.aten, name), node.target.split(".")[2])._schema if name in _TRAINING else None
    for place, wanted in enumerate(schema.arguments if schema is not None else []):
        if wanted.name == _TRAINING[name]:
            value = node.argument(place, wanted.name)
            if value is None or value[0] != "c" or value[1] is not False:
                raise InputError(f"The exported network is in training mode ({name}). {EVALUATION}")
    if name == "scaled_dot_product_attention":
        rate = node.argument(4, "dropout_p")
        if rate is not None and rate[1]:
            raise InputError(f"The exported network is in training mode (dropout in attention). {EVALUATION}")


def _collect(argument: Argument, found: set[str]) -> None:
    kind, *rest = argument
    if kind == "v":
        found.add(rest[0])
    elif kind == "l":
        for part in rest[0]:
            _collect(part, found)
    elif kind == "c":
        if not isinstance(rest[0], bool | int | float | str | None):
            raise InputError(f"{_OUT_OF_SHAPE}: an argument is a {type(rest[0]).__name__}.")
    elif (kind == "d" and rest[0] in DTYPES) or (kind == "m" and rest[0] in _FORMATS) or kind in ("y", "w"):
        return
    else:
        raise InputError(f"{_OUT_OF_SHAPE}: unknown argument '{str(argument)[:60]}'.")


def _call(node: Node, values: Mapping[str, Any], device: torch.device) -> Any:
    def value(argument: Argument) -> Any:
        kind, *rest = argument
        if kind == "v":
            return values[rest[0]]
        if kind == "l":
            return [value(part) for part in rest[0]]
        if kind == "d":
            return DTYPES[rest[0]]
        if kind == "m":
            return _FORMATS[rest[0]]
        return {"w": device, "y": torch.strided}[kind] if kind in ("w", "y") else rest[0]

    arguments = [value(argument) for argument in node.arguments]
    options = {name: value(argument) for name, argument in node.options.items()}
    if node.target == "aten.sym_size.int":
        return arguments[0].shape[arguments[1]]
    if node.target in NUMBERS:
        number = NUMBERS[node.target](*arguments)
        if not isinstance(number, bool | int | float) or abs(number) >= _LARGEST_NUMBER:
            raise InputError("The exported network computes a number that is no size.")
        return number
    _, name, overload = node.target.split(".")
    if name in IGNORED:
        return None
    if name == _UNCHECKED_NORM:
        image, weight, bias, mean, variance, momentum, eps = arguments
        return torch.ops.aten.batch_norm(image, weight, bias, mean, variance, False, momentum, eps, False), None, None
    return getattr(getattr(torch.ops.aten, name), overload)(*arguments, **options)
