"""Networks from ONNX files and from files of `torch.export`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from kmex_core.networks.architecture_source import ArchitectureSource, Plan, Proposal
from kmex_core.networks.exported_network import ExportedNetwork, read_exported
from kmex_core.networks.foreign_network import ForeignNetwork
from kmex_core.networks.onnx_network import OnnxNetwork, open_onnx


class Onnx(ArchitectureSource):
    """A network in an ONNX file; it runs in onnxruntime and has no gradients."""

    name = "onnx"
    title = "ONNX file"
    about = "an ONNX file, such as onnx:network.onnx; explained by occlusion, not trained"
    trainable = False
    reads = "file"
    needs = ("onnx", "onnxruntime")
    extra = "onnx"

    def propose(self, name: str, outputs: int | None, own_weights: bool = False) -> Proposal:
        """See `ArchitectureSource.propose`. Size and channels are those of the file."""
        return _proposal(open_onnx(Path(name).expanduser()))

    def build(self, plan: Plan, arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """See `ArchitectureSource.build`."""
        return OnnxNetwork.from_arrays(dict(arrays))


class Exported(ArchitectureSource):
    """A network that `torch.export.save` wrote; its graph is read without the code that torch's loader may run."""

    name = "export"
    title = "torch.export file"
    about = "a file of torch.export.save, such as export:network.pt2; not trained"
    trainable = False
    reads = "file"

    def propose(self, name: str, outputs: int | None, own_weights: bool = False) -> Proposal:
        """See `ArchitectureSource.propose`. Size and channels are those of the file."""
        return _proposal(read_exported(Path(name).expanduser()))

    def build(self, plan: Plan, arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """See `ArchitectureSource.build`."""
        return ExportedNetwork.from_arrays(dict(arrays))


def _proposal(module: ForeignNetwork) -> Proposal:
    channels, height, width = module.image_shape
    details = {"channels": channels, "height": height, "width": width}
    outputs = module.head.out_features if module.head is not None else 0
    return Proposal(module, details, outputs, pretrained=True, notes=module.notes)
