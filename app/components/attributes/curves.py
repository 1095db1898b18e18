"""Attribute coverage over the number of prototypes per class, for models and their KMEx side by side."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app import read
from app.components.shared.downloads import show_download
from app.components.shared.figure import show_figure
from app.components.shared.job_panel import can_start, follow
from app.figures.attributes import CHANCE_NAME, CURVES, curves_figure
from app.selection import KS, Selection
from app.wording import MEANWHILE, ONCE_PER_MODEL
from kmex_core.analysis.coverage import Curves
from kmex_core.analysis.tables.attributes import comparable, curve_lines, curves_table, trainings
from kmex_core.base import jobs
from kmex_core.base.store import read_only
from kmex_core.commands.attributes import attributes_job, built_in_attributes_job
from kmex_core.commands.requests import JobRequest
from kmex_core.metrics import DRAWS
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import BuiltIn, KMeans

SEEDS = range(3)
TOP = "attribute-curves"


def kmex_curves(info: ModelInfo, metric: str) -> Curves | None:
    """The curves of a model's KMEx over the numbers that are stored for every seed, or else for the first one."""
    return read.attribute_curves(info, KS, SEEDS, metric) or read.attribute_curves(info, KS, SEEDS[:1], metric)


def _complete(info: ModelInfo, metric: str) -> bool:
    curves = read.attribute_curves(info, KS, SEEDS, metric)
    return curves is not None and len(curves.ks) == len(KS)


def _request(info: ModelInfo, kmeans: KMeans) -> JobRequest:
    return attributes_job(read.subject(info), KS, len(SEEDS), kmeans)


def _done(info: ModelInfo, kmeans: KMeans) -> bool:
    """Whether nothing more will come: all is stored, or the job has ended and what is missing cannot be computed."""
    job = jobs.look(read.store(), _request(info, kmeans).name)
    return _complete(info, kmeans.metric) or (
        job is not None and job.state == "done" and kmex_curves(info, kmeans.metric) is not None
    )


def show_coverage_curves(chosen: Selection, total: int) -> None:
    """Show the stored curves of all models of the data set; those of the chosen model are computed when missing."""
    info = chosen.model
    infos = comparable(info, read.models())
    if not _done(info, chosen.kmeans):
        follow(
            _request(info, chosen.kmeans),
            f"Converting {info.name} for 1 to 20 prototypes per class, with {len(SEEDS)} seeds.",
            f"{ONCE_PER_MODEL} Finished curves are shown below.",
            key=TOP,
        )
    else:
        with st.container(border=True, key=TOP):
            st.caption(
                f"Coloured bands: ± one standard deviation over {len(SEEDS)} k-means seeds. For built-in prototypes, "
                "each mark is a trained model; lines join models that differ only in their number of prototypes, with "
                f"bands over trainings (one per seed). Grey: {CHANCE_NAME.lower()}, as many of each class as it has "
                f"prototypes; mean and middle 95% of {DRAWS} draws. A figure inside the grey band is no better than "
                "chance. Dotted vertical line: the number in the sidebar."
            )
            if not read_only():
                _offer(infos, chosen)
    lines = _lines(infos, chosen)
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
    groups = trainings([info for info in infos if _has_built_in(info)], chosen.model.name)
    return curve_lines(infos, lambda info: kmex_curves(info, chosen.kmeans.metric), groups, read.built_in_curves)


def _has_built_in(info: ModelInfo) -> bool:
    return info.kind != "blackbox" and read.summary(Selection(info, BuiltIn())) is not None


def _offer(infos: list[ModelInfo], chosen: Selection) -> None:
    """Show a button, or the progress, for each missing line of other models."""
    row = st.container(horizontal=True)
    groups = trainings(infos, chosen.model.name)
    to_convert = [info for info in infos if info.kind == "blackbox"] + [info for info, _ in groups]
    missing = [
        (_request(info, chosen.kmeans), f"{info.name} + KMEx")
        for info in to_convert
        if info.name != chosen.model.name and not _done(info, chosen.kmeans)
    ]
    for info, group in groups:
        if not all(map(_has_built_in, group)):
            missing.append((built_in_attributes_job(read.subject(info)), f"{info.name} alone"))
    for request, label in missing:
        if not can_start(request):
            follow(request, f"Computing the curves of {label}.", MEANWHILE)
        elif row.button(f"Add {label}", icon=":material/add:", key=f"add-{request.name}"):
            jobs.start(read.store(), request.name, request.arguments)
            st.rerun()
