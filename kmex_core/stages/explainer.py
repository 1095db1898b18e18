"""The self-explaining module of a conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmex_core.base.provenance import versions
from kmex_core.base.specs import PrototypeSpec
from kmex_core.models.catalogue import BlackBox
from kmex_core.prototypes.operations import described
from kmex_core.prototypes.source import PrototypeSource, Version
from kmex_core.prototypes.types import Conversion

if TYPE_CHECKING:
    from kmex_core.models.kmex import KMEx


def explainer(network: BlackBox, source: PrototypeSource, conversion: Conversion, spec: PrototypeSpec) -> KMEx:
    """A KMEx of a network, or a model with built-in prototypes, on the network's device.

    Args:
        network: the model.
        source: of the prototypes.
        conversion: the prototypes.
        spec: of the conversion, which says what the similarity is.
    """
    from kmex_core.data.network_input import pixel_bounds
    from kmex_core.models.builtin import BuiltInPrototypes
    from kmex_core.models.kmex import KMEx
    from kmex_core.networks.encoders import kept_path
    from kmex_core.networks.passes import device_of

    info = network.info
    return (BuiltInPrototypes if source.built_in else KMEx)(
        network.encoder,
        network.head,
        conversion.prototypes,
        info.class_names,
        spec.epsilon,
        spec.squared,
        pixel_bounds(info.preprocessing),
        {
            "k": spec.k,
            "seed": spec.seed,
            **_edits(source),
            "model": info.name,
            "head_path": kept_path(network.encoder, network.head_path),
            "versions": versions(),
        },
        conversion.metric,
        conversion.temperature,
    ).to(device_of(network.model))


def _edits(source: PrototypeSource) -> dict[str, Any]:
    """What was edited in a version, for the file of a KMEx."""
    return {"version": source.name, "edits": described(source.operations)} if isinstance(source, Version) else {}
