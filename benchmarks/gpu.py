"""What a graphics card does: extraction, k-means and sweeps, relevance maps and training, in at most 8 minutes.

`python -m benchmarks gpu` writes `results/gpu-<card>.json` after each of its steps. Besides this repository it needs
torch, torchvision, numpy, scipy, pillow, pi-heif, platformdirs, filelock, safetensors and zennit, and takes
flash-kmeans if it is there; no network and no browser. Without a card it runs on the CPU, for tests.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import relevance
from benchmarks.results import RESULTS, machine, write
from benchmarks.rivals import embedding
from benchmarks.timing import Work, alternated, compared, missing

OURS, SEED = "KMEx Explorer", 0
PATIENCE = 15.0
Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes:
        backbone, large: of small images, and of photos.
        arrays, side: small images in memory, and their side in pixels.
        files, photo_side: JPEG files, and the side of the network's input for them.
        batch: images in a batch of the bare loops.
        images, dimensions: of the clustered embedding of ten classes.
        pair: images of two classes.
        ks: prototypes per class.
        reach: of the sweep.
        maps: of one image.
        trained: images of an epoch.
        kinds: of trained models.
        rounds: of each alternative.
    """

    backbone: str = "resnet34"
    large: str = "resnet50"
    arrays: int = 60_000
    side: int = 32
    files: int = 20_000
    photo_side: int = 224
    batch: int = 512
    images: int = 60_000
    dimensions: int = 512
    pair: int = 162_770
    ks: tuple[int, ...] = (5, 20)
    reach: int = 20
    maps: int = 50
    trained: int = 25_600
    kinds: tuple[str, ...] = ("blackbox", "protopnet", "flint", "protovae")
    rounds: int = 5


def measure(sizes: Sizes = Sizes(), device: str = "", folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All rows; they are kept after each step, so a run that is cut short leaves what it had.

    Args:
        sizes: what is measured.
        device: a torch device, the first graphics card when empty, the CPU without one.
        folder: of the results.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    card = torch.cuda.get_device_name(place) if place.type == "cuda" else "CPU"
    name = "gpu-" + re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
    rows: list[dict[str, Any]] = []
    started = time.perf_counter()
    failed = []
    for step in (_arrays, _photos, _conversion, _sweep, _maps, _training):
        try:
            rows += step(sizes, place)
        except Exception:  # the others are measured all the same; the end tells
            traceback.print_exc()
            failed.append(step.__name__.strip("_"))
        about = machine() | {"device": card, "date": datetime.date.today().isoformat()}
        about["seconds"] = round(time.perf_counter() - started)
        write(name, about, rows, folder)
        print(
            f"  {step.__name__.strip('_')}: {time.perf_counter() - started:.0f} s so far", file=sys.stderr, flush=True
        )
    if failed:
        raise RuntimeError(f"not measured: {', '.join(failed)}")
    return rows


def _on(place: torch.device, work: Callable[[], Any]) -> Callable[[], Work]:
    """The work until the card has finished it, as `alternated` takes it."""

    def finished() -> None:
        work()
        if place.type == "cuda":
            torch.cuda.synchronize(place)

    return lambda: finished


def _in_turn(what: str, works: Mapping[str, Callable[[], Any]], sizes: Sizes, place: torch.device, items: int = 0,
             unit: str = "images/s", rounds: int = 0) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of alternatives, with the card's memory that ours takes at most."""
    prepared = {who: _on(place, work) for who, work in works.items()}
    taken = alternated(prepared, rounds or sizes.rounds, PATIENCE, apart=False)
    rows = compared(what, taken, OURS, items, unit)
    if place.type == "cuda":
        for row in rows:
            torch.cuda.reset_peak_memory_stats(place)
            before = torch.cuda.memory_allocated(place)
            prepared[row["who"]]()()
            row["memory"] = round((torch.cuda.max_memory_allocated(place) - before) / 1e6, 1)
    return rows


def _network(name: str, side: int) -> tuple[nn.Module, nn.Module]:
    from kmex_core.networks import architectures
    from kmex_core.networks.splitting import split

    torch.manual_seed(SEED)
    parts = split(architectures.build(name, 10, side).eval())
    return parts.encoder, parts.head


# ---- extraction -----------------------------------------------------------------------------------------------------


def _arrays(sizes: Sizes, place: torch.device) -> Rows:
    """Normalised images in memory through the product, beside the bare loop over the same batches."""
    from kmex_core.networks.arithmetic import Arithmetic
    from kmex_core.networks.extraction import extract

    encoder, head = (part.to(place) for part in _network(sizes.backbone, sizes.side))
    images = torch.randn(sizes.arrays, 3, sizes.side, sizes.side)
    labels = torch.zeros(sizes.arrays, dtype=torch.int64)

    def ours(precision: str) -> None:
        batches = zip(images.split(sizes.batch), labels.split(sizes.batch), strict=True)
        extract(encoder, head, batches, len(images), place, Arithmetic(precision))

    def bare(precision: str) -> None:
        mixed = precision != "float32"
        with torch.no_grad(), torch.autocast(place.type, getattr(torch, precision) if mixed else None, mixed):
            for batch in images.split(sizes.batch):
                head(encoder(batch.to(place)))

    number = f"{sizes.arrays:,} images of {sizes.side} × {sizes.side} in memory"
    for precision in ("float32", "bfloat16"):
        works = {OURS: partial(ours, precision), "the bare loop": partial(bare, precision)}
        what = f"extraction, {sizes.backbone}, {number}, {precision}"
        yield from _in_turn(what, works, sizes, place, sizes.arrays)


def _photos(sizes: Sizes, place: torch.device) -> Rows:
    """JPEG files through the product, beside a bare loop, a DataLoader and the card's own decoder."""
    from benchmarks import extraction

    yield from extraction.on_gpu(sizes.files, str(place), sizes.large, sizes.photo_side)


# ---- k-means and sweeps ---------------------------------------------------------------------------------------------


def _conversion(sizes: Sizes, place: torch.device) -> Rows:
    """k-means of each class on the card, beside flash-kmeans where it is installed, and whole conversions."""
    from kmex_core.networks.types import Embeddings
    from kmex_core.prototypes.fit import fit_prototypes
    from kmex_core.prototypes.kmeans import kmeans

    if absent := missing({"flash-kmeans": "flash_kmeans"}):
        yield absent
    cases = ((sizes.images, 10, sizes.ks), (sizes.pair, 2, sizes.ks[-1:]))
    for images, classes, ks in cases:
        z, labels = embedding(images, sizes.dimensions, classes)
        points = [torch.from_numpy(z[labels == label]).to(place) for label in range(classes)]
        for k in ks:
            what = f"k-means of each class, {images:,} × {sizes.dimensions}, {classes} classes, k = {k}"
            inertia: dict[str, float] = {}

            def ours(points: list[torch.Tensor] = points, k: int = k, found: dict[str, float] = inertia) -> None:
                found[OURS] = sum(kmeans(of_class, k, SEED).inertia for of_class in points)

            works: dict[str, Callable[[], Any]] = {OURS: ours}
            if place.type == "cuda" and importlib.util.find_spec("flash_kmeans"):
                works["flash-kmeans, at most 25 rounds"] = partial(_flash, points, k, inertia)
            rows = _in_turn(what, works, sizes, place)
            for row in rows:
                above = 100 * (inertia[row["who"]] / min(inertia.values()) - 1)
                row["also"] = {"inertia above the best of this run, % ↓": round(above, 3)}
            yield from rows
            embedded, names = Embeddings(z, labels, labels), [str(label) for label in range(classes)]
            works = {OURS: partial(fit_prototypes, embedded, names, k, SEED, str(place))}
            yield from _in_turn(what.replace("k-means of each class", "conversion"), works, sizes, place)


def _flash(points: list[torch.Tensor], k: int, inertia: dict[str, float]) -> None:
    """One call where all classes have as many images, else one for each class; random starts, as it has them."""
    import flash_kmeans

    torch.manual_seed(SEED)
    same = len({len(of_class) for of_class in points}) == 1
    groups = [torch.stack(points)] if same else [of_class[None] for of_class in points]
    total = 0.0
    for group in groups:
        _, centers, *_ = flash_kmeans.batch_kmeans_Euclid(group, k, max_iters=25)
        least = torch.cdist(group.float(), centers.float()).min(2).values
        total += float(least.double().square().sum())
    inertia["flash-kmeans, at most 25 rounds"] = total


def _sweep(sizes: Sizes, place: torch.device) -> Rows:
    """Every number of prototypes with its measures, on the card and on this machine's processor."""
    from kmex_core.base.progress import silent
    from kmex_core.networks.types import Embeddings
    from kmex_core.prototypes.metric import EmbeddingMetric
    from kmex_core.stages.sweep import swept

    z, labels = embedding(sizes.images, sizes.dimensions)
    few = slice(None, None, 6)
    train, test = Embeddings(z, labels, labels), Embeddings(z[few], labels[few], labels[few])
    names = [str(label) for label in range(10)]

    def on(device: str) -> None:
        swept(train, test, names, EmbeddingMetric(), sizes.reach, SEED, device, silent)

    what = f"sweep for k = 1 to {sizes.reach} with its measures, {sizes.images:,} × {sizes.dimensions}, 10 classes"
    works: dict[str, Callable[[], Any]] = {OURS: partial(on, str(place))}
    if place.type == "cuda":
        works[f"the same on {os.cpu_count()} cores"] = partial(on, "cpu")
    yield from _in_turn(what, works, sizes, place, rounds=min(3, sizes.rounds))


# ---- relevance maps and training ------------------------------------------------------------------------------------


def _maps(sizes: Sizes, place: torch.device) -> Rows:
    """Maps of many prototypes for one image in one pass, beside one pass of zennit for each."""
    if absent := missing({"zennit": "zennit"}):
        yield absent
        return
    encoder, _ = _network(sizes.backbone, sizes.side)
    encoder = encoder.to(place)
    image = torch.randn(1, 3, sizes.side, sizes.side, device=place).clamp(-2, 2)
    with torch.no_grad():
        z = encoder(image)
    starts = torch.randn(sizes.maps, z.shape[1], device=place)
    works = {
        OURS: relevance.one_pass(encoder, image, z, starts),
        relevance.ZENNIT: relevance.pass_each(encoder, image, z, starts),
    }
    what = f"{sizes.maps} maps of one image of {sizes.side} × {sizes.side}, {sizes.backbone}"
    yield from _in_turn(what, works, sizes, place)


def _training(sizes: Sizes, place: torch.device) -> Rows:
    """An epoch of each kind of model as `kmex reproduce` trains it, on a card with 16 bits, channels last and recorded
    steps; beside it 32 bits, and steps one by one."""
    from kmex_core.data.dataset import ArraySplit, ImageDataset
    from kmex_core.models import precision, training

    random = np.random.default_rng(SEED)
    pixels = random.integers(0, 256, (sizes.trained, sizes.side, sizes.side, 3), dtype=np.uint8)
    split = ArraySplit(pixels, np.arange(sizes.trained) % 10)
    names = tuple(str(label) for label in range(10))
    data = ImageDataset("mnist", {"train": split, "test": split}, names, 3, sizes.side, "none", "generated")
    fastest = precision.fastest(str(place))
    for kind in sizes.kinds:
        recipe = training.default_recipe(data, False, kind, epochs=1, precision=fastest)
        torch.manual_seed(SEED)
        model = training.build(recipe, sizes.backbone, 10, sizes.side)

        def epoch(recipe: training.Recipe, recorded: bool, model: nn.Module = model) -> None:
            training.fit(training.Run(model), data, recipe, data.preprocessing, str(place), recordable=recorded)

        works: dict[str, Callable[[], Any]] = {OURS: partial(epoch, recipe, True)}
        if place.type == "cuda":
            exact = replace(recipe, precision=precision.FLOAT32)
            works["32-bit floats"] = partial(epoch, exact, True)
            works["32-bit floats, steps one by one"] = partial(epoch, exact, False)
        images = f"batches of {recipe.batch_size} images of {sizes.side} × {sizes.side}"
        what = f"training of {kind}, {sizes.backbone}, {images}"
        yield from _in_turn(what, works, sizes, place, sizes.trained, rounds=min(3, sizes.rounds))
