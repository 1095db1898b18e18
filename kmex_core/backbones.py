"""Any classifier as an encoder and a head: the encoder ends where the last Linear layer begins."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.errors import InputError, unknown_name
from kmex_core.store import digest


@dataclass(frozen=True)
class SplitModel:
    """A classifier in two parts that share its parameters.

    Attributes:
        encoder: images (N, 3, H, W) to embeddings (N, D).
        head: the last Linear layer, embeddings (N, D) to class scores (N, C).
        head_path: its dotted name in the classifier.
    """

    encoder: nn.Module
    head: nn.Linear
    head_path: str


class _Reached(Exception):
    """Carries the embedding out of a forward pass that has reached the head."""

    def __init__(self, z: Any) -> None:
        super().__init__()
        self.z = z


class Stop(nn.Module):
    """Stands where the head was, and ends the forward pass there."""

    def forward(self, z: Tensor) -> Tensor:
        raise _Reached(z)


class UpToHead(nn.Module):
    """A classifier up to what its head would be given.

    Args:
        model: the classifier with a `Stop` in the place of its head.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) images to (N, D) embeddings."""
        try:
            self.model(images)
        except _Reached as reached:
            z: Tensor = reached.z
            return z
        raise RuntimeError(f"{type(self.model).__name__} did not come to its head.")


def split(model: nn.Module, example: Tensor | None = None) -> SplitModel:
    """Split a classifier before its last Linear layer. The classifier itself is not changed.

    The encoder runs the classifier until that layer is reached, so that what comes after it (a softmax, say) does not
    matter. Parameters and buffers are shared with the classifier; modes and hooks are not.

    Args:
        model: any classifier with a Linear layer.
        example: (N, 3, H, W) images. With it the last layer is the one that runs last, and the split is checked: the
            head on the encoder's output must predict what the classifier predicts. Without, it is the last one
            registered.

    Raises:
        InputError: when there is no Linear layer, or the two parts do not make the whole.
    """
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    linear = {name: module for name, module in linear.items() if not _inside_attention(model, name)}
    if not linear:
        raise InputError(
            f"{type(model).__name__} has no Linear layer, so there is no place where its encoder ends and its head "
            "begins. KMEx needs a classifier that ends in one."
        )
    path = list(linear)[-1] if example is None else _last_to_run(model, linear, example)
    parts = split_at(model, path)
    if example is not None:
        _check(model, parts, example)
    return parts


def split_at(model: nn.Module, path: str) -> SplitModel:
    """Split a classifier before the Linear layer of this dotted name, as `split` did before.

    Raises:
        InputError: when there is no such layer.
    """
    try:
        head = model.get_submodule(path)
    except AttributeError:
        head = None
    if not isinstance(head, nn.Linear):
        raise InputError(f"{type(model).__name__} has no Linear layer '{path}': it is another network than expected.")
    made: dict[nn.Module, nn.Module] = {head: Stop()}
    return SplitModel(UpToHead(_twin(model, made)), copy.copy(head), path)


def _inside_attention(model: nn.Module, name: str) -> bool:
    parent = name.rpartition(".")[0]
    return bool(parent) and isinstance(model.get_submodule(parent), nn.MultiheadAttention)


def _last_to_run(model: nn.Module, linear: dict[str, nn.Linear], example: Tensor) -> str:
    order: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: order.append(name)) for name, module in linear.items()
    ]
    try:
        _quietly(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return order[-1] if order else list(linear)[-1]


def _twin(module: nn.Module, made: dict[nn.Module, nn.Module]) -> nn.Module:
    """A module with the same parameters and buffers, but modes and hooks of its own; `made` maps old to new parts."""
    if module not in made:
        twin = copy.copy(module)
        made[module] = twin
        twin._modules = {name: child and _twin(child, made) for name, child in module._modules.items()}
    return made[module]


def _quietly(module: nn.Module, example: Tensor) -> Any:
    """The module's output in evaluation mode without gradients; its mode is put back."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        with torch.no_grad():
            return module(example)
    finally:
        for part, mode in modes:
            part.training = mode


def _check(model: nn.Module, parts: SplitModel, example: Tensor) -> None:
    z, scores = _quietly(parts.encoder, example), _quietly(model, example)
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(
            f"{type(model).__name__} gives {got} for a batch of images; a tensor (images, classes) was expected. Wrap "
            "it in a module whose forward returns the class scores."
        )
    if not isinstance(z, Tensor) or z.ndim != 2:
        got = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
        raise InputError(
            f"Before its last Linear layer '{parts.head_path}', {type(model).__name__} gives {got}; one embedding per "
            "image (images, dimensions) was expected."
        )
    with torch.no_grad():
        again = parts.head(z)
    if again.shape != scores.shape or not torch.equal(again.argmax(1), scores.argmax(1)):
        raise InputError(
            f"{type(model).__name__} computes more after its last Linear layer '{parts.head_path}' than a change of "
            "scale: the classes predicted from the embedding differ from its own. KMEx cannot take its place."
        )


def fingerprint(*modules: nn.Module) -> str:
    """A fingerprint of all parameters and buffers of some modules, in order."""
    arrays: dict[str, np.ndarray] = {}
    for i, module in enumerate(modules):
        for name, value in module.state_dict().items():
            arrays[f"{i}.{name}"] = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return digest(arrays)


# ---------------------------------------------------------------------------------------------------------------------
# the registry


def _resnet20(num_classes: int) -> nn.Module:
    """ResNet-20 for small images (He et al. 2016, 4.2): three stages of three blocks, 16, 32, 64 channels; D = 64."""
    from torchvision.models.resnet import BasicBlock

    def stage(inside: int, outside: int, stride: int) -> nn.Sequential:
        shortcut = None
        if inside != outside:
            shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
        first = BasicBlock(inside, outside, stride, shortcut)
        return nn.Sequential(first, *(BasicBlock(outside, outside) for _ in range(2)))

    model = nn.Sequential()
    model.add_module("conv1", nn.Conv2d(3, 16, 3, padding=1, bias=False))
    model.add_module("bn1", nn.BatchNorm2d(16))
    model.add_module("relu", nn.ReLU(inplace=True))
    model.add_module("layer1", stage(16, 16, 1))
    model.add_module("layer2", stage(16, 32, 2))
    model.add_module("layer3", stage(32, 64, 2))
    model.add_module("avgpool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())
    model.add_module("fc", nn.Linear(64, num_classes))
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    return model


OWN: dict[str, Callable[[int], nn.Module]] = {"resnet20": _resnet20}


def names() -> list[str]:
    """The registered architectures: all of torchvision's classification models, and our own small ones."""
    import torchvision.models

    return sorted([*OWN, *torchvision.models.list_models(module=torchvision.models)])


def build(name: str, num_classes: int, image_size: int, imagenet: bool = False) -> nn.Module:
    """A classifier by its registered name, for square images.

    SqueezeNet, which ends in a convolution, gets pooling and a Linear layer in its place.

    Args:
        name: a name that `names()` lists.
        num_classes: C ≥ 2.
        image_size: side of the input in pixels; vision transformers are made for it.
        imagenet: start from torchvision's ImageNet weights (downloaded), with a new head.

    Raises:
        InputError: for an unknown name, weights that cannot be had, or a size the architecture cannot take.
    """
    if name not in names():
        raise unknown_name("backbone", name, names())
    if num_classes < 2:
        raise InputError(f"A classifier needs at least 2 classes, got {num_classes}.")
    if name in OWN:
        if imagenet:
            raise InputError(
                f"There are no ImageNet weights for '{name}'. Take one of torchvision's, such as resnet18."
            )
        return OWN[name](num_classes)
    try:
        model = _torchvision(name, num_classes, image_size, imagenet)
    except (ValueError, AssertionError) as error:
        raise InputError(f"'{name}' cannot be built for {image_size}×{image_size} images ({error}).") from error
    _check_size(model, name, image_size, num_classes)
    return model


def _torchvision(name: str, num_classes: int, image_size: int, imagenet: bool) -> nn.Module:
    import torchvision.models as zoo

    options: dict[str, Any] = {}
    if name.startswith(("googlenet", "inception")):
        options = {"init_weights": not imagenet}
        if not imagenet:
            options["aux_logits"] = False
    if name.startswith("vit_") and not imagenet:
        options["image_size"] = image_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        if not imagenet:
            model = zoo.get_model(name, weights=None, num_classes=num_classes, **options)
        else:
            model = _pretrained(name, image_size, options)
    assert isinstance(model, nn.Module)
    if name.startswith("squeezenet"):
        model.classifier = nn.Sequential(
            nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, num_classes)
        )
    elif imagenet:
        path = split(model).head_path
        parent, _, last = path.rpartition(".")
        old = model.get_submodule(path)
        assert isinstance(old, nn.Linear)
        setattr(model.get_submodule(parent), last, nn.Linear(old.in_features, num_classes))
    return model


def _pretrained(name: str, image_size: int, options: dict[str, Any]) -> nn.Module:
    import torchvision.models as zoo
    from torchvision.models.vision_transformer import interpolate_embeddings

    weights = zoo.get_model_weights(name)["DEFAULT"]
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"The ImageNet weights of '{name}' could not be downloaded ({error}). Put "
            f"{weights.url.rsplit('/')[-1]} into {torch.hub.get_dir()}/checkpoints/, or train without --imagenet."
        ) from error
    if name.startswith("vit_"):
        patch = int(name.rsplit("_", 1)[-1])
        state = interpolate_embeddings(image_size, patch, state)
        options["image_size"] = image_size
    model = zoo.get_model(name, weights=None, **options)
    model.load_state_dict(state)
    if name.startswith(("googlenet", "inception")):
        model.aux_logits = False
        model.aux1 = model.aux2 = model.AuxLogits = None
    return model


def _check_size(model: nn.Module, name: str, image_size: int, num_classes: int) -> None:
    try:
        scores = _quietly(model, torch.zeros(2, 3, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InputError(
            f"'{name}' cannot take {image_size}×{image_size} images ({str(error).splitlines()[0]}). Choose a larger "
            "--image-size or another backbone."
        ) from error
    assert scores.shape == (2, num_classes)
