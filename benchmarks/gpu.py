"""What a graphics card does: extraction, k-means and sweeps, relevance maps and training, in at most 8 minutes.

`python -m benchmarks gpu` writes `results/gpu-<card>.json` after each of its steps. It needs PyTorch, this repository and what
`kmex_core` imports, no network and no browser; without a card it runs on the CPU, which is of use for tests only.
"""

from __future__ import annotations

import datetime
import importlib.util
import io
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
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
    large: str = "resnet34"
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


def _in_turn(what: str, works: dict[str, Callable[[], Any]], sizes: Sizes, place: torch.device, items: int = 0,
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
    from kmex_core.networks.extraction import extract

    encoder, head = (part.to(place) for part in _network(sizes.backbone, sizes.side))
    images = torch.randn(sizes.arrays, 3, sizes.side, sizes.side)
    labels = torch.zeros(sizes.arrays, dtype=torch.int64)

    def ours(mixed: bool) -> None:
        batches = zip(images.split(sizes.batch), labels.split(sizes.batch), strict=True)
        extract(encoder, head, batches, len(images), place, mixed)

    def bare(mixed: bool) -> None:
        with torch.no_grad(), torch.autocast(place.type, enabled=mixed):
            for batch in images.split(sizes.batch):
                head(encoder(batch.to(place)))

    for mixed, words in ((False, "float32"), (True, "mixed precision")):
        what = (
            f"extraction, {sizes.backbone}, {sizes.arrays:,} images of {sizes.side} × {sizes.side} in memory, {words}"
        )
        works = {OURS: partial(ours, mixed), "the bare loop": partial(bare, mixed)}
        yield from _in_turn(what, works, sizes, place, sizes.arrays)


def _photos(sizes: Sizes, place: torch.device) -> Rows:
    """JPEG files of 500 × 375 to embeddings in the store, beside what others would write."""
    yield missing({"a plain DataLoader": "torchvision"})
    with tempfile.TemporaryDirectory(prefix="kmex-photos-") as name:
        photos = Path(name) / "photos"
        _write_photos(photos, sizes.files)
        encoder, head = (part.to(place) for part in _network(sizes.large, sizes.photo_side))
        batch = torch.randn(min(64, sizes.files), 3, sizes.photo_side, sizes.photo_side, device=place)

        def forward(images: torch.Tensor) -> None:
            with torch.no_grad(), torch.autocast(place.type):
                head(encoder(images))

        def bare() -> None:
            for _ in range(0, sizes.files, len(batch)):
                forward(batch)

        works: dict[str, Callable[[], Any]] = {
            OURS: _product(Path(name), photos, sizes, place),
            "the bare loop over one ready batch": bare,
        }
        if importlib.util.find_spec("torchvision"):
            works["a plain DataLoader"] = partial(_data_loader, photos, sizes, place, forward)
        what = f"extraction, {sizes.large}, {sizes.files:,} JPEG files of 500 × 375, mixed precision"
        yield from _in_turn(what, works, sizes, place, sizes.files, rounds=min(2, sizes.rounds))


def _product(folder: Path, photos: Path, sizes: Sizes, place: torch.device) -> Callable[[], None]:
    """What `kmex` does with a model in the store: read, decode, resize, normalise, embed and write."""
    from kmex_core.base.specs import DatasetSpec
    from kmex_core.base.store import Store
    from kmex_core.data import opened
    from kmex_core.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
    from kmex_core.models import catalogue
    from kmex_core.models.info import ModelInfo
    from kmex_core.networks import architectures
    from kmex_core.stages.subject import Subject

    data, store = opened.dataset(DatasetSpec(str(photos))), Store(folder / "store")
    side = sizes.photo_side
    preprocessing = Preprocessing(side, side, 3, IMAGENET_MEAN, IMAGENET_STD)
    info = ModelInfo("photos", "blackbox", str(photos), "", sizes.large, data.class_names, preprocessing, None, {})
    torch.manual_seed(SEED)
    catalogue.save(store, info, architectures.build(sizes.large, len(data.class_names), side))

    def embed() -> None:
        for made in store.root.iterdir():
            if made.is_dir() and made.name != "models":
                shutil.rmtree(made)
        Subject(store, info, data, str(place)).embedding("train", mixed_precision=True).get()

    return embed


def _data_loader(photos: Path, sizes: Sizes, place: torch.device, forward: Callable[[torch.Tensor], None]) -> None:
    """An ImageFolder and a DataLoader with a worker for each core."""
    from torchvision import datasets, transforms

    pixels = transforms.Compose(
        [
            transforms.Resize((sizes.photo_side, sizes.photo_side)),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    workers = min(os.cpu_count() or 1, 16) if sizes.files > 1000 else 0
    folder = datasets.ImageFolder(photos / "train", pixels)
    for images, _ in torch.utils.data.DataLoader(folder, 64, num_workers=workers, pin_memory=place.type == "cuda"):
        forward(images.to(place, non_blocking=True))


def _write_photos(folder: Path, count: int) -> None:
    """Files for training, in two classes, and a few for testing; each with the grain of a photo."""
    cores = os.cpu_count() or 1
    jobs = [(folder, "train", part) for part in np.array_split(np.arange(count), min(cores, max(1, count // 100)))]
    jobs.append((folder, "test", np.arange(2)))
    for label in "01":
        for split in ("train", "test"):
            (folder / split / label).mkdir(parents=True, exist_ok=True)
    if len(jobs) == 2:
        for job in jobs:
            _write_part(*job)
        return
    with ProcessPoolExecutor(cores) as pool:
        list(pool.map(_write_part, *zip(*jobs, strict=True)))


def _write_part(folder: Path, split: str, indices: np.ndarray) -> None:
    from PIL import Image

    for index in indices.tolist():
        random = np.random.default_rng(index)
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375))
        pixels = np.asarray(coarse) + random.normal(0, 6, (375, 500, 1))
        file = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
        (folder / split / str(index % 2) / f"{index}.jpg").write_bytes(file.getvalue())


# ---- k-means and sweeps ---------------------------------------------------------------------------------------------


def _conversion(sizes: Sizes, place: torch.device) -> Rows:
    """k-means of each class on the card, beside flash-kmeans where it is installed, and whole conversions."""
    from kmex_core.networks.types import Embeddings
    from kmex_core.prototypes.fit import fit_prototypes
    from kmex_core.prototypes.kmeans import kmeans

    yield missing({"flash-kmeans": "flash_kmeans"})
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
    absent = missing({"zennit": "zennit"})
    if absent:
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
    """An epoch of each kind of model: recorded steps, which a card replays, beside steps one by one."""
    from kmex_core.data.dataset import ArraySplit, ImageDataset
    from kmex_core.models import training

    random = np.random.default_rng(SEED)
    pixels = random.integers(0, 256, (sizes.trained, sizes.side, sizes.side, 3), dtype=np.uint8)
    split = ArraySplit(pixels, np.arange(sizes.trained) % 10)
    names = tuple(str(label) for label in range(10))
    data = ImageDataset("mnist", {"train": split, "test": split}, names, 3, sizes.side, "none", "generated")
    for kind in sizes.kinds:
        recipe = training.default_recipe(data, False, kind, epochs=1)
        torch.manual_seed(SEED)
        model = training.build(recipe, sizes.backbone, 10, sizes.side)

        def epoch(recorded: bool, model: nn.Module = model, recipe: training.Recipe = recipe) -> None:
            training.fit(training.Run(model), data, recipe, data.preprocessing, str(place), recordable=recorded)

        works: dict[str, Callable[[], Any]] = {OURS: partial(epoch, True)}
        if place.type == "cuda":
            works["steps one by one"] = partial(epoch, False)
        what = f"training of {kind}, {sizes.backbone}, batches of {recipe.batch_size} images of {sizes.side} × {sizes.side}"
        yield from _in_turn(what, works, sizes, place, sizes.trained, rounds=min(3, sizes.rounds))
