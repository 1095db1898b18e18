"""The other prototypical self-explainable models of the paper: ProtoPNet, FLINT, ProtoVAE."""

from __future__ import annotations

from collections.abc import Mapping

from kmex_core.models.baselines.base import Baseline, PrototypeHead, Stage, checked_options
from kmex_core.models.baselines.flint import FLINT
from kmex_core.models.baselines.protopnet import ProtoPNet
from kmex_core.models.baselines.protovae import ProtoVAE

KINDS: Mapping[str, type[ProtoPNet] | type[FLINT] | type[ProtoVAE]] = {
    kind.kind: kind for kind in (ProtoPNet, FLINT, ProtoVAE)
}

__all__ = [
    "FLINT",
    "KINDS",
    "Baseline",
    "ProtoPNet",
    "ProtoVAE",
    "PrototypeHead",
    "Stage",
    "checked_options",
]
