"""The dashboard's JavaScript: formatted, typed and tested by its own tools. Where one is missing, its test skips and
says so: Debian's package nodejs has node, and `npm install` in the repository's root the others.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

WEB = ROOT / "app" / "assets" / "web"
OURS = sorted(path for path in WEB.rglob("*.js") if "bundle" not in path.parts)
TESTS = sorted((ROOT / "tests" / "javascript").glob("*.test.js"))
PINNED = json.loads((ROOT / "package.json").read_text())["devDependencies"]


def run(*command: str) -> None:
    """Run a command in the repository's root; it must succeed."""
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def tool(command: str, package: str) -> str:
    """Where a tool of npm's is, in the version that package.json names."""
    path = shutil.which(command, path=f"{ROOT / 'node_modules' / '.bin'}{os.pathsep}{os.environ['PATH']}")
    if path is None or shutil.which("node") is None:
        pytest.skip(f"There is no {command} here: install Debian's packages nodejs and npm, and run npm install.")
    version = subprocess.run([path, "--version"], text=True, capture_output=True, check=True).stdout.split()[-1]
    if version != PINNED[package]:
        pytest.skip(f"This is {command} {version}, not {PINNED[package]}: run npm install.")
    return path


def test_units() -> None:
    if shutil.which("node") is None:
        pytest.skip("There is no node here: install Debian's package nodejs to test the JavaScript.")
    assert len(TESTS) >= 3
    run("node", "--test", *map(str, TESTS))


def test_types() -> None:
    run(tool("tsc", "typescript"), "--project", "jsconfig.json")


def test_the_bundle_is_made_of_the_modules_as_they_are(tmp_path: Path) -> None:
    run(sys.executable, "tools/bundle.py", str(tmp_path), tool("esbuild", "esbuild"))
    made, kept = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (tmp_path, WEB / "bundle"))
    assert sorted(made) == sorted(kept) == ["explore.css", "explore.js"]
    assert made == kept, "app/assets/web has changed since: npm run bundle"


def test_format() -> None:
    run(tool("prettier", "prettier"), "--check", "app/assets", "tests/javascript")


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.relative_to(WEB).as_posix())
def test_every_file_is_type_checked_and_imports_what_is_there(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("// @ts-check\n")
    assert not re.search(r"@ts-(ignore|expect-error|nocheck)|@type \{any\}", text)
    for name in re.findall(r"^(?:import|\}) .*from '([^']+)';$", text, re.MULTILINE):
        assert name.startswith(("./", "../")), f"a browser finds no {name}"
        assert (path.parent / name).is_file(), name


@pytest.mark.parametrize(
    "path", [WEB / "explore.css", *sorted((WEB / "explore").glob("*.css"))], ids=lambda path: path.name
)
def test_explore_follows_its_own_width(path: Path) -> None:
    """A sidebar or a notebook is beside it, so the window's width says nothing."""
    assert not re.search(r"@media[^{]*width", path.read_text())
