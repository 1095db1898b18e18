"""Models side by side: which, their table beside the paper's, and the radar."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import streamlit as st

from app import read
from app.components.compare.wide_table import show_wide_table
from app.components.shared.downloads import show_download
from app.figures.evaluation import radar_figure
from app.links import bound, one_of
from app.selection import Selection, all_sources
from app.wording import MAY_BE_GONE, message
from kmex_core.analysis import comparison, published
from kmex_core.analysis.comparison import Row
from kmex_core.analysis.tables.evaluation import AXES, radar_table, radar_values
from kmex_core.base.plain_text import markdown
from kmex_core.data import registry as datasets
from kmex_core.metrics.catalogue import DIVERSITY, MAPS, METRICS, PREDICTIONS, TRANSPARENCY
from kmex_core.metrics.types import Evaluation
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import KMeans, per_class_words
from kmex_core.stages.versions import usable_versions

RUNS = (1, 3, 5)
GROUPS = ((PREDICTIONS, TRANSPARENCY), (DIVERSITY,), (MAPS,))


def choose_models(chosen: Selection) -> list[ModelInfo]:
    """Show the choice of models; at first all that tell the chosen model's data set apart."""
    models = read.models()
    data = chosen.model.dataset, chosen.model.class_names
    alike = [info.name for info in models if (info.dataset, info.class_names) == data]
    names = [info.name for info in models]
    picked = st.multiselect(
        "Models",
        names,
        alike,
        key="models",
        bind=bound("models", one_of(names), MAY_BE_GONE, alike),
        help="Models in the store. Numbers are comparable only within one data set.",
    )
    return [info for info in models if info.name in picked]


def choose_runs() -> int:
    """Show the choice of how many runs the numbers are over."""
    return st.selectbox(
        "Runs",
        RUNS,
        key="runs",
        width=120,
        bind=bound("runs", one_of(RUNS), f"Choose one of {', '.join(map(str, RUNS))}.", RUNS[0]),
        help="Each run has its own seed for k-means and for the choice of test images. With several runs, ± is the "
        "standard deviation over these seeds; with one, over images.",
    )


def show_table(table: Sequence[Row]) -> None:
    """Show measured and published numbers, a model per line and a metric per column, with downloads."""
    measured = comparison.metrics_of(table)
    for groups in GROUPS:
        names = [name for name in measured if METRICS[name].group in groups]
        if not names:
            continue
        st.markdown(f"**{' · '.join(groups)}**")
        columns = [
            ("Model", "Model, and its data set if there are several."),
            *((METRICS[name].heading, METRICS[name].about) for name in names),
        ]
        rows = [
            [_title(row, table), *(comparison.shown(name, row.cells.get(name)) for name in names)]
            for row in table
            if any(name in row.cells for name in names)
        ]
        show_wide_table(f"{' and '.join(groups)} of all models", columns, rows)
    st.caption(
        "↑ higher is better, ↓ lower is better; metrics without an arrow are for comparison. –: not measured or not "
        "applicable. ±: standard deviation over what the parentheses name: images (of the mean over an image's "
        "prototypes), k-means seeds, samples of test images, or trainings."
    )
    st.caption(markdown(_sizes([row for row in table if row.source == "measured"])))
    for note in comparison.measured_notes(table):
        st.caption(f"{message(note)}.")
    if notes := comparison.published_notes(table):
        st.caption(
            "Rows marked *(paper)* are published figures, not measured here. Do not mix the two. "
            f"{published.source()[1]}. " + ". ".join(notes) + "."
        )
    for reason in dict.fromkeys(cell.note for row in table for cell in row.cells.values() if cell.mean is None):
        st.caption(f"Not computed: {message(reason)}")
    with st.container(horizontal=True):
        show_download("Table as CSV", lambda: comparison.as_csv(table), "comparison.csv", "Shares are fractions.")
        show_download(
            "Table as LaTeX", lambda: comparison.as_latex(table), "comparison.tex", "Uses the booktabs package."
        )


def show_differences(found: Sequence[Evaluation]) -> None:
    """Show how much more accurate models are than the first one, with paired intervals."""
    for difference in comparison.differences(found):
        st.caption(f"{message(difference.text)}.")


def _sizes(measured: Sequence[Row]) -> str:
    """What measured numbers are over, in words: data sets, prototypes per class and images that have maps."""
    models: dict[str, list[str]] = {}
    for row in measured:
        if row.k:
            maps = f", relevance maps on {row.images:,} test images" if row.images else ""
            models.setdefault(f"{per_class_words(row.k)}{maps}", []).append(row.label)
    of_each = "; ".join(f"{', '.join(labels)}: {size}" for size, labels in models.items())
    data = ", ".join(dict.fromkeys(row.dataset for row in measured))
    return f"Measured here on {data}, with {next(iter(models))}." if len(models) == 1 else f"On {data}. {of_each}."


def _title(row: Row, table: Sequence[Row]) -> str:
    """A model, with its data set where the table has several."""
    return row.label if len({other.dataset for other in table}) == 1 else f"{row.label}, {row.dataset}"


def show_radar(table: Sequence[Row]) -> None:
    """Show the strengths and weaknesses of every KMEx as a polygon."""
    kind = st.segmented_control(
        "Save the figure as",
        ["png", "svg"],
        format_func=str.upper,
        default="png",
        required=True,
        key="figure-kind",
        help="Format of the file that the camera button at the figure's top right saves.",
    )
    places = radar_table(radar_values(table))
    st.plotly_chart(
        radar_figure(places),
        key="radar",
        alt="Models on six axes; farther out is better",
        config={
            "modeBarButtons": [["toImage"]],
            "displayModeBar": True,
            "displaylogo": False,
            "toImageButtonOptions": {"format": kind, "filename": "comparison", "scale": 2},
        },
    )
    st.caption(
        "Every axis runs from 0 at the centre to 1; farther out is better. "
        + "; ".join(f"**{axis.title}**: {METRICS[axis.metric].title}, {axis.scale}" for axis in AXES)
        + ". Axes not measured for a model are left out of its line. Rows without prototypes are not shown."
    )
    show_download("Radar as CSV", places, "radar.csv")


def explain_alone(info: ModelInfo) -> None:
    """Explain how to get a second model of the same data set, where there is none."""
    if sum(other.dataset == info.dataset for other in read.models()) > 1:
        return
    title = markdown(datasets.title(info.dataset))
    st.info(
        f"**{markdown(info.name)}** is the only model of {title} in the store, so it is compared with its KMEx, and "
        "with "
        "the paper's figures if there are any for this data set. Train another model to compare them:",
        icon=":material/add:",
    )
    st.code(
        f"python -m kmex_core train --dataset {shlex.quote(info.dataset)} --backbone resnet18 --name second",
        language=None,
    )


def evaluations(infos: Sequence[ModelInfo], kmeans: KMeans, images: int, runs: int) -> list[Evaluation]:
    """The evaluations of some models; prototypical ones on their own, then with KMEx."""
    return [
        read.evaluation(selection, range(runs), images)
        for info in infos
        for selection in all_sources(info, kmeans, usable_versions(read.subject(info)))
    ]
