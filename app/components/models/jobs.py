"""Models that are being made in the background."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app import read
from app.components.shared.downloads import show_download
from app.components.shared.figure import show_figure
from app.components.shared.job_panel import watch
from app.components.shared.making import KINDS, is_made, making, parts_of
from app.figures.training import loss_figure
from kmex_core.analysis.tables.models import history_table
from kmex_core.base import jobs
from kmex_core.base.files import write_stream
from kmex_core.base.plain_text import markdown
from kmex_core.base.store import checked_name, demand_writable
from kmex_core.commands.importing import IMPORT, import_again
from kmex_core.commands.new import NEW, new_again
from kmex_core.commands.requests import JobRequest
from kmex_core.commands.training import TRAINING, training_again
from kmex_core.data import uploads
from kmex_core.stages.training_runs import unfinished

UPLOADED = "_uploaded"


def start_training(request: JobRequest) -> None:
    """Start a training run in the background."""
    jobs.start(read.store(), request.name, request.arguments)


def start_import(name: str, request: Callable[[Path], JobRequest], file: UploadedFile | None) -> None:
    """Start to import an uploaded file in the background; without one, the file that was uploaded before.

    Args:
        name: of the model.
        request: gives the job that imports a file.
        file: what was uploaded just now.
    """
    demand_writable(f"'{name}' cannot be imported")
    path = _upload(name)
    earlier: tuple[str, str] | None = st.session_state.get(UPLOADED)
    if file is not None:
        write_stream(path, file)
        st.session_state[UPLOADED] = (file.name, name)
    elif earlier is not None and earlier[1] != name:
        shutil.copyfile(_upload(earlier[1]), path)  # another import may be reading it
        st.session_state[UPLOADED] = (earlier[0], name)
    job = request(path)
    jobs.start(read.store(), job.name, job.arguments)


def waiting_upload() -> str:
    """The name of the file that was uploaded in this session and is not imported yet, "" for none."""
    earlier: tuple[str, str] | None = st.session_state.get(UPLOADED)
    return earlier[0] if earlier is not None and _upload(earlier[1]).is_file() else ""


def _upload(name: str) -> Path:
    return read.store().root / uploads.ROOM / f"{checked_name(name)}.weights"


def show_jobs() -> None:
    """Show every model that is being made, or could not be."""
    store = read.store()
    for name in making():
        job = jobs.look(store, name)
        if job is None:
            continue
        kind, model = parts_of(name)
        if is_made(name, job):
            _upload(model).unlink(missing_ok=True)
            continue  # every page has a notice of it
        watch(
            _again(kind, model, job.arguments),
            f"**{KINDS[kind][0]} {markdown(model)}.** This continues in the background, even after you close the page.",
            partial(_show_loss, model, name) if kind == TRAINING else None,
            dismiss=True,
        )


def _again(kind: str, model: str, arguments: Sequence[str]) -> JobRequest:
    """The job that starts again what failed or was stopped."""
    if kind == TRAINING:
        return training_again(model, arguments, unfinished(read.store(), model) is not None)
    return {IMPORT: import_again, NEW: new_again}[kind](model, arguments)


def _show_loss(model: str, name: str) -> None:
    job = jobs.look(read.store(), name)
    part, loss = (job.part, job.values.get("loss")) if job else (0, None)
    table = history_table(unfinished(read.store(), model) or [], part, loss)
    if len(table) == 0:
        return
    show_figure(f"live-{name}", loss_figure(table, job.parts if job else 0), f"Loss of {model} so far")
    st.caption("Each point is the mean over an epoch; the last is over the epoch so far.")
    show_download("Loss so far as CSV", table, f"{model}-training.csv")
