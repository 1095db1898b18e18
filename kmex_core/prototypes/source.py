"""Prototype sources: k-means on an embedding, a model with built-in prototypes, or a version that people edited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from kmex_core.base.phrases import first_few
from kmex_core.base.specs import PrototypeSpec, stable_key
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.operations import Operation, described, summary
from kmex_core.prototypes.types import Prototypes

SUGGESTED = -1  # for `k`: the number that `suggestion` gives for each class


@dataclass(frozen=True)
class PrototypeSource(ABC):
    """The prototypes that explain a model. Frozen and hashable.

    Attributes:
        built_in: whether they are the model's own, and not found by KMEx.
        seed: of k-means; 0 where there is none.
        slug: for file names: the number of prototypes per class, "auto", "own", or "version-" and a digest.
        query: selects this source in a page's address.
    """

    built_in: ClassVar[bool]

    @property
    def seed(self) -> int:
        return 0

    @property
    @abstractmethod
    def slug(self) -> str: ...

    @property
    @abstractmethod
    def query(self) -> dict[str, str]: ...

    @abstractmethod
    def title(self, kind: str) -> str:
        """The name of the classifier: "KMEx", or the title `kind` of the model's kind."""

    @abstractmethod
    def per_class(self, built_in: int) -> int:
        """Prototypes per class (for FLINT on average), given a model with `built_in` built-in ones; `SUGGESTED` where
        classes differ."""

    @abstractmethod
    def seeded(self, seed: int) -> PrototypeSource:
        """The same source with another seed, if it depends on one."""

    @abstractmethod
    def spec(self, embedding: str, held_out: str = "") -> PrototypeSpec:
        """The specification of the prototypes of an embedding, given by its key and that of the held-out images."""


@dataclass(frozen=True)
class KMeans(PrototypeSource):
    """KMEx (paper 3.1): `k` prototypes per class (or `SUGGESTED`) by k-means with this seed, in this metric (see
    `metric.OPTIONS`)."""

    k: int
    seed: int = 0
    metric: str = AUTO
    built_in: ClassVar[bool] = False

    @property
    def slug(self) -> str:
        return str(numbered(self.k))

    @property
    def query(self) -> dict[str, str]:
        number = {"auto": "true"} if self.k == SUGGESTED else {"k": str(self.k)}
        return number | ({"metric": self.metric} if self.metric != AUTO else {})

    def title(self, kind: str) -> str:
        return "KMEx"

    def per_class(self, built_in: int) -> int:
        return self.k

    def seeded(self, seed: int) -> Self:
        return replace(self, seed=seed)

    def spec(self, embedding: str, held_out: str = "") -> PrototypeSpec:
        return PrototypeSpec(embedding, self.k, self.seed, metric=self.metric, held_out=held_out)


@dataclass(frozen=True)
class BuiltIn(PrototypeSource):
    """The built-in prototypes of a self-explainable model."""

    built_in: ClassVar[bool] = True

    @property
    def slug(self) -> str:
        return "own"

    @property
    def query(self) -> dict[str, str]:
        return {"kmex": "false"}

    def title(self, kind: str) -> str:
        return kind

    def per_class(self, built_in: int) -> int:
        return built_in

    def seeded(self, seed: int) -> Self:
        return self

    def spec(self, embedding: str, held_out: str = "") -> PrototypeSpec:
        return PrototypeSpec(embedding, 0, held_out=held_out, method="own-2")


@dataclass(frozen=True)
class Version(PrototypeSource):
    """KMEx's prototypes as people edited them.

    Attributes:
        name: any text, by which people know it.
        base: the prototypes that were edited.
        operations: what was done to them.
        base_key: of the conversion that was edited, for whose prototypes alone the operations mean something; "" where
            that is not known.
    """

    name: str
    base: KMeans
    operations: tuple[Operation, ...]
    base_key: str = ""
    built_in: ClassVar[bool] = False

    @property
    def digest(self) -> str:
        """Of the operations."""
        return stable_key(described(self.operations))

    @property
    def seed(self) -> int:
        return self.base.seed

    @property
    def slug(self) -> str:
        return f"version-{self.digest[:8]}"

    @property
    def query(self) -> dict[str, str]:
        return self.base.query | {"version": self.name}

    def title(self, kind: str) -> str:
        return "KMEx"

    def per_class(self, built_in: int) -> int:
        return SUGGESTED

    def seeded(self, seed: int) -> Self:
        return self

    def spec(self, embedding: str, held_out: str = "") -> PrototypeSpec:
        return replace(self.base.spec(embedding, held_out), edits=self.digest)


def edited_note(version: Version, prototypes: Prototypes, class_names: Sequence[str]) -> str:
    """What was edited in a version, and which classes are left without prototypes, as sentences."""
    empty = np.flatnonzero(np.bincount(prototypes.classes, minlength=len(class_names)) == 0).tolist()
    told = f"Version '{version.name}' is edited: {summary(version.operations)}."
    if not empty:
        return told
    names = first_few([f"'{class_names[label]}'" for label in empty], 5)
    return f"{told} No image is predicted as {names}, which {'has' if len(empty) == 1 else 'have'} no prototypes."


def numbered(k: int) -> int | str:
    """A number of prototypes per class as commands have it: "auto" for `SUGGESTED`."""
    return AUTO if k == SUGGESTED else k


def per_class_words(k: int) -> str:
    """A number of prototypes per class in words: "5 prototypes per class"."""
    if k == SUGGESTED:
        return "the suggested number of prototypes for each class"
    return f"{k} prototype{'s' if k != 1 else ''} per class"


def sources_of(kind: str, k: int, metric: str = AUTO) -> list[PrototypeSource]:
    """The prototype sources of a kind of model: built-in prototypes first, then `k` per class by KMEx."""
    return [KMeans(k, metric=metric)] if kind == "blackbox" else [BuiltIn(), KMeans(k, metric=metric)]


def class_seed(seed: int, label: int) -> int:
    """The seed of a class's k-means: what a class gets does not depend on the others."""
    return int(np.random.SeedSequence([seed, label]).generate_state(1)[0])
