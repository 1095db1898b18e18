"""The file of a KMEx: all but the network's weights, as safetensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import read_file, write_file
from kmex_core.networks import passes, splitting
from kmex_core.networks.encoders import MEAN, NONE
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.temperature import Temperature, temperature_of
from kmex_core.prototypes.types import Prototypes

FORMAT = "kmex-3"
# what files of earlier formats do not say: the first knew only the Euclidean metric
ADDED: dict[str, Any] = {"metric": {}, "temperature": None, "pixel_mean": None}
EARLIER = ("kmex-1", "kmex-2")


class Saved(Protocol):
    """What is written of a `KMEx`."""

    encoder: nn.Module
    head: nn.Module
    details: Prototypes
    metric: EmbeddingMetric
    temperature: Temperature | None
    class_names: tuple[str, ...]
    epsilon: float
    squared: bool
    pixel_range: tuple[Sequence[float], Sequence[float]] | None
    pixel_mean: Sequence[float] | None
    made_by: dict[str, Any]


def write(path: str | Path, kmex: Saved) -> None:
    """See `KMEx.save`."""
    write_file(
        Path(path),
        kmex.details.to_arrays() | kmex.metric.to_arrays(),
        {
            "format": FORMAT,
            "metric": kmex.metric.to_description(),
            "temperature": None if kmex.temperature is None else dataclasses.asdict(kmex.temperature),
            "class_names": kmex.class_names,
            "epsilon": kmex.epsilon,
            "squared": kmex.squared,
            "pixel_range": kmex.pixel_range,
            "pixel_mean": kmex.pixel_mean,
            "made_by": kmex.made_by,
            "weights": splitting.fingerprint(kmex.encoder, kmex.head),
        },
    )


def read(
    path: str | Path, model: nn.Module, head: str | nn.Module | None
) -> tuple[splitting.SplitModel, dict[str, Any]]:
    """The parts of the classifier, and the other arguments of `KMEx`; see `KMEx.load`."""
    try:
        arrays, described = read_file(Path(path))
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    if described.get("format") not in (FORMAT, *EARLIER):
        raise StoreError(f"{path} is not a KMEx file (expected 'format' {FORMAT!r}, got {described.get('format')!r}).")
    if described["format"] in EARLIER:
        described = ADDED | described
    try:
        pixel_range, pixel_mean = described["pixel_range"], described["pixel_mean"]
        found: dict[str, Any] = {
            "prototypes": Prototypes.from_arrays(arrays),
            "class_names": tuple(map(str, described["class_names"])),
            "epsilon": float(described["epsilon"]),
            "squared": bool(described["squared"]),
            "pixel_range": (tuple(pixel_range[0]), tuple(pixel_range[1])) if pixel_range else None,
            "pixel_mean": tuple(map(float, pixel_mean)) if pixel_mean else None,
            "made_by": dict(described["made_by"]),
            "metric": EmbeddingMetric.from_arrays(arrays, **described["metric"]),
            "temperature": temperature_of(described["temperature"]),
        }
        weights, head_path = described["weights"], str(found["made_by"].get("head_path", ""))
    except (KeyError, IndexError, TypeError, ValueError) as error:  # undamaged, but not written by `write`
        raise StoreError(f"{path} is incomplete for a KMEx file ({type(error).__name__}: {error}).") from error
    if head == NONE or head_path in (NONE, MEAN):
        parts = splitting.whole_again(model, found["prototypes"].centers.shape[1], len(found["class_names"]), head_path)
    else:
        parts = splitting.split_at(model, head_path) if head is None else splitting.split(model, head=head)
    if splitting.fingerprint(parts.encoder, parts.head) != weights:
        raise InputError(
            f"{path} was made with other weights than the {type(passes.unwrapped(model)).__name__} passed here, "
            "so its prototypes would be meaningless. Pass the classifier that was converted."
        )
    return parts, found
