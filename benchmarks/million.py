"""Explore with 1,000,000 images, in headless Chromium on this machine: each digit of the demo 696 times, with noise."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from app.selection import SWEEP_SEEDS
from kmex_core.base.artifact import Artifact
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.models import catalogue as models
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of

IMAGES, TEST = 1_000_000, 10_000
NAME = "million"
KS = range(1, 21)
NOISE = 12  # of pixels, 0…255
APART = 0.15  # on the embedding map: how far the copies of an image lie from it


def prepare(folder: Path, images: int = IMAGES) -> Store:
    """A store with the digits' network and all that Explore shows of it, for the demo's images repeated with noise.

    What is stored is that of the demo, repeated as its images are; only the places of the copies differ.
    """
    digits = datasets.load(DatasetSpec("digits"))
    store, random = Store(folder / "store"), np.random.default_rng(0)
    rows = {
        split: np.concatenate([np.arange(own), random.integers(0, own, n - own)])  # the demo's own images first
        for split, n in (("train", images), ("test", TEST))
        for own in [len(digits.split(split))]
    }
    arrays: dict[str, Any] = {}
    for split, which in rows.items():
        own = digits.split(split)
        pixels = np.stack(list(own.images(range(len(own)))))[which]
        pixels += random.integers(0, NOISE, pixels.shape, dtype=np.uint8).clip(0, 255 - pixels)
        arrays |= {f"{split}_images": pixels, f"{split}_labels": own.labels[which]}
    np.savez(folder / f"{NAME}.npz", **arrays)
    black_box = models.load(store, "digits")
    demo = Subject(store, black_box.info, digits)
    info = dataclasses.replace(black_box.info, name=NAME, dataset=str(folder / f"{NAME}.npz"), embedded=False)
    models.save(store, info, black_box.model)
    _repeat(demo, Subject(store, info, dataset_of(info)), rows, random)
    return store


def _repeat(demo: Subject, large: Subject, rows: dict[str, np.ndarray], random: np.random.Generator) -> None:
    """Write the demo's results for its images repeated: `rows` of each split."""
    train, test = rows["train"], rows["test"]
    for split, which in rows.items():
        embedding = demo.embedding(split).get()
        _write(large.embedding(split), dataclasses.replace(embedding, **_taken(embedding, which)))
    _write(large.geometry(), demo.geometry().get())
    _write(large.suggestion(), demo.suggestion().get())
    for seed in SWEEP_SEEDS:
        sweep = demo.sweep(KMeans(1, seed)).get()
        _write(large.sweep(KMeans(1, seed)), dataclasses.replace(sweep, cluster=sweep.cluster[:, train]))
    projection = demo.embedding_map().get()
    both = np.concatenate([train, len(projection.train) + test])
    places = {split: _spread(getattr(projection, split), which, random) for split, which in rows.items()}
    columns = {name: getattr(projection, name)[both] for name in ("labels", "black_box", "far")}
    _write(large.embedding_map(), dataclasses.replace(projection, **places, **columns))
    for k in KS:
        conversion = demo.conversion(KMeans(k)).get()
        prototypes = conversion.prototypes
        repeated = len(train) // len(projection.train)
        prototypes = dataclasses.replace(
            prototypes,
            activated=prototypes.activated[train],
            count=prototypes.count * repeated,
            count_all=prototypes.count_all * repeated,
            class_size=prototypes.class_size * repeated,
        )
        of_test = {
            name: getattr(conversion, name)[test]
            for name in ("test_predicted", "test_activated", "test_black_box", "test_confidence", "test_likeliest")
        }
        changed = {"prototypes": prototypes, "train_predicted": conversion.train_predicted[train], **of_test}
        _write(large.conversion(KMeans(k)), dataclasses.replace(conversion, **changed))


def _spread(places: np.ndarray, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Where copies lie on the embedding map: around the image that they are of, which stays where it is."""
    spread = places[rows] + random.normal(0, APART, (len(rows), 2))
    spread[: len(places)] = places
    return np.asarray(spread, dtype=np.float32)


def _taken(result: Any, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {field.name: getattr(result, field.name)[rows] for field in dataclasses.fields(result)}


def _write(artifact: Artifact[Any, Any], result: Any) -> None:
    artifact.store.put(artifact.room, artifact.key, *artifact.pack(result))
