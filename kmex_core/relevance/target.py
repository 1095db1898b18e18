"""What relevance maps explain: targets, numbers that a model computes for an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from kmex_core.relevance.protocol import Explainable


class Target(ABC):
    """A kind of target. To add one, add a file with a subclass to `relevance.targets`: the command line and the pages
    then explain it, and the evaluation measures its relevance maps.

    The class attributes must be literals, because they are read without importing the file; see `TargetDescription`.
    B targets, each of one prototype (or class) `of`, some against a `rival`, both (B,) int64.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    noun: ClassVar[str]
    place: ClassVar[int]
    subject: ClassVar[str] = "prototype"
    has_rival: ClassVar[bool] = False

    @abstractmethod
    def values(self, model: Explainable, z: Tensor, of: Tensor, rival: Tensor) -> Tensor:
        """(B, D) embeddings to (B,) numbers; differentiable in z."""

    @abstractmethod
    def relevance(self, model: Explainable, z: Tensor, of: Tensor, rival: Tensor) -> Tensor:
        """(B, D) embeddings to (B, D): the share of each dimension in the number, where LRP starts; rows sum to it."""


@dataclass(frozen=True, eq=False)
class Targets:
    """The targets of M relevance maps.

    Attributes:
        images: (M,) int64, which of the N images.
        of: (M,) int64, the prototype or the class, see `Target.subject`.
        rival: (M,) int64, the prototype that it is compared with; −1 for none.
        kinds: the different kinds of target.
        kind: (M,) int64, which of `kinds`.
    """

    images: Tensor
    of: Tensor
    rival: Tensor
    kinds: tuple[Target, ...]
    kind: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice | Tensor) -> Targets:
        return Targets(self.images[part], self.of[part], self.rival[part], self.kinds, self.kind[part])

    def at(self, images: Tensor) -> Targets:
        """The same targets of other images, (M,)."""
        return Targets(images, self.of, self.rival, self.kinds, self.kind)

    def values(self, model: Explainable, z: Tensor) -> Tensor:
        """(M,) the numbers, from the embedding (M, D) of each target's image; differentiable in z."""
        return self._each(z, z.shape[:1], lambda kind, *rows: kind.values(model, *rows))

    def relevance(self, model: Explainable, z: Tensor) -> Tensor:
        """(M, D) where LRP starts, see `Target.relevance`; from embeddings (M, D)."""
        return self._each(z, z.shape, lambda kind, *rows: kind.relevance(model, *rows))

    def _each(self, z: Tensor, shape: Sequence[int], function: object) -> Tensor:
        assert callable(function)
        if len(self.kinds) == 1:
            found: Tensor = function(self.kinds[0], z, self.of, self.rival)
            return found
        found = z.new_zeros(shape)
        for number, kind in enumerate(self.kinds):
            rows = torch.nonzero(self.kind == number)[:, 0]
            if len(rows):
                part = function(kind, z[rows], self.of[rows], self.rival[rows])
                found = found.index_copy(0, rows, part.to(found.dtype))
        return found


def targets(kind: Target, images: Tensor, of: Tensor, rival: Tensor | None = None) -> Targets:
    """Targets of one kind; see `Targets`."""
    none = torch.full_like(of, -1) if rival is None else rival
    return Targets(images, of, none, (kind,), torch.zeros_like(of))


def joined(parts: Sequence[Targets]) -> Targets:
    """All targets of the parts, in this order, as one."""
    kinds = tuple({type(kind): kind for part in parts for kind in part.kinds}.values())
    place = {type(kind): number for number, kind in enumerate(kinds)}
    numbers = [
        torch.tensor([place[type(kind)] for kind in part.kinds], device=part.kind.device)[part.kind] for part in parts
    ]
    return Targets(
        torch.cat([part.images for part in parts]),
        torch.cat([part.of for part in parts]),
        torch.cat([part.rival for part in parts]),
        kinds,
        torch.cat(numbers),
    )
