"""What all tests share: the order in which they run, a store of their own, and one with the demo converted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from tests.helpers.datasets import close_datasets
from tests.helpers.paths import ROOT
from tests.helpers.stores import converted

# The longest, so that none of them is left to one worker at the end; the first prepare what others wait for, or need
# nothing of it.
FIRST = (
    "kmex_core/test_attributes.py", "test_real_data.py", "kmex_core/test_baselines.py", "browser/test_dashboard.py",
    "browser/test_evaluation.py", "browser/test_models.py", "browser/test_explore.py", "kmex_core/test_relevance.py",
    "browser/test_links.py", "browser/test_serving.py", "app/test_evaluation_pages.py", "browser/test_attributes.py",
    "browser/test_access.py", "kmex_core/test_backbones.py", "app/test_papers_data.py", "kmex_core/test_main.py",
    "browser/test_relevance.py", "app/test_links.py", "kmex_core/test_importing.py", "app/test_maps.py",
    "app/test_attributes_page.py", "kmex_core/test_shards.py", "kmex_core/test_scores.py", "app/test_pages.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the files of `FIRST` run first."""
    rank = {ROOT / "tests" / name: at for at, name in enumerate(FIRST)}
    items.sort(key=lambda item: rank.get(item.path, len(FIRST)))


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
    return Store(tmp_path / "cache")


@pytest.fixture
def any_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision read files of the official layout whose content is not the official one."""
    for module in ("cifar", "stl10", "svhn"):
        if hasattr(__import__(f"torchvision.datasets.{module}", fromlist=["x"]), "check_integrity"):
            monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda path, md5=None: True)
    monkeypatch.setattr("torchvision.datasets.svhn.verify_str_arg", lambda value, *_: value)


@pytest.fixture(autouse=True)
def _small_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the data nor the store of whoever runs the tests."""
    monkeypatch.delenv("KMEX_DATA", raising=False)
    monkeypatch.setenv("KMEX_CACHE", str(tmp_path / "cache"))
    close_datasets()
