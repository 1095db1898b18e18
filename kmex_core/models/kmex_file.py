"""The file of a KMEx as safetensors: its prototypes, what explains them, and on request the network's weights.

Arrays: those of `Prototypes` and `EmbeddingMetric` by their names, `thumbnail.P` (bytes,) uint8, a PNG file for each
prototype P, and `network.NAME`, the network's state. The header's entry `kmex` is a JSON object with the rest.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import Arrays, read_file, write_file
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue
from kmex_core.models.enclosed import Enclosed, network_described, network_of
from kmex_core.models.from_python import Origin
from kmex_core.models.info import ModelInfo
from kmex_core.models.kept_network import KeptNetwork
from kmex_core.networks import passes, recognised, splitting
from kmex_core.networks.given_preprocessing import Prepared
from kmex_core.prototypes.metric import NAMES, WHITENED, EmbeddingMetric
from kmex_core.prototypes.temperature import Temperature, temperature_of
from kmex_core.prototypes.types import Prototypes

FORMAT = "kmex-4"
# what files of earlier formats do not say: the first knew only the Euclidean metric
ADDED: dict[str, Any] = {
    "metric": {},
    "temperature": None,
    "pixel_mean": None,
    "encoder": None,
    "preprocessing": None,
    "network": None,
    "outputs": None,
    "class_outputs": [],
    "file_names": [],
    "card": "",
}
EARLIER = ("kmex-1", "kmex-2", "kmex-3")
NAMED: dict[str, Any] = {"prototype_names": [], "prototype_notes": []}  # only where people gave some
NETWORK, THUMBNAIL = "network.", "thumbnail."
# of `Prototypes`: the kind of number, and the sides, equal letters for equal lengths; C is the number of classes
SHAPES: dict[str, tuple[str, str]] = {
    "centers": ("f", "KD"),
    "classes": ("i", "K"),
    "count": ("i", "K"),
    "importance": ("f", "K"),
    "count_all": ("i", "K"),
    "nearest": ("i", "KM"),
    "nearest_distance": ("f", "KM"),
    "nearest_any": ("i", "K"),
    "distance_quantiles": ("f", "Q"),
    "class_size": ("i", "C"),
    "activated": ("i", "N"),
}
QUANTILES = 101


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
    origin: Origin
    enclosed: Enclosed


@dataclass(frozen=True, eq=False)
class Opened:
    """A KMEx as read.

    Attributes:
        encoder, head: the parts of its network.
        arguments: the others of `KMEx`.
        origin, enclosed: see there.
    """

    encoder: nn.Module
    head: nn.Module
    arguments: dict[str, Any]
    origin: Origin
    enclosed: Enclosed


# ---- writing ---------------------------------------------------------------------------------------------------------


def write(path: str | Path, kmex: Saved, weights: bool = False) -> None:
    """See `KMEx.save`."""
    arrays = kmex.details.to_arrays() | kmex.metric.to_arrays()
    for number, content in enumerate(kmex.enclosed.thumbnails):
        arrays[f"{THUMBNAIL}{number}"] = np.frombuffer(content, np.uint8)
    prepared = kmex.origin.prepared
    preprocessing = None if prepared is None else prepared.preprocessing
    network = kmex.enclosed.network
    if weights:
        module = kmex.origin.network
        if module is None:
            raise InputError("This KMEx was not made from a network, so there are no weights to keep: save it without.")
        arrays |= {f"{NETWORK}{name}": value for name, value in catalogue.state_arrays(module).items()}
        network = network or _recognised(kmex, module, preprocessing)
    write_file(
        Path(path),
        arrays,
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
            "encoder": splitting.fingerprint(kmex.encoder),
            "preprocessing": None if preprocessing is None else dataclasses.asdict(preprocessing),
            "network": network_described(network),
            "outputs": None if kmex.origin.network is None else kmex.origin.outputs,
            "class_outputs": kmex.origin.class_outputs,
            "file_names": kmex.enclosed.file_names,
            "card": kmex.enclosed.card,
            **{name: texts for name, texts in _texts(kmex.details).items() if any(texts)},
        },
    )


def _texts(prototypes: Prototypes) -> dict[str, tuple[str, ...]]:
    return {"prototype_names": prototypes.names, "prototype_notes": prototypes.notes}


def _recognised(kmex: Saved, module: nn.Module, preprocessing: Preprocessing | None) -> ModelInfo | None:
    """How a network from Python is built again, if its library says so."""
    if preprocessing is None:
        return None
    head_path, origin = str(kmex.made_by.get("head_path", "")), kmex.origin
    shape = (2, preprocessing.inputs, *preprocessing.size)
    example = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(passes.device_of(module))
    found = recognised.recognised(module, head_path, origin.outputs, example)
    return None if found is None else origin.described(found, kmex.class_names, preprocessing)


# ---- reading ---------------------------------------------------------------------------------------------------------


def read(path: str | Path, network: nn.Module | None = None, head: str | nn.Module | None = None) -> Opened:
    """See `KMEx.load`."""
    try:
        arrays, described = read_file(Path(path))
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    if described.get("format") not in (FORMAT, *EARLIER):
        raise StoreError(f"{path} is not a KMEx file (expected 'format' {FORMAT!r}, got {described.get('format')!r}).")
    if described["format"] in EARLIER:
        described = ADDED | described
    described = NAMED | described
    try:
        arguments = _arguments(arrays, described)
        preprocessing = described["preprocessing"]
        if preprocessing is not None:
            preprocessing = Preprocessing.from_description(preprocessing)
        enclosed = _enclosed(arrays, described, arguments, preprocessing)
        fingerprints = str(described["weights"]), described["encoder"]
        outputs, of_classes = described["outputs"], tuple(map(int, described["class_outputs"]))
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, InputError) as error:
        # undamaged, but not written by `write`
        raise StoreError(f"{path} is incomplete for a KMEx file ({type(error).__name__}: {error}).") from error
    weights = {name.removeprefix(NETWORK): value for name, value in arrays.items() if name.startswith(NETWORK)}
    file = KeptNetwork(
        path, weights, enclosed.network, arguments, fingerprints, None if outputs is None else of_classes
    )
    module, (encoder, head_part) = file.built() if network is None else file.given(passes.unwrapped(network), head)
    prepared = None if preprocessing is None else Prepared(preprocessing)
    origin = Origin(module, int(outputs or 0), of_classes, prepared)
    return Opened(encoder, head_part, arguments, origin, enclosed)


def _arguments(arrays: Arrays, described: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `KMEx`, all but the network, checked.

    Raises:
        KeyError, IndexError, TypeError, ValueError: when there is something else.
    """
    if not all(isinstance(name, str) for name in described["class_names"]):
        raise TypeError("class_names are not texts")
    names = tuple(described["class_names"])
    pixel_range, pixel_mean = described["pixel_range"], described["pixel_mean"]
    prototypes = _named(_prototypes(arrays, len(names)), described)
    return {
        "prototypes": prototypes,
        "class_names": names,
        "epsilon": _finite(described["epsilon"]),
        "squared": bool(described["squared"]),
        "pixel_range": (tuple(map(_finite, pixel_range[0])), tuple(map(_finite, pixel_range[1])))
        if pixel_range
        else None,
        "pixel_mean": tuple(map(_finite, pixel_mean)) if pixel_mean else None,
        "made_by": dict(described["made_by"]),
        "metric": _metric(arrays, described["metric"], prototypes.centers.shape[1]),
        "temperature": _temperature(described["temperature"]),
    }


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not finite")
    return number


def _prototypes(arrays: Arrays, classes: int) -> Prototypes:
    sides = {"C": classes, "Q": QUANTILES}
    for name, (kind, letters) in SHAPES.items():
        array = arrays[name]
        if array.dtype.kind != kind or array.ndim != len(letters):
            raise ValueError(f"{name} is {array.dtype} of {array.shape}")
        for letter, side in zip(letters, array.shape, strict=True):
            if sides.setdefault(letter, side) != side or (not side and letter != "N"):
                raise ValueError(f"{name} is of {array.shape}, which does not fit the others")
    for name in ("centers", "importance"):
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} has values that are not finite")
    of_class = arrays["classes"]
    if of_class.min() < 0 or of_class.max() >= classes:  # a version may leave a class without any
        raise ValueError(f"the prototypes are not of the {classes} classes")
    return Prototypes.from_arrays({name: arrays[name] for name in SHAPES})


def _named(prototypes: Prototypes, described: Mapping[str, Any]) -> Prototypes:
    """Prototypes with the names and notes that people gave them."""
    found = []
    for name in NAMED:
        texts = described[name]
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"{name} are not texts")
        if len(texts) not in (0, len(prototypes)):
            raise ValueError(f"there are {len(texts)} {name} of {len(prototypes)} prototypes")
        found.append(tuple(texts))
    return dataclasses.replace(prototypes, names=found[0], notes=found[1])


def _metric(arrays: Arrays, described: Mapping[str, Any], dimensions: int) -> EmbeddingMetric:
    metric = EmbeddingMetric.from_arrays(arrays, **described)
    side = dimensions if metric.name == WHITENED else 0
    if metric.name not in NAMES or metric.matrix.shape != (side, side) or metric.matrix.dtype != np.float32:
        raise ValueError(f"the metric '{metric.name}' has a matrix of {metric.matrix.shape}")
    if not np.isfinite(metric.matrix).all():
        raise ValueError("the metric's matrix is not finite")
    return dataclasses.replace(metric, shrinkage=_finite(metric.shrinkage), length=_finite(metric.length))


def _temperature(described: Mapping[str, Any] | None) -> Temperature | None:
    temperature = temperature_of(described)
    if temperature is not None and not all(_finite(value) > 0 for value in (temperature.value, *temperature.halves)):
        raise ValueError("a temperature is not above 0")
    return temperature


def _enclosed(
    arrays: Arrays, described: Mapping[str, Any], arguments: dict[str, Any], preprocessing: Preprocessing | None
) -> Enclosed:
    count = len(arguments["prototypes"])
    numbers = [name for name in arrays if name.startswith(THUMBNAIL)]
    names, card = described["file_names"], described["card"]
    if not isinstance(card, str) or not all(isinstance(name, str) for name in names) or len(names) not in (0, count):
        raise TypeError("card or file_names are not texts")
    if numbers and set(numbers) != {f"{THUMBNAIL}{number}" for number in range(count)}:
        raise ValueError(f"there are {len(numbers)} thumbnails of {count} prototypes")
    for name in numbers:
        if arrays[name].dtype != np.uint8 or arrays[name].ndim != 1:
            raise ValueError(f"{name} is {arrays[name].dtype} of {arrays[name].shape}")
    title = str(arguments["made_by"].get("model", ""))
    return Enclosed(
        network_of(described["network"], title, arguments["class_names"], preprocessing),
        tuple(arrays[f"{THUMBNAIL}{number}"].tobytes() for number in range(count)) if numbers else (),
        tuple(names),
        card,
    )
