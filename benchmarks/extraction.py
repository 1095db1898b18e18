"""Extraction beside what people would write: a bare forward loop, and torch's DataLoader with worker processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.timing import Taken, compared
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry
from kmex_core.data.dataset import ArraySplit, ImageDataset, Split
from kmex_core.data.network_input import normalise
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue
from kmex_core.models.info import ModelInfo
from kmex_core.networks import architectures, faster, splitting
from kmex_core.networks.extraction import stream
from kmex_core.networks.heads import Head
from kmex_core.networks.splitting import SplitModel
from kmex_core.stages.bound import Bound
from kmex_core.stages.embedding import BATCH, SplitEmbedding

ROOT = Path(__file__).resolve().parent.parent
OURS = "KMEx Explorer"
RUNS = 3
CLASSES = 10
WIDTH, HEIGHT = 500, 375
# backbone, side, images
ARRAYS = (("resnet20", 28, 8192), ("resnet18", 32, 4096), ("resnet18", 224, 256))
BACKBONES = (
    ("resnet18", 32, 1024), ("resnet18", 224, 32), ("resnet50", 224, 16), ("mobilenet_v3_small", 224, 128),
    ("vgg11_bn", 32, 1024),
)  # fmt: skip
DIMENSIONS = 512


def measure() -> list[dict[str, Any]]:
    """Arrays, 2,000 JPEG files, prepared networks, and the memory of 1,000,000 rows."""
    rows = [row for backbone, side, images in ARRAYS for row in _arrays(backbone, side, images)]
    with tempfile.TemporaryDirectory(prefix="kmex-extraction-") as name:
        rows += _files(Path(name) / "photos", 2000, "resnet18", 224, "cpu", blocks=4)
        rows += [row for backbone, side, images in BACKBONES for row in _prepared(backbone, side, images)]
        rows += _many_rows(Path(name), (10_000, 1_000_000))
    return rows


def on_gpu(
    files: int = 20_000, device: str = "cuda", backbone: str = "resnet50", side: int = 224
) -> list[dict[str, Any]]:
    """JPEG files made here, through a network on a GPU: the product, the bare loop, and decoding on the GPU itself."""
    with tempfile.TemporaryDirectory(prefix="kmex-extraction-") as name:
        rows = _files(Path(name) / "photos", files, backbone, side, device, blocks=2)
        return rows + _decoded_there(Path(name) / "photos", backbone, side, device)


def _arrays(backbone: str, side: int, images: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    split = ArraySplit(random.integers(0, 256, (images, side, side, 3), dtype=np.uint8), np.arange(images) % CLASSES)
    data = ImageDataset("random", {"train": split}, tuple("abcdefghij"), 3, side, "none", "none")
    parts, batches = _network(backbone, side), list(_inputs(data, None))
    batch = _best(parts, batches)
    what = f"{images:,} arrays of {side}×{side}, {backbone}"
    forms = {OURS: lambda: _ours(parts, data, None, "cpu"), _bare_name(batch): lambda: _bare(parts, batch, "cpu")}
    return _rates(what, [forms] * RUNS, images)


def _files(folder: Path, files: int, backbone: str, side: int, device: str, blocks: int) -> list[dict[str, Any]]:
    photos(folder, files)
    data = registry.load(DatasetSpec(str(folder), image_size=side))
    parts = _network(backbone, side)
    parts.encoder.model.to(device)
    parts.head.to(device)
    total = len(data.split("train"))

    def rounds(part: np.ndarray) -> dict[str, Callable[[], float]]:
        return {
            OURS: lambda: _ours(parts, data, part, device),
            "the bare loop, batches of 64 in memory": lambda: _bare(parts, _of_size(_inputs(data, part), 64), device),
            "DataLoader with workers": lambda: _loader(parts, folder, part, side, device),
        }

    where = f"{total:,} JPEG files of {WIDTH}×{HEIGHT}, {backbone} at {side}×{side}, {_name(device)}"
    _ours(parts, data, np.arange(min(total, 2 * BATCH)), device)  # files are read once before
    return _rates(where, [rounds(part) for part in np.array_split(np.arange(total), blocks)], total // blocks)


def _name(device: str) -> str:
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device


def _network(backbone: str, side: int) -> SplitModel:
    torch.manual_seed(0)
    return splitting.split(architectures.build(backbone, CLASSES, side).eval())


def _preprocessing(data: ImageDataset) -> Preprocessing:
    return Preprocessing.plain(data.image_size, data.channels)


def _inputs(data: ImageDataset, rows: np.ndarray | None) -> Iterator[Tensor]:
    """The network's input, which the bare loop has in memory."""
    for pixels, _ in data.batches("train", BATCH, rows):
        yield normalise(pixels, _preprocessing(data))


def _of_size(batches: Iterable[Tensor], size: int) -> list[Tensor]:
    return [part for batch in batches for part in batch.split(size)]


def _best(parts: SplitModel, batches: Sequence[Tensor]) -> list[Tensor]:
    """The batches of the size at which the bare loop is fastest."""
    few = list(batches)[:2]
    seconds = {}
    for size in (16, 32, 64, BATCH):
        seconds[size] = min(_bare(parts, _of_size(few, size), "cpu") for _ in range(2))
    return _of_size(batches, min(seconds, key=lambda size: seconds[size]))


def _bare_name(batches: Sequence[Tensor]) -> str:
    return f"the bare loop, batches of {len(batches[0])} in memory"


def _ours(parts: SplitModel, data: ImageDataset, rows: np.ndarray | None, device: str) -> float:
    started = time.perf_counter()
    batches = data.batches("train", BATCH, rows)
    to_input = lambda pixels: normalise(pixels, _preprocessing(data))  # noqa: E731
    seen = sum(len(part) for part in stream(parts.encoder, parts.head, batches, device, to_input=to_input))
    assert seen == (len(data.split("train")) if rows is None else len(rows))
    return time.perf_counter() - started


def _bare(parts: SplitModel, batches: Iterable[Tensor], device: str) -> float:
    batches = list(batches)  # reading them does not count
    started = time.perf_counter()
    with torch.no_grad():
        kept = [parts.encoder.model(images.to(device)).cpu() for images in batches]
    assert kept
    return time.perf_counter() - started


class _Read(torch.utils.data.Dataset[Tensor]):
    """Pictures as torchvision's ImageFolder reads them."""

    def __init__(self, paths: Sequence[Path], side: int) -> None:
        from torchvision.transforms import v2

        self._paths = paths
        steps = [v2.Resize((side, side), antialias=True), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        self._transform = v2.Compose([*steps, v2.Normalize([0.5] * 3, [0.5] * 3)])

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        return self._transform(Image.open(self._paths[index]).convert("RGB"))


def _loader(parts: SplitModel, folder: Path, rows: np.ndarray, side: int, device: str) -> float:
    paths = sorted(folder.rglob("train/*/*.jpg"))
    started = time.perf_counter()
    workers = min(16, os.cpu_count() or 1)
    read = _Read([paths[row] for row in rows], side)
    loader = torch.utils.data.DataLoader(read, 64, num_workers=workers, pin_memory=device != "cpu")
    with torch.no_grad():
        kept = [parts.encoder.model(images.to(device, non_blocking=True)).cpu() for images in loader]
    assert kept
    return time.perf_counter() - started


def _decoded_there(folder: Path, backbone: str, side: int, device: str) -> list[dict[str, Any]]:
    """torchvision's decoder on the GPU, whose pixels are not those of Pillow."""
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms.v2 import functional

    network, paths = _network(backbone, side).encoder.model.to(device), sorted(folder.rglob("train/*/*.jpg"))
    started = time.perf_counter()
    with torch.no_grad():
        for start in range(0, len(paths), BATCH):
            content = [
                torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
                for path in paths[start : start + BATCH]
            ]
            decoded = decode_jpeg(content, ImageReadMode.RGB, device=device)
            pixels = torch.stack([functional.resize(picture, [side, side], antialias=True) for picture in decoded])
            network(pixels.float() / 255).cpu()
    rate = len(paths) / (time.perf_counter() - started)
    what = f"{len(paths):,} JPEG files decoded by torchvision on {_name(device)}, {backbone}; other pixels than ours"
    return [_row(what, rate, "images/s")]


def _prepared(backbone: str, side: int, images: int) -> list[dict[str, Any]]:
    """A prepared network beside the original, both on all cores."""
    parts, batch = _network(backbone, side), torch.randn(images, 3, side, side)
    fast = faster.prepared(parts.encoder, batch[:3])
    assert isinstance(fast, faster.Prepared)
    with torch.no_grad():
        apart = faster.difference(fast(batch[:32]), parts.encoder(batch[:32]))

    def timed(network: nn.Module) -> float:
        started = time.perf_counter()
        with torch.no_grad():
            for part in batch.split(32 if side > 64 else BATCH):
                network(part)
        return time.perf_counter() - started

    what = f"a prepared network, {backbone} at {side}×{side}"
    forms = {OURS: lambda: timed(fast), "the network as it is": lambda: timed(parts.encoder)}
    row = _row(f"{what}: largest difference of an embedding, relative to the largest number", apart, "")
    return [*_rates(what, [forms] * RUNS, images), row | {"better": "lower"}]


def _rates(what: str, rounds: Sequence[dict[str, Callable[[], float]]], images: int) -> list[dict[str, Any]]:
    """The rows of each form in images per second, beside the first; alternating, of seconds that a form gives."""
    taken = {name: Taken() for name in rounds[0]}
    for forms in rounds:
        for name, form in forms.items():
            taken[name].seconds.append(form())
    rows = compared(what, taken, next(iter(taken)), images, "images/s")
    for row in rows:
        print(f"  {row['what']}: {row['median']:.4g} images/s", file=sys.stderr, flush=True)
    return rows


def _row(what: str, value: float, unit: str) -> dict[str, Any]:
    print(f"  {what}: {value:.4g} {unit}", file=sys.stderr, flush=True)
    return {"what": what, "median": float(f"{value:.4g}"), "unit": unit}


def photos(folder: Path, count: int) -> None:
    """JPEG files as large and as grainy as small photos, in a train split (and a test split of one per class)."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_photo, ((folder, index, count) for index in range(count + 2)), chunksize=64))


def _photo(task: tuple[Path, int, int]) -> None:
    folder, index, count = task
    random = np.random.default_rng(index)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((WIDTH, HEIGHT))
    grain = random.normal(0, 6, (HEIGHT, WIDTH, 1)).astype(np.float32)
    path = folder / ("train" if index < count else "test") / str(index % 2) / f"{index:06}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(path, quality=85)


# ---------------------------------------------------------------------------------------------------------------------
# memory


class Drawn(Split):
    """Any number of images, each drawn from its index."""

    def __init__(self, count: int) -> None:
        self.labels = np.zeros(count, dtype=np.int64)
        self.identity = self.labels

    def image(self, index: int) -> np.ndarray:
        return self.images([index])[0]

    def images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        places = np.asarray(indices, dtype=np.int64)[:, None] * 2_654_435_761 + np.arange(64) * 40_503
        return ((places >> 13) & 255).astype(np.uint8).reshape(-1, 8, 8)


class _Unstored(Bound):
    weights = "none"


def synthetic(root: Path, rows: int) -> dict[str, float]:
    """Embed so many drawn images by a small network into a store.

    Returns:
        The process's peak of resident memory in MB, and the seconds.
    """
    torch.manual_seed(0)
    encoder, head = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, DIMENSIONS)), Head(nn.Linear(DIMENSIONS, 1))
    preprocessing = Preprocessing.plain(8, 1)
    info = ModelInfo("none", "blackbox", "drawn", "", "none", ("a",), preprocessing, None, {})
    network = catalogue.BlackBox(info, encoder, encoder, head, "none")
    data = ImageDataset("drawn", {"train": Drawn(rows)}, ("a",), 1, 8, "none", f"drawn-{rows}")
    started = time.perf_counter()
    with mock.patch.object(catalogue, "load", return_value=network):
        embedding = SplitEmbedding(_Unstored(Store(root), info, data, "cpu"), "train").get()
    assert embedding.z.shape == (rows, DIMENSIONS)
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return {"peak": peak / 1024, "seconds": time.perf_counter() - started}


def measured_apart(root: Path, rows: int) -> dict[str, float]:
    """`synthetic` in a process of its own."""
    code = (
        "import json, sys; from pathlib import Path; from benchmarks.extraction import synthetic; "
        "print(json.dumps(synthetic(Path(sys.argv[1]), int(sys.argv[2]))))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(root), str(rows)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _many_rows(folder: Path, sizes: Sequence[int]) -> list[dict[str, Any]]:
    rows = []
    for size in sizes:
        measured, what = (
            measured_apart(folder / f"store-{size}", size),
            f"{size:,} rows × {DIMENSIONS}, a small network",
        )
        rows.append(_row(f"{what}: peak memory", measured["peak"], "MB"))
        rows.append(_row(f"{what}: time", measured["seconds"], "s"))
    return rows
