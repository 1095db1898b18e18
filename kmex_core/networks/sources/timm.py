"""Networks of timm."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from kmex_core.base.errors import unknown_name
from kmex_core.data.preprocessing import INTERPOLATIONS, Preprocessing
from kmex_core.networks.architecture_source import ArchitectureSource, Plan, Proposal, missing
from kmex_core.networks.hub import offline_if_unreachable

MODES = {"center": "shorter", "squash": "squeeze", "border": "pad"}  # timm's `crop_mode`


class Timm(ArchitectureSource):
    """Networks of timm by name, with its pretrained weights if they are cached or can be downloaded."""

    name = "timm"
    title = "timm"
    about = "a name that timm.list_models() lists, such as timm:vit_tiny_patch16_224"
    needs = ("timm",)
    extra = "timm"

    def names(self) -> list[str]:
        """See `ArchitectureSource.names`."""
        return sorted(map(str, _timm().list_models()))

    def propose(self, name: str, outputs: int | None, own_weights: bool = False) -> Proposal:
        """See `ArchitectureSource.propose`."""
        timm = _timm()
        if not timm.is_model(name):
            raise unknown_name("network of timm", name, timm.list_models())
        options: dict[str, Any] = {} if outputs is None else {"num_classes": outputs}
        module, pretrained, notes = None, False, []
        if not own_weights and timm.is_model_pretrained(name):
            try:
                with offline_if_unreachable():
                    module, pretrained = timm.create_model(name, pretrained=True, **options), True
            except Exception as error:  # timm's downloads end in errors of several libraries
                notes.append(
                    f"timm's weights of {name} could not be had ({type(error).__name__}: "
                    f"{(str(error).splitlines() or [''])[0][:160]})."
                )
        module = module or timm.create_model(name, pretrained=False, **options)
        return Proposal(
            module, {}, module.num_classes, preprocessing_for(module), pretrained=pretrained, notes=tuple(notes)
        )

    def build(self, plan: Plan, arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """See `ArchitectureSource.build`."""
        module: nn.Module = _timm().create_model(
            plan.name, pretrained=False, in_chans=plan.inputs, num_classes=plan.outputs
        )
        return module


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError:
        raise missing("timm", "timm") from None


def preprocessing_for(module: Any) -> Preprocessing:
    """What timm's configuration of a network says."""
    return preprocessing_of(importlib.import_module("timm.data").resolve_data_config({}, model=module))


def preprocessing_of(given: Mapping[str, Any]) -> Preprocessing:
    """That of timm's transform for evaluation with a data configuration (`resolve_data_config`)."""
    channels, height, width = given["input_size"]
    resize = MODES.get(given.get("crop_mode", "center"), "shorter")
    shorter = 0
    if resize == "shorter":  # as timm's transform for evaluation
        shorter = int(min(height, width) / given.get("crop_pct", 0.875))
        if shorter == height == width:
            shorter = min(height, width)
    return Preprocessing(
        height,
        width,
        channels,
        tuple(map(float, given["mean"]))[:channels],
        tuple(map(float, given["std"]))[:channels],
        resize,
        shorter,
        given["interpolation"] if given["interpolation"] in INTERPOLATIONS else "bicubic",
        inputs=channels,
    )
