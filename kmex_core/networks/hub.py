"""The Hugging Face Hub: asked only if it can be reached, else its files come from the local cache."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 3.0  # seconds


@contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Within it, the hub's library looks only into its cache if the hub cannot be reached: it would try for minutes."""
    constants: Any = importlib.import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _reachable(endpoint: str) -> bool:
    place = urlsplit(endpoint)
    port = place.port or (443 if place.scheme == "https" else 80)
    try:
        with socket.create_connection((place.hostname or "", port), PATIENCE):
            return True
    except OSError:
        return False
