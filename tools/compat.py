"""Try networks and images as other people have them: `make compat` writes docs/compatibility.md."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "compatibility.md"
sys.path.insert(0, str(ROOT))
PACKAGES = ("torch", "torchvision", "timm", "transformers", "onnx", "onnxruntime")


def main() -> None:
    """Try every case and write the page. Exits with 1 when one does not do what it should."""
    from tests.helpers.compatibility import LAYOUTS, MODELS, pictures
    from tests.helpers.compatibility_run import OK, opened, tried

    wrong = []
    models: list[tuple[str, ...]] = []
    layouts: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["KMEX_CACHE"] = str(root / "store")
        images = root / "images"
        for path, content in pictures().items():
            place = images / ("test" if int(path.split("/")[1]) % 4 == 0 else "train") / f"{path}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        for number, case in enumerate(MODELS):
            (root / f"m{number}").mkdir()
            found = tried(case, root / f"m{number}", images, onnx=True)
            print(f"{case.family}, {case.name}: {found}")
            if case.refused not in found.convert or (not case.refused and found.convert != OK):
                wrong.append(case.name)
            convert = found.convert.replace(str(root), "…")
            explained = f"{found.explain} ({found.method})" if found.method else found.explain
            models.append(
                (
                    case.family,
                    case.name,
                    _cell(convert),
                    _cell(explained),
                    _cell(found.export),
                    _cell(found.onnx),
                    _cell(found.head),
                )
            )
        for number, layout in enumerate(LAYOUTS):
            (root / f"l{number}").mkdir()
            said = opened(layout, root / f"l{number}")
            print(f"{layout.name}: {said}")
            if layout.refused not in said or (not layout.refused and said != OK):
                wrong.append(layout.name)
            layouts.append((layout.name, _cell(said.replace(str(root), "…"))))
    PAGE.write_text("\n".join(_page(models, layouts)) + "\n")
    if wrong:
        raise SystemExit(f"Not as expected: {', '.join(wrong)}.")


def _page(models: list[tuple[str, ...]], layouts: list[tuple[str, ...]]) -> Iterator[str]:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    yield "# Compatibility"
    yield ""
    yield "Made by `make compat`, which tries every row; some of each kind are tried in every run of the tests."
    yield f"Versions: {versions}. Weights are random or quickly made; a sentence in a cell is what the program says."
    yield ""
    yield "## Networks"
    yield ""
    yield "| From | Network | Convert | Explain (method) | Export and load | ONNX | Head |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in models:
        yield f"| {' | '.join(row)} |"
    yield ""
    yield "## Layouts of images"
    yield ""
    yield "| Layout | Opened |"
    yield "| --- | --- |"
    for row in layouts:
        yield f"| {' | '.join(row)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;") or "–"


if __name__ == "__main__":
    main()
