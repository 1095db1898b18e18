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
        about: how it works, and for which networks, in a sentence.
        version: increased when its relevance maps change; stored results of other versions are not used.
        conserves: whether its relevance maps sum to the explained number.
    """

    title: str
    about: str
    version: int = 1
    conserves: bool = True

    @property
    def key(self) -> str:
        """The method's name in stored results."""
        return f"{self.name}-{self.version}"

    def make(self) -> RelevanceMethod:
        """An instance of the method; imports torch."""
        method: RelevanceMethod = self.load()()
        return method


METHODS: Registry[MethodDescription] = Registry(
    "relevance method",
    (
        (method.name, method)
        for method in descriptions("kmex_core.relevance.methods", "RelevanceMethod", MethodDescription)
    ),
)
DEFAULT = next(iter(METHODS))
