"""Where the repository is, the page that Streamlit runs, and the data sets for tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FRAME = ROOT / "app" / "frame.py"
REAL_DATA = Path(os.environ.get("KMEX_TEST_DATA", ROOT.parent / "shared" / "data"))


def real(*parts: str) -> Path:
    """A real data set; the test skips where it is not."""
    path = REAL_DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"The real data set {path} is not here: set KMEX_TEST_DATA to the folder that has it.")
    return path
