"""Any classifier as an encoder and a head: the encoder ends where the last Linear layer begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from kmex_core.base.errors import InputError, KMExError
from kmex_core.base.files import digest
from kmex_core.networks import passes
from kmex_core.networks.memory import out_of_memory
from kmex_core.networks.passes import Call

EXAMPLES = 8
SHOWN = 6


@dataclass(frozen=True)
class SplitModel:
    """A classifier in two parts that share its parameters.

    Attributes:
        encoder: images (N, 3, H, W) to embeddings (N, D).
        head: the last Linear layer, embeddings (N, D) to class scores (N, C).
        head_path: its dotted name in the classifier, or in the network inside `torch.compile` or DataParallel.
    """

    encoder: UpToHead
    head: Head
    head_path: str


class UpToHead(nn.Module):
    """A classifier up to what its head is given: the classifier itself runs, and a hook takes the head's input.

    It is a guest. The classifier's parts go through a pass in evaluation mode and have their own modes again after it,
    so that the classifier may go on training; `train()` and `eval()` do not reach it. In training mode, parts run in
    the modes that they have. The head's parameters do not count as the encoder's in `state_dict`.

    Args:
        model: the classifier.
        head_path: the dotted name of its head.
        like: the name of the parameter whose type of float images are given in; as they come when empty.
    """

    def __init__(self, model: nn.Module, head_path: str, like: str = "") -> None:
        super().__init__()
        self.model, self.head_path, self.like = model, head_path, like
        self.training = False

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) images to (N, D) embeddings."""
        if self.like:
            images = images.to(self.model.get_parameter(self.like).dtype)
        head = self.model.get_submodule(self.head_path)
        if self.training:
            z = self._input_of(head, images)
        else:
            with passes.evaluating(self.model):
                z = self._input_of(head, images)
        return z

    def _input_of(self, head: nn.Module, images: Tensor) -> Tensor:
        with passes.watched({self.head_path: head}) as calls:
            self.model(images)
        if not calls:
            raise RuntimeError(f"{type(self.model).__name__} did not come to its head.")
        z: Tensor = calls[-1].inputs[0]
        return z

    def train(self, mode: bool = True) -> Self:
        """The encoder's own mode; the classifier's parts keep theirs."""
        self.training = mode
        return self

    def state_dict(self, *args: Any, **options: Any) -> Any:
        """As of any module, without the head's."""
        state = super().state_dict(*args, **options)
        for key in self._head_keys(options.get("prefix", "")):
            state.pop(key, None)
        return state

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for key, value in self._head_keys(prefix).items():
            state_dict.setdefault(key, value)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _head_keys(self, prefix: str) -> dict[str, Any]:
        return self.model.get_submodule(self.head_path).state_dict(prefix=f"{prefix}model.{self.head_path}.")


class Trunk(UpToHead):
    """An encoder that is nobody's guest: its network is its own, without a head, and takes its mode."""

    def __init__(self, model: nn.Module, head_path: str) -> None:
        parent, _, last = head_path.rpartition(".")
        setattr(model.get_submodule(parent), last, nn.Identity())
        super().__init__(model, head_path)
        self.training = True

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) images to (N, D) embeddings."""
        return self._input_of(self.model.get_submodule(self.head_path), images)

    def train(self, mode: bool = True) -> Self:
        """As of any module."""
        return nn.Module.train(self, mode)


class Head(nn.Linear):
    """A Linear layer on its own, with the parameters of a classifier's last one, for embeddings of any type of float.

    If the classifier recomputes its weight in each pass (weight or spectral norm), the current weight is used.
    """

    def __init__(self, layer: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        for name in ("weight", "bias"):
            value = getattr(layer, name)
            if value is not None and not isinstance(value, nn.Parameter):
                value = nn.Parameter(value.detach().clone(), requires_grad=False)
            self.register_parameter(name, value)
        self.training = False

    def forward(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, C) class scores of the same type."""
        return super().forward(z.to(self.weight.dtype)).to(z.dtype)


# ---------------------------------------------------------------------------------------------------------------------
# where to split


def split(model: nn.Module, example: Tensor | None = None, head: str | nn.Module | None = None) -> SplitModel:
    """Split a classifier before its last Linear layer. The classifier itself is not changed, and neither are its modes,
    hooks, buffers and torch's random numbers.

    `torch.compile`, DataParallel and DistributedDataParallel are looked through; any other module around the network
    (one that normalises first, a LightningModule) runs as it is. What comes after the head (a softmax, say) does not
    matter. Parameters and buffers are shared with the classifier.

    Args:
        model: any classifier with a Linear layer.
        example: (N, 3, H, W) images. With it the head is the last Linear layer whose output is the classifier's, else
            the last one to run, and the split is checked: the head on the encoder's output must predict what the
            classifier predicts. Without, it is the last one registered.
        head: which layer it is, by its dotted name or itself, when the last one is not the right one.

    Raises:
        InputError: when there is no such Linear layer, the classifier cannot run on the example, or the two parts do
            not make the whole.
    """
    network = passes.unwrapped(model)
    _check_weights(network)
    linear = _linear_layers(network)
    path = _path_of(network, linear, head) if head is not None else ""
    if not linear:
        raise InputError(
            f"{type(network).__name__} has no Linear layer. KMEx needs a classifier that ends in one, where its "
            "encoder "
            f"ends and its head begins{_instead(network)}."
        )
    if example is None:
        return split_at(network, path or list(linear)[-1])
    example = example[:EXAMPLES]
    like, calls, output = _observed(network, linear, example)
    call, scores = _chosen(network, linear, calls, output, path)
    parts = _parts(network, call.name, like)
    _check(network, parts, call, scores, linear)
    _check_repeats(network, parts.encoder, call.inputs[0], example)
    return parts


def split_at(model: nn.Module, path: str) -> SplitModel:
    """Split a classifier before the Linear layer of this dotted name, as `split` did before.

    Raises:
        InputError: when there is no such layer.
    """
    network = passes.unwrapped(model)
    _check_weights(network)
    path = _path_of(network, _linear_layers(network), path)
    floats = [name for name, value in network.named_parameters() if value.is_floating_point()]
    return _parts(network, path, floats[0])


def trunk(model: nn.Module) -> tuple[Trunk, int]:
    """A new network up to its head, which is taken away, and how many dimensions its embedding has."""
    parts = split(model)
    return Trunk(model, parts.head_path), parts.head.in_features


def _parts(network: nn.Module, path: str, like: str) -> SplitModel:
    layer = network.get_submodule(path)
    assert isinstance(layer, nn.Linear)
    with passes.evaluating(network):  # spectral norm changes its buffers when a weight is looked at in training mode
        return SplitModel(UpToHead(network, path, like), Head(layer), path)


def _linear_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """The Linear layers by name, those inside attention left out, which are not called."""
    inside = {
        part for module in network.modules() if isinstance(module, nn.MultiheadAttention) for part in module.modules()
    }
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and module not in inside and name
    }


def _path_of(network: nn.Module, linear: Mapping[str, nn.Linear], head: str | nn.Module) -> str:
    if isinstance(head, nn.Module):
        for name, layer in network.named_modules():
            if layer is head and name in linear:
                return name
        raise InputError(
            f"The {type(head).__name__} given as head is not a Linear layer of this {type(network).__name__}"
            f"{_candidates(linear)}."
        )
    for start in ("", "module.", "_orig_mod."):  # the names that wrappers put before it
        if head.startswith(start) and head.removeprefix(start) in linear:
            return head.removeprefix(start)
    kind = next((type(part).__name__ for name, part in network.named_modules() if name == head), "")
    raise InputError(
        f"{type(network).__name__} has no Linear layer '{head}'{f' (it is a {kind})' if kind else ''}: it is not the "
        "expected "
        f"network{_candidates(linear)}."
    )


def _candidates(linear: Mapping[str, nn.Linear]) -> str:
    if not linear:
        return ""
    last = [f"'{name}' ({layer.in_features} to {layer.out_features})" for name, layer in linear.items()][-SHOWN:]
    return f"; its {'last ' if len(linear) > SHOWN else ''}Linear layers are {', '.join(last)}"


def _instead(network: nn.Module) -> str:
    """What a network without a Linear layer at its end has there, in a half sentence."""
    if isinstance(network, torch.jit.ScriptModule):
        return "; this one is TorchScript, whose layers cannot be told: give the Python model"
    convolutions = [(name, part) for name, part in network.named_modules() if isinstance(part, nn.Conv2d)]
    if convolutions and convolutions[-1][1].kernel_size == (1, 1):
        name, part = convolutions[-1]
        return (
            f". In place of the 1×1 convolution '{name}' put pooling, Flatten and Linear({part.in_channels}, "
            f"{part.out_channels}) with the same weights"
        )
    return ""


def _check_weights(network: nn.Module) -> None:
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        if is_lazy(value):
            raise InputError(
                f"'{name}' of {type(network).__name__} has no shape yet: it belongs to a lazy layer. Run the "
                "classifier once on images, and train it, before it is converted."
            )
        if value.is_meta:
            raise InputError(
                f"'{name}' of {type(network).__name__} is on the device 'meta', which keeps no weights. Load the "
                "trained weights first."
            )


# ---------------------------------------------------------------------------------------------------------------------
# watching it run


def _observed(network: nn.Module, linear: Mapping[str, nn.Linear], example: Tensor) -> tuple[str, list[Call], Any]:
    """The parameter that images are like, the calls of Linear layers, and the output of one pass."""
    error: Exception | None = None
    for like in _float_parameters(network, example.dtype):
        images = example.to(network.get_parameter(like).dtype) if like else example
        try:
            with (
                torch.no_grad(),
                passes.same_random_numbers(example.device),
                passes.evaluating(network),
                passes.strangers(network) as strangers,
                passes.watched(linear) as calls,
            ):
                output = network(images)
        except Exception as raised:
            error = error or raised
            continue
        if strangers:
            raise InputError(
                f"{type(network).__name__} runs a {type(strangers[0]).__name__} with weights of its own that is not "
                "registered in it: it is kept in a plain list, a dict or a closure, where its weights are neither "
                "moved nor saved with the network. Use nn.ModuleList or nn.ModuleDict."
            )
        return like, calls, output
    assert error is not None
    raise not_run(network, example, error) from error


def _float_parameters(network: nn.Module, given: torch.dtype) -> Iterator[str]:
    """Names of parameters with each type of float, that of the images first, then none."""
    first: dict[torch.dtype, str] = {}
    for name, value in network.named_parameters():
        if value.is_floating_point():
            first.setdefault(value.dtype, name)
    yield from sorted(first.values(), key=lambda name: network.get_parameter(name).dtype != given)
    if given not in first:
        yield ""


def not_run(network: nn.Module, images: Tensor, error: Exception) -> KMExError:
    """What to say when a network fails on images."""
    if out_of_memory(error):
        return KMExError(
            f"Not enough memory on '{images.device}' for {len(images)} images of {tuple(images.shape[1:])}."
        )
    lines = str(error).strip().splitlines() or [""]
    return InputError(
        f"{type(network).__name__} cannot take images {tuple(images.shape)} of "
        f"{str(images.dtype).removeprefix('torch.')} ({type(error).__name__}: {lines[0][:300]}). Pass images of the "
        "size, channels and type that it was trained on."
    )


def _chosen(
    network: nn.Module, linear: Mapping[str, nn.Linear], calls: list[Call], output: Any, path: str
) -> tuple[Call, Tensor | None]:
    """The call of the head, and the classifier's scores where its output has them."""
    scores = _scores(output)
    if path:
        calls_of_path = [call for call in calls if call.name == path]
        if not calls_of_path:
            raise InputError(f"'{path}' does not run in {type(network).__name__}{_candidates(linear)}.")
        return calls_of_path[-1], scores
    if not calls:
        raise InputError(
            f"{type(network).__name__} does not call any of its Linear layers, so none can be its head; a layer "
            f"used by its weight (F.linear) is not detected. Make it a call{_candidates(linear)}."
        )
    outputs = [scores] if scores is not None else _tensors(output)
    giving = [call for call in calls if any(_equal(call.output, value) for value in outputs)]
    if scores is None and len({call.name for call in giving}) != 1:
        raise InputError(
            f"{type(network).__name__} gives {_described(output)} for a batch of images; expected a tensor (images, "
            f"classes). Name the layer that gives the class scores with head={_candidates(linear)}."
        )
    return (giving or calls)[-1], scores


def _scores(output: Any) -> Tensor | None:
    """The class scores in what a classifier gives: all of it, or its part "logits"."""
    if not isinstance(output, Tensor):
        output = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    return output if isinstance(output, Tensor) else None


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        return [tensor for value in output.values() for tensor in _tensors(value)]
    if isinstance(output, list | tuple):
        return [tensor for value in output for tensor in _tensors(value)]
    return []


def _equal(a: Any, b: Tensor) -> bool:
    return isinstance(a, Tensor) and (a is b or (a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)))


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} of {', '.join(map(str, list(value)[:SHOWN]))}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def _check(
    network: nn.Module, parts: SplitModel, call: Call, scores: Tensor | None, linear: Mapping[str, nn.Linear]
) -> None:
    """Whether the head on its input makes the classifier's decision."""
    name, path, z = type(network).__name__, parts.head_path, call.inputs[0]
    if scores is not None and scores.ndim != 2:
        raise InputError(
            f"{name} gives {_described(scores)} for a batch of images; expected a tensor (images, classes). Wrap "
            "it in a module whose forward returns the class scores."
        )
    if not isinstance(z, Tensor) or z.ndim != 2:
        raise InputError(
            f"Before its last Linear layer '{path}', {name} gives {_described(z)}; expected one embedding per image "
            "(images, "
            f"dimensions). If another layer is the head, name it with head={_candidates(linear)}."
        )
    if scores is None:
        return
    with torch.no_grad():
        again = parts.head(z)
    if again.shape == scores.shape:
        chosen, best = scores.gather(1, again.argmax(1, keepdim=True)), scores.amax(1, keepdim=True)
        rounding = 8 * torch.finfo(scores.dtype).eps * scores.abs().amax(1, keepdim=True)
        if bool((chosen >= best - rounding).all()):
            return
    raise InputError(
        f"{name} computes more after its last Linear layer '{path}' than a change of scale: the classes predicted from "
        f"the embedding differ from its own. KMEx cannot replace it. If another layer is the head, name it with "
        f"head={_candidates(linear)}; if the head is a function (F.linear) or a convolution, make it a Linear layer."
    )


def _check_repeats(network: nn.Module, encoder: UpToHead, z: Tensor, example: Tensor) -> None:
    with torch.no_grad(), passes.same_random_numbers(example.device):
        torch.rand(1, device=example.device)  # draw other random numbers than in the first pass
        again = encoder(example)
    if not torch.allclose(z, again, rtol=1e-2, atol=1e-2 * float(z.abs().amax()), equal_nan=True):
        raise InputError(
            f"{type(network).__name__} gives the same images different embeddings in every pass, even in evaluation "
            "mode. "
            "A common cause is dropout that ignores the mode: F.dropout needs training=self.training, nn.Dropout "
            "belongs "
            "into __init__."
        )


def fingerprint(*modules: nn.Module) -> str:
    """A fingerprint of all parameters and buffers of some modules, in order."""
    arrays: dict[str, np.ndarray] = {}
    for i, module in enumerate(modules):
        for name, value in module.state_dict().items():
            arrays[f"{i}.{name}"] = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return digest(arrays)
