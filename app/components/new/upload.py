"""Images that a person sends to the server, and what they have sent."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app import read
from app.components.shared.messages import errors_as_messages
from app.components.shared.web import component
from app.routes import uploads as route
from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.base.plain_text import markdown
from kmex_core.base.store import read_only
from kmex_core.data import receiving, uploads
from kmex_core.data import registry as datasets
from kmex_core.data.files import SYSTEM
from kmex_core.data.uploads import Upload
from kmex_core.models.info import ModelInfo

_upload = component("upload")


def show_upload(key: str = "upload") -> str | None:
    """Show where a folder or files can be dropped; what `DatasetSpec` opens once they have been uploaded just now.

    Args:
        key: what names it on its page.
    """
    if read_only():
        st.info("This server is read-only: nothing can be uploaded. Choose a data set from the list.")
        return None
    shown = _upload(
        key=key,
        data={
            "url": route.address(),
            "bytes": receiving.MOST_BYTES,
            "files": receiving.MOST_FILES,
            "part": receiving.PART_BYTES,
            "system": list(SYSTEM),
        },
        on_finished_change=lambda: None,
    )
    if not shown.finished:
        return None
    with errors_as_messages():
        return str(uploads.path_of(read.store(), str(shown.finished)))


def show_uploads(key: str = "uploads") -> str | None:
    """Show what has been uploaded; what `DatasetSpec` opens once one is chosen just now.

    Args:
        key: what names the list on its page.
    """
    chosen = None
    infos = read.models()
    for upload in uploads.listed(read.store()):
        used = users(upload, infos)
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"{key}-{upload.name}"):
            by = f"used by {markdown(first_few(used))}" if used else "no model uses it"
            st.markdown(
                f"**{markdown(upload.name)}** · {_size(upload)} · {upload.files:,} "
                f"{'file' if upload.files == 1 else 'files'} · {upload.date:%Y-%m-%d %H:%M} UTC · {by}"
            )
            if st.button("Use", key=f"{key}-use-{upload.name}", help=f"Use the images of {markdown(upload.name)}."):
                chosen = str(upload.path)
            if not read_only() and st.button(
                "Delete", icon=":material/delete:", key=f"{key}-delete-{upload.name}", help="Asks before it deletes."
            ):
                _delete(upload.name, used)
    return chosen


def users(upload: Upload, infos: list[ModelInfo]) -> list[str]:
    """The names of the models whose images are an upload's."""
    folder = upload.path if upload.path.is_dir() else upload.path.parent
    return [info.name for info in infos if _opens(info, folder.resolve())]


def _opens(info: ModelInfo, folder: Path) -> bool:
    if datasets.registered(info.dataset):
        return False
    try:
        places = datasets.places(info.dataset, info.root)
    except InputError:
        return False
    return any(place.resolve().is_relative_to(folder) for place in places if place.exists())


def _size(upload: Upload) -> str:
    megabytes = upload.bytes / 2**20
    return f"{megabytes / 1024:.1f} GB" if megabytes >= 1024 else f"{megabytes:,.{0 if megabytes >= 10 else 1}f} MB"


@st.dialog("Delete")
def _delete(name: str, used: list[str]) -> None:
    st.markdown(f"Delete the uploaded images **{markdown(name)}** permanently?")
    if used:
        st.warning(
            f"{markdown(first_few(used, 12))} cannot show or explain these images any more. Upload them again as "
            f"**{markdown(name)}** to bring them back.",
            icon=":material/warning:",
        )
    if st.button("Delete permanently", type="primary", key="delete-upload-now", icon=":material/delete:"):
        with errors_as_messages():
            uploads.delete(read.store(), name)
            st.rerun()
