"""Every target and every relevance method by name, collected from `relevance.targets` and `relevance.methods`.

Needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kmex_core.base.registry import Description, Registry, descriptions

if TYPE_CHECKING:
    from kmex_core.relevance.method import RelevanceMethod
    from kmex_core.relevance.target import Target


@dataclass(frozen=True, kw_only=True)
class MethodDescription(Description):
    """A relevance method.

    Attributes:
        title: its name for people.
        about: how it works, and for which networks, in a sentence.
        version: increased when its relevance maps change; stored results of other versions are not used.
        conserves: whether its relevance maps should have a sum that is known beforehand.
        tolerance: how far a sum may be from that, as a share of the map's magnitudes.
        gradients: whether it needs a network with gradients.
    """

    title: str
    about: str
    version: int = 1
    conserves: bool = True
    tolerance: float = 0.05
    gradients: bool = True

    @property
    def key(self) -> str:
        """The method's name in stored results."""
        return f"{self.name}-{self.version}"

    def make(self) -> RelevanceMethod:
        """An instance of the method; imports torch."""
        method: RelevanceMethod = self.load()()
        return method


@dataclass(frozen=True, kw_only=True)
class TargetDescription(Description):
    """A kind of target, see `relevance.target.Target`.

    Attributes:
        title: its name for people.
        about: what it is, in a sentence.
        noun: what a sentence calls it ("margin").
        subject: "prototype" or "class": what the number is about.
        has_rival: whether it compares with a rival.
    """

    title: str
    about: str
    noun: str
    subject: str = "prototype"
    has_rival: bool = False

    def make(self) -> Target:
        """An instance of the target; imports torch."""
        target: Target = self.load()()
        return target


METHODS: Registry[MethodDescription] = Registry(
    "relevance method",
    (
        (method.name, method)
        for method in descriptions("kmex_core.relevance.methods", ("RelevanceMethod", "Propagation"), MethodDescription)
    ),
)
TARGETS: Registry[TargetDescription] = Registry(
    "target",
    ((target.name, target) for target in descriptions("kmex_core.relevance.targets", ("Target",), TargetDescription)),
)
DEFAULT = next(iter(METHODS))
DEFAULT_TARGET = next(iter(TARGETS))
CLASS, PROTOTYPE = RIVALS = ("class", "prototype")  # of the nearest prototypes, which one a margin compares with


@dataclass(frozen=True)
class MapKind:
    """A kind of relevance map: what it explains, and how. Frozen and hashable.

    Attributes:
        target: a name in `TARGETS`.
        method: a name in `METHODS`.
    """

    target: str = DEFAULT_TARGET
    method: str = DEFAULT

    def checked(self) -> MapKind:
        """The same kind, if its names are known.

        Raises:
            InputError: for an unknown target or method; the message suggests the nearest names.
        """
        TARGETS.named(self.target)
        METHODS.named(self.method)
        return self

    @property
    def key(self) -> str:
        """What names this kind in stored results."""
        key = METHODS[self.method].key
        return key if self.target == PUBLISHED.target else f"{self.target} by {key}"

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"{METHODS[self.method].title} of the {TARGETS[self.target].noun}"


DEFAULT_MAPS, PUBLISHED = MapKind(), MapKind("similarity", "prp")
WITHOUT_GRADIENTS = MapKind(DEFAULT_TARGET, next(name for name, method in METHODS.items() if not method.gradients))


def usable_methods(differentiable: bool) -> dict[str, MethodDescription]:
    """The methods that can explain a network with gradients, or without, by name."""
    return {name: method for name, method in METHODS.items() if differentiable or not method.gradients}


def default_for(differentiable: bool) -> MapKind:
    """The default kind of relevance map of a network with gradients, or without."""
    return DEFAULT_MAPS if differentiable else WITHOUT_GRADIENTS
