"""Which output of the network is which class of the images."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd
import streamlit as st

from app.components.new.draft import OpenDraft
from app.components.shared.messages import show_error
from app.wording import message
from kmex_core.base.phrases import first_few
from kmex_core.base.plain_text import plain
from kmex_core.stages.new_model import names_of_outputs

CLASS, OUTPUT = "Class of your images", "Output of the network"
ROWS = 10
MOST_NAME = 60


def show_classes(opened: OpenDraft, decision: dict[str, Any]) -> None:
    """Show which outputs were taken as which classes, and an editable table of them."""
    outputs, classes = int(decision["head"]["outputs"]), decision["class_names"]
    text = next((step["text"] for step in decision["steps"] if step["title"] == "Classes"), "")
    with st.container(border=True):
        st.markdown(f"**Classes:** {message(text)}")
        if not outputs or outputs < len(classes):
            return
        if opened.draft.encoder or opened.draft.classes or decision["class_outputs"]:
            keep = opened.follow_field("encoder")
            encoder = st.toggle(
                "Use only its encoder",
                key=opened.key("encoder"),
                on_change=keep,
                help="KMEx then classifies by the network's embedding alone, with the classes of your images, and no "
                "black box stands beside it. Right for a network that was trained on other classes.",
            )
            if not encoder:
                _edit(opened, decision)
        else:
            with st.expander("Some of its outputs are my classes", icon=":material/table:"):
                _edit(opened, decision)


def _edit(opened: OpenDraft, decision: dict[str, Any]) -> None:
    """Show an editable table of the classes and their outputs."""
    outputs, classes = int(decision["head"]["outputs"]), decision["class_names"]
    labels = _labels(outputs, decision["output_names"])
    taken = decision["class_outputs"] or [None] * len(classes)
    table = pd.DataFrame(
        {
            CLASS: [plain(name) for name in classes],
            OUTPUT: [None if output is None else labels[output] for output in taken],
        }
    )
    with st.form(opened.key("classes-form"), border=False):
        edited = st.data_editor(
            table,
            key=opened.key(f"classes-{opened.draft.decision}"),
            hide_index=True,
            disabled=[CLASS],
            height="content" if len(table) <= ROWS else 35 * (ROWS + 1) + 3,
            column_config={OUTPUT: st.column_config.SelectboxColumn(options=labels)},
            alt="The output of the network for each class of your images",
        )
        with st.container(horizontal=True):
            applied = st.form_submit_button("Use this table", icon=":material/check:")
            found = opened.draft.classes and st.form_submit_button("Find them by name", icon=":material/search:")
    if found and opened.change(classes=()):
        st.rerun()
    if applied:
        _apply(opened, classes, outputs, [labels.index(label) if label in labels else -1 for label in edited[OUTPUT]])


def _labels(outputs: int, names: list[str]) -> list[str]:
    """What the table calls each output."""
    if len(names) != outputs:
        return [str(number) for number in range(outputs)]
    return [f"{number} · {plain(name)[:MOST_NAME]}" for number, name in enumerate(names)]


def _apply(opened: OpenDraft, classes: list[str], outputs: int, chosen: list[int]) -> None:
    missing = [name for name, output in zip(classes, chosen, strict=True) if output < 0]
    twice = sorted(output for output, count in Counter(chosen).items() if count > 1 and output >= 0)
    if missing:
        show_error(
            f"These classes have no output yet: {first_few(missing)}. Choose one for each, or use only the encoder."
        )
    elif twice:
        show_error(f"Two classes cannot have the same output: {first_few([str(output) for output in twice])}.")
    elif opened.change(classes=tuple(names_of_outputs(classes, chosen, outputs)), encoder=False):
        st.rerun()
