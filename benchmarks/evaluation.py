"""The metrics on maps, in one pass, beside a loop over images, prototypes and steps."""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import pair
from kmex_core import KMEx
from kmex_core.metrics.faithfulness import map_divergence
from kmex_core.metrics.on_maps import STEPS, map_scores
from kmex_core.metrics.ordering import pixel_counts
from kmex_core.networks import architectures
from kmex_core.relevance.catalogue import METHODS
from kmex_core.relevance.lrp import class_relevance, lrp_of
from kmex_core.relevance.removal import keep_pixels, relevance_rank

IMAGES, FEW, CLASSES, K, SIDE = 1000, 16, 10, 5, 32


def measure() -> list[dict[str, Any]]:
    """All metrics on maps of a ResNet34 at 32 × 32 pixels with 5 prototypes per class, with random weights."""
    torch.manual_seed(0)
    network = architectures.build("resnet34", CLASSES, SIDE).eval()
    train, labels = torch.rand(200, 3, SIDE, SIDE), torch.arange(200) % CLASSES
    model = KMEx.convert(network, [(train, labels)], K)
    images, targets = torch.rand(IMAGES, 3, SIDE, SIDE), torch.arange(IMAGES) % CLASSES
    baseline = torch.rand(3, SIDE, SIDE)
    few = [(np.arange(FEW), images[:FEW], targets[:FEW])]
    rows = pair(
        f"all metrics on maps, ResNet34, {FEW} images of 32 × 32, k = 5 (straightforward: one pass per map and mask)",
        lambda: map_scores(model, few, baseline, METHODS["prp"].make(), "similarity"),
        lambda: _plain(model, images[:FEW], targets[:FEW], baseline),
        3,
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    map_scores(model, [(np.arange(IMAGES), images, targets)], baseline, METHODS["prp"].make(), "similarity")
    seconds = time.perf_counter() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    what = f"all metrics on maps, ResNet34, {IMAGES:,} images"
    return [
        *rows,
        {"what": what, "median": round(seconds, 1), "runs": 1, "unit": "s"},
        {"what": f"{what}: rate", "median": round(IMAGES / seconds, 2), "unit": "images/s"},
        {"what": f"{what}: memory that {FEW} images did not need", "median": round(grown, 1), "unit": "MiB"},
    ]


def _plain(model: KMEx, images: Tensor, labels: Tensor, baseline: Tensor) -> None:
    for i, label in enumerate(labels.tolist()):
        _plain_image(model, images[i : i + 1], label, baseline)


def _plain_image(model: KMEx, image: Tensor, label: int, baseline: Tensor) -> None:
    """One image, as one would write it down: a pass for each map, and one for each masked image and model."""
    assert model.pixel_range is not None
    lrp = lrp_of(model.encoder, *model.pixel_range, (3, SIDE, SIDE))
    pixels = SIDE * SIDE

    def similarity(x: Tensor) -> Tensor:
        with torch.no_grad():
            return model.similarity(model.encode(x))

    def black_box(x: Tensor) -> Tensor:
        with torch.no_grad():
            return model.head(model.encode(x)).softmax(1)

    def masked(rank: Tensor, kept: int) -> Tensor:
        return keep_pixels(image, baseline, rank, torch.tensor([kept]))

    with torch.no_grad():
        z = model.encode(image)
    for p in torch.nonzero(model.prototype_class == label)[:, 0]:
        found, _ = lrp.maps(image, model.prototype_relevance(z, p[None]))
        similarity(masked(relevance_rank(found), pixels // 2))
    said, black_said = model.classify(similarity(image)).argmax(1), black_box(image).argmax(1)
    mine, _ = lrp.maps(image, model.prediction_relevance(z, said))
    same, _ = lrp.maps(image, model.prediction_relevance(z, black_said))
    theirs, _ = lrp.maps(image, class_relevance(model.head, z, black_said))
    map_divergence(same, theirs)
    black_box(masked(relevance_rank(theirs), pixels // 2))
    at_random = torch.randperm(pixels)[None]
    for count in pixel_counts(pixels, STEPS):
        for rank, says in (
            (relevance_rank(mine), similarity),
            (relevance_rank(theirs), black_box),
            (at_random, similarity),
            (at_random, black_box),
        ):
            says(masked(rank, int(count)))
