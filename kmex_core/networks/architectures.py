"""Architectures by name: those of torchvision, and a small ResNet for small pictures."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kmex_core.base.errors import InputError, unknown_name
from kmex_core.networks import passes
from kmex_core.networks.backbones import split


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
        with torch.no_grad(), passes.evaluating(model):
            scores = model(torch.zeros(2, 3, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InputError(
            f"'{name}' cannot take {image_size}×{image_size} images ({str(error).splitlines()[0]}). Choose a larger "
            "--image-size or another backbone."
        ) from error
    assert scores.shape == (2, num_classes)
