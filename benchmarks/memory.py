"""Peak memory of commands on photos, beside the same commands before pictures were reduced one by one."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from kmex_core.networks import architectures

ROOT = Path(__file__).resolve().parent.parent
BEFORE = "155fb2e"
LIMIT = 8 * 2**30
# files, width, height, backbone, the most that a command should take (GB)
SETS = {
    "60 photos of 4000×3000": (60, 4000, 3000, "resnet18", 1.5),
    "5,000 photos of 1000×1000": (5000, 1000, 1000, "mobilenet_v3_small", 2.0),
}
CLASSES = 2
TRAINED = ("mobilenet_v3_small", 32)
PLAIN = """
import sys, torch, torchvision
network = getattr(torchvision.models, sys.argv[1])(num_classes=2).train()
optimiser = torch.optim.SGD(network.parameters(), 0.05, 0.9)
for _ in range(12):
    images = torch.rand(int(sys.argv[2]), 3, 224, 224)
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(network(images), torch.zeros(len(images), dtype=torch.int64)).backward()
    optimiser.step()
"""
GRADIENTS = """
import sys, torch
from kmex_core import KMEx
from kmex_core.networks import splitting
torch.manual_seed(0)
network = architectures.build(sys.argv[1], 2, 224).eval()
images = torch.rand(8, 3, 224, 224)
kmex = KMEx.convert(network, [(images, torch.arange(8) % 2)], k=1)
kmex.explain(images[0], top=3, method="integrated_gradients")
"""


def measure() -> list[dict[str, Any]]:
    """`import`, `convert` and `train` on photos, and Integrated Gradients at 224×224."""
    with tempfile.TemporaryDirectory(prefix="kmex-memory-") as name:
        here = Path(name)
        codes = {"now": ROOT} | _before(here)
        try:
            rows = []
            folders = []
            for what, (count, width, height, backbone, target) in SETS.items():
                folders.append(_photos(here / what, count, width, height))
                for which, code in codes.items():
                    rows += _commands(f"{what}, {backbone}, {which}", code, here, folders[-1], backbone, target)
            rows += _training(codes, here, folders[-1])
            for backbone in ("resnet50", "maxvit_t"):
                for which, code in codes.items():
                    what = f"Integrated Gradients of one image, {backbone}, {which}"
                    rows.append(_row(what, _peak(["-c", GRADIENTS, backbone], code, here / "store")))
        finally:
            if "before" in codes:
                subprocess.run(["git", "worktree", "remove", "--force", str(codes["before"])], cwd=ROOT, check=True)
    return rows


def _before(here: Path) -> dict[str, Path]:
    place = here / "before"
    if subprocess.run(["git", "worktree", "add", "--detach", str(place), BEFORE], cwd=ROOT, check=False).returncode:
        return {}  # a copy without the project's history
    return {"before": place}


def _photos(folder: Path, count: int, width: int, height: int) -> Path:
    """JPEG files with the grain and the size of photos, none equal to another."""
    random = np.random.default_rng(0)
    originals = []
    for at in range(8):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((width, height))
        grain = random.normal(0, 6, (height, width, 1)).astype(np.float32)
        pixels = np.clip(np.asarray(coarse) + grain + 20 * (at % 2), 0, 255).astype(np.uint8)
        path = folder.with_suffix(f".{at}.jpg")
        Image.fromarray(pixels).save(path, quality=85)
        originals.append(path.read_bytes())
    for index in range(count):
        split, label = ("test" if index % 5 == 0 else "train"), index % 2
        place = folder / split / str(label) / f"{index}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        content, comment = originals[2 * (index % 4) + label], f"{index:08}".encode()
        place.write_bytes(content[:2] + b"\xff\xfe\x00\x0a" + comment + content[2:])
    return folder


def _commands(what: str, code: Path, here: Path, photos: Path, backbone: str, target: float) -> list[dict[str, Any]]:
    store = here / "store"
    shutil.rmtree(store, ignore_errors=True)
    checkpoint = here / f"{backbone}.pt"
    torch.save(architectures.build(backbone, CLASSES, 224).state_dict(), checkpoint)
    brought: list[str | Path] = [
        "import",
        "--checkpoint",
        checkpoint,
        "--backbone",
        backbone,
        "--dataset",
        photos,
        "--name",
        "photos",
        "--device",
        "cpu",
    ]
    rows = [_row(f"import, {what}", _peak(["-m", "kmex_core", *brought], code, store), target)]
    if not (store / "models" / "photos.safetensors").is_file():  # so that there is something to convert
        aside = photos.rename(here / "aside")
        _photos(photos, 20, 64, 64)
        _peak(["-m", "kmex_core", *brought], code, store)
        shutil.rmtree(photos)
        aside.rename(photos)
    convert: list[str | Path] = ["convert", "--model", "photos", "--k", "3", "--device", "cpu"]
    return [*rows, _row(f"convert, {what}", _peak(["-m", "kmex_core", *convert], code, store), target)]


def _training(codes: dict[str, Path], here: Path, photos: Path) -> list[dict[str, Any]]:
    backbone, batch = TRAINED
    random = _peak(["-c", PLAIN, backbone, str(batch)], ROOT, here / "store")
    rows = [_row(f"train, {backbone}, {batch} random tensors at a time", random)]
    for which, code in codes.items():
        command: list[str | Path] = [
            "-m",
            "kmex_core",
            "train",
            "--dataset",
            photos,
            "--backbone",
            backbone,
            "--batch-size",
            str(batch),
            "--epochs",
            "1",
            "--name",
            f"trained-{which}",
            "--device",
            "cpu",
        ]
        peak = _peak(command, code, here / "store")
        rows.append(_row(f"train, {backbone}, {photos.name}, {which}", peak, random[0] + 0.5))
    return rows


def _peak(arguments: Sequence[str | Path], code: Path, store: Path) -> tuple[float, int, float]:
    """Peak resident memory of a Python process (GB = 2³⁰ bytes), its exit status, and the seconds it took."""
    environment = os.environ | {"PYTHONPATH": str(code), "KMEX_CACHE": str(store)}
    command = [sys.executable, "-W", "ignore", *map(str, arguments)]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as messages:
        child = subprocess.Popen(
            command,
            cwd=code,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=messages,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT)),
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        messages.seek(0)
        text = messages.read()
    if child.returncode > 0 and "memory" not in text.lower():
        raise RuntimeError(f"{command} failed for another reason: {text[-1000:]}")
    return usage.ru_maxrss / 2**20, child.returncode, time.perf_counter() - started


def _row(what: str, peak: tuple[float, int, float], target: float | None = None) -> dict[str, Any]:
    memory, status, seconds = peak
    ended = f" (failed at a limit of {LIMIT // 2**30} GB)" if status else ""
    row: dict[str, Any] = {
        "what": what + ended,
        "median": round(memory, 2),
        "runs": 1,
        "unit": "GB",
        "seconds": round(seconds, 1),
    }
    print(f"  {row['what']}: {row['median']} GB, {row['seconds']} s", file=sys.stderr, flush=True)
    return row | ({"target": round(target, 2)} if target is not None else {})
