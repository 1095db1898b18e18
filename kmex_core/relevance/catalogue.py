"""Every relevance method by name, collected from the files in `relevance.methods`. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kmex_core.base.registry import Description, Registry, descriptions

if TYPE_CHECKING:
    from kmex_core.relevance.method import RelevanceMethod

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class MethodDescription(Description):
    """A relevance method.

    Attributes:
        title: its name for people.
        about: how it makes maps, and of which networks, in a sentence.
        version: raised when its maps change; stored results of another one are not used.
        conserves: its maps sum to what they explain.
    """

    title: str
    about: str
    version: int = 1
    conserves: bool = True

    @property
    def key(self) -> str:
        """What a stored result says of the method."""
        return f"{self.name}-{self.version}"

    def make(self) -> RelevanceMethod:
        """The method itself; imports torch."""
        method: RelevanceMethod = self.load()()
        return method


METHODS: Registry[MethodDescription] = Registry(
    "relevance method",
    ((method.name, method) for method in descriptions("kmex_core.relevance.methods", "RelevanceMethod",
                                                      MethodDescription)),
)  # fmt: skip
DEFAULT = next(iter(METHODS))
