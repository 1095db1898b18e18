"""What benchmarks have measured, as files: one for each part, with the machine and the versions."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kmex_core.base.files import write_bytes
from kmex_core.base.jsontext import write_json
from kmex_core.base.provenance import versions

RESULTS = Path(__file__).resolve().parent / "results"
RIVALS = (
    "numpy",
    "scipy",
    "scikit-learn-intelex",
    "faiss-cpu",
    "fastkmeans",
    "flash-kmeans",
    "umap-learn",
    "pacmap",
    "playwright",
)


def machine() -> dict[str, Any]:
    """Cores, processor, memory, system and versions."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory": _memory(),
        "system": platform.system(),
        "versions": versions() | _installed(RIVALS),
    }


def write(name: str, about: dict[str, Any], rows: list[dict[str, Any]], folder: Path = RESULTS) -> None:
    """Keep rows and the machine that they are of."""
    content = write_json({"machine": about, "rows": rows}, indent=2)
    write_bytes(folder / f"{name}.json", content.encode() + b"\n")


def read(name: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """The machine and the rows of a part, None when it has not been measured."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def on_gpus(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """What was measured on each graphics card."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("gpu*.json"))]


def _installed(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names and names[0].lower() != "unknown" else platform.machine()


def _memory() -> str:
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # not Linux
        return "unknown"
    return f"{pages * size / 1e9:.0f} GB"
