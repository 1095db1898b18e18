"""What all tests share: a store of their own, the demo converted once, small data sets of every kind."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from PIL import Image

from kmex_core.base.store import Store
from kmex_core.data import opened
from kmex_core.data.registry import ImageDataset
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of

Result = TypeVar("Result")
ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = Path(os.environ.get("KMEX_TEST_DATA", ROOT.parent / "shared" / "data"))


# The longest, so that none of them is left to one worker at the end; the first prepare what others wait for, or need
# nothing of it.
FIRST = (
    "kmex_core/test_attributes.py", "test_real_data.py", "kmex_core/test_baselines.py", "browser/test_dashboard.py",
    "browser/test_evaluation.py", "browser/test_models.py", "browser/test_map.py", "kmex_core/test_relevance.py",
    "browser/test_links.py", "browser/test_serving.py", "app/test_evaluation_pages.py", "browser/test_attributes.py",
    "browser/test_access.py", "kmex_core/test_backbones.py", "app/test_papers_data.py", "kmex_core/test_main.py",
    "browser/test_relevance.py", "app/test_links.py", "kmex_core/test_importing.py", "app/test_maps.py",
    "app/test_attributes_page.py", "kmex_core/test_shards.py", "kmex_core/test_scores.py", "app/test_pages.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the files of `FIRST` run first."""
    rank = {ROOT / "tests" / name: at for at, name in enumerate(FIRST)}
    items.sort(key=lambda item: rank.get(item.path, len(FIRST)))


def converted(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """A store in which a demo is embedded, converted for k = 5 and, if it is the digits, mapped; its baselines as well.

    It is made once for all processes of pytest-xdist, which copy it and leave it as it is.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root = shared / f"converted-{name}"
    with FileLock(shared / f"converted-{name}.lock"):
        if not (shared / f"converted-{name}.done").exists():
            store = Store(root)
            info = models.describe(store, name)
            Subject(store, info, dataset_of(info)).conversion(KMeans(5)).get()
            if name == "digits":
                Subject(store, info, dataset_of(info)).embedding_map().get()
                for kind in ("flint", "protopnet", "protovae"):
                    Subject(store, models.describe(store, f"digits-{kind}"), dataset_of(info)).conversion(
                        KMeans(5)
                    ).get()
            (shared / f"converted-{name}.done").touch()
    return root


@pytest.fixture(scope="session")
def demo_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the digits are embedded, converted for k = 5 and mapped. Tests may add to it, not break it."""
    root = tmp_path_factory.mktemp("store")
    shutil.copytree(converted(tmp_path_factory, "digits"), root, dirs_exist_ok=True)
    return root


@pytest.fixture(scope="session")
def faces_cache(demo_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same store, in which the faces are embedded and converted for k = 5 as well."""
    shutil.copytree(converted(tmp_path_factory, "faces"), demo_cache, dirs_exist_ok=True)
    return demo_cache


ATTRIBUTES = ("Even", "Below_Five", "Round", "Coin", "Rare")


def with_attributes(data: ImageDataset) -> ImageDataset:
    """The digits with attributes: three that follow from the digit, one of chance, one that 1 % of images have."""
    for at, split in enumerate(data.splits.values()):
        digit, random = split.labels, np.random.default_rng(at)
        columns = (digit % 2 == 0, digit < 5, np.isin(digit, (0, 6, 8, 9)), random.random(len(digit)) < 0.5,
                   random.permutation(len(digit)) < len(digit) // 100)  # fmt: skip
        split.attribute_names, split.attributes = ATTRIBUTES, np.stack(columns, 1)
    return data


@pytest.fixture
def demo(demo_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store with the converted demo, as the default store."""
    monkeypatch.setenv("KMEX_CACHE", str(demo_cache))
    return Store(demo_cache)


@pytest.fixture
def two_trainings(demo: Store, store: Store) -> list[ModelInfo]:
    """In a store of their own, the demo's ProtoPNet and one that differs in its number of prototypes (untrained)."""
    info = models.describe(demo, "digits-protopnet")
    models.save(store, info, models.load(demo, info.name).model)
    fewer = replace(info, name="fewer", k=2, embedded=False)
    models.save(store, fewer, models.build(fewer))
    return [models.describe(store, name) for name in ("fewer", info.name)]


@pytest.fixture
def digits(demo: Store) -> ModelInfo:
    """The demo's model."""
    return models.describe(demo, "digits")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store, as the default store."""
    monkeypatch.setenv("KMEX_CACHE", str(tmp_path / "cache"))
    return Store()


def close_datasets() -> None:
    """Make the engine open every data set anew, as a new process would."""
    opened._opened.clear()


@pytest.fixture(autouse=True)
def _small_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("KMEX_DATA", raising=False)
    close_datasets()
    return


def finished(work: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine gives, in a thread of its own: Playwright has a running loop in the one that tests are in."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def striped(label: int, count: int, size: int, channels: int, seed: int = 0) -> np.ndarray:
    """`count` images of a class that is easy to tell: a bright stripe at a place of its own, and noise."""
    random = np.random.default_rng([seed, label])
    shape = (count, size, size) if channels == 1 else (count, size, size, 3)
    images = random.integers(0, 60, shape, dtype=np.uint8)
    at = 2 + 4 * label
    images[:, at : at + 3] += 150
    return images


def write_folder(
    root: Path, classes: tuple[str, ...], train: int, test: int, size: int = 16, channels: int = 3
) -> Path:
    """An image folder with striped images."""
    for split, count in (("train", train), ("test", test)):
        for label, name in enumerate(classes):
            here = root / split / name
            if count:
                here.mkdir(parents=True)
            for i, image in enumerate(striped(label, count, size, channels, seed=len(split))):
                (here / f"{i:03}.png").write_bytes(encoded(image))
    return root


def write_parquet(path: Path, images: list[bytes], labels: list[object], names: list[str] | None) -> Path:
    """A Hugging Face style parquet file, with class names in its metadata unless `names` is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    column = pa.array(
        [{"bytes": image, "path": f"{i}.png"} for i, image in enumerate(images)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table({"image": column, "label": pa.array(labels)})
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path
