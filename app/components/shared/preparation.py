"""What has to be computed before a page can show a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from app import read
from app.components.shared.gallery import Card, Group, show_cards
from app.components.shared.job_panel import follow, show_command
from app.state import select_model, selection
from app.wording import MEANWHILE, message
from kmex_core.base import jobs
from kmex_core.base.plain_text import markdown
from kmex_core.base.store import read_only
from kmex_core.commands.conversion import preparation_job
from kmex_core.commands.requests import JobRequest
from kmex_core.data import registry as datasets
from kmex_core.data.colours import class_colours
from kmex_core.models.info import ModelInfo

CLASSES, PER_CLASS = 20, 8


def prepare(*infos: ModelInfo) -> None:
    """Return if the models' embeddings are in the store; otherwise show the progress of computing them, and the data.

    It is a job: it continues when the page is left or reloaded, all sessions share it, and an interrupted one continues
    where it stopped. The page runs again when it is done.
    """
    missing = [info for info in infos if not read.subject(info).is_embedded]
    if not missing:
        return
    for info in missing:
        request = preparation_job(read.subject(info), selection().kmeans)
        if read_only():
            show_command(request, message(f"'{info.name}' has not been prepared, and the server is read-only."))
        else:
            _follow(info, request)
    _offer_demo(missing)
    _show_data(missing[0])
    st.stop()


def _follow(info: ModelInfo, request: JobRequest) -> None:
    data = read.dataset(info)
    images = sum(len(data.split(split)) for split in data.splits)
    job = jobs.look(read.store(), request.name)
    if job is not None and job.state == "done":  # without a result: that was removed, or the data changed meanwhile
        st.info(message(f"The prepared results of '{info.name}' are no longer in the store."))
        if not st.button(f"Prepare '{info.name}' again", icon=":material/play_arrow:", key=f"again-{request.name}"):
            return
    follow(
        request,
        f"Preparing '{info.name}'.",
        f"The {images:,} images of {markdown(datasets.title(info.dataset))} pass through the network once; the result "
        "is "
        f"stored. {MEANWHILE}",
    )


def _offer_demo(waiting: Sequence[ModelInfo]) -> None:
    """Offer the first demo that needs no preparation, to look at while others are prepared."""
    names = {info.name for info in waiting}
    demos = (info for info in read.models() if info.embedded and info.name not in names)
    ready = next((info for info in demos if read.subject(info).is_embedded), None)
    if ready is not None:
        label = f"Look at the demo {markdown(ready.name)} meanwhile"
        st.button(label, icon=":material/visibility:", on_click=select_model, args=(ready,))


def _show_data(info: ModelInfo) -> None:
    """What needs no network: the data set's notes, and some training images of each class."""
    data = read.dataset(info)
    for note in data.notes:
        st.info(message(note))
    labels = data.split("train").labels
    colours = class_colours(len(info.class_names))
    groups = []
    for label, name in enumerate(info.class_names[:CLASSES]):
        rows = np.flatnonzero(labels == label)
        cards = [
            Card(str(row), f"train/{row}", f"Training image {row} of {name}", f"{row:,}")
            for row in rows[:PER_CLASS].tolist()
        ]
        groups.append(Group(cards, name, f"{len(rows):,} images", colours[label]))
    st.header("Training images")
    if len(info.class_names) > CLASSES:
        st.caption(f"First {CLASSES} of {len(info.class_names):,} classes.")
    show_cards("preparation-images", info, data.fingerprint, groups)
