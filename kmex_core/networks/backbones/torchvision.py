"""All of torchvision's classification models."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from kmex_core.base.errors import InputError
from kmex_core.networks.backbone import BackboneSource
from kmex_core.networks.splitting import split


class Torchvision(BackboneSource):
    """Torchvision's classification models. SqueezeNet's final convolution is replaced by pooling and a Linear layer;
    vision transformers are built for the image size."""

    name = "torchvision"

    def names(self) -> list[str]:
        """The names in torchvision."""
        import torchvision.models

        names: list[str] = torchvision.models.list_models(module=torchvision.models)
        return names

    def build(self, name: str, classes: int, image_size: int, imagenet: bool) -> nn.Module:
        """See `BackboneSource.build`."""
        import torchvision.models as zoo

        options: dict[str, Any] = {}
        if name.startswith(("googlenet", "inception")):
            options = {"init_weights": not imagenet}
            if not imagenet:
                options["aux_logits"] = False
        if name.startswith("vit_") and not imagenet:
            options["image_size"] = image_size
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            if not imagenet:
                model = zoo.get_model(name, weights=None, num_classes=classes, **options)
            else:
                model = _pretrained(name, image_size, options)
        assert isinstance(model, nn.Module)
        if name.startswith("squeezenet"):
            model.classifier = nn.Sequential(
                nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes)
            )
        elif imagenet:
            path = split(model).head_path
            parent, _, last = path.rpartition(".")
            old = model.get_submodule(path)
            assert isinstance(old, nn.Linear)
            setattr(model.get_submodule(parent), last, nn.Linear(old.in_features, classes))
        return model


def _pretrained(name: str, image_size: int, options: dict[str, Any]) -> nn.Module:
    import torchvision.models as zoo
    from torchvision.models.vision_transformer import interpolate_embeddings

    weights = zoo.get_model_weights(name)["DEFAULT"]
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"The ImageNet weights of '{name}' could not be downloaded ({error}). Put "
            f"{weights.url.rsplit('/')[-1]} into {torch.hub.get_dir()}/checkpoints/, or train without --imagenet."
        ) from error
    if name.startswith("vit_"):
        patch = int(name.rsplit("_", 1)[-1])
        state = interpolate_embeddings(image_size, patch, state)
        options["image_size"] = image_size
    model = zoo.get_model(name, weights=None, **options)
    model.load_state_dict(state)
    if name.startswith(("googlenet", "inception")):
        model.aux_logits = False
        model.aux1 = model.aux2 = model.AuxLogits = None
    return model
