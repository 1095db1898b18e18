"""Overview: what this model is, how well KMEx stands in for it, and its prototypes."""

from __future__ import annotations

import streamlit as st

from app import read
from app.components.overview.diagram import explain_model
from app.components.overview.summary import show_summary
from app.components.shared.notes import show_notes
from app.components.shared.preparation import prepare
from app.components.shared.prototype_card import open_prototype
from app.components.shared.prototype_list import show_list
from app.components.shared.title import show_title
from app.state import selection
from kmex_core.base.plain_text import markdown
from kmex_core.data import registry as datasets

chosen = selection()
info = chosen.model

show_title("Overview")
st.markdown(
    f"**{markdown(info.name)}** is a {markdown(info.backbone)} that tells {len(info.class_names)} classes of "
    f"{markdown(datasets.title(info.dataset))} apart, seen as {info.image_size}×{info.image_size} pixels"
    f"{' in grey' if info.channels == 1 else ' in colour'}."
)
prepare(info)
show_notes(chosen, of_data=True)
converted = read.conversion(chosen)
show_summary(chosen, converted)

with st.expander(f"What {chosen.title} does", expanded=True, icon=":material/lightbulb:"):
    explain_model(chosen)

slider = "The slider in the sidebar changes how many there are."
st.header("Prototypes", help=slider if chosen.has_black_box else None)
st.caption(
    "Each picture is the training image nearest to a prototype. Below it: how many of the class's training images "
    "have it as their nearest prototype, as a share and as a count. A prototype that none has is a **ghost**. Click "
    "one to see all that it stands for."
)
if clicked := show_list(chosen, "class", None):
    open_prototype(chosen, int(clicked))
