"""Which folders pages may open: the one place that everything asks which names a data set on a page's behalf."""

from __future__ import annotations

import ipaddress
import itertools
import os
import re
from pathlib import Path

import streamlit as st

from app.security import LOOPBACK
from kmex_core.base.errors import InputError
from kmex_core.base.paths import user_path
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.data import uploads
from kmex_core.models.info import ModelInfo

DATA_ROOTS = "KMEX_DATA_ROOTS"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def data_roots() -> tuple[Path, ...] | None:
    """The folders below which pages may open data sets, None for any folder.

    `KMEX_DATA_ROOTS` names them. Unset, a server that only this machine can reach opens any folder, as the command
    line does; one that others can reach opens the data root alone. What was uploaded is opened everywhere.
    """
    if named := [part for part in os.environ.get(DATA_ROOTS, "").split(os.pathsep) if part.strip()]:
        return tuple(user_path(part.strip()).resolve() for part in named)
    return None if for_this_machine_only() else (datasets.data_root(),)


def for_this_machine_only() -> bool:
    """Whether nobody but this machine can reach the server."""
    address = str(st.get_option("server.address") or "")
    try:
        loopback = address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = False  # all addresses, a name in the network, a socket that a proxy is behind
    # a proxy on this machine passes on the name that others know the server by
    return loopback and set(st.get_option("server.allowedHosts") or LOOPBACK) <= set(LOOPBACK)


def dataset_to_open(name: str, root: str = "") -> str:
    """The name by which a data set is opened: a registered name as it is, a folder's path with its links resolved.

    Args:
        name: what a form, a link or a model names.
        root: the data root that a model was made with.

    Raises:
        InputError: when it lies in no folder that pages may open, whether it exists or not, or cannot be a path.
    """
    roots = data_roots()
    if roots is None or datasets.registered(name):
        return name
    places = [place.resolve() for place in datasets.places(name, root)]
    opened = next((place for place in places if place.exists()), places[0])
    uploaded = (folder.resolve() for folder in uploads.folders(Store()))
    if not any(opened.is_relative_to(folder) for folder in itertools.chain(roots, uploaded)):
        raise InputError(
            f"This server does not open '{name}'. Choose a data set from the list, or a folder inside one that the "
            f"server's operator has listed in {DATA_ROOTS} (docs/deploy.md)."
        )
    return str(opened)


def file_to_open(name: str) -> str:
    """The whole path, with links resolved, of a file or folder that is no data set: weights, a network's file.

    Raises:
        InputError: when it lies in no folder that pages may open, whether it exists or not, or cannot be a path.
    """
    path, roots = user_path(name).resolve(), data_roots()
    if roots is not None and not any(path.is_relative_to(folder) for folder in roots):
        raise InputError(
            f"This server does not open '{name}'. Choose a file inside a folder that the server's operator has listed "
            f"in {DATA_ROOTS} (docs/deploy.md)."
        )
    return str(path)


def network_to_open(name: str) -> str:
    """The name by which a network from outside is opened: with the whole path, where it is that of a file or folder.

    Raises:
        InputError: see `file_to_open`; for a name of no source; and for a function that was not allowed on this
            machine, which pages never allow.
    """
    from kmex_core.networks import architectures, trust

    source = architectures.source_of(name)
    if source is None:
        return name
    kind, rest = source
    if trust.is_function(name) and trust.folder_of(name) is None:
        raise trust.refusal(name)
    # where folders are restricted, nothing is downloaded by a name, either
    is_path = data_roots() is not None or user_path(rest).exists() or not _HUB_NAME.fullmatch(rest)
    if kind.reads == "file" or (kind.reads == "folder" and is_path):
        return f"{kind.name}:{file_to_open(rest)}"
    return name


def check_model(info: ModelInfo) -> None:
    """Make sure that the pages may open a model's data set.

    Raises:
        InputError: see `dataset_to_open`.
    """
    dataset_to_open(info.dataset, info.root)
