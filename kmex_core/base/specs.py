"""Specifications: frozen descriptions of what a result depends on; the `key` names it in the store."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

ADDED = "added"  # marks a field that earlier versions did not have
MOST_SIDE = 1024  # pixels, of a network's input


def stable_key(description: Any) -> str:
    """A 20-digit hexadecimal name for a JSON-like description, the same in every process and on every machine."""
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no stable key")


class Spec:
    """A frozen description of what a result depends on; `kind` is part of the key."""

    kind: ClassVar[str]

    @property
    def key(self) -> str:
        """The result's name in the store. A field that was added later counts only where it is not its default, so
        that earlier results keep their names."""
        return stable_key([self.kind, self.described()])

    def described(self) -> dict[str, Any]:
        """Its fields, JSON-like, as they are in the key and in the headers of results."""
        assert dataclasses.is_dataclass(self)
        added = {each.name for each in dataclasses.fields(self) if each.metadata.get(ADDED)}
        described = dataclasses.asdict(self)
        usual = {each.name: each.default for each in dataclasses.fields(self)}
        return {name: value for name, value in described.items() if not (name in added and value == usual[name])}


@dataclass(frozen=True)
class DatasetSpec:
    """Which images: a registered name or a path, the data root, the side of the network's input, and the class.

    `root` empty means the default data root; `image_size` 0 and `class_column` empty mean the data set's own default.
    `class_column` names the attribute, or other column of the table, to use as the class ("folder:2" is the name of the
    second folder of each picture's path), `image_column` the column that has the images or names them, where that is
    unclear. `skip_broken` leaves out pictures that cannot be decoded.
    """

    name: str
    root: str = ""
    image_size: int = 0
    class_column: str = ""
    skip_broken: bool = False
    image_column: str = ""


@dataclass(frozen=True)
class EmbeddingSpec(Spec):
    """What an embedding depends on.

    `weights` is the fingerprint of the encoder's and head's weights, `data` that of the data set's files; `mean` and
    `std` normalise the network's input, `geometry` names the rest of its preprocessing, `head` where the embedding is
    taken and which outputs are the classes (both "" as usual). `arithmetic` names how the network computes, "" for
    32-bit floats, and for `mixed_precision`, which is 16 bits of the device's usual kind.
    """

    kind: ClassVar[str] = "EmbeddingSpec"
    backbone: str
    weights: str
    data: str
    split: str
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mixed_precision: bool = False
    geometry: str = field(default="", metadata={ADDED: True})
    head: str = field(default="", metadata={ADDED: True})
    arithmetic: str = field(default="", metadata={ADDED: True})


@dataclass(frozen=True)
class PrototypeSpec(Spec):
    """What a set of prototypes depends on: an embedding (by key), prototypes per class, seed, similarity, metric.

    `k` = 0 means the model's built-in prototypes, as does `method`, −1 the suggested number of each class. `metric` is
    one of `metric.OPTIONS`; `held_out` is the key of the validation split's embedding, "" where the test split takes
    its place. `edits` is the digest of the operations by which people edited them, "" for none.
    """

    kind: ClassVar[str] = "PrototypeSpec"
    embedding: str
    k: int
    seed: int = 0
    epsilon: float = 1e-4
    squared: bool = True
    metric: str = "euclidean"
    held_out: str = ""
    method: str = "kmeans-8"
    edits: str = field(default="", metadata={ADDED: True})


@dataclass(frozen=True)
class SweepSpec(Spec):
    """What prototypes for every number per class depend on: an embedding (by key), the largest number, seed, metric.

    `metric` and `held_out` are those of `PrototypeSpec`.
    """

    kind: ClassVar[str] = "SweepSpec"
    embedding: str
    reach: int
    seed: int = 0
    metric: str = "euclidean"
    held_out: str = ""
    method: str = "sweep-2"


@dataclass(frozen=True)
class SuggestionSpec(Spec):
    """What the evidence for numbers of prototypes depends on, as in `SweepSpec`."""

    kind: ClassVar[str] = "SuggestionSpec"
    embedding: str
    reach: int
    seed: int
    metric: str
    held_out: str
    method: str = "suggestion-2"


@dataclass(frozen=True)
class GeometrySpec(Spec):
    """What a model's metric depends on: the embeddings of the training split and of held-out images, by key."""

    kind: ClassVar[str] = "GeometrySpec"
    embedding: str
    held_out: str
    method: str = "geometry-2"


@dataclass(frozen=True)
class PatchSpec(Spec):
    """What patch prototypes depend on: an embedding of the training split (by key), how many per class, seed, metric.

    `metric` and `held_out` are those of `PrototypeSpec`; `blocks` is one of `prototypes.types.BLOCKS`. Positions of
    several blocks have no metric of the embedding: theirs is Euclidean.
    """

    kind: ClassVar[str] = "PatchSpec"
    embedding: str
    k: int
    seed: int = 0
    metric: str = "euclidean"
    held_out: str = ""
    blocks: str = "last"
    method: str = "patches-5"


@dataclass(frozen=True)
class DivergenceSpec(Spec):
    """What D_fdl against another network depends on: scores on relevance maps (by key), that network's weights."""

    kind: ClassVar[str] = "DivergenceSpec"
    scores: str
    reference: str


@dataclass(frozen=True)
class ProjectionSpec(Spec):
    """What an embedding map depends on: an embedding (by key), how many images UMAP is fitted on at most, seed."""

    kind: ClassVar[str] = "ProjectionSpec"
    embedding: str
    sample: int = 60_000
    seed: int = 0
    method: str = "umap-3"


@dataclass(frozen=True)
class MapChecksSpec(Spec):
    """What the sanity suite of relevance maps depends on: prototypes (by key), test images, and the kinds of maps.

    `few` images are disturbed; `suite` says what is checked; randomised networks are adjusted to `reference` images.
    """

    kind: ClassVar[str] = "MapChecksSpec"
    prototypes: str
    images: int
    few: int
    kinds: tuple[str, ...]
    seed: int = 0
    suite: str = "suite-1"
    reference: int = field(default=2000, metadata={ADDED: True})


@dataclass(frozen=True)
class MapScoresSpec(Spec):
    """What the metrics on relevance maps depend on: prototypes (by key), test images, steps of relevance ordering.

    `method` is the kind of the maps; `measures` says what is measured on them.
    """

    kind: ClassVar[str] = "MapScoresSpec"
    prototypes: str
    images: int
    seed: int = 0
    steps: int = 20
    method: str = "prp-1"
    measures: str = "beside-chance-2"


@dataclass(frozen=True)
class ReproductionSpec(Spec):
    """What a report on the paper's tables was asked for: data sets, tables, trainings of each model, minutes (0: no
    limit)."""

    kind: ClassVar[str] = "ReproductionSpec"
    datasets: tuple[str, ...]
    tables: tuple[int, ...]
    runs: int
    budget: float
    method: str = "reproduction-1"
