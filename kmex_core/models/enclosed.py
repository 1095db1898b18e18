"""What the file of a KMEx has beside its prototypes, and how its network is built again from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.data.pictures import read_picture
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import MODEL_KINDS

# what says how a network is built again, of a `ModelInfo`
FIELDS = ("kind", "backbone", "k", "options", "details", "head_path", "outputs", "class_outputs")
PLACES = ("hf", "onnx", "export")  # sources whose names are paths, which nothing is built from later
OWN_PATH = "_name_or_path"  # of transformers' configurations
MOST_PROTOTYPES = 1000


@dataclass(frozen=True, eq=False)
class Enclosed:
    """All of it is optional. K prototypes.

    Attributes:
        network: how the network is built again; None where only Python code knows.
        thumbnails: K PNG files, the exemplar of each prototype (b"" without one); or none at all.
        file_names: K names of the exemplars in their data set ("" for images that are no files); or none at all.
        card: the model card, Markdown.
    """

    network: ModelInfo | None = None
    thumbnails: tuple[bytes, ...] = ()
    file_names: tuple[str, ...] = ()
    card: str = ""

    def thumbnail(self, prototype: int) -> np.ndarray:
        """The exemplar of a prototype, made smaller: (H, W) or (H, W, 3) uint8.

        Raises:
            InputError: when the file has none, or it is no picture.
        """
        content = self.thumbnails[prototype] if 0 <= prototype < len(self.thumbnails) else b""
        if not content:
            raise InputError(f"This KMEx has no picture for prototype {prototype}.")
        return read_picture(content).pixels


NOTHING = Enclosed()


def without_places(info: ModelInfo) -> ModelInfo:
    """A model's description as it may leave this machine: no paths, no commands."""
    source, colon, name = info.backbone.partition(":")
    details = dict(info.details)
    if isinstance(details.get("config"), Mapping):
        details["config"] = _without_paths(details["config"])
    made_by = {key: value for key, value in info.made_by.items() if key not in ("command", "imported")}
    return replace(
        info,
        root="",
        backbone=f"{source}{colon}{PurePath(name).name}" if source in PLACES else info.backbone,
        details=details,
        made_by=made_by,
    )


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_paths(item) for key, item in value.items() if key != OWN_PATH}
    return [_without_paths(item) for item in value] if isinstance(value, list) else value


def network_described(info: ModelInfo | None) -> dict[str, Any] | None:
    """How a network is built again, as JSON-like values."""
    return None if info is None else {field: getattr(without_places(info), field) for field in FIELDS}


def network_of(
    described: Mapping[str, Any] | None,
    name: str,
    class_names: tuple[str, ...],
    preprocessing: Preprocessing | None,
) -> ModelInfo | None:
    """What `network_described` made, read from a file.

    Raises:
        KeyError, TypeError, ValueError: when it is something else.
    """
    if described is None or preprocessing is None:
        return None
    given = {field: described[field] for field in FIELDS}
    kinds = {"kind": str, "backbone": str, "k": int, "options": dict, "details": dict, "head_path": str}
    for field, kind in kinds.items():
        if type(given[field]) is not kind:
            raise TypeError(f"{field} is a {type(given[field]).__name__}")
    outputs, of_classes = given["outputs"], tuple(given["class_outputs"])
    if given["kind"] not in MODEL_KINDS:
        raise ValueError(f"there is no kind of model '{given['kind'][:80]}'")
    if not 0 <= given["k"] <= MOST_PROTOTYPES:
        raise ValueError(f"{given['k']} prototypes per class")
    if not all(type(value) in (int, float) for value in given["options"].values()):
        raise TypeError("options are not numbers")
    if not all(type(value) is int for value in (*of_classes, 0 if outputs is None else outputs)):
        raise TypeError("outputs are not whole numbers")
    if of_classes and len(of_classes) != len(class_names):
        raise ValueError(f"{len(of_classes)} outputs for {len(class_names)} classes")
    return ModelInfo(
        name=name,
        dataset="",
        root="",
        class_names=class_names,
        preprocessing=preprocessing,
        accuracy=None,
        made_by={},
        **given | {"class_outputs": of_classes},
    )
