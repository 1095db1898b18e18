"""Explanations and prototypes as plain values and as files."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from kmex_core import metrics
from kmex_core.analysis.coverage import (
    Coverage,
    Curves,
    as_rows,
    coverage,
    finding,
)
from kmex_core.analysis.tables.attributes import accuracy_table, attribute_table, subgroup_table
from kmex_core.analysis.tables.prototypes import prototype_table
from kmex_core.base.files import write_bytes, write_file
from kmex_core.base.jsontext import write_json
from kmex_core.base.plain_text import table_csv
from kmex_core.data.display import COLOURS, boxed, displayed, overlay, png, printable
from kmex_core.data.registry import ImageDataset
from kmex_core.data.seen import seen_picture
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import PrototypeSource, numbered
from kmex_core.prototypes.types import Conversion, PatchPrototypes, Prototypes
from kmex_core.relevance.types import JUDGED, REPLACEMENTS, Explanation, MapVerdict

if TYPE_CHECKING:
    import pandas as pd

    from kmex_core.models.kmex import KMEx

OPACITY = 0.85
# the files of an explanation
FILES = re.compile(r"explanation\.json|maps\.safetensors|black-box-map\.png|prototype-\d+-(map|image|image-map)\.png")


def explanation(
    explained: Explanation, prototypes: Prototypes, info: ModelInfo, data: ImageDataset, pixels: np.ndarray
) -> dict[str, Any]:
    """An explanation of an image, (H, W) or (H, W, 3) uint8, as JSON-like values; shares and probabilities are
    fractions. `seen` is where the network's input, and so each map, is on a picture: shares of its width and height,
    below 0 and above 1 for black bars around it."""
    train = data.split("train")

    def seen(shape: tuple[int, ...]) -> dict[str, float]:
        box = info.preprocessing.placed((shape[0], shape[1])).box
        return dict(zip(("left", "top", "right", "bottom"), box, strict=True))

    def prediction(predicted: int, probabilities: np.ndarray) -> dict[str, Any]:
        return {
            "class": info.class_names[predicted],
            "probability": float(probabilities[predicted]),
            "probabilities": {name: float(p) for name, p in zip(info.class_names, probabilities, strict=True)},
        }

    beside: dict[str, Any] = {"black_box": None, "agree": None, "black_box_error": None}
    if explained.predicted_black_box is not None and explained.black_box is not None:
        beside["black_box"] = prediction(explained.predicted_black_box, explained.black_box)
        beside["agree"] = explained.predicted == explained.predicted_black_box
    if explained.black_box_map is not None:
        beside["black_box_error"] = _finite(explained.black_box_map.error[0])
    return {
        **beside,
        "kmex": prediction(explained.predicted, explained.kmex)
        | {"likeliest": info.class_names[explained.likeliest], "calibrated": explained.calibrated},
        "unusual": explained.unusual,
        "distance_rank": explained.distance_rank,
        "target": explained.maps.target,
        "method": explained.maps.method,
        "seen": seen(pixels.shape),
        "prototypes": [
            {
                "id": int(p),
                "class": info.class_names[prototypes.classes[p]],
                "similarity": float(explained.similarity[p]),
                "distance": float(explained.distance[p]),
                "importance": float(prototypes.importance[p]),
                "training_images": int(prototypes.count[p]),
                "training_image": int(prototypes.exemplar[p]),
                "training_image_seen": seen(train.image(int(prototypes.exemplar[p])).shape),
                "number": float(explained.maps.numbers[row]),
                "rival": None if explained.maps.rivals[row] < 0 else int(explained.maps.rivals[row]),
                "absorbed": float(explained.maps.absorbed[row]),
                "error": _finite(explained.maps.error[row]),
                "exact": bool(explained.maps.exact[row]),
                "verdict": _verdict(explained.verdicts[row]) if explained.verdicts else None,
            }
            for row, p in enumerate(explained.prototypes.tolist())
        ],
    }


def attributes(
    info: ModelInfo,
    data: ImageDataset,
    curves: Curves,
    conversion: Conversion,
    source: PrototypeSource,
    seed: int,
    black_box: bool,
) -> dict[str, Any]:
    """What the prototypes cover and for whom predictions fail, as JSON-like values; shares are fractions.

    `chance_limits` are the half widths of simultaneous 95% bands for random training images in place of the exemplars:
    prototypes with each attribute, and with both of each pair, around the expected numbers; correlations of attributes
    around those of the training images.

    Args:
        info, data: the model and its data, with attributes.
        curves: over numbers of prototypes per class.
        conversion: the one that is examined in detail.
        source: where its prototypes come from.
        seed: of it.
        black_box: whether the black box predicts the same classes.
    """
    covered = coverage(data.split("train"), conversion.prototypes)
    accuracy = accuracy_table(data.split("test"), conversion, black_box)
    about = {
        "model": info.name,
        "dataset": info.dataset,
        "class": info.class_column or "of the data set",
        "own": source.built_in,
    }
    return about | audit(covered, accuracy, curves, source.per_class(info.k), seed, source.built_in)


def audit(
    covered: Coverage, accuracy: pd.DataFrame, curves: Curves, per_class: int, seed: int, built_in: bool = False
) -> dict[str, Any]:
    """What `attributes` says apart from the model.

    Args:
        covered: by the prototypes that are examined in detail.
        accuracy: see `accuracy_table`.
        curves, seed: see `attributes`.
        per_class: prototypes per class.
        built_in: whether these are the model's own.
    """
    chance = covered.chance
    tables = {
        "attributes": attribute_table(covered, None if built_in else curves),
        "subgroups": subgroup_table(covered),
        "accuracy": accuracy,
    }
    return {
        "seeds": list(curves.seeds),
        "rows": as_rows(curves),
        "k": numbered(per_class),
        "seed": seed,
        "finding": finding(covered, per_class),
        "chance_limits": {
            "attributes": metrics.simultaneous_limit(chance.deviation),
            "subgroups": metrics.simultaneous_limit(chance.deviation_pairs),
            "correlations": metrics.simultaneous_limit(chance.deviation_correlation),
        },
    } | {name: _records(table) for name, table in tables.items()}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A row per object; what is not finite becomes None."""
    return [
        {str(name): _finite(value) if isinstance(value, float) else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _verdict(verdict: MapVerdict) -> dict[str, Any]:
    """A verdict on a map; the margins that are left are by replacement and share of the pixels, None where there was
    none, because the image is of another class."""
    left = {"margin": verdict.margin, "random": verdict.random, "brightness": verdict.brightness}
    if verdict.margin is None:
        left = dict.fromkeys(left)
    return {
        "replacements": list(REPLACEMENTS),
        "shares": list(JUDGED),
        **{name: None if values is None else values.tolist() for name, values in left.items()},
        "cosine": verdict.cosine,
        "specificity": verdict.specificity,
        "depends_on_rival": verdict.depends_on_rival,
    }


def _finite(value: float) -> float | None:
    """None where a map should sum to exactly 0, so that no ratio can be given; JSON has no NaN."""
    return float(value) if np.isfinite(value) else None


def write(
    out: Path,
    answer: dict[str, Any],
    explained: Explanation,
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

    from kmex_core.models.catalogue import network_input

    def mapped(picture: np.ndarray, values: np.ndarray) -> bytes:
        seen = seen_picture(picture, info.preprocessing)
        return png(overlay(seen.pixels, values, OPACITY, next(iter(COLOURS)), box=seen.box))

    pictures = [data.split("train").image(int(prototypes.exemplar[p])) for p in explained.prototypes]
    inputs = torch.cat([network_input(info, picture) for picture in pictures])
    theirs = kmex.maps(inputs, explained.prototypes.tolist(), explained.maps.method, explained.maps.target)
    maps = {} if explained.black_box_map is None else {"black-box": explained.black_box_map.values[0]}
    for p, picture, here, there in zip(
        explained.prototypes, pictures, explained.maps.values, theirs.values, strict=True
    ):
        maps |= {f"prototype-{p}": here, f"prototype-{p}-image": there}
        write_bytes(out / f"prototype-{p}-map.png", mapped(pixels, here))
        write_bytes(out / f"prototype-{p}-image.png", png(displayed(picture, 256)))
        write_bytes(out / f"prototype-{p}-image-map.png", mapped(picture, there))
    if "black-box" in maps:
        write_bytes(out / "black-box-map.png", mapped(pixels, maps["black-box"]))
    write_file(
        out / "maps.safetensors",
        maps,
        {"model": info.name, "method": explained.maps.method, "target": explained.maps.target},
    )
    write_bytes(out / "explanation.json", write_json(answer, indent=2).encode())


SHEET_SIDE = 96
SHEET_TEXT = 28


def prototype_sheet(prototypes: Prototypes, class_names: Sequence[str], data: ImageDataset) -> bytes:
    """All prototypes as one PNG: a row per class, each picture with its share of the class."""

    def picture(p: int) -> np.ndarray | None:
        index = int(prototypes.exemplar[p])
        return displayed(data.split("train").image(index), SHEET_SIDE) if index >= 0 else None

    return _sheet(prototypes, class_names, picture)


def patch_sheet(prototypes: PatchPrototypes, info: ModelInfo, data: ImageDataset) -> bytes:
    """All patch prototypes as one PNG: a row per class, each a red rectangle in its image (paper, Figure 7)."""

    def picture(p: int) -> np.ndarray | None:
        index = int(prototypes.image[p])
        if index < 0:
            return None
        seen = seen_picture(data.split("train").image(index), info.preprocessing)
        return boxed(seen.pixels, seen.part(prototypes.box(p)), SHEET_SIDE)

    return _sheet(prototypes, info.class_names, picture)


def _sheet(
    prototypes: Prototypes | PatchPrototypes, class_names: Sequence[str], picture: Callable[[int], np.ndarray | None]
) -> bytes:
    most = int(np.bincount(prototypes.classes).max())
    width, height = (most + 1) * (SHEET_SIDE + 8), len(class_names) * (SHEET_SIDE + SHEET_TEXT)
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    for label, name in enumerate(class_names):
        top = label * (SHEET_SIDE + SHEET_TEXT)
        pen.text((4, top + SHEET_SIDE // 2), printable(name[:16]), fill="black")
        for column, p in enumerate(np.flatnonzero(prototypes.classes == label)):
            left = (column + 1) * (SHEET_SIDE + 8)
            if (pixels := picture(int(p))) is not None:
                small = Image.fromarray(pixels)
                small.thumbnail((SHEET_SIDE, SHEET_SIDE))
                sheet.paste(small, (left, top))
            text = "ghost" if prototypes.ghost[p] else f"{prototypes.importance[p]:.0%} ({prototypes.count[p]})"
            pen.text((left, top + SHEET_SIDE + 2), text, fill="black")
    return png(np.asarray(sheet))


def prototype_archive(prototypes: Prototypes, class_names: Sequence[str], data: ImageDataset) -> bytes:
    """A ZIP file with `prototypes.csv` and each prototype's picture as `prototype-<number>.png`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("prototypes.csv", table_csv(prototype_table(prototypes, class_names)))
        for p, image in enumerate(prototypes.exemplar):
            if image >= 0:
                archive.writestr(f"prototype-{p}.png", png(data.split("train").image(int(image))))
    return buffer.getvalue()
