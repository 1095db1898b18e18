"""Provenance: the versions a result depends on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

__version__ = "0.2.0"


def versions() -> dict[str, str]:
    """The versions a result depends on: KMEx Explorer, Python and the main packages."""
    installed = {"python": platform.python_version()}
    for package in ("torch", "torchvision", "zennit", "scikit-learn"):
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "not installed"
    return {"kmex": __version__, **installed}
