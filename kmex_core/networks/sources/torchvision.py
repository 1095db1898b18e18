"""Classification networks of torchvision as it builds them, with its ImageNet weights if they can be had."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from kmex_core.base.errors import InputError, unknown_name
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.networks.architecture_source import ArchitectureSource, Plan, Proposal

IMAGENET = 1000  # classes


class TorchvisionNetworks(ArchitectureSource):
    """A classification network of torchvision by name. (The backbones that are trained here are made for small images,
    see `networks.backbones`.)"""

    name = "torchvision"
    title = "torchvision"
    about = "a name that torchvision.models.list_models() lists, such as torchvision:resnet50"

    def names(self) -> list[str]:
        """See `ArchitectureSource.names`."""
        from torchvision import models

        return sorted(models.list_models(module=models))

    def propose(self, name: str, outputs: int | None, own_weights: bool = False) -> Proposal:
        """See `ArchitectureSource.propose`."""
        from torchvision import models

        known = models.list_models(module=models)
        if name not in known:
            raise unknown_name("network of torchvision", name, known)
        weights, notes = models.get_model_weights(name)["DEFAULT"], []
        module, pretrained = _made(name, IMAGENET if outputs is None else outputs), False
        if not own_weights:
            try:
                state, places = weights.get_state_dict(progress=False, check_hash=True), module.state_dict()
                # a head of another number of classes keeps its new weights
                fitting = {name: value for name, value in state.items() if value.shape == places[name].shape}
                module.load_state_dict(places | fitting)
                pretrained = True
            except (OSError, RuntimeError) as error:
                notes.append(
                    f"The ImageNet weights of {name} could not be had ({(str(error).splitlines() or [''])[0][:160]})."
                )
        names = tuple(weights.meta.get("categories", ())) if outputs is None else ()
        return Proposal(
            module,
            {},
            IMAGENET if outputs is None else outputs,
            preprocessing_of(weights.transforms()),
            names,
            pretrained,
            notes=tuple(notes),
        )

    def build(self, plan: Plan, arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """See `ArchitectureSource.build`."""
        return _made(plan.name, plan.outputs)


def _made(name: str, outputs: int) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = {}
    if name.startswith(("googlenet", "inception")):
        options = {"init_weights": False, "aux_logits": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            module: nn.Module = models.get_model(name, weights=None, num_classes=outputs, **options)
        except (ValueError, RuntimeError, AssertionError) as error:
            raise InputError(f"torchvision cannot build {name} ({error}).") from error
    return module


def preprocessing_of(given: Any) -> Preprocessing:
    """That of the transforms that come with torchvision's weights (`ImageClassification`)."""
    (crop,), (resized,) = given.crop_size, given.resize_size
    return Preprocessing(
        crop,
        crop,
        3,
        tuple(map(float, given.mean)),
        tuple(map(float, given.std)),
        "shorter",
        resized,
        given.interpolation.value if given.interpolation.value in ("bilinear", "bicubic", "nearest") else "bilinear",
        bool(given.antialias),
    )
