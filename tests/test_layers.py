"""The rooms and what each may import (docs/architecture.md), read from the source."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

# a folder imports only folders that stand above it here; its own modules import each other without circles
ORDER = (
    "base",
    "data",
    "networks",
    "prototypes",
    "relevance",
    "models",
    "metrics",
    "analysis",
    "stages",
    "scale",
    "reproduction",
    "commands",
)
OUTSIDE = {"__init__": {"base", "models"}, "__main__": {"commands"}}  # modules of the root, and what they open
APP_ORDER = (
    "addresses",
    "old_addresses",
    "index_page",
    "security",
    "wording",
    "warm_up",
    "spare_memory",
    "prototype_names",
    "login",
    "access",
    "selection",
    "claims",
    "links",
    "figures",
    "workspace",
    "report",
    "notebook",
    "read",
    "sharded",
    "routes",
    "state",
    "explore_links",
    "components",
    "views",
    "frame",
    "Home",
)
PURE = ("figures", "claims", "selection", "report")  # results in, charts and words out
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


def is_module(name: str) -> bool:
    path = ROOT / Path(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def modules_imported(path: Path) -> set[str]:
    """The project's own modules that a module imports, for types as well."""
    names = {name for name in imported(path, for_types=True) if name.split(".")[0] in {"app", "kmex_core"}}
    return {name if is_module(name) else name.rpartition(".")[0] for name in names} - {name_of(path)}


@pytest.mark.parametrize("path", files("kmex_core"), ids=name_of)
def test_the_engine_imports_downwards_only(path: Path) -> None:
    here = path.relative_to(ROOT / "kmex_core").parts
    for name in imported(path, for_types=True):
        assert name.split(".")[0] not in NO_SCREEN, f"{name_of(path)} imports {name}: the engine knows no screen"
    targets = {name.split(".")[1] for name in modules_imported(path) if "." in name}
    if len(here) == 1:
        assert targets <= OUTSIDE[path.stem]
        return
    assert here[0] in ORDER, f"{here[0]} has no place in the order"
    assert targets <= set(ORDER[: ORDER.index(here[0]) + 1]), f"{name_of(path)} imports upwards"


@pytest.mark.parametrize("package", ["kmex_core", "app"])
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    graph = {name_of(path): modules_imported(path) - {package} for path in files(package)}
    order = graphlib.TopologicalSorter({name: targets & graph.keys() for name, targets in graph.items()})
    order.prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", [path for path in files("app") if name_of(path) != "app"], ids=name_of)
def test_the_app_imports_downwards_only(path: Path) -> None:
    here = path.relative_to(ROOT / "app").with_suffix("").parts[0]
    assert here in APP_ORDER, f"{here} has no place in the order"
    targets = {name.split(".")[1] for name in modules_imported(path) if name.startswith("app.")}
    beside = {here} if (ROOT / "app" / here).is_dir() else set()
    assert targets <= {*APP_ORDER[: APP_ORDER.index(here)], *beside}, f"{name_of(path)} imports upwards"
    if here in PURE:
        assert not {name.split(".")[0] for name in imported(path, for_types=True)} & {"streamlit", "torch"}
    if here in ("workspace", "notebook"):  # shown without Streamlit and without a server
        assert not {name.split(".")[0] for name in imported(path, for_types=True)} & {"streamlit", "starlette"}


@pytest.mark.parametrize("path", files("app/components"), ids=name_of)
def test_the_blocks_of_a_page_are_its_own(path: Path) -> None:
    """A page's folder imports `shared` and itself; what two pages use moves to `shared`."""
    prefix = ["app", "components"]
    folders = {
        name.split(".")[2] for name in modules_imported(path) if name.split(".")[:2] == prefix and name.count(".") > 1
    }
    assert folders <= {"shared", path.parent.name}, f"{name_of(path)} imports another page's blocks"


@pytest.mark.parametrize("path", [*files("kmex_core"), *files("app")], ids=name_of)
def test_no_module_is_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 450, f"{name_of(path)} is too long to be one concept"


def test_only_the_reader_caches() -> None:
    for path in files("app"):
        if path.name != "read.py":
            assert "st.cache_" not in path.read_text(), f"{path} has a cache of its own"


def test_views_are_thin() -> None:
    for path in files("app/views"):
        assert len(path.read_text().splitlines()) <= 70, f"{path} is no longer thin"


@pytest.mark.parametrize("path", files("tests"), ids=name_of)
def test_tests_share_helpers_and_nothing_else(path: Path) -> None:
    """A test can be moved, renamed or deleted without another one noticing; fixtures come by their names."""
    ours = {name for name in imported(path, for_types=True) if name.split(".")[0] == "tests"}
    assert all(name.startswith("tests.helpers") for name in ours), f"{name_of(path)}: what it shares goes to helpers"


def test_nothing_unpickles() -> None:
    for path in [*files("kmex_core"), *files("app")]:
        names = set(imported(path))
        if "pickle.UnpicklingError" in names:  # what is caught when a file is refused
            names -= {"pickle", "pickle.UnpicklingError"}
        forbidden = {"pickle", "joblib", "dill", "shelve", "marshal"}
        assert not {name.partition(".")[0] for name in names} & forbidden, path
        text = path.read_text()
        assert text.count("torch.load(") == text.count("weights_only=True)"), path
