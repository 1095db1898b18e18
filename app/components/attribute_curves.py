"""Coverage over the number of prototypes per class, for models and their KMEx side by side."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app import read
from app.components.downloads import show_download
from app.components.figure import show_figure
from app.components.job_panel import can_start, follow
from app.figures.attributes import CURVES, curves_figure, curves_table
from app.selection import Selection
from app.state import KS as RANGE
from app.wording import MEANWHILE, ONCE_PER_MODEL
from kmex_core.analysis.coverage import Curves
from kmex_core.base import jobs
from kmex_core.base.store import read_only
from kmex_core.commands.attributes import attributes_job, built_in_attributes_job
from kmex_core.commands.requests import JobRequest
from kmex_core.models.info import KINDS, ModelInfo, trained_alike

KS = range(RANGE[0], RANGE[1] + 1)
SEEDS = range(3)
TOP = "attribute-curves"


def kmex_curves(info: ModelInfo) -> Curves | None:
    """A model's KMEx for all numbers that were found with every seed, or with the first one."""
    return read.attribute_curves(info, KS, SEEDS) or read.attribute_curves(info, KS, SEEDS[:1])


def _complete(info: ModelInfo) -> bool:
    curves = read.attribute_curves(info, KS, SEEDS)
    return curves is not None and len(curves.ks) == len(KS)


def _request(info: ModelInfo, first: int = 0) -> JobRequest:
    return attributes_job(read.subject(info), KS, len(SEEDS), first)


def _done(info: ModelInfo) -> bool:
    """Nothing more will come: all is there, or the job has ended and what is missing cannot be."""
    job = jobs.look(read.store(), _request(info).name)
    return _complete(info) or (job is not None and job.state == "done" and kmex_curves(info) is not None)


def show_coverage_curves(chosen: Selection, total: int) -> None:
    """Show the curves of all models of the data that are there; those of the chosen one are computed when missing."""
    info = chosen.model
    comparable = [
        one
        for one in read.models()
        if (one.dataset, one.class_column) == (info.dataset, info.class_column) and one.class_names == info.class_names
    ]
    if not _done(info):
        follow(
            _request(info, chosen.kmeans.k),
            f"Converting {info.name} for every number, with {len(SEEDS)} seeds.",
            f"{ONCE_PER_MODEL} Finished curves are shown below.",
            key=TOP,
        )
    else:
        with st.container(border=True, key=TOP):
            st.caption(
                f"Bands are ± one standard deviation over {len(SEEDS)} seeds of k-means. Each mark of a model's own "
                "prototypes is a training; models trained alike with other numbers of them are joined, with a band "
                "over the seeds of their trainings. The dotted line is the slider's number."
            )
            if not read_only():
                _offer(comparable, chosen)
    lines = _lines(comparable, chosen)
    if not lines:
        return
    table = curves_table(lines)
    for place, (name, curve) in zip(st.columns(3, gap="medium"), CURVES.items(), strict=True):
        with place:
            st.markdown(f"**{curve.title}**", help=curve.about)
            show_figure(
                f"attribute-{name}",
                curves_figure(table, name, chosen.per_class, KS, total),
                f"{curve.title} for {len(lines)} models",
            )
    show_download("Curves as CSV", table, f"{info.name}-attribute-curves.csv")


def _lines(infos: list[ModelInfo], chosen: Selection) -> Mapping[str, Curves]:
    found: dict[str, Curves] = {}
    for info in infos:
        shown = kmex_curves(info)
        if shown is not None:
            found[f"{info.name} + KMEx"] = shown
    for info, group in _trainings([info for info in infos if _own_found(info)], chosen):
        more = f" and {len(group) - 1} alike" if len(group) > 1 else ""
        found[f"{info.name}{more} ({KINDS[info.kind]} alone)"] = read.built_in_curves(group)
    return found


def _own_found(info: ModelInfo) -> bool:
    return info.kind != "blackbox" and read.summary(read.built_in(info)) is not None


def _trainings(infos: list[ModelInfo], chosen: Selection) -> list[tuple[ModelInfo, list[ModelInfo]]]:
    """Prototypical models in groups that were trained alike, each with the one that names it; the chosen one first."""
    groups: list[tuple[ModelInfo, list[ModelInfo]]] = []
    for info in sorted(infos, key=lambda one: one.name != chosen.model.name):
        if not any(info in group for _, group in groups):
            groups.append((info, trained_alike(info, infos)))
    return groups


def _offer(infos: list[ModelInfo], chosen: Selection) -> None:
    """Show a button for each line of other models that is not there yet, or where the work on it is."""
    row = st.container(horizontal=True)
    groups = _trainings([info for info in infos if info.kind != "blackbox"], chosen)
    to_convert = [info for info in infos if info.kind == "blackbox"] + [info for info, _ in groups]
    missing = [
        (_request(info), f"{info.name} + KMEx")
        for info in to_convert
        if info.name != chosen.model.name and not _done(info)
    ]
    for info, group in groups:
        if not all(_own_found(one) for one in group):
            missing.append((built_in_attributes_job(read.subject(info)), f"{info.name} alone"))
    for request, label in missing:
        if not can_start(request):
            follow(request, f"Measuring {label}.", MEANWHILE)
        elif row.button(f"Add {label}", icon=":material/add:", key=f"add-{request.name}"):
            jobs.start(read.store(), request.name, request.arguments)
            st.rerun()
