"""Folders as transformers writes them, with tiny networks of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn


def hugging_face(folder: Path, kind: str) -> nn.Module:
    """Write a tiny network of transformers, with its preprocessing: "vit", "resnet", "dinov2" or "clip"."""
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    torch.manual_seed(0)
    if kind == "vit":
        names = {0: "red", 1: "green", 2: "Blue sky"}
        config = transformers.ViTConfig(**small, image_size=32, patch_size=8, id2label=names)
        module = transformers.ViTForImageClassification(config)
    elif kind == "dinov2":
        module = transformers.Dinov2Model(transformers.Dinov2Config(**small, image_size=28, patch_size=14))
    elif kind == "clip":
        vision = {**small, "image_size": 32, "patch_size": 8}
        module = transformers.CLIPModel(transformers.CLIPConfig(vision_config=vision, text_config=small))
    else:
        module = transformers.ResNetForImageClassification(
            transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3)
        )
    module.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}
        )
    )
    return module.eval()
