"""Step 1 of the page New: which images, and what is in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from app import read
from app.access import dataset_to_open, for_this_machine_only
from app.components.new.answers import answer_of
from app.components.new.draft import OpenDraft, go_on
from app.components.new.report import show_report
from app.components.new.upload import show_upload, show_uploads
from app.components.shared.messages import show_error
from app.wording import MEANWHILE
from kmex_core.base import jobs
from kmex_core.base.errors import KMExError
from kmex_core.base.specs import DatasetSpec
from kmex_core.commands.datasets import report_job
from kmex_core.commands.requests import JobRequest
from kmex_core.data import registry as datasets
from kmex_core.data import uploads
from kmex_core.data.report import KEYS
from kmex_core.stages import drafts

PATH, UPLOAD, NAMED = "A path on this machine", "An upload", "A data set by name"
_REFUSED = "_refused_images"  # in the session: why images cannot be taken
COLUMNS = {"label-column": ("class_column", "the class"), "image-column": ("image_column", "the images")}


def show_images(opened: OpenDraft) -> None:
    """Show step 1."""
    _choose(opened)
    if not opened.draft.images:
        st.info(
            "Choose images to begin. You see what is in them before anything is computed, and the files stay as they "
            "are.",
            icon=":material/image:",
        )
        return
    answer = report_of(opened)
    if answer is not None:
        show_report(opened, answer)
        if not answer["unreadable"] or opened.draft.skip_broken:
            go_on("model", "Continue with your model")


def _choose(opened: OpenDraft) -> None:
    """Show where images come from."""
    images, key = opened.draft.images, opened.key("from")
    if key not in st.session_state:
        st.session_state[key] = _source_of(images)
    source = st.segmented_control("Images from", (PATH, UPLOAD, NAMED), key=key, required=True)
    if source == UPLOAD:
        if uploaded := show_upload() or show_uploads():
            take(opened, uploaded)
            st.rerun()
    else:
        _name(opened, source)
    if refusal := st.session_state.pop(_REFUSED, ""):
        show_error(refusal)


def _source_of(images: str) -> str:
    """Where a draft's images come from; where they will probably come from if there are none yet."""
    if datasets.registered(images):
        return NAMED
    if images and Path(images).is_relative_to(read.store().root.resolve() / uploads.ROOM):
        return UPLOAD
    # whoever is at this machine need not copy files to it
    return PATH if images or for_this_machine_only() else UPLOAD


def _name(opened: OpenDraft, source: str | None) -> None:
    """Let a person name a path or a data set."""
    images = opened.draft.images
    registered = datasets.registered(images)
    field = opened.key("named" if source == NAMED else "path")
    with st.form("new-images", border=False):
        if source == NAMED:
            st.selectbox(
                "Data set",
                list(datasets.DATASETS),
                list(datasets.DATASETS).index(registered) if registered else None,
                format_func=_title,
                key=field,
                placeholder="Choose a data set",
            )
        else:
            st.text_input(
                "Folder, table or archive",
                "" if registered else images,
                max_chars=4000,
                key=field,
                placeholder="/home/me/photos",
                help="A folder with a folder of pictures per class, with train/ and test/, or with a table of files "
                "and labels (CSV, JSON lines, parquet); parquet, arrow or WebDataset files; an .npz file; a zip or tar "
                "file of one of these; or `hf:OWNER/NAME` for a data set on the Hugging Face hub.",
            )
        st.form_submit_button(
            "Read the images",
            icon=":material/search:",
            type="primary",
            on_click=lambda: take(opened, str(st.session_state[field] or "").strip()),
        )


def take(opened: OpenDraft, images: str) -> None:
    """Make a path or a data set's name the images of a draft. The page says why where it cannot be."""
    if not images:
        st.session_state[_REFUSED] = "Name a folder or file, or choose a data set."
        return
    try:
        request = _request(DatasetSpec(images))
        jobs.forget(read.store(), request.name)  # they are read as they are now
        drafts.change(
            read.store(),
            opened.name,
            images=images,
            class_column="",
            image_column="",
            skip_broken=False,
            decision="",
            classes=(),
        )
    except KMExError as error:
        st.session_state[_REFUSED] = str(error)


def _title(name: str) -> str:
    return datasets.title(name) + ("" if datasets.available(name) else " (downloaded when it is read)")


def _request(spec: DatasetSpec) -> JobRequest:
    # unreadable files are reported either way
    return report_job(replace(spec, name=dataset_to_open(spec.name), skip_broken=False))


def report_of(opened: OpenDraft) -> dict[str, Any] | None:
    """The report on a draft's images; None while it is made (the page shows its progress) or cannot be."""
    try:
        request = _request(opened.draft.spec)
    except KMExError as error:
        show_error(str(error))
        return None
    return answer_of(
        request,
        KEYS,
        "Reading your images.",
        f"All files are listed and read once; the second time takes seconds. {MEANWHILE}",
        lambda: _offer_columns(opened, request),
    )


def _offer_columns(opened: OpenDraft, request: JobRequest) -> None:
    """Where the job could not decide between columns, let a person choose."""
    job = jobs.look(read.store(), request.name)
    if job is None or job.state != "failed" or job.option not in COLUMNS:
        return
    field, what = COLUMNS[job.option]
    column = st.selectbox(
        f"Which column has {what}?", job.choices, None, key=opened.key(f"choice-{field}"), placeholder="Choose a column"
    )
    if column and opened.change(**{field: column}):
        st.rerun()
