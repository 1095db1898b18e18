"""Which outputs of a network are the classes of a user's images, from names, numbers or nothing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from torch import nn

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.networks.heads import SelectedHead
from kmex_core.networks.output_names import matched, plain
from kmex_core.networks.splitting import SplitModel

NO_CLASSES = "none"
Classes = Sequence[str] | Mapping[int, str] | str | None


def for_classes(
    parts: SplitModel, outputs: int, names: Sequence[str] | None, classes: Classes, network: nn.Module
) -> tuple[SplitModel, tuple[str, ...], tuple[int, ...]]:
    """The network for the classes of the images, their names, and the number of each among its outputs.

    Args:
        parts: the network.
        outputs: how many it has; 0 for an encoder.
        names: of the images' classes; None where the labels are numbers alone.
        classes: see `KMEx.from_model`.
        network: the user's.
    """
    if isinstance(classes, str):
        if classes != NO_CLASSES:
            raise InputError(f"Expected a list of class names, a mapping, or \"{NO_CLASSES}\", got '{classes}'.")
        return _encoder_alone(parts, names or (), outputs, warn=False)
    if names is None and isinstance(classes, Sequence):  # of the labels, and of as many outputs
        names, classes = tuple(map(str, classes)), None
    if outputs == 0:
        return _encoder_alone(parts, names or (), outputs, warn=False)
    given = _by_output(classes, outputs)
    if names is None:
        names = tuple(given.values()) or tuple(map(str, range(outputs)))
        chosen = tuple(given) or tuple(range(outputs))
        return (parts.predicting(chosen, len(names)) if given else parts), names, chosen
    if len(names) == 1 and isinstance(parts.head, SelectedHead):  # the second class of one score
        return parts.predicting([1], 1), tuple(names), (1,)
    known = given or _own_names(network, outputs)
    found = matched(names, list(known.values())) if known else None
    if found is not None:
        chosen = tuple(list(known)[at] for at in found)
        return parts.predicting(chosen, len(names)), tuple(names), chosen
    if given:
        there = {plain(name) for name in given.values()}
        missing = [name for name in names if plain(name) not in there] or ["two outputs have one name"]
        raise InputError(f"The given classes lack some of the images: {first_few(missing)}.")
    if len(names) != outputs:
        return _encoder_alone(parts, names, outputs)
    return parts, tuple(names), tuple(range(outputs))


def _by_output(classes: Sequence[str] | Mapping[int, str] | None, outputs: int) -> dict[int, str]:
    """The names of outputs by their numbers, ascending."""
    if classes is None:
        return {}
    if not isinstance(classes, Mapping):
        if len(classes) != outputs:
            raise InputError(f"{len(classes)} names of classes are given, but the network has {outputs} outputs.")
        return {number: str(name) for number, name in enumerate(classes)}
    wrong = [key for key in classes if not isinstance(key, int) or not 0 <= key < outputs]
    if wrong:
        raise InputError(f"The network has the outputs 0 to {outputs - 1}, so classes cannot name {wrong[0]!r}.")
    return {number: str(classes[number]) for number in sorted(classes)}


def _own_names(network: nn.Module, outputs: int) -> dict[int, str]:
    """The names that a network of transformers has for its outputs."""
    names = getattr(getattr(network, "config", None), "id2label", None)
    if not isinstance(names, Mapping) or len(names) != outputs:
        return {}
    return {int(key): str(names[key]) for key in sorted(names, key=int)}


def _encoder_alone(
    parts: SplitModel, names: Sequence[str], outputs: int, warn: bool = True
) -> tuple[SplitModel, tuple[str, ...], tuple[int, ...]]:
    if not names:
        raise InputError(
            "An encoder predicts no classes: name those of the labels with class_names, classes of from_model."
        )
    if warn:
        warnings.warn(
            f"The network has {outputs} outputs and the images have {len(names)} classes, so only its encoder is used, "
            "and no black box stands beside KMEx. If its outputs are the classes by other names, name them with "
            "classes.",
            stacklevel=6,
        )
    return parts.predicting(None, len(names)), tuple(names), ()
