"""Some networks and layouts of each mechanism; `make compat` tries all of them and writes docs/compatibility.md."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kmex_core.base.store import Store
from tests.helpers.compatibility import IMAGES, LAYOUTS, MODELS, MODULE, LayoutCase, ModelCase, pictures
from tests.helpers.compatibility_run import OK, opened, tried
from tests.helpers.paths import ROOT

NEEDED = {"timm": "timm", "transformers": "transformers", "checkpoint": "timm"}  # packages, by family


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for name, content in pictures().items():
        place = root / ("test" if int(name.split("/")[1]) % 4 == 0 else "train") / f"{name}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    assert len(list(root.rglob("*.png"))) == 3 * IMAGES
    return root


@pytest.mark.parametrize("case", [case for case in MODELS if case.quick], ids=lambda case: f"{case.family}-{case.name}")
def test_networks(case: ModelCase, store: Store, tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(NEEDED.get(case.family, "torch"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    found = tried(case, tmp_path, images)
    sys.modules.pop(MODULE, None)
    if case.refused:
        assert case.refused in found.convert
    else:
        assert (found.convert, found.explain, found.export) == (OK, OK, OK)


@pytest.mark.parametrize("case", [case for case in LAYOUTS if case.quick], ids=lambda case: case.name)
def test_layouts(case: LayoutCase, store: Store, tmp_path: Path) -> None:
    found = opened(case, tmp_path)
    assert (case.refused in found and found != OK) if case.refused else found == OK


def test_there_are_enough_of_each() -> None:
    assert sum(case.quick for case in MODELS) >= 8
    assert sum(case.quick for case in LAYOUTS) >= 8
    assert len(MODELS) >= 24
    assert len(LAYOUTS) >= 15


def test_the_page_has_every_case() -> None:
    """`make compat` writes it; whoever adds a case runs that."""
    lines = (ROOT / "docs" / "compatibility.md").read_text().splitlines()
    rows = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in lines if line.startswith("| ")]
    for case in MODELS:
        assert (case.family, case.name) in rows
    for layout in LAYOUTS:
        assert layout.name in {first for first, _ in rows}
