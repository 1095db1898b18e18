"""Matching of a checkpoint's names and shapes to a network's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType

import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.networks.checkpoints import _first_line

# buffers of the original ProtoPNet and ProtoVAE that are not used here
UNNEEDED = ("ones", "prototype_class_identity")

# buffers that a checkpoint may lack: they keep a new network's values
OPTIONAL = ("num_batches_tracked", "prototype_class", "picture")

# what takes no part in predictions, wherever it stands in a name: losses and metrics of a training framework, auxiliary
# heads, counters of profilers and of weight averages
IGNORED = (
    "crit", "criterion", "loss", "loss_fn", "loss_func", "loss_function", "cross_entropy", "ce_loss", "ema_loss",
    "train_acc", "val_acc", "test_acc", "train_accuracy", "val_accuracy", "test_accuracy", "metrics", "train_metrics",
    "val_metrics", "test_metrics", "AuxLogits", "aux1", "aux2", "aux_head", "aux_classifier", "auxiliary_head",
    "n_averaged", "total_ops", "total_params",
)  # fmt: skip


@dataclass(frozen=True)
class Match:
    """A checkpoint matched to an architecture.

    Attributes:
        state: tensors by the architecture's names; unmatched ones by their own names.
        matched: number of matched tensors.
        renamed: the checkpoint's names of renamed tensors, by the architecture's names.
        defaults: buffers missing in the checkpoint, which keep their initial values.
        ignored: tensors left out, by the checkpoint's names.
        rivals: two prefixes in the checkpoint that match equally well; neither was used.
    """

    state: dict[str, Tensor]
    matched: int
    renamed: dict[str, str] = field(default_factory=dict)
    defaults: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    rivals: tuple[str, str] | None = None


def match(
    state: Mapping[str, Tensor],
    module: nn.Module,
    ignore: Sequence[str] = (),
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> Match:
    """Match each tensor of a checkpoint to one of a network, by its name or a suffix of it.

    In this order: equal names; `aliases`; then replacing one prefix by another (`module.features.` by `encoder.`,
    `classifier.` by `fc.`) if shapes are equal and no other match is as good. Unmatched tensors that do not affect
    predictions (`IGNORED`) are left out; all others keep their names, and loading refuses them.

    Args:
        state: the checkpoint.
        module: the network.
        ignore: patterns (`aux.*`, with `*`, `?` and `[…]`) of the checkpoint's names to leave out.
        aliases: alternative names by the network's names.

    Raises:
        InputError: when a pattern matches no name.
    """
    for pattern in ignore:
        if not any(fnmatchcase(name, pattern) for name in state):
            raise InputError(
                f"--ignore '{pattern}' matches no tensor of the checkpoint; it contains, for example, "
                f"{', '.join([*state][:3])}."
            )
    expected = module.state_dict()
    given = {
        name: value
        for name, value in state.items()
        if name.rpartition(".")[2] not in UNNEEDED and not any(fnmatchcase(name, pattern) for pattern in ignore)
    }
    places = {name: name for name in expected if name in given and given[name].shape == expected[name].shape}
    for name, other in aliases.items():
        candidates = [candidate for candidate in given if candidate == other or candidate.endswith(f".{other}")]
        if name in expected and name not in places and len(candidates) == 1:
            if given[candidates[0]].numel() == expected[name].numel():
                given[candidates[0]] = given[candidates[0]].reshape(expected[name].shape)
            places[name] = candidates[0]
    by_prefix, rivals = _by_prefix(given, expected, places)
    places |= by_prefix
    taken = set(places.values())
    places |= {name: name for name in expected if name in given and name not in places and name not in taken}
    taken = set(places.values())
    defaults = tuple(name for name in expected if name not in places and name.rpartition(".")[2] in OPTIONAL)
    left = {name: value for name, value in given.items() if name not in taken}
    idle = {name for name in left if not {*IGNORED}.isdisjoint(name.split("."))}
    return Match(
        {name: given[other] for name, other in places.items()}
        | {name: expected[name] for name in defaults}
        | {name: value for name, value in left.items() if name not in idle},
        len(places),
        {name: other for name, other in places.items() if name != other},
        defaults,
        tuple(name for name in state if name not in given or name in idle),
        rivals,
    )


def classes_in(fitted: Match, module: nn.Module, classes: int, what: str) -> int | None:
    """How many classes a checkpoint has, where that is all in which it does not fit: every other tensor has its place,
    and the last layer differs in nothing but its number of outputs. Else None.

    Args:
        fitted: the checkpoint, matched to the network.
        module: the network.
        classes: how many classes it has.
        what: the name of the tensors in messages.

    Raises:
        InputError: when names of the checkpoint could mean two things.
    """
    expected, state = module.state_dict(), fitted.state
    missing = {name for name in expected if name not in state}
    if fitted.rivals and missing:
        first, second = (f"{name}.*" if name else "names without a prefix" for name in fitted.rivals)
        raise InputError(f"{what} match twice, as '{first}' and as '{second}'. Leave one out: --ignore '{second}'.")
    surplus = {name for name in state if name not in expected}
    other = {name for name in set(expected) - missing if state[name].shape != expected[name].shape}
    head = {name for name, value in expected.items() if value.ndim and value.shape[0] == classes}
    if not missing | other or not (missing | other) <= head or len(surplus) != len(missing):
        return None
    for name in sorted(missing | other):
        place = expected[name]
        candidates = [state[name]] if name in other else [state[given] for given in surplus]
        found = {
            value.shape[0]
            for value in candidates
            if value.ndim == place.ndim > 1 and value.shape[1:] == place.shape[1:]
        }
        if len(found) == 1:
            return int(found.pop())
    return None


def _by_prefix(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor], places: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, str] | None]:
    """Replace one beginning of names by another, first the pair of beginnings that places most tensors of equal shape.

    Where two pairs place equally many of the same tensors, neither is taken; the first such two of the checkpoint's are
    the second result.
    """
    free = set(given) - set(places.values())
    open_ = set(expected) - set(places)
    placed: dict[str, str] = {}
    rivals: tuple[str, str] | None = None
    while True:
        pairs = _pairs(
            {name: value for name, value in given.items() if name in free},
            {name: value for name, value in expected.items() if name in open_},
        )
        chosen: dict[str, str] = {}
        for size in sorted({len(names) for names in pairs.values()}, reverse=True):
            alike = {beginnings: names for beginnings, names in pairs.items() if len(names) == size}
            names_used = Counter(name for names in alike.values() for name in names)
            others_used = Counter(name for names in alike.values() for name in names.values())
            for names in alike.values():
                if all(names_used[name] == 1 and others_used[other] == 1 for name, other in names.items()):
                    chosen |= names
            if chosen:
                break
            if rivals is None and size > len(expected) // 2:
                beginnings = sorted({beginning for beginning, _ in alike})
                rivals = (beginnings[0], beginnings[1]) if len(beginnings) > 1 else None
        if not chosen:
            return placed, rivals
        placed |= chosen
        open_ -= set(chosen)
        free -= set(chosen.values())


def _pairs(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[tuple[str, str], dict[str, str]]:
    """For each pair of beginnings, what it would place: names in the checkpoint by names here."""
    shapes = {value.shape for value in expected.values()}
    by_end: dict[tuple[str, torch.Size], list[tuple[str, str]]] = {}
    for name, value in given.items():
        for beginning, end in _cuts(name) if value.shape in shapes else ():
            by_end.setdefault((end, value.shape), []).append((beginning, name))
    pairs: dict[tuple[str, str], dict[str, str]] = {}
    for name, value in expected.items():
        for beginning, end in _cuts(name):
            for other_beginning, other in by_end.get((end, value.shape), []):
                pairs.setdefault((other_beginning, beginning), {})[name] = other
    return pairs


def _cuts(name: str) -> list[tuple[str, str]]:
    parts = name.split(".")
    return [(".".join(parts[:position]), ".".join(parts[position:])) for position in range(len(parts))]


def converted(state: Mapping[str, Tensor], module: nn.Module, what: str) -> dict[str, Tensor]:
    """Matched tensors in the network's format: dense, contiguous, of its types (float32).

    Only tensors of the network's shapes are converted: they take no more memory than the network.

    Args:
        state: by the network's names; unmatched tensors are unchanged.
        module: the network.
        what: the name of the tensors in messages.

    Raises:
        InputError: for tensors without values (meta), complex ones, integers in the place of weights, and types that
            torch cannot turn into float32.
    """
    expected = module.state_dict()
    result = dict(state)
    for name, place in expected.items():
        value = state.get(name)
        if value is None or value.shape != place.shape:
            continue
        kind = str(value.dtype).removeprefix("torch.")
        if value.is_meta:
            raise InputError(
                f"{what} have no values ('{name}' is on the device 'meta'). Save the network after loading."
            )
        if value.is_complex():
            raise InputError(
                f"{what} are complex numbers ('{name}' is {kind}), which this network cannot compute with."
            )
        if place.is_floating_point() and not (value.is_floating_point() or value.is_quantized):
            raise InputError(
                f"{what} are integers ('{name}' is {kind}): the network was quantised by another tool. Import "
                "the weights from before quantisation."
            )
        try:
            dense = value.dequantize() if value.is_quantized else value.detach()
            dense = dense.to_dense() if dense.layout != torch.strided else dense
            if dense.untyped_storage().nbytes() < math.prod(dense.shape) * dense.element_size():
                dense = dense.clone(memory_format=torch.contiguous_format)
            result[name] = dense.to(place.dtype).contiguous()
        except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
            raise InputError(
                f"{what} are of a type that torch cannot turn into {str(place.dtype).removeprefix('torch.')} ('{name}' "
                f"is {kind}: {_first_line(error)}). Convert them in Python, and save them again."
            ) from error
    return result
