"""Faster copies of encoders for inference: the same function, with other roundings.

Three things are exact but for rounding: a batch norm that follows a convolution becomes part of it; a convolution whose
input has fewer pixels than its kernel becomes a product with a matrix, without the kernel's pixels that only ever meet
zeros (at 32×32, the last layers of a ResNet); and images are stored with channels last, as convolutions compute.
"""

from __future__ import annotations

import copy
import itertools
import logging
import math
import threading
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import fuse_conv_bn_eval

from kmex_core.base.errors import InputError
from kmex_core.networks.encoders import SEVERAL, UpToHead, Whole, embedding_in, pooled
from kmex_core.networks.foreign_network import ForeignNetwork
from kmex_core.networks.splitting import fingerprint

log = logging.getLogger(__name__)

TOLERANCE = 1e-5  # of the largest number in the embeddings of the images that are tried
WORTH_FOLDING = 2  # times fewer products
MOST_FOLDED = 2**24  # numbers in a matrix
SAFE = ("torch", "_operator", "builtins", "math")  # whose functions keep no state


class Prepared(nn.Module):
    """A copy of an encoder as a graph of torch's own layers, which keep no state: several threads can run it at once.

    Images of another size than that of the example go through the encoder itself, one batch at a time.
    """

    def __init__(self, network: fx.GraphModule, encoder: nn.Module, size: tuple[int, ...]) -> None:
        super().__init__()
        self.network, self._encoder, self._size = network, [encoder], size  # a list: it is no part of this
        self._alone = threading.Lock()

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) images to (N, D) embeddings."""
        encoder = self._encoder[0]
        if tuple(images.shape[1:]) != self._size:
            with self._alone:
                return encoder(images)
        output = self.network(images.contiguous(memory_format=torch.channels_last))
        if isinstance(encoder, Whole):
            z = embedding_in(output, encoder.mean)
            assert z is not None
            return z
        if isinstance(encoder, UpToHead):
            found = [pooled(features) for features in output]
            return found[0] if len(found) == 1 else torch.cat(found, 1)
        return output


def prepared(encoder: nn.Module, example: Tensor) -> nn.Module:
    """A faster copy of an encoder for inference, or the encoder itself.

    The copy is used only where it is understood completely (32-bit floats, a graph of torch's layers and functions, no
    hooks, nothing compiled or exported) and agrees with the encoder on the example within `TOLERANCE`. The encoder is
    not changed. Which of the two it is depends on the encoder and its images alone, so the same machine gives the same
    embeddings; between machines they differ by as much anyway.

    Args:
        encoder: in evaluation mode, on the example's device.
        example: (n, 3, H, W) a few images.
    """
    try:
        reason, copied = _copied(encoder, example)
    except Exception as error:  # a user's code may do anything when it is traced
        reason, copied = f"{type(error).__name__}: {error}", encoder
    if reason:
        log.debug("%s runs as it is: %s", type(encoder).__name__, reason.strip().partition("\n")[0])
    return copied


_latest: dict[tuple[Any, ...], tuple[nn.Module, nn.Module]] = {}  # an encoder and what it was compiled to


def compiled(encoder: nn.Module, example: Tensor) -> nn.Module:
    """The encoder (a faster copy, where that is possible) compiled by torch.

    The last one is kept: a process that embeds part by part compiles once.

    Raises:
        InputError: when torch cannot compile it here.
    """
    kind = example.device.type
    computes = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    key = fingerprint(encoder), example.shape[1:], example.dtype, example.device, computes
    latest = _latest.get(key)
    if latest is not None and latest[0] is encoder:
        return latest[1]
    result = _compiled(encoder, example)
    _latest.clear()
    _latest[key] = encoder, result
    return result


def _compiled(encoder: nn.Module, example: Tensor) -> nn.Module:
    result: Any = torch.compile(prepared(encoder, example))
    try:
        with torch.no_grad():
            result(example)
    except Exception as error:  # of any of the compilers that torch uses
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"torch.compile cannot compile this network here ({reason}). Leave out --compile.") from error
    return result


def difference(z: Tensor, reference: Tensor) -> float:
    """The largest difference of embeddings, relative to the largest number in the reference; infinite for other
    shapes, and where a number is not finite."""
    if z.shape != reference.shape:
        return math.inf
    value = float((z.double() - reference.double()).abs().max() / reference.double().abs().max().clamp(min=1e-30))
    return value if math.isfinite(value) else math.inf


def _copied(encoder: nn.Module, example: Tensor) -> tuple[str, nn.Module]:
    """Why there is no copy, and the encoder; or "", and the copy."""
    reason = _unsuitable(encoder)
    if reason:
        return reason, encoder
    with torch.no_grad():
        expected = encoder(example)
        graph_module = _traced(encoder)
        _join_batch_norms(graph_module)
        _fold_small(graph_module, example)
        graph_module.delete_all_unused_submodules()
        graph_module.recompile()
        graph_module.to(memory_format=torch.channels_last)
        fast = Prepared(graph_module, encoder, tuple(example.shape[1:]))
        fast.eval().requires_grad_(False)
        # one image by itself as well: a size of batches that became part of the graph would show
        apart = max(difference(fast(example), expected), difference(fast(example[:1]), expected[:1]))
    if apart > TOLERANCE:
        return f"a copy differs by {apart:.1e}", encoder
    return "", fast


def _unsuitable(encoder: nn.Module) -> str:
    for part in encoder.modules():
        name = type(part).__name__
        if isinstance(part, ForeignNetwork):
            return f"{name} came from a file"
        if part._forward_hooks or part._forward_pre_hooks:
            return f"{name} has hooks"
        if "_orig_mod" in part._modules or part._compiled_call_impl is not None:
            return f"{name} is compiled"
    tensors = [value for value in (*encoder.parameters(), *encoder.buffers()) if value.is_floating_point()]
    if any(value.dtype != torch.float32 for value in tensors):
        return "its weights are not 32-bit floats"
    return ""


class _Given(nn.Module):
    """Gives a network one argument: its others keep their defaults when it is traced."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        return self.network(images)


class _Tracer(fx.Tracer):
    """torch.fx changes how every module is called while it traces; those of other threads run as ever."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


_tracing = threading.Lock()


def _traced(encoder: nn.Module) -> fx.GraphModule:
    """A copy of the encoder's network as a graph, up to its head.

    Raises:
        ValueError: when the graph has something that may keep state, or no head.
        Exception: whatever a user's code raises when it is traced.
    """
    network: nn.Module = encoder.model if isinstance(encoder, UpToHead | Whole) else encoder
    root = _Given(copy.deepcopy(network))
    for part in root.modules():
        part.training = False  # not eval(): a module may do more there
    tracer = _Tracer()
    with _tracing:
        graph = tracer.trace(root)
    for node in graph.nodes:
        if node.op == "call_function" and not str(getattr(node.target, "__module__", "")).startswith(SAFE):
            raise ValueError(f"it calls {node.target}")
    if isinstance(encoder, UpToHead):
        calls = {node.target: node for node in graph.nodes if node.op == "call_module"}  # the last of each
        heads = [calls.get(f"network.{path}") for path in encoder.head_path.split(SEVERAL)]
        if None in heads:
            raise ValueError("its head does not run as a layer")
        (end,) = (node for node in graph.nodes if node.op == "output")
        end.args = (tuple(head.args[0] for head in heads if head is not None),)
    graph_module = fx.GraphModule(root, graph)
    graph_module.graph.eliminate_dead_code()
    return graph_module


def _once(graph_module: fx.GraphModule) -> dict[fx.Node, nn.Module]:
    """The nodes whose layers run once, and their layers."""
    nodes: dict[str, list[fx.Node]] = {}
    for node in graph_module.graph.nodes:
        if node.op == "call_module":
            nodes.setdefault(str(node.target), []).append(node)
    return {found[0]: graph_module.get_submodule(name) for name, found in nodes.items() if len(found) == 1}


def _join_batch_norms(graph_module: fx.GraphModule) -> None:
    layers = _once(graph_module)
    for node, layer in layers.items():
        before = node.args[0] if len(node.args) == 1 and not node.kwargs else None
        if type(layer) is not nn.BatchNorm2d or layer.running_mean is None or not isinstance(before, fx.Node):
            continue
        convolution = layers.get(before)
        if type(convolution) is nn.Conv2d and len(before.users) == 1:
            _put(graph_module, before, fuse_conv_bn_eval(convolution, layer))
            layers[before] = graph_module.get_submodule(str(before.target))
            node.replace_all_uses_with(before)
            graph_module.graph.erase_node(node)


def _put(graph_module: fx.GraphModule, node: fx.Node, layer: nn.Module) -> None:
    graph_module.set_submodule(str(node.target), layer)


class _Shapes(fx.Interpreter):
    """Runs a graph and notes the shapes of what its nodes give."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module)
        self.of: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.of[n] = tuple(result.shape)
        return result


class _Folded(nn.Module):
    """A convolution of so few pixels as a product with a matrix."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Conv2d, size: tuple[int, ...], result: tuple[int, ...]) -> None:
        super().__init__()
        self.size, weight = result, layer.weight
        matrix = weight.new_zeros(*result, *size)  # (C', h', w', C, h, w)
        for y, x, v, u in itertools.product(*map(range, (*result[1:], *size[1:]))):
            # the pixel of the kernel that lies on input pixel (v, u) when output pixel (y, x) is computed
            row, column = _tap(layer, 0, y, v), _tap(layer, 1, x, u)
            if row is not None and column is not None:
                matrix[:, y, x, :, v, u] = weight[:, :, row, column]
        self.register_buffer("weight", matrix.flatten(0, 2).flatten(1))
        repeated = None if layer.bias is None else layer.bias.repeat_interleave(math.prod(result[1:]))
        self.register_buffer("bias", repeated)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C', h', w')."""
        return nn.functional.linear(images.flatten(1), self.weight, self.bias).view(-1, *self.size)


def _tap(layer: nn.Conv2d, axis: int, result: int, given: int) -> int | None:
    """The place in the kernel, along an axis, that meets an input pixel for a pixel of the result; None without."""
    assert not isinstance(layer.padding, str)
    away = given + layer.padding[axis] - result * layer.stride[axis]
    place, rest = divmod(away, layer.dilation[axis])
    return place if rest == 0 and 0 <= place < layer.kernel_size[axis] else None


def _fold_small(graph_module: fx.GraphModule, example: Tensor) -> None:
    shapes = _Shapes(graph_module)
    shapes.run(example[:1])
    for node, layer in _once(graph_module).items():
        given = node.args[0] if len(node.args) == 1 and not node.kwargs else None
        if type(layer) is not nn.Conv2d or layer.groups != 1 or not isinstance(given, fx.Node):
            continue
        if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
            continue
        size, result = shapes.of.get(given, ())[1:], shapes.of.get(node, ())[1:]
        if len(size) != 3 or math.prod(layer.kernel_size) < WORTH_FOLDING * math.prod(size[1:]):
            continue
        if math.prod(size) * math.prod(result) <= MOST_FOLDED:
            _put(graph_module, node, _Folded(layer, size, result))
