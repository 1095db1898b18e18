"""Stores with 60,000 training and 10,000 test images, and a small network that was trained on some of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kmex_core import KMEx
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, subject_of
from tests.helpers.paths import real

NAME = "many"
COUNTS = {"train": 60_000, "test": 10_000}
STEPS, BATCH = 60, 256
Pictures = Mapping[str, tuple[np.ndarray, np.ndarray]]  # (N, side, side) uint8 and (N,) labels, by split


def made() -> Pictures:
    """Ten patterns of 8 × 8 pixels, each at a contrast of its own in noise."""
    random = np.random.default_rng(0)
    patterns = random.integers(0, 2, (10, 8, 8))
    found = {}
    for split, count in COUNTS.items():
        labels = np.arange(count) % 10
        contrast = random.uniform(20, 120, (count, 1, 1))
        pixels = patterns[labels] * contrast + random.normal(60, 30, (count, 8, 8))
        found[split] = (pixels.clip(0, 255).astype(np.uint8), labels)
    return found


def mnist() -> Pictures:
    """MNIST; skips where it is not."""
    data = datasets.load(DatasetSpec("mnist", str(real("MNIST").parent)))
    return {split: (np.stack(list(of.images(range(len(of))))), of.labels) for split, of in data.splits.items()}


def prepared(pictures: Pictures, root: Path) -> Store:
    """A store in which a model of pictures is embedded, mapped and swept, as the page's jobs do it."""
    pixels, labels = pictures["train"]
    side = pixels.shape[-1]
    kmex = KMEx.from_model(
        _trained(pixels, labels), (pixels, labels), Preprocessing.plain(side, 1, (0.5,), (0.5,)), test=pictures["test"]
    )
    store = Store(root)
    kmex.add_to_store(NAME, store=store)
    subject = subject_of(store, NAME)
    for split in COUNTS:
        subject.embedding(split).get()
    subject.embedding_map().get()
    subject.sweep(KMeans(5)).get()
    subject.suggestion().get()
    return store


def subject_in(store: Store) -> Subject:
    """The model of `prepared`."""
    return subject_of(store, NAME)


def _trained(pixels: np.ndarray, labels: np.ndarray) -> nn.Module:
    torch.manual_seed(0)
    quarter = pixels.shape[-1] // 4
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * quarter**2, 80),
        nn.ReLU(),
        nn.Linear(80, 10),
    )
    optimiser, random = torch.optim.Adam(network.parameters(), 1e-2), np.random.default_rng(0)
    for _ in range(STEPS):
        rows = random.choice(len(pixels), BATCH)
        images = torch.from_numpy(pixels[rows]).float().div(127.5).sub(1)[:, None].expand(-1, 3, -1, -1)
        loss = nn.functional.cross_entropy(network(images), torch.from_numpy(labels[rows]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()
