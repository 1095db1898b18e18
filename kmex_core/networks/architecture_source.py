"""The interface of sources of networks from outside this product: `timm:NAME`, `hf:FOLDER`, `module:function` …"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from torch import nn

from kmex_core.base.errors import InputError
from kmex_core.data.preprocessing import Preprocessing


@dataclass(frozen=True)
class Plan:
    """What a network is built from.

    Attributes:
        name: its name in its source, without the prefix.
        outputs: how many class scores it gives, 0 for an encoder.
        size: (H, W) of its input in pixels.
        inputs: channels of its input.
        details: what its source noted when it was proposed, JSON-like.
    """

    name: str
    outputs: int
    size: tuple[int, int]
    inputs: int = 3
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Proposal:
    """A network from outside, as its source gives it.

    Attributes:
        module: the network.
        details: what `ArchitectureSource.build` needs.
        outputs: how many class scores it gives, 0 for an encoder; None where only running it tells.
        preprocessing: what it was trained with; None if its source does not know.
        class_names: of its outputs; empty if its source does not know.
        pretrained: whether it has trained weights.
        notes: what a person should know.
    """

    module: nn.Module
    details: Mapping[str, Any] = field(default_factory=dict)
    outputs: int | None = None
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] = ()
    pretrained: bool = False
    notes: tuple[str, ...] = ()


class ArchitectureSource(ABC):
    """A source of networks. To add one, add a file with a subclass to `networks.sources`.

    Attributes:
        name: the prefix, what stands before the colon of its networks' names.
        title: of the source, for people.
        about: what follows the prefix, for people.
        trainable: whether its networks can be trained here.
        reads: what its networks' names are paths of; "" where they are none. A "folder" may be a name elsewhere, too.
        needs: optional packages without which it gives no network.
        extra: of this product, which installs them.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    trainable: ClassVar[bool] = True
    reads: ClassVar[Literal["", "file", "folder"]] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    def why_not(self) -> str:
        """Which package is missing and how to install it; "" when all are there. Imports none of them."""
        absent = next((package for package in self.needs if importlib.util.find_spec(package) is None), "")
        return str(missing(absent, self.extra)) if absent else ""

    def names(self) -> list[str]:
        """Its networks' names, without the prefix, in alphabetical order; none where any name may do.

        Raises:
            InputError: when a package is missing.
        """
        return []

    @abstractmethod
    def propose(self, name: str, outputs: int | None, own_weights: bool = False) -> Proposal:
        """A network with the weights that its source has for it, if it has some.

        Args:
            name: without the prefix.
            outputs: how many class scores it should give, with new weights in its head where that differs from the
                source's; None for the source's own.
            own_weights: the user has weights for it, so the source's are not fetched.

        Raises:
            InputError: for an unknown name, a missing package, or what cannot be used.
        """

    @abstractmethod
    def build(self, plan: Plan, arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """The network again, from its plan alone; its weights are put into it afterwards.

        Args:
            plan: as it was imported.
            arrays: its stored weights, for networks that are in them as a whole.

        Raises:
            InputError: when a package is missing or the network cannot be built any more.
        """


def missing(package: str, extra: str) -> InputError:
    """What to say where an optional package is missing."""
    return InputError(
        f"This needs the package {package}, which is not installed. Install it with `pip install {package}`, or all "
        f"that is needed with `pip install 'kmex-explorer[{extra}]'`."
    )
