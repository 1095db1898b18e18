"""Backbones by name, from the sources in `networks.backbones`."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from kmex_core.base.errors import InputError
from kmex_core.base.registry import Registry, subclasses
from kmex_core.networks import backbones, passes
from kmex_core.networks.backbone import BackboneSource

_KINDS = subclasses(backbones.__name__, BackboneSource)  # type: ignore[type-abstract]  # those that are found are concrete


@cache
def registered() -> Registry[BackboneSource]:
    """The source of every backbone, by the backbone's name. Imports torchvision."""
    sources = [kind() for kind in _KINDS]
    return Registry("backbone", sorted((name, source) for source in sources for name in source.names()))


def names() -> list[str]:
    """The names of all backbones, in alphabetical order."""
    return list(registered())


def build(name: str, num_classes: int, image_size: int, imagenet: bool = False) -> nn.Module:
    """A classifier by its registered name, for square images.

    Args:
        name: a name that `names()` lists.
        num_classes: C ≥ 2.
        image_size: side of the input in pixels.
        imagenet: start from ImageNet weights (downloaded), with a new head.

    Raises:
        InputError: for an unknown name, unavailable weights, or an unsupported image size.
    """
    source = registered().named(name)
    if num_classes < 2:
        raise InputError(f"A classifier needs at least 2 classes, got {num_classes}.")
    try:
        model = source.build(name, num_classes, image_size, imagenet)
    except InputError:
        raise
    except (ValueError, AssertionError) as error:
        raise InputError(f"'{name}' cannot be built for {image_size}×{image_size} images ({error}).") from error
    _check_size(model, name, image_size, num_classes)
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
