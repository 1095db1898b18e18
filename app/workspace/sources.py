"""Sources of prototypes as texts in addresses: `kmeans:5:0:auto`, `own`, `version:<name>`."""

from __future__ import annotations

import re
from contextlib import nullcontext

from app.workspace.answer import Asked, Gone
from kmex_core.base import cores
from kmex_core.base.errors import InputError
from kmex_core.prototypes.metric import OPTIONS
from kmex_core.prototypes.source import BuiltIn, KMeans, PrototypeSource, Version
from kmex_core.prototypes.types import Conversion
from kmex_core.stages.subject import Subject
from kmex_core.stages.versions import version_of

_KMEANS = re.compile(r"kmeans:(-1|[1-9]\d{0,3}):(\d{1,10}):([a-z]{1,20})", re.ASCII)
OWN, VERSION = "own", "version:"


def source_text(source: PrototypeSource) -> str:
    """What names a source in addresses."""
    if isinstance(source, KMeans):
        return f"kmeans:{source.k}:{source.seed}:{source.metric}"
    return f"{VERSION}{source.name}" if isinstance(source, Version) else OWN


def source_of(text: str, subject: Subject) -> PrototypeSource:
    """The source of a model that `source_text` named.

    Raises:
        InputError: for any other text, or a version that there is not, or not any more.
    """
    if text == OWN:
        return BuiltIn()
    if text.startswith(VERSION):
        return version_of(subject, text.removeprefix(VERSION))
    match = _KMEANS.fullmatch(text)
    if match is None or match[3] not in OPTIONS or int(match[2]) >= 2**32:
        raise InputError(f"Unknown source of prototypes '{text[:80]}'.")
    return KMeans(int(match[1]), int(match[2]), match[3])


def asked_conversion(subject: Subject, asked: Asked) -> tuple[PrototypeSource, Conversion]:
    """The source that an address names, and its prototypes: from the store, or made now.

    Raises:
        Gone: when its key is not the one that the address has: the model or its data have changed.
    """
    source = source_of(asked["source"], subject)
    artifact = subject.conversion(source)
    if artifact.key != asked.key:
        raise Gone("The model or its data have changed. Reload the page.")
    with cores.shared() if not artifact.exists() else nullcontext():
        return source, subject.read(artifact)
