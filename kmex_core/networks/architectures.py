"""Networks by name: backbones, from the sources in `networks.backbones`, and `prefix:name`, from `networks.sources`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from torch import nn

from kmex_core.base.errors import InputError
from kmex_core.base.registry import Registry, subclasses
from kmex_core.networks import backbones, passes, sources, trust
from kmex_core.networks.architecture_source import ArchitectureSource, Plan, Proposal
from kmex_core.networks.backbone import BackboneSource
from kmex_core.networks.backbones.torchvision import Torchvision

_KINDS = subclasses(backbones.__name__, BackboneSource)  # type: ignore[type-abstract]  # those that are found are concrete
_SOURCES = subclasses(sources.__name__, ArchitectureSource)  # type: ignore[type-abstract]


@cache
def registered() -> Registry[BackboneSource]:
    """The source of every backbone, by the backbone's name. Imports torchvision."""
    return Registry("backbone", sorted((name, source) for source in _sources() for name in source.names()))


@cache
def _sources() -> list[BackboneSource]:
    """The sources of backbones, torchvision last: its import takes as long as torch's, and 160 MB."""
    return sorted((kind() for kind in _KINDS), key=lambda source: source.name == Torchvision.name)


def _source(backbone: str) -> BackboneSource:
    """The source of a backbone. Imports torchvision only for one of its own.

    Raises:
        InputError: for an unknown name.
    """
    own = (source for source in _sources() if backbone in source.names())
    return next(own, None) or registered().named(backbone)


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
    source = _source(name)
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


# ---------------------------------------------------------------------------------------------------------------------
# networks from outside


@cache
def outside() -> dict[str, ArchitectureSource]:
    """The sources of networks from outside, by prefix; that without one is the user's own functions."""
    return {kind.name: kind() for kind in _SOURCES}


def source_of(name: str) -> tuple[ArchitectureSource, str] | None:
    """The source of a network and its name there; None for a backbone.

    Raises:
        InputError: for a name that no source has.
    """
    prefix, colon, rest = name.partition(":")
    if not colon:
        return None
    if prefix in outside() and prefix:
        return outside()[prefix], rest
    if trust.is_function(name):
        return outside()[""], name
    kinds = "; ".join(f"{source.about}" for source in outside().values())
    raise InputError(f"Expected a backbone's name or a network from outside, got '{name}'. There are: {kinds}.")


def is_trainable(name: str) -> bool:
    """Whether a network of this name can be trained here."""
    source = source_of(name)
    return source is None or source[0].trainable


def propose(name: str, outputs: int | None, own_weights: bool = False) -> Proposal:
    """A network from outside with its source's weights, see `ArchitectureSource.propose`.

    Raises:
        InputError: see there; and for a backbone of this product.
    """
    source = source_of(name)
    if source is None:
        raise InputError(f"'{name}' is a backbone of this product.")
    return source[0].propose(source[1], outputs, own_weights)


def rebuilt(name: str, plan: Plan, arrays: Mapping[str, np.ndarray]) -> nn.Module:
    """A network of the store again, with new weights.

    Args:
        name: as it was imported.
        plan: what else it is built from; its name is set here.
        arrays: its stored weights, for networks that are in them as a whole.

    Raises:
        InputError: see `ArchitectureSource.build` and `build`.
    """
    source = source_of(name)
    if source is None:
        return build(name, plan.outputs, max(plan.size))
    return source[0].build(Plan(source[1], plan.outputs, plan.size, plan.inputs, plan.details), arrays)
