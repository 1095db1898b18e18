"""Tries the cases of `compatibility`: what works, and what is refused with which sentence."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from kmex_core import KMEx
from kmex_core.base.errors import KMExError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry
from kmex_core.models import catalogue
from kmex_core.networks import trust
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.new_model import NewRequest, decided, keep
from kmex_core.stages.subject import Subject, subject_of
from kmex_core.stages.taken_away import write_kmex, write_onnx
from tests.helpers.compatibility import CLASSES, IMAGES, MODULE, LayoutCase, ModelCase, pictures

OK = "OK"


@dataclass(frozen=True)
class ModelResult:
    """What came of a network, each `OK`, a phrase, or the sentence with which it was refused.

    Attributes:
        convert, explain, export, onnx: the steps; `onnx` is "" where it was not tried.
        head: its head's path and whether it predicts the classes.
        method: of the relevance map.
    """

    convert: str
    explain: str = ""
    export: str = ""
    head: str = ""
    method: str = ""
    onnx: str = ""


def tried(case: ModelCase, folder: Path, images: Path, onnx: bool = False) -> ModelResult:
    """Bring a network into the default store, convert it, explain an image, load what was exported.

    Args:
        case: the network.
        folder: an empty one.
        images: a data set of `CLASSES`.
        onnx: whether to export an ONNX file as well, which takes up to half a minute.
    """
    torch.manual_seed(0)
    store = Store()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = case.make(folder)
            if str(options["model"]).startswith(MODULE):
                sys.modules.pop(MODULE, None)
                trust.allow(options["model"], folder)
            keep(store, decided(store, NewRequest("case", images=DatasetSpec(str(images)), **options)), overwrite=True)
            subject = subject_of(store, "case")
            subject.conversion(KMeans(2)).get()
    except KMExError as error:
        return ModelResult(str(error))
    head = subject.info.head_path if subject.info.predicts else f"{subject.info.head_path}, no black box"
    image = catalogue.network_input(subject.info, subject.data.split("test").image(0))
    try:
        found = subject.explainer(KMeans(2)).explain(image, top=1, judged=False)
        explained, method = OK, found.maps.method
    except KMExError as error:
        explained, method = str(error), ""
    exported, as_onnx = _came_back(subject, folder), ""
    if onnx:
        try:
            write_onnx(subject, KMeans(2), folder / "exported.onnx")
            as_onnx = OK
        except KMExError as error:
            as_onnx = str(error)
    return ModelResult(OK, explained, exported, head, method, as_onnx)


def _came_back(subject: Subject, folder: Path) -> str:
    """Export a KMEx with its network and load it: `OK` if it computes what the store's does."""
    try:
        write_kmex(subject, KMeans(2), folder / "exported.kmex", weights=True)
        own = trust.is_function(subject.info.backbone)
        network = catalogue.build(subject.info) if own else None  # with new weights: those of the file are used
        again, here = KMEx.load(folder / "exported.kmex", encoder=network), subject.explainer(KMeans(2))
        images = next(subject.inputs("test", 4))[1]
        with torch.no_grad():
            z, expected = again.encode(images), here.encode(images)
            same = torch.equal(again(images), here(images)) and torch.equal(
                again.posterior(z), here.posterior(expected)
            )
        return OK if same else "computes something else"
    except KMExError as error:
        return str(error)


def opened(case: LayoutCase, folder: Path) -> str:
    """Open a layout: `OK` if all images are there under their classes, else what went wrong."""
    made = pictures()
    try:
        data = registry.load(DatasetSpec(str(case.make(folder, made))))
    except KMExError as error:
        return str(error)
    count = sum(map(len, data.splits.values()))
    named = data.class_names in (CLASSES, tuple("012"))
    return OK if named and count == len(CLASSES) * IMAGES else f"{count} images of {', '.join(data.class_names)}"
