"""The models in the store, and what can be done with each."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app import read
from app.access import for_this_machine_only
from app.components.models.version_list import show_versions
from app.components.shared.downloads import show_download
from app.components.shared.figure import show_figure
from app.components.shared.messages import errors_as_messages
from app.figures.training import loss_figure
from app.links import link_to_new, pick, picked, refuse
from app.state import select_model
from app.wording import MAY_BE_GONE, message
from kmex_core.analysis.comparison import CAVEAT
from kmex_core.analysis.tables.models import history_table, model_table
from kmex_core.base.jsontext import write_json
from kmex_core.base.plain_text import markdown
from kmex_core.base.store import read_only
from kmex_core.data import registry as datasets
from kmex_core.models import catalogue
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import MODEL_KINDS

CHOSEN = "chosen"


def show_place() -> None:
    """Show where the store is, on a server that only this machine can reach."""
    if for_this_machine_only():
        st.caption(f"Store: {markdown(str(read.store().root))}")


def choose_model() -> ModelInfo | None:
    """Show all models as a table; the one whose row is chosen."""
    infos = read.models()
    if not infos:
        st.info("The store has no models yet.")
        link_to_new()
        return None
    names = [info.name for info in infos]

    def choose() -> None:
        rows = st.session_state["models-table"]["selection"]["rows"]
        pick(CHOSEN, names[rows[0]] if rows else "")

    st.dataframe(
        model_table(read.store(), infos),
        key="models-table",
        hide_index=True,
        on_select=choose,
        selection_mode="single-row",
        alt="The models in the store",
        column_config={
            "Accuracy ↑": st.column_config.NumberColumn(
                format="%.1f%%",
                help="Share of the test images that the model itself classifies correctly, without KMEx.",
            ),
            "Size": st.column_config.NumberColumn(format="%.1f MiB", help="Size of the model's file."),
        },
    )
    for caveat in dict.fromkeys(info.caveat for info in infos if info.caveat):
        st.caption(message(f"{CAVEAT} {caveat}"))
    name = picked(CHOSEN)
    if name in names:
        return infos[names.index(name)]
    if name:
        refuse("model", name, MAY_BE_GONE)
    st.caption("Select a row to " + ("open a model." if read_only() else "open, export, rename or delete a model."))
    return None


def show_model(info: ModelInfo) -> None:
    """Show what can be done with a model, and its provenance."""
    with st.container(border=True):
        by = f", class column {markdown(info.class_column)}" if info.class_column else ""
        st.markdown(
            f"**{markdown(info.name)}** · {MODEL_KINDS[info.kind].title}, {markdown(info.backbone)}, "
            f"{len(info.class_names)} classes of {markdown(datasets.title(info.dataset))}{by}"
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button(
                "Open in Explore",
                icon=":material/explore:",
                type="primary",
                on_click=select_model,
                args=(info,),
                help="Converts the model to KMEx with the selected number of prototypes.",
            ):
                st.switch_page("views/explore.py", query_params={})  # None would clear what widgets are bound to
            if not read_only():
                _offer_changes(info)
        show_versions(info)
        _show_making(info)


def _offer_changes(info: ModelInfo) -> None:
    show_download(
        "Export",
        partial(catalogue.exported, read.store(), info.name),
        f"{info.name}.safetensors",
        "A file with the weights and the description, for the import below or `python -m kmex_core import`.",
    )
    if st.button("Rename", icon=":material/edit:", disabled=info.embedded, help=_why(info)):
        _rename(info)
    if st.button("Delete", icon=":material/delete:", disabled=info.embedded, help=_why(info)):
        _delete(info)


def _why(info: ModelInfo) -> str | None:
    return "This model is part of KMEx Explorer." if info.embedded else None


@st.dialog("Rename")
def _rename(info: ModelInfo) -> None:
    new = st.text_input("New name", info.name, max_chars=50)
    if st.button("Rename", type="primary", key="rename-now") and new != info.name:
        with errors_as_messages():
            catalogue.rename(read.store(), info.name, new)
            pick(CHOSEN, new)
            st.rerun()


@st.dialog("Delete")
def _delete(info: ModelInfo) -> None:
    st.markdown(
        f"Delete **{markdown(info.name)}** permanently? You cannot restore its weights unless you have exported them."
    )
    if st.button("Delete permanently", type="primary", key="delete-now", icon=":material/delete:"):
        with errors_as_messages():
            catalogue.delete(read.store(), info.name)
            pick(CHOSEN, "")
            st.rerun()


def _show_making(info: ModelInfo) -> None:
    provenance = info.made_by
    if warning := provenance.get("imported", {}).get("warning"):
        st.warning(message(str(warning)), icon=":material/warning:")
    if command := provenance.get("command") or provenance.get("imported", {}).get("command"):
        st.caption("Command that made this model:")
        st.code(command, language=None, wrap_lines=True)
    if history := provenance.get("history"):
        table = history_table(history)
        show_figure(f"loss-{info.name}", loss_figure(table), "Loss over epochs")
        show_download("Training as CSV", table, f"{info.name}-training.csv")
    other = {name: value for name, value in provenance.items() if name not in ("command", "history")}
    with st.expander("Provenance: hyperparameters, data, versions", icon=":material/info:"):
        st.code(write_json(other, indent=1), language="json")
