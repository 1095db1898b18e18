"""What the page Explain costs at 224×224 pixels: passes through the network and seconds of a core, part by part.

Beside it the same page as it was before verdicts shared their passes: each class's orders of pixels were encoded anew,
and the contrast to the nearest rival was explained anew."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core import KMEx
from kmex_core.relevance.explain import judge, prediction
from kmex_core.relevance.removal import relevance_rank, removal
from kmex_core.relevance.replacements import replacements_of
from kmex_core.relevance.types import JUDGED, Explanation
from kmex_core.relevance.verdict import ORDERS

SIDE, CLASSES, K, TOP = 224, 10, 5, 3


class _Passes:
    """Counts the images that pass an encoder forwards and backwards."""

    def __init__(self, encoder: nn.Module) -> None:
        self.forwards = self.backwards = 0
        encoder.register_forward_hook(self._count)

    def _count(self, _: nn.Module, inputs: tuple[Tensor, ...], z: Tensor) -> None:
        self.forwards += len(z)
        if z.requires_grad:
            z.register_hook(self._back)

    def _back(self, gradient: Tensor) -> None:
        # a pass backwards leaves the images without a target in this turn at 0
        self.backwards += int((gradient != 0).any(1).sum())


def _networks() -> Iterator[tuple[str, nn.Module]]:
    import torchvision

    torch.manual_seed(0)
    yield "resnet18", torchvision.models.resnet18(num_classes=CLASSES)
    if importlib.util.find_spec("timm"):
        import timm

        yield "vit_tiny_patch16_224", timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES)


def measure() -> list[dict[str, Any]]:
    """Passes and seconds of a core for an image of each network, with random weights: they change no cost."""
    rows: list[dict[str, Any]] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, network in _networks():
            images = torch.rand(CLASSES * K + 4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
            labels = torch.arange(len(images)) % CLASSES
            kmex = KMEx.convert(network.eval(), [{"image": images, "label": labels}], k=K, metric="euclidean")
            rows += _rows(name, kmex, images[:1])
    finally:
        torch.set_num_threads(threads)
    return rows


def _rows(name: str, kmex: KMEx, image: Tensor) -> list[dict[str, Any]]:
    passes, rows = _Passes(kmex.encoder), []

    def cost(part: str, work: Callable[[], Any]) -> Any:
        passes.forwards = passes.backwards = 0
        before = time.process_time()
        found = work()
        seconds = time.process_time() - before
        words = f"{name}: {part} (passes of images: {passes.forwards} forwards, {passes.backwards} backwards)"
        rows.append({"what": words, "median": round(seconds, 2), "unit": "s of a core"})
        return found

    prediction(kmex, image)  # what is loaded or measured once
    cost("prediction", lambda: prediction(kmex, image))
    found: Explanation = cost("maps of the image", lambda: kmex.explain(image, top=TOP, judged=False))
    ids, pair = found.prototypes.tolist(), (int(found.prototypes[0]), int(found.maps.rivals[0]))
    exemplars = image.expand(TOP, -1, -1, -1).contiguous()
    cost("maps of the exemplars", lambda: kmex.maps(exemplars, ids))
    cost("verdicts", lambda: judge(kmex, image, ids, found.maps))
    cost("verdicts, before", lambda: _verdicts_before(kmex, image, found))
    cost(
        "contrast to the nearest rival, before (now: the first map)",
        lambda: kmex.explain(image, [pair[0]], rival=pair[1]),
    )
    return rows


def _verdicts_before(kmex: KMEx, image: Tensor, found: Explanation) -> None:
    _class_by_class(kmex, image, found)
    _second_rivals(kmex, image, found)


def _class_by_class(kmex: KMEx, image: Tensor, found: Explanation) -> None:
    """The orders of pixels of a verdict, as they were measured: anew for each class."""
    maps = torch.from_numpy(found.maps.values)[:, None]
    classes = kmex.prototype_class[torch.from_numpy(found.prototypes)]
    images = image.expand(len(maps), -1, -1, -1)
    removal(kmex, images, classes, relevance_rank(maps), list(replacements_of(images, kmex)), JUDGED, insertion=False)
    drawn = [np.random.default_rng(seed).permutation(image[0, 0].numel()) for seed in range(ORDERS)]
    orders = torch.cat([torch.from_numpy(np.stack(drawn)), relevance_rank(image)])
    repeated = image.expand(len(orders), -1, -1, -1)
    for label in classes.unique().tolist():
        same = torch.full((len(orders),), label)
        removal(kmex, repeated, same, orders, list(replacements_of(repeated, kmex)), JUDGED, insertion=False)


def _second_rivals(kmex: KMEx, image: Tensor, found: Explanation) -> None:
    """The part of a verdict that is as before: the maps against the second rivals, and specificity."""
    from kmex_core.relevance.catalogue import MapKind
    from kmex_core.relevance.verdict import _dependence

    ids, rivals = (torch.from_numpy(each) for each in (found.prototypes, found.maps.rivals))
    maps = torch.from_numpy(found.maps.values)[:, None]
    images = image.expand(len(ids), -1, -1, -1)
    with torch.no_grad():
        z = kmex.encode(image).expand(len(ids), -1)
    instead = list(replacements_of(images, kmex))
    _dependence(kmex, images, z, maps, relevance_rank(maps), ids, rivals, MapKind(), instead)
