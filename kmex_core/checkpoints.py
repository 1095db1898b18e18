"""Weights from elsewhere: read without running anything, and matched to an architecture by name and shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from kmex_core.errors import InputError

MOST_BYTES = 4 * 2**30
HOLDERS = ("state_dict", "model_state_dict", "model", "net", "weights")
WAY_OUT = (
    "Where you trust it, save its weights alone, with `torch.save(model.state_dict(), 'weights.pt')` or "
    "`safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')`, and import that."
)
# what the original ProtoPNet and ProtoVAE call their parts, and what they keep that needs no place here
ALIASES = {"head.prototypes": "prototype_vectors", "head.weight": "last_layer.weight"}
UNNEEDED = ("ones", "prototype_class_identity")
# buffers that a checkpoint may lack: they start as a new network has them
OPTIONAL = ("num_batches_tracked", "prototype_class", "picture")


@dataclass(frozen=True)
class Match:
    """How a checkpoint fits an architecture.

    Attributes:
        state: tensors by the architecture's names; with those that found no place, by their own.
        matched: how many have a place.
        renamed: the checkpoint's name of each that is called otherwise here, by the name here.
        kept: buffers that the checkpoint lacks.
        ignored: what was left out on purpose.
    """

    state: dict[str, Tensor]
    matched: int
    renamed: dict[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a file that `torch.save` wrote of a state dict, by name.

    No code of the file is run: what is more than tensors, numbers, texts, lists and dicts is refused.

    Raises:
        InputError: when there is no such file, it is too large, damaged, a whole pickled model, or has no tensors.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    if size > MOST_BYTES:
        raise InputError(f"{path} has {size / 2**30:.1f} GiB; at most {MOST_BYTES // 2**30} are read.")
    if start[8:9] == b"{":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(f"{path} is damaged or no safetensors file ({error}).") from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise InputError(
            f"{path} holds more than weights: a whole model or other Python objects, pickled. Reading those can run "
            f"any code, so it is not done. {WAY_OUT} ({str(error).strip().splitlines()[0][:200]})"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"{path} is damaged, cut off, or no checkpoint ({first}). A safetensors file, or a state dict written by "
            "torch.save, was expected."
        ) from error
    return _tensors(path, found)


def _tensors(path: Path, found: Any) -> dict[str, Tensor]:
    for _ in range(3):
        if not isinstance(found, dict) or any(isinstance(value, Tensor) for value in found.values()):
            break
        inner = next((found[name] for name in HOLDERS if isinstance(found.get(name), dict)), None)
        if inner is None:
            break
        found = inner
    state = {str(name): value for name, value in found.items() if isinstance(value, Tensor)} if isinstance(
        found, dict
    ) else {}  # fmt: skip
    if not state:
        raise InputError(
            f"{path} holds no named weights. A state dict was expected, by itself or under one of {', '.join(HOLDERS)}."
        )
    return state


def match(state: Mapping[str, Tensor], module: nn.Module, aliases: Mapping[str, str] = ALIASES) -> Match:
    """Find the place of each tensor of a checkpoint in a network, by its name or what is left of it.

    In this order: equal names; `aliases`; then one beginning of names for another (`module.features.` for `encoder.`,
    `classifier.` for `fc.`), where shapes are equal and no other place is as good. What finds no place keeps its name,
    so that loading refuses it.

    Args:
        state: the checkpoint.
        module: the network.
        aliases: other names by the network's.
    """
    expected = module.state_dict()
    given = {name: value for name, value in state.items() if name.rpartition(".")[2] not in UNNEEDED}
    places = {name: name for name in expected if name in given}
    for name, other in aliases.items():
        found = [one for one in given if one == other or one.endswith(f".{other}")]
        if name in expected and name not in places and len(found) == 1:
            given[found[0]] = given[found[0]].reshape(expected[name].shape) if (
                given[found[0]].numel() == expected[name].numel()
            ) else given[found[0]]  # fmt: skip
            places[name] = found[0]
    places |= _by_prefix(given, expected, places)
    taken = set(places.values())
    kept = tuple(name for name in expected if name not in places and name.rpartition(".")[2] in OPTIONAL)
    return Match(
        {name: given[other] for name, other in places.items()}
        | {name: expected[name] for name in kept}
        | {name: value for name, value in given.items() if name not in taken},
        len(places),
        {name: other for name, other in places.items() if name != other},
        kept,
        tuple(name for name in state if name not in given),
    )


def _by_prefix(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor], places: Mapping[str, str]
) -> dict[str, str]:
    """Replace one beginning of names by another, first the pair of beginnings that places most tensors of equal shape.

    Where two pairs place equally many of the same tensors, neither is taken.
    """
    free = set(given) - set(places.values())
    open_ = set(expected) - set(places)
    found: dict[str, str] = {}
    while True:
        pairs = _pairs(
            {name: value for name, value in given.items() if name in free},
            {name: value for name, value in expected.items() if name in open_},
        )
        ranked = sorted(pairs.items(), key=lambda one: (-len(one[1]), one[0]))
        chosen = next(
            (
                matched
                for beginnings, matched in ranked
                if not any(
                    len(other) == len(matched)
                    and beginnings != others
                    and (set(other) & set(matched) or set(other.values()) & set(matched.values()))
                    for others, other in ranked
                )
            ),
            None,
        )
        if chosen is None:
            return found
        found |= chosen
        open_ -= set(chosen)
        free -= set(chosen.values())


def _pairs(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[tuple[str, str], dict[str, str]]:
    """For each pair of beginnings, what it would place: names in the checkpoint by names here."""
    by_end: dict[tuple[str, torch.Size], list[tuple[str, str]]] = {}
    for name, value in given.items():
        for beginning, end in _cuts(name):
            by_end.setdefault((end, value.shape), []).append((beginning, name))
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name, value in expected.items():
        for beginning, end in _cuts(name):
            for other_beginning, other in by_end.get((end, value.shape), []):
                found.setdefault((other_beginning, beginning), {})[name] = other
    return found


def _cuts(name: str) -> list[tuple[str, str]]:
    parts = name.split(".")
    return [(".".join(parts[:at]), ".".join(parts[at:])) for at in range(len(parts))]
