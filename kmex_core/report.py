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

OPACITY = 0.6


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
        "method": found.method,
        "black_box_conservation": found.black_box_conservation,
        "prototypes": [
            {
                "id": int(p),
                "class": info.class_names[prototypes.classes[p]],
                "similarity": float(found.similarity[p]),
                "distance": float(found.distance[p]),
                "importance": float(prototypes.importance[p]),
                "training_images": int(prototypes.count[p]),
                "training_image": int(prototypes.picture[p]),
                "method": found.method,
                "conservation": float(kept),
                "conserves": bool(fine),
            }
            for p, kept, fine in zip(found.prototypes, found.conservation, found.conserves, strict=True)
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
    from kmex_core.pipeline import network_input

    colours = next(iter(COLOURS))
    maps = {"black_box": found.black_box_map}
    for p, relevance in zip(found.prototypes.tolist(), found.maps, strict=True):
        shown = data.split("train").image(int(prototypes.picture[p]))
        its = kmex.explain(network_input(info, shown), [p], method=found.method).maps[0]
        maps |= {f"prototype-{p}": relevance, f"prototype-{p}-its-image": its}
        write_bytes(out / f"prototype-{p}-map.png", png(overlay(pixels, relevance, OPACITY, colours)))
        write_bytes(out / f"prototype-{p}-image.png", png(enlarged(shown, 256)))
        write_bytes(out / f"prototype-{p}-image-map.png", png(overlay(shown, its, OPACITY, colours)))
    write_bytes(out / "black-box-map.png", png(overlay(pixels, found.black_box_map, OPACITY, colours)))
    write_file(out / "maps.safetensors", maps, {"model": info.name, "method": found.method})
    write_bytes(out / "explanation.json", json.dumps(answer, indent=2, allow_nan=False).encode())
