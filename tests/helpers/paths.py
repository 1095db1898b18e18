"""Where the repository is, the page that Streamlit runs, and the data sets for tests."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FRAME = ROOT / "app" / "frame.py"
REAL_DATA = Path(os.environ.get("KMEX_TEST_DATA", ROOT.parent / "shared" / "data"))
