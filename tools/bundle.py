"""`npm run bundle`: Explore in one file with its styles, for notebooks and reports, from app/assets/web."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.components.shared.web import EXPLORE, FOLDER, styles  # noqa: E402

ENTRY = FOLDER / "bundled.js"
OUT = FOLDER / "bundle"
ESBUILD = ROOT / "node_modules" / ".bin" / "esbuild"
OPTIONS = ("--bundle", "--minify", "--charset=utf8", "--legal-comments=inline", "--log-level=warning")


def bundle(out: Path, esbuild: str | Path = ESBUILD) -> None:
    """Write explore.js and explore.css.

    Args:
        out: the folder.
        esbuild: the program, in the version of package.json.
    """
    out.mkdir(parents=True, exist_ok=True)
    # the same bytes on every machine: names of modules are relative to the root
    _run(
        esbuild,
        [*OPTIONS, "--format=esm", "--target=es2022", str(ENTRY.relative_to(ROOT)), f"--outfile={out / 'explore.js'}"],
    )
    css = "\n".join(path.read_text(encoding="utf-8") for path in [*styles(*EXPLORE), FOLDER / "notebook.css"])
    # light-dark() stays as it is: browsers of 2024 and later have it
    _run(esbuild, [*OPTIONS, "--loader=css", "--target=es2022", f"--outfile={out / 'explore.css'}"], css)


def _run(esbuild: str | Path, arguments: list[str], given: str = "") -> None:
    subprocess.run([esbuild, *arguments], cwd=ROOT, input=given, text=True, check=True)


if __name__ == "__main__":
    bundle(*(map(Path, sys.argv[1:3]) if len(sys.argv) > 1 else [OUT]))
