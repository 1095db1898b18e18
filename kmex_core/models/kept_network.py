"""The network of a KMEx that was read from a file: built from there, or given by the user."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from kmex_core.base.errors import InputError, KMExError, StoreError
from kmex_core.base.files import Arrays
from kmex_core.models import catalogue
from kmex_core.models.info import ModelInfo
from kmex_core.networks import splitting, trust
from kmex_core.networks.bounded import built_within
from kmex_core.networks.encoders import MEAN, NONE, SEVERAL

Parts = tuple[nn.Module, nn.Module]  # encoder and head


@dataclass(frozen=True, eq=False)
class KeptNetwork:
    """What a file says of its network.

    Attributes:
        path: of the file.
        weights: the network's state; empty if the file does not have it.
        info: how it is built again; None where only Python code knows.
        arguments: of the KMEx.
        fingerprints: of encoder and head together, and of the encoder alone (None in earlier files).
        of_classes: the number of each class among its outputs, empty if it predicts none of them; None in
            earlier files.
    """

    path: str | Path
    weights: Arrays
    info: ModelInfo | None
    arguments: dict[str, Any]
    fingerprints: tuple[str, str | None]
    of_classes: tuple[int, ...] | None

    @property
    def head_path(self) -> str:
        """The dotted name of its head, as `made_by` has it."""
        return str(self.arguments["made_by"].get("head_path", ""))

    def built(self) -> tuple[nn.Module, Parts]:
        """The network from the file alone."""
        name = "the network that was converted" if self.info is None else self.info.backbone
        function = self.info is not None and trust.is_function(self.info.backbone)
        give = f'Build it, and pass it: KMEx.load("{Path(self.path).name}", encoder=network).'
        if not self.weights:
            raise InputError(
                f"{self.path} has prototypes without their network's weights. It needs {name} with the weights that it "
                f"was converted with. {give}"
            )
        if self.info is None or function:
            raise InputError(
                f"{self.path} has the weights of {name}, but not its code"
                f"{', a function that is never run because a file names it' if function else ''}. {give}"
            )
        info = self.info
        try:
            module = built_within(lambda: catalogue.build(info, self.weights), self.weights)
            return self._filled(module), self._split(module)
        except KMExError as error:
            raise StoreError(f"The network in {self.path} cannot be built: {error}") from error
        except Exception as error:  # of any library that builds networks, from a description that was made up
            raise StoreError(
                f"The network in {self.path} cannot be built ({type(error).__name__}: {str(error)[:200]})."
            ) from error

    def given(self, network: nn.Module, head: str | nn.Module | None) -> tuple[nn.Module, Parts]:
        """A user's network, or a copy of it with the weights of the file."""
        if self._is_same(parts := self._parts(network, head)):
            return network, parts
        if self.weights:
            network = self._filled(copy.deepcopy(network))
            if self._is_same(parts := self._parts(network, head)):
                return network, parts
        elif self.head_path not in (NONE, MEAN) and _is_without(network, self.head_path):
            splitting.split_at(network, self.head_path)  # says which parts there are
        raise InputError(
            f"{self.path} was made with other weights than the {type(network).__name__} passed here, "
            "so its prototypes would be meaningless. Pass the classifier that was converted."
        )

    def _parts(self, network: nn.Module, head: str | nn.Module | None) -> Parts:
        head_path = self.head_path
        dimensions, classes = self.arguments["prototypes"].centers.shape[1], len(self.arguments["class_names"])
        alone = head is None and self.fingerprints[1] is not None and _is_without(network, head_path)
        if head == NONE or head_path in (NONE, MEAN) or alone:
            parts = splitting.whole_again(network, dimensions, classes, head_path)
        elif self.info is not None and head is None:
            return self._split(network)
        else:
            parts = splitting.split_at(network, head_path) if head is None else splitting.split(network, head=head)
            if self.of_classes is not None:
                parts = parts.predicting(self.of_classes or None, classes)
        return parts.encoder, parts.head

    def _split(self, network: nn.Module) -> Parts:
        assert self.info is not None
        parts = catalogue.in_parts(self.info, network)
        return parts.encoder, parts.head

    def _is_same(self, parts: Parts) -> bool:
        return splitting.fingerprint(*parts) == self.fingerprints[0] or (
            splitting.fingerprint(parts[0]) == self.fingerprints[1] and not list(parts[1].parameters())
        )

    def _filled(self, network: nn.Module) -> nn.Module:
        """With the weights of the file; an encoder alone takes its part of them."""
        values = self.weights
        if _is_without(network, self.head_path):
            heads = tuple(f"{path}." for path in self.head_path.split(SEVERAL))
            values = {name: value for name, value in values.items() if not name.startswith(heads)}
        catalogue.load_state(network, values, f"The weights in {self.path}")
        return network.eval()


def _is_without(network: nn.Module, head_path: str) -> bool:
    """Whether a network is only what comes before a head: it has no part of that name, or one without weights."""
    parts = dict(network.named_modules())
    found = [parts.get(path) for path in head_path.split(SEVERAL) if path]
    return bool(found) and all(part is None or not list(part.parameters()) for part in found)
