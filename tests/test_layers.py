"""The rooms and what each may import (docs/architecture.md), read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# which of the project's own modules a module may import; "*" means any below that package
ALLOWED = {
    "kmex_core.errors": set(),
    "kmex_core.jsontext": set(),
    "kmex_core.paths": {"errors"},
    "kmex_core.progress": set(),
    "kmex_core.compiled": {"jsontext"},
    "kmex_core.outputs": {"errors"},
    "kmex_core.plain_text": set(),
    "kmex_core.specs": set(),
    "kmex_core.results": set(),
    "kmex_core.store": {"errors", "jsontext", "paths", "progress"},
    "kmex_core.shards": {"errors", "results", "specs", "store"},
    "kmex_core.cores": set(),
    "kmex_core.devices": {"errors"},
    "kmex_core.jobs": {"cores", "errors", "jsontext", "store"},
    "kmex_core.images": {"errors"},
    "kmex_core.framing": set(),
    "kmex_core.memory": {"errors"},
    "kmex_core.datasets": {"errors", "images", "jsontext", "paths", "progress", "specs", "store", "datasets"},
    "kmex_core.metrics": {"metrics", "results", "specs"},
    "kmex_core.kmeans": set(),
    "kmex_core.passes": set(),
    "kmex_core.backbones": {"errors", "memory", "passes", "store"},
    "kmex_core.loaders": {"errors", "passes"},
    "kmex_core.models": {"baselines", "errors", "results", "store", "backbones"},
    "kmex_core.baselines": {"backbones", "baselines", "errors", "prototypes", "relevance", "results"},
    "kmex_core.embedding": {"errors", "memory", "progress", "results"},
    "kmex_core.prototypes": {"errors", "kmeans", "metrics", "progress", "results"},
    "kmex_core.projection": {"compiled", "errors", "progress", "results", "specs"},
    "kmex_core.relevance": {"cores", "errors", "loaders", "memory", "relevance", "results", "kmex"},
    "kmex_core.kmex": {
        "backbones", "devices", "embedding", "errors", "loaders", "memory", "models", "passes", "progress",
        "prototypes", "relevance", "results", "store",
    },
    "kmex_core.file_kinds": set(),
    "kmex_core.checkpoints": {"errors", "file_kinds"},
    "kmex_core.importing": {"*"},
    "kmex_core.patches": {"baselines", "errors", "kmeans", "memory", "progress", "prototypes", "results"},
    "kmex_core.own": {"baselines", "kmex", "prototypes", "relevance", "results"},
    "kmex_core.evaluation": {"errors", "metrics", "memory", "progress", "prototypes", "relevance", "results"},
    "kmex_core.scores": {
        "datasets", "devices", "errors", "evaluation", "images", "kmex", "metrics", "models", "pipeline", "progress",
        "prototypes", "relevance", "results", "specs", "store",
    },
    "kmex_core.attributes": {"datasets", "errors", "metrics", "results"},
    "kmex_core.published": set(),
    "kmex_core.comparison": {"datasets", "metrics", "plain_text", "published", "results"},
    "kmex_core.training": {"backbones", "baselines", "datasets", "errors", "images", "memory", "progress"},
    "kmex_core.pipeline": {"*"},
    "kmex_core.upkeep": {"errors", "jobs", "models", "pipeline", "shards", "progress", "specs", "store"},
    "kmex_core.report": {
        "attributes", "datasets", "images", "jsontext", "kmex", "pipeline", "plain_text", "results", "store",
    },
    "kmex_core.commands": {"*"},
    "kmex_core.__main__": {"commands"},
    "kmex_core": {"kmex"},
}  # fmt: skip
APP = {
    "app.Home": {"app.addresses", "app.login", "app.maps", "app.pictures", "app.security"},
    "app.addresses": set(),
    "app.security": set(),
    "app.login": set(),
    "app.wording": {"kmex_core.datasets", "kmex_core.plain_text", "kmex_core.store"},
    "app.access": {"app.security", "kmex_core"},
    "app.frame": {"app.cache", "app.components", "app.login", "app.state"},
    "app.claims": {"kmex_core.metrics", "kmex_core.plain_text", "kmex_core.results"},
    "app.state": {"app.addresses", "app.cache", "app.wording", "kmex_core"},
    "app.cache": {"app.access", "kmex_core"},
    "app.pictures": {"app.access", "app.addresses", "kmex_core"},
    "app.maps": {"app.addresses", "kmex_core"},
    "app.figures": {
        "app.figures",
        "kmex_core.attributes",
        "kmex_core.metrics.catalogue",
        "kmex_core.plain_text",
        "kmex_core.results",
    },
    "app.components": {
        "app.access",
        "app.addresses",
        "app.components",
        "app.state",
        "app.cache",
        "app.claims",
        "app.figures",
        "app.maps",
        "app.pictures",
        "app.wording",
        "kmex_core",
    },
    "app.views": {
        "app.claims", "app.components", "app.state", "app.cache", "app.figures", "app.wording", "kmex_core",
    },
}  # fmt: skip
NO_SCREEN = {"streamlit", "plotly", "starlette", "app"}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, for_types: bool = False) -> Iterator[str]:
    """The dotted names that a module imports, those under `if TYPE_CHECKING` only when `for_types`."""

    def walk(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test) and not for_types:
                continue
            if isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                yield child.module or ""
                yield from (f"{child.module}.{alias.name}" for alias in child.names)
            yield from walk(child)

    yield from walk(ast.parse(path.read_text()))


def room(name: str, table: dict[str, set[str]]) -> str:
    return max((known for known in table if name == known or name.startswith(known + ".")), key=len)


@pytest.mark.parametrize("path", files("kmex_core"), ids=name_of)
def test_the_engine_imports_downwards_only(path: Path) -> None:
    here = room(name_of(path), ALLOWED)
    allowed = ALLOWED[here]
    for name in imported(path):
        assert name.split(".")[0] not in NO_SCREEN, f"{here} imports {name}: the engine knows no screen"
        if name.startswith("kmex_core.") and "*" not in allowed:
            target = room(name, ALLOWED)
            if target == "kmex_core":
                assert not (ROOT / "kmex_core" / f"{name.split('.')[1]}.py").exists(), (
                    f"{name} has no place in the table"
                )
                continue
            assert target.split(".")[1] in allowed, f"{here} must not import {name}"


@pytest.mark.parametrize("path", [path for path in files("app") if name_of(path) != "app"], ids=name_of)
def test_the_app_imports_downwards_only(path: Path) -> None:
    here = room(name_of(path), APP)
    for name in imported(path):
        if name.split(".")[0] in {"app", "kmex_core"} and name not in {"app", "kmex_core"}:
            assert any(name == ok or name.startswith(ok + ".") for ok in APP[here]), f"{here} must not import {name}"


@pytest.mark.parametrize("path", files("app/figures"), ids=name_of)
def test_figures_know_neither_streamlit_nor_torch(path: Path) -> None:
    assert not {name.split(".")[0] for name in imported(path, for_types=True)} & {"streamlit", "torch"}


def test_only_the_cache_caches() -> None:
    for path in files("app"):
        if path.name != "cache.py":
            assert "st.cache_" not in path.read_text(), f"{path} has a cache of its own"


def test_views_are_thin() -> None:
    for path in files("app/views"):
        assert len(path.read_text().splitlines()) <= 70, f"{path} is no longer thin"


def test_nothing_unpickles() -> None:
    for path in [*files("kmex_core"), *files("app")]:
        names = set(imported(path))
        if "pickle.UnpicklingError" in names:  # what is caught when a file is refused
            names -= {"pickle", "pickle.UnpicklingError"}
        forbidden = {"pickle", "joblib", "dill", "shelve", "marshal"}
        assert not {name.partition(".")[0] for name in names} & forbidden, path
        text = path.read_text()
        assert text.count("torch.load(") == text.count("weights_only=True)"), path
