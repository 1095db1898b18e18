"""The head of Explore: which model it is, how well its prototypes do, and how to pass both on."""

from __future__ import annotations

from urllib.parse import urlencode

import numpy as np
import streamlit as st

from app import claims, read
from app.claims.header import header_numbers
from app.components.shared.downloads import show_download
from app.components.shared.title import PRODUCT
from app.components.shared.tour import show_tour
from app.report import html_report
from app.selection import Selection
from kmex_core.analysis.tables.embedding_map import projection_table, prototype_places
from kmex_core.analysis.types import Projection
from kmex_core.base.plain_text import markdown, table_csv
from kmex_core.commands.taking_away import kmex_export
from kmex_core.data import registry as datasets
from kmex_core.prototypes.source import KMeans, Version
from kmex_core.stages.taken_away import card_text


def show_header(chosen: Selection) -> None:
    """Show the page's title with the model's numbers in one line, each with a tooltip, the button Share and the tour.

    Args:
        chosen: the model, whose images are embedded, and the source of its prototypes.
    """
    info, subject = chosen.model, read.subject(chosen.model)
    st.set_page_config(page_title=f"Explore · {info.name} · {PRODUCT}")
    geometry = read.result(subject.geometry()) if chosen.is_kmex else None
    labels = subject.data.split("test").labels
    with st.container(horizontal=True, vertical_alignment="center", key="explore-header", gap="medium"):
        title = f"{markdown(datasets.title(info.dataset))} · {markdown(info.backbone)}"
        st.markdown(f"# {title}", width="content", anchors=False)
        for number in header_numbers(chosen, read.conversion(chosen), labels, geometry):
            st.markdown(markdown(number.text), help=number.about, width="content")
        with st.popover("Share", icon=":material/share:", width="content"):
            _show_share(chosen)
        show_tour()


def _show_share(chosen: Selection) -> None:
    info, subject = chosen.model, read.subject(chosen.model)
    parameters = [(name, text) for name in st.query_params for text in st.query_params.get_all(name)]
    st.markdown("**Link to this view**, for those who can reach this server")
    st.code(f"{st.context.url or ''}?{urlencode(parameters)}", language=None, wrap_lines=True)
    name = f"{info.name}-{chosen.source.slug}"
    show_download(
        "Report (HTML)",
        lambda: html_report(subject, chosen.source)[0],
        f"{name}-report.html",
        "One file that any browser opens offline: prototypes, this page with its map and timeline, and evaluation. It "
        "contains what has been computed, and names the commands for the rest.",
    )
    show_download(
        "Model card (Markdown)",
        lambda: card_text(subject, chosen.source),
        f"{name}-card.md",
        "What the model is, how it was evaluated and what its limits are, in Hugging Face's format.",
    )
    projection = read.peek(subject.embedding_map())
    if projection is not None:
        _show_tables(chosen, projection)
    if isinstance(chosen.source, KMeans | Version):
        st.markdown("**KMEx in one file**, for Python: run this on the server")
        st.code(kmex_export(info.name, chosen.source).command, language=None, wrap_lines=True)


def _show_tables(chosen: Selection, projection: Projection) -> None:
    """Show the buttons that download where images and prototypes are on the embedding map."""
    conversion, names = read.conversion(chosen), chosen.model.class_names
    predicted = np.concatenate([conversion.train_predicted, conversion.test_predicted])
    images = np.arange(len(projection.labels))
    show_download(
        "Images on the map (CSV)",
        lambda: table_csv(projection_table(projection, names, images, predicted)),
        f"{chosen.model.name}-map.csv",
        f"Every image with its class, the predictions and its position. {markdown(claims.drawn_by(projection))}",
    )
    show_download(
        "Prototypes on the map (CSV)",
        lambda: table_csv(prototype_places(conversion.prototypes, read.prototype_places(chosen), names)),
        f"{chosen.model.name}-map-prototypes.csv",
        "Every prototype with its class, importance, exemplar and position.",
    )
