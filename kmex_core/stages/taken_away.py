"""A model with its prototypes as a file for other programs: a KMEx alone, or an ONNX graph."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core.analysis.model_card import model_card
from kmex_core.base.errors import InputError
from kmex_core.base.files import write_bytes
from kmex_core.data import registry
from kmex_core.data.display import png, reduced
from kmex_core.models.enclosed import Enclosed, without_places
from kmex_core.networks import trust
from kmex_core.prototypes.source import PrototypeSource
from kmex_core.prototypes.types import NO_IMAGE
from kmex_core.stages.stored import stored_conversion, stored_evaluation
from kmex_core.stages.subject import Subject

if TYPE_CHECKING:
    from kmex_core.models.kmex import KMEx

SIDE = 128  # of a thumbnail in pixels, at most
COMPARED = 12  # test images on which an ONNX file is compared


def check_source(source: PrototypeSource) -> None:
    """Refuse built-in prototypes, which are a part of their network.

    Raises:
        InputError: for those.
    """
    if source.built_in:
        raise InputError("--kmex and --onnx take KMEx's prototypes: leave out --own, or export the model with --out.")


def write_kmex(subject: Subject, source: PrototypeSource, path: Path, weights: bool) -> list[str]:
    """Write a file for `KMEx.load`, with thumbnails and the model card.

    Args:
        subject, source: the model and its prototypes.
        path: the file.
        weights: whether the network is in it.

    Returns:
        What loading it takes.

    Raises:
        InputError: see `stored_conversion`.
        StoreError: when it cannot be written.
    """
    kmex = taken_away(subject, source)
    kmex.save(path, weights)
    backbone = subject.info.backbone
    if not weights:
        return [f"{path.name} has no network: KMEx.load takes it as `encoder`. With --weights it is in the file."]
    if trust.is_function(backbone):
        return [
            f"{path.name} has the weights, but not the code of {backbone}: KMEx.load takes the network as `encoder`."
        ]
    return []


def card_text(subject: Subject, source: PrototypeSource) -> str:
    """The model card, see `model_card`.

    Raises:
        InputError: see `stored_conversion`.
    """
    conversion, evaluation = stored_conversion(subject, source), stored_evaluation(subject, source)
    return model_card(subject.info, subject.data, source, conversion, evaluation, subject.notes())


def taken_away(subject: Subject, source: PrototypeSource) -> KMEx:
    """The self-explaining module with what its file has beside the prototypes.

    Raises:
        InputError: see `stored_conversion`.
    """
    from kmex_core.models.from_python import Origin
    from kmex_core.networks.given_preprocessing import Prepared

    conversion, evaluation = stored_conversion(subject, source), stored_evaluation(subject, source)
    kmex, info = subject.explainer(source), without_places(subject.info)
    train, exemplars = subject.data.split("train"), conversion.prototypes.exemplar.tolist()
    kmex.made_by |= _made_by(subject)
    kmex.origin = Origin(
        subject.network.model,
        len(info.class_names) if info.outputs is None else info.outputs,
        tuple(range(len(info.class_names))) if info.outputs is None else info.class_outputs,
        Prepared(info.preprocessing),
    )
    kmex.enclosed = Enclosed(
        info,
        tuple(b"" if index == NO_IMAGE else png(reduced(train.image(index), SIDE)) for index in exemplars),
        tuple("" if index == NO_IMAGE else _inside(train.file_name(index)) for index in exemplars),
        model_card(info, subject.data, source, conversion, evaluation, subject.notes()),
    )
    return kmex


def write_onnx(subject: Subject, source: PrototypeSource, path: Path) -> None:
    """Write an ONNX file, see `models.portable.to_onnx`. It is compared with torch on test images first.

    Raises:
        InputError: see there and `stored_conversion`, and for a network that onnxruntime runs.
        StoreError: when it cannot be written.
    """
    from kmex_core.models.portable import to_onnx

    info = subject.info
    if not info.differentiable:
        raise InputError(
            f"The network of '{info.name}' is an ONNX graph, which torch does not translate again. Take it away with "
            "--kmex and --weights, which keep the graph."
        )
    stored_conversion(subject, source)
    test = len(subject.data.split("test"))
    # one image twice where there is only one: the number of images has to be open
    rows = np.linspace(0, test - 1, max(2, min(COMPARED, test))).astype(np.int64)
    pixels = subject.data.pixels("test", rows, info.preprocessing)
    kmex = dataclasses.replace(subject, device="cpu").explainer(source)
    write_bytes(path, to_onnx(kmex, info.preprocessing, pixels, _made_by(subject)))


def _made_by(subject: Subject) -> dict[str, Any]:
    return {
        "dataset": registry.title(subject.info.dataset),
        "data": subject.data.fingerprint,
        "weights": subject.weights,
    }


def _inside(name: str | None) -> str:
    """The name of a file in its data set; "" for none, and for the path of a file elsewhere on this machine."""
    if name is None or PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute():
        return ""
    return name
