"""Any classifier as an encoder and a head: the encoder ends where the head begins, found by watching it run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from kmex_core.base.errors import InputError, KMExError
from kmex_core.base.files import digest
from kmex_core.networks import encoders, passes
from kmex_core.networks.encoders import NONE, SEVERAL, Trunk, UpToHead, Whole, first_float, pooled, scores_in
from kmex_core.networks.heads import AnyHead, Head, NoHead, SelectedHead, head_of
from kmex_core.networks.memory import out_of_memory
from kmex_core.networks.other_heads import other_head
from kmex_core.networks.passes import Call

EXAMPLES = 8
SHOWN = 6


@dataclass(frozen=True)
class SplitModel:
    """A classifier in two parts that share its parameters.

    Attributes:
        encoder: images (N, 3, H, W) to embeddings (N, D).
        head: the last layer, embeddings (N, D) to class scores (N, C).
        head_path: its dotted name in the classifier, or in the network inside `torch.compile` or DataParallel; several
            names with `SEVERAL` between them where scores are averaged; "" of an encoder, which has no head.
    """

    encoder: UpToHead | Whole
    head: AnyHead
    head_path: str

    def predicting(self, outputs: Sequence[int] | None, classes: int) -> SplitModel:
        """The same network for some classes.

        Args:
            outputs: (classes,) the number of each class among the network's outputs; None if it predicts none of them.
            classes: how many there are.

        Raises:
            InputError: for an output that the network does not have.
        """
        if outputs is None or isinstance(self.encoder, Whole):
            return replace(self, head=NoHead(self.head.in_features, classes))
        if list(outputs) == list(range(self.head.out_features)):
            return self
        if not all(0 <= output < self.head.out_features for output in outputs):
            raise InputError(f"The network has {self.head.out_features} outputs, so not the outputs {list(outputs)}.")
        if isinstance(self.head, Head):
            return replace(self, head=SelectedHead(self.head, outputs))
        layers = [self.encoder.model.get_submodule(path) for path in self.head_path.split(SEVERAL)]
        return replace(self, head=head_of(layers, self.head.in_features, outputs))


# ---------------------------------------------------------------------------------------------------------------------
# where to split


def split(model: nn.Module, example: Tensor | None = None, head: str | nn.Module | None = None) -> SplitModel:
    """Split a classifier before its head. The classifier itself is not changed, and neither are its modes, hooks,
    buffers and torch's random numbers.

    `torch.compile`, DataParallel and DistributedDataParallel are looked through; any other module around the network
    (one that normalises first, a LightningModule) runs as it is. What comes after the head (a softmax, say) does not
    matter. Parameters and buffers are shared with the classifier.

    Args:
        model: any classifier; or an encoder, with an example.
        example: (N, channels, H, W) images. With it the head is the last Linear layer whose output is the classifier's,
            else the last one to run, and the split is checked: the head on the encoder's output must predict what the
            classifier predicts. Where it does not, others are looked for (`other_heads`). Without, it is the last
            Linear layer registered.
        head: which part it is, by its dotted name or itself, when the last one is not the right one; `NONE` to take
            what the network gives as the embedding.

    Raises:
        InputError: when there is no head, the classifier cannot run on the example, or the two parts do not make the
            whole.
    """
    network = passes.unwrapped(model)
    _check_weights(network)
    if isinstance(head, str) and head == NONE:
        return whole(network, torch.zeros(2, 3, 224, 224) if example is None else example)
    linear = _linear_layers(network)
    path = _path_of(network, linear, head) if head is not None else ""
    if example is None:
        if not path and not linear:
            raise InputError(_without_linear(network))
        return split_at(network, path or list(linear)[-1])
    example = example[:EXAMPLES]
    observed = dict(linear) | {name: network.get_submodule(name) for name in path.split(SEVERAL) if name}
    like, calls, output = _observed(network, observed, example)
    scores = _as_scores(scores_in(output))
    try:
        if not linear and not path:
            raise InputError(_without_linear(network))
        call, scores = _chosen(network, linear, calls, output, path)
        parts = _parts(network, path or call.name, like)
        _check(network, parts, call, scores, linear)
    except InputError:
        images = example.to(network.get_parameter(like).dtype) if like else example
        found = other_head(network, images, scores) if scores is not None and not path else ""
        if not found:
            raise
        parts = _parts(network, found, like)
        _check_decisions(network, parts, parts.encoder(example), scores, linear)
    with torch.no_grad():
        _check_repeats(network, parts.encoder, parts.encoder(example), example)
    return parts


def whole(model: nn.Module, example: Tensor, classes: int = 0, path: str = "") -> SplitModel:
    """A network without a head: what it gives is the embedding, see `encoders.embedding_in`.

    Args:
        model: the network.
        example: (N, channels, H, W) images.
        classes: how many there are that it does not predict.
        path: `encoders.NONE` or `MEAN` as it was kept; found when empty, see `encoders.takes_mean`.

    Raises:
        InputError: when it cannot run on the example or gives no embedding.
    """
    network = passes.unwrapped(model)
    _check_weights(network)
    example = example[:EXAMPLES]
    like, _, output = _observed(network, {}, example)
    mean = path == encoders.MEAN if path else encoders.takes_mean(encoders.features_in(output))
    z = encoders.embedding_in(output, mean)
    if z is None or z.shape[0] != len(example):
        raise InputError(
            f"{type(network).__name__} gives {_described(output)} for a batch of images; expected one embedding per "
            "image (images, dimensions), feature maps or tokens."
        )
    encoder = Whole(network, like, mean)
    _check_repeats(network, encoder, z, example)
    return SplitModel(encoder, NoHead(z.shape[1], classes), "")


def whole_again(model: nn.Module, dimensions: int, classes: int, path: str) -> SplitModel:
    """A network without a head whose embedding is known to have so many dimensions, without running it."""
    network = passes.unwrapped(model)
    return SplitModel(Whole(network, first_float(network), path == encoders.MEAN), NoHead(dimensions, classes), "")


def split_at(model: nn.Module, path: str) -> SplitModel:
    """Split a classifier before the part of this dotted name, as `split` did before.

    Raises:
        InputError: when there is no such part.
    """
    network = passes.unwrapped(model)
    _check_weights(network)
    path = _path_of(network, _linear_layers(network), path)
    return _parts(network, path, first_float(network))


def trunk(model: nn.Module) -> tuple[Trunk, int]:
    """A new network up to its head, which is taken away, and how many dimensions its embedding has."""
    parts = split(model)
    return Trunk(model, parts.head_path), parts.head.in_features


def _parts(network: nn.Module, path: str, like: str) -> SplitModel:
    layers = [network.get_submodule(name) for name in path.split(SEVERAL)]
    encoder = UpToHead(network, path, like)
    with passes.evaluating(network):  # spectral norm changes its buffers when a weight is looked at in training mode
        try:
            return SplitModel(encoder, head_of(layers, _dimensions(layers)), path)
        except RuntimeError as error:
            raise InputError(
                f"'{path}' of {type(network).__name__} (a {type(layers[0]).__name__}) does not make class scores from "
                f"one embedding per image, so it cannot be the head{_candidates(_linear_layers(network))}."
            ) from error


def _dimensions(layers: Sequence[nn.Module]) -> int:
    """Of the embedding before a part: what its first layer with weights takes."""
    first = next((part for part in layers[0].modules() if hasattr(part, "in_features")), None)
    if first is not None:
        return int(first.in_features) * len(layers)  # type: ignore[arg-type]
    weights = [value for value in layers[0].parameters() if value.ndim == 2]
    return weights[0].shape[1] if weights else 0


def _without_linear(network: nn.Module) -> str:
    return (
        f"{type(network).__name__} has no Linear layer. KMEx needs a classifier that ends in one, where its encoder "
        f'ends and its head begins{_instead(network)}. For an encoder without a head say so: head="{NONE}".'
    )


def _as_scores(scores: Tensor | None) -> Tensor | None:
    """(N,) scores of one output as (N, 1)."""
    return scores[:, None] if scores is not None and scores.ndim == 1 else scores


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
            if layer is head and name:
                return name
        raise InputError(
            f"The {type(head).__name__} given as head is not a part of this {type(network).__name__}"
            f"{_candidates(linear)}."
        )
    parts = {name for name, _ in network.named_modules() if name}
    for start in ("", "module.", "_orig_mod."):  # the names that wrappers put before it
        path = SEVERAL.join(name.removeprefix(start) for name in head.split(SEVERAL))
        if head.startswith(start) and set(path.split(SEVERAL)) <= parts:
            return path
    raise InputError(
        f"{type(network).__name__} has no part '{head}': it is not the expected network{_candidates(linear)}."
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


def _observed(network: nn.Module, layers: Mapping[str, nn.Module], example: Tensor) -> tuple[str, list[Call], Any]:
    """The parameter that images are like, the calls of some layers, and the output of one pass."""
    error: Exception | None = None
    for like in _float_parameters(network, example.dtype):
        images = example.to(network.get_parameter(like).dtype) if like else example
        try:
            with (
                torch.no_grad(),
                passes.same_random_numbers(example.device),
                passes.evaluating(network),
                passes.strangers(network) as strangers,
                passes.watched(layers) as calls,
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
    scores = _as_scores(scores_in(output))
    if path:
        calls_of_path = [call for call in calls if call.name in path.split(SEVERAL)]
        if not calls_of_path:
            raise InputError(f"'{path}' does not run in {type(network).__name__}{_candidates(linear)}.")
        return calls_of_path[-1], scores
    if not calls:
        raise InputError(
            f"{type(network).__name__} does not call any of its Linear layers, so none can be its head; a layer "
            f"used by its weight (F.linear) is not detected. Make it a call{_candidates(linear)}."
        )
    outputs = [scores] if scores is not None else _tensors(output)
    giving = [call for call in calls if any(_equal(_as_scores(call.output), value) for value in outputs)]
    if scores is None and len({call.name for call in giving}) != 1:
        raise InputError(
            f"{type(network).__name__} gives {_described(output)} for a batch of images; expected a tensor (images, "
            f"classes). Name the layer that gives the class scores with head={_candidates(linear)}."
        )
    return (giving or calls)[-1], scores


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
    pooling = isinstance(network.get_submodule(call.name), nn.Conv2d)
    if not isinstance(z, Tensor) or z.ndim != (4 if pooling else 2):
        raise InputError(
            f"Before its head '{path}', {name} gives {_described(z)}; expected one embedding per image "
            "(images, "
            f"dimensions). If another layer is the head, name it with head={_candidates(linear)}."
        )
    if scores is not None:
        _check_decisions(network, parts, pooled(z), scores, linear)


def _check_decisions(
    network: nn.Module, parts: SplitModel, z: Tensor, scores: Tensor | None, linear: Mapping[str, nn.Linear]
) -> None:
    assert scores is not None
    with torch.no_grad():
        again = parts.head(z)
    if scores.shape[1] == 1 and again.shape[1] == 2:  # a score, or what a sigmoid makes of it
        second = again.argmax(1) == 1
        if any(torch.equal(second, scores[:, 0] > middle) for middle in (0, 0.5)):
            return
    if again.shape == scores.shape:
        chosen, best = scores.gather(1, again.argmax(1, keepdim=True)), scores.amax(1, keepdim=True)
        rounding = 8 * torch.finfo(scores.dtype).eps * scores.abs().amax(1, keepdim=True)
        if bool((chosen >= best - rounding).all()):
            return
    raise InputError(
        f"{type(network).__name__} computes more after its last Linear layer '{parts.head_path}' than a change of "
        "scale: the classes predicted from the embedding differ from its own. KMEx cannot replace it. If another layer "
        f"is the head, name it with head={_candidates(linear)}; if the head is a function (F.linear), make it a layer."
    )


def _check_repeats(network: nn.Module, encoder: UpToHead | Whole, z: Tensor, example: Tensor) -> None:
    with torch.no_grad(), passes.same_random_numbers(example.device):
        torch.rand(1, device=example.device)  # draw other random numbers than in the first pass
        again = encoder(example)
    if not torch.allclose(z, again, rtol=1e-2, atol=1e-2 * float(z.abs().amax()), equal_nan=True):
        raise InputError(
            f"{type(network).__name__} gives the same images different embeddings in every pass, even in evaluation "
            "mode. A common cause is dropout that ignores the mode: F.dropout needs training=self.training, nn.Dropout "
            "belongs into __init__."
        )


def fingerprint(*modules: nn.Module) -> str:
    """A fingerprint of all parameters and buffers of some modules, in order."""
    arrays: dict[str, np.ndarray] = {}
    for i, module in enumerate(modules):
        for name, value in module.state_dict().items():
            arrays[f"{i}.{name}"] = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return digest(arrays)
