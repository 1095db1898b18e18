"""How far prototypes move over seeds of k-means, by class."""

from __future__ import annotations

import streamlit as st

from app import read
from app.claims import audit
from app.components.audit.headline import show_headline
from app.components.shared.downloads import show_download
from app.components.shared.job_panel import offer
from app.selection import Selection
from kmex_core.analysis.tables.prototypes import stability_table
from kmex_core.commands.evaluation import stability_job
from kmex_core.stages.stability import SEEDS

COLUMNS = {
    "class": ("Class", "Name of the class.", None),
    "distance": (
        "Distance (SD) ↓",
        "Mean distance between the matched prototypes of two seeds, in standard deviations of the class. 0: the same "
        "prototypes.",
        "%.3f",
    ),
    "distance_random": (
        "Distance to random images (SD)",
        "The same between the prototypes of a seed and as many random training images of the class: the chance level.",
        "%.3f",
    ),
    "rand_index": (
        "Adjusted Rand index ↑",
        "Agreement of two seeds on which of the class's images share a prototype. 1: the same groups, 0: chance.",
        "%.3f",
    ),
}


def show_stability(chosen: Selection) -> None:
    """Show the stability of KMEx's prototypes where their conversions are stored, or a button that makes them."""
    found, names = read.stability(chosen), chosen.model.class_names
    question = "Does k-means find the same prototypes from other starts?"
    if found is None:
        show_headline("Stability", f"{question} Not measured yet.")
        subject = read.subject(chosen.model)
        offer(
            stability_job(subject, chosen.kmeans),
            f"Find prototypes with {len(SEEDS)} seeds",
            f"Finding prototypes of {chosen.model.name} with {len(SEEDS)} seeds.",
            "Takes seconds to minutes. Finished conversions are kept.",
        )
        return
    show_headline("Stability", question, audit.stability(found, names))
    with st.expander("Numbers by class", icon=":material/tag:"):
        table = stability_table(found, names)
        st.dataframe(
            table,
            hide_index=True,
            column_config={
                name: st.column_config.Column(title, help=about)
                if shown is None
                else st.column_config.NumberColumn(title, help=about, format=shown)
                for name, (title, about, shown) in COLUMNS.items()
            },
        )
        show_download("Stability as CSV", table, f"{chosen.model.name}-stability-{chosen.source.slug}.csv")
