"""An explanation as plain values and as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core.datasets import ImageDataset
from kmex_core.images import COLOURS, enlarged, overlay, png
from kmex_core.results import Explanation, ModelInfo, Prototypes
from kmex_core.store import write_bytes, write_file

if TYPE_CHECKING:
    from kmex_core.kmex import KMEx

OPACITY = 0.85


def explanation(found: Explanation, prototypes: Prototypes, info: ModelInfo) -> dict[str, Any]:
    """An explanation as JSON-like values; shares and probabilities are fractions."""

    def prediction(predicted: int, probabilities: np.ndarray) -> dict[str, Any]:
        return {
            "class": info.class_names[predicted],
            "probability": float(probabilities[predicted]),
            "probabilities": {name: float(p) for name, p in zip(info.class_names, probabilities, strict=True)},
        }

    return {
        "black_box": prediction(found.predicted_black_box, found.black_box),
        "kmex": prediction(found.predicted, found.kmex),
        "agree": found.predicted == found.predicted_black_box,
        "unusual": found.unusual,
        "distance_rank": found.distance_rank,
        "method": found.maps.method,
        "black_box_conservation": float(found.black_box_map.conservation[0]),
        "prototypes": [
            {
                "id": int(p),
                "class": info.class_names[prototypes.classes[p]],
                "similarity": float(found.similarity[p]),
                "distance": float(found.distance[p]),
                "importance": float(prototypes.importance[p]),
                "training_images": int(prototypes.count[p]),
                "training_image": int(prototypes.picture[p]),
                "method": found.maps.method,
                "conservation": float(kept),
                "conserves": bool(fine),
            }
            for p, kept, fine in zip(found.prototypes, found.maps.conservation, found.maps.conserves, strict=True)
        ],
    }


def write(
    out: Path,
    answer: dict[str, Any],
    found: Explanation,
    prototypes: Prototypes,
    kmex: KMEx,
    info: ModelInfo,
    data: ImageDataset,
    pixels: np.ndarray,
) -> None:
    """Write an explanation's values, maps and pictures to a folder.

    Raises:
        StoreError: when the folder cannot be written.
    """
    import torch

    from kmex_core.pipeline import network_input

    colours = next(iter(COLOURS))
    pictures = [data.split("train").image(int(prototypes.picture[p])) for p in found.prototypes]
    inputs = torch.cat([network_input(info, picture) for picture in pictures])
    theirs = kmex.maps(inputs, found.prototypes.tolist(), found.maps.method)
    maps = {"black-box": found.black_box_map.values[0]}
    for p, picture, here, there in zip(found.prototypes, pictures, found.maps.values, theirs.values, strict=True):
        maps |= {f"prototype-{p}": here, f"prototype-{p}-image": there}
        write_bytes(out / f"prototype-{p}-map.png", png(overlay(pixels, here, OPACITY, colours)))
        write_bytes(out / f"prototype-{p}-image.png", png(enlarged(picture, 256)))
        write_bytes(out / f"prototype-{p}-image-map.png", png(overlay(picture, there, OPACITY, colours)))
    write_bytes(out / "black-box-map.png", png(overlay(pixels, maps["black-box"], OPACITY, colours)))
    write_file(out / "maps.safetensors", maps, {"model": info.name, "method": found.maps.method})
    write_bytes(out / "explanation.json", json.dumps(answer, indent=2, allow_nan=False).encode())
