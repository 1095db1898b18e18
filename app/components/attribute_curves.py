"""Coverage over the number of prototypes per class, for models and their KMEx side by side."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app import cache
from app.components.downloads import show_download
from app.components.figure import show_figure
from app.components.job_panel import follow
from app.figures.attributes import CURVES, curves_figure, curves_table
from app.state import DEFAULT_K, Selection
from app.state import KS as RANGE
from kmex_core import jobs
from kmex_core.attributes import Curves
from kmex_core.results import KINDS, OWN, ModelInfo

KS = range(RANGE[0], RANGE[1] + 1)
SEEDS = range(3)
TOP = "attribute-curves"


def kmex_curves(info: ModelInfo) -> Curves | None:
    """A model's KMEx for all numbers that were found with every seed, or with the first one."""
    return cache.attribute_curves(info, KS, SEEDS) or cache.attribute_curves(info, KS, SEEDS[:1])


def _complete(info: ModelInfo) -> bool:
    found = cache.attribute_curves(info, KS, SEEDS)
    return found is not None and len(found.ks) == len(KS)


def _job(info: ModelInfo) -> str:
    return f"attributes-{cache.conversion_spec(info, 1, 0).key}"


def _arguments(info: ModelInfo) -> list[str]:
    return ["attributes", "--model", info.name, "--k", f"{KS[0]}:{KS[-1]}", "--runs", str(len(SEEDS))]


def _done(info: ModelInfo) -> bool:
    """Nothing more will come: all is there, or the job has ended and what is missing cannot be."""
    job = jobs.look(cache.store(), _job(info))
    return _complete(info) or (job is not None and job.state == "done" and kmex_curves(info) is not None)


def show_coverage_curves(chosen: Selection, total: int) -> None:
    """Show the curves of all models of the data that are there; those of the chosen one are computed when missing."""
    info = chosen.model
    alike = [
        one for one in cache.models() if (one.dataset, one.class_column) == (info.dataset, info.class_column)
        and one.class_names == info.class_names
    ]  # fmt: skip
    others = [one for one in alike if one.name != info.name and not _done(one)]
    if not _done(info):
        follow(
            _job(info),
            [*_arguments(info), "--first", str(chosen.k or DEFAULT_K)],
            f"Converting {info.name} for every number, with {len(SEEDS)} seeds.",
            "It takes from seconds to some minutes, once per model. What is below is there already.",
            key=TOP,
        )  # fmt: skip
    else:
        with st.container(border=True, key=TOP):
            st.caption(
                f"Bands are ± one standard deviation over {len(SEEDS)} seeds of k-means. A model's own prototypes are "
                "a single mark: another number of them is another training. The dotted line is the slider's number."
            )
            if others:
                _offer(others)
    lines = _lines(alike, chosen)
    if not lines:
        return
    table = curves_table(lines)
    for place, (name, curve) in zip(st.columns(3, gap="medium"), CURVES.items(), strict=True):
        with place:
            st.markdown(f"**{curve.title}**", help=curve.about)
            show_figure(
                f"attribute-{name}", curves_figure(table, name, chosen.per_class, KS, total),
                f"{curve.title} for {len(lines)} models",
            )  # fmt: skip
    show_download("Curves as CSV", table, f"{info.name}-attribute-curves.csv")


def _lines(infos: list[ModelInfo], chosen: Selection) -> Mapping[str, Curves]:
    found: dict[str, Curves] = {}
    for info in infos:
        shown = kmex_curves(info)
        if shown is not None:
            found[f"{info.name} + KMEx"] = shown
        if info.kind == "blackbox":
            continue
        if chosen.own and info.name == chosen.model.name:
            cache.conversion(info, OWN, 0)
        own = cache.attribute_curves(info, [OWN], [0])
        if own is not None:
            found[f"{info.name} ({KINDS[info.kind]} alone)"] = own
    return found


def _offer(others: list[ModelInfo]) -> None:
    """Show a button for each other model whose curves are not there yet, or where the work on them is."""
    row = st.container(horizontal=True)
    for info in others:
        arguments = _arguments(info)
        job = jobs.look(cache.store(), _job(info))
        if job is not None and job.state != "done":
            follow(_job(info), arguments, f"Converting {info.name}.", "It goes on while you look at other pages.")
        elif row.button(f"Add {info.name}", icon=":material/add:", key=f"add-{info.name}"):
            jobs.start(cache.store(), _job(info), arguments)
            st.rerun()
