"""The sanity suite: what each kind of relevance map is worth, beside maps that know nothing of the prototype."""

from __future__ import annotations

import streamlit as st

from app import claims, read
from app.components.shared.downloads import show_download
from app.components.shared.job_panel import offer
from app.selection import Selection
from app.wording import message
from kmex_core.analysis import map_checks as suite
from kmex_core.commands.checks import costs, map_checks_job
from kmex_core.metrics.types import MapChecks
from kmex_core.relevance.types import REPLACEMENTS
from kmex_core.stages.map_checks import IMAGES

SHARE = "%.0f%%"
COLUMNS = {
    "row": ("Map", "A kind of relevance map; the last rows know nothing of the prototype.", None),
    **{
        f"kept_{name}": (
            f"Kept, {name} ↓",
            "Share of the images that keep their class when the most relevant pixels are replaced "
            f"({name}), mean over 5 to 50% of the pixels.",
            SHARE,
        )
        for name in REPLACEMENTS
    },
    **{
        f"inserted_{name}": (
            f"Inserted, {name} ↑",
            f"Share of the images that have their class when all but the most relevant pixels are replaced ({name}), "
            "mean over 5 to 50% of the pixels.",
            SHARE,
        )
        for name in REPLACEMENTS
    },
    "specific": (
        "Specific ↑",
        "Share of the images for which the maps against two rivals each hurt their own margin more. Chance: 50%.",
        SHARE,
    ),
    "cosine": ("Cosine of rivals ↓", "Of the maps against two rivals; 1: the map ignores the rival.", "%.2f"),
    "sensitivity": (
        "Noise ↓",
        "How far noise of 1% moves the map, as a share of its length: the worst of 10 draws, median over images.",
        "%.2f",
    ),
    "randomised": (
        "Random weights ↓",
        "Rank correlation with the map of a network with random weights; 0: no relation.",
        "%.2f",
    ),
    "seconds_per_image": ("Seconds per image ↓", "Time of the maps of one image on this machine.", "%.3f"),
}


def show_map_checks(chosen: Selection, images: int) -> None:
    """Show the suite where it was run, or what it costs and a button that runs it, on at most 200 of `images`."""
    with st.expander("Sanity checks of every kind of map", icon=":material/fact_check:"):
        st.caption(
            "Do the pixels of a map carry the decision? Is it about this prototype and this rival, and about what the "
            "network has learned? Each kind of map is put beside a random order of pixels, brightness, another image's "
            "map and a start of LRP that knows nothing."
        )
        subject = read.subject(chosen.model)
        checks = subject.map_checks(chosen.source, min(images, IMAGES))
        found = read.peek(checks)
        if found is not None:
            _show(chosen, found)
            return
        spec = checks.spec
        offer(
            map_checks_job(subject, chosen.source, spec.images),
            "Check the relevance maps",
            f"Checking the relevance maps of {chosen.model.name}.",
            costs(spec.images, spec.few, len(spec.kinds)) + " Finished checks are kept.",
        )


def _show(chosen: Selection, found: MapChecks) -> None:
    st.markdown(claims.map_checks(found))
    table = suite.table(found)
    # shares in per cent, as NumberColumn's own format for them has no fixed number of digits
    percent = {name: table[name] * 100 for name, (_, _, shown) in COLUMNS.items() if shown == SHARE}
    st.dataframe(
        table.assign(**percent)[list(COLUMNS)],
        hide_index=True,
        column_config={
            name: st.column_config.Column(title, help=about, pinned=True)
            if shown is None
            else st.column_config.NumberColumn(title, help=about, format=shown)
            for name, (title, about, shown) in COLUMNS.items()
        },
    )
    st.caption(
        f"{found.kept.shape[1]:,} test images, {found.sensitivity.shape[1]:,} of them with noise and random weights. "
        "Deleting pixels makes unusual images, so that no verdict rests on one replacement. **Better**: by more than "
        "1.96 standard errors of the paired differences, image by image."
    )
    if not len(found.random_layers):
        st.caption(suite.NO_RANDOM_WEIGHTS)
    with st.popover("One verdict per map", icon=":material/gavel:", width="content"):
        st.markdown("\n".join(f"- {message(verdict.text)}" for verdict in suite.verdicts(found)))
    show_download("Checks as CSV", table, f"{chosen.model.name}-map-checks.csv")
