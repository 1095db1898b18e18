"""What has to be computed before a page can show a model."""

from __future__ import annotations

import time

import streamlit as st

from app import cache
from app.components.job_panel import FOR_WHOEVER_RUNS_IT, duration
from kmex_core import datasets
from kmex_core.results import ModelInfo
from kmex_core.store import read_only


def prepare(info: ModelInfo) -> None:
    """Make sure that the model's embeddings are in the store, with progress while they are computed."""
    if cache.is_embedded(info):
        return
    if read_only():
        st.info(
            f"'{info.name}' has not been prepared, and this server is read-only. {FOR_WHOEVER_RUNS_IT}",
            icon=":material/lock:",
        )
        st.code(f"python -m kmex_core convert --model {info.name}", language=None, wrap_lines=True)
        st.stop()
    data = cache.dataset(info)
    images = sum(len(data.split(split)) for split in ("train", "test"))
    done_before, started = 0, time.monotonic()
    with st.container(border=True):
        st.markdown(
            f"**Preparing '{info.name}'.** Each of the {images:,} images of {datasets.title(info.dataset)} goes "
            "through the network once. This happens only the first time; the result is kept."
        )
        bar = st.progress(0.0, "Starting …")

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal done_before
        so_far = done_before + done
        left = (time.monotonic() - started) * (images - so_far) / max(1, so_far)
        words = f"{so_far:,} of {images:,} images" + (f", about {duration(left)} left" if left > 1 else "")
        bar.progress(min(1.0, so_far / images), words)
        if done == total:
            done_before += done

    cache.embed(info, progress)
    st.rerun()
