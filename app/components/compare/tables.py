"""The compared models' numbers: tables with bars, what they say, and their downloads."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.claims.comparison import diversity_conflict
from app.components.compare.measuring import Compared
from app.components.compare.metric_table import Line, show_metrics
from app.components.shared.downloads import show_download
from app.explore_links import explore_address
from app.wording import message
from kmex_core.analysis import comparison, published, ranking
from kmex_core.analysis.comparison import Row
from kmex_core.base.chance import chance_accuracy
from kmex_core.base.plain_text import markdown
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.types import Evaluation
from kmex_core.prototypes.source import per_class_words

PROTOTYPES = ("accuracy", "agreement", "calibration_error", "ghosting", "effective", "relative_distance")
ALIKE = ("diversity", "diversity_all")  # near 0 unless prototypes nearly coincide


def show_tables(compared: Sequence[Compared], table: Sequence[Row]) -> None:
    """Show measured numbers, then those as published beside the paper's where the table has these."""
    evaluations = [each.evaluation for each in compared if each.evaluation is not None]
    measured = [row for row in table if row.source == "measured"]
    names = comparison.metrics_of(table)
    maps = [name for name in names if METRICS[name].maps and _is_shown(name)]
    lines = _lines(compared, evaluations, measured)
    others = [name for name in names if name not in PROTOTYPES and not METRICS[name].maps and _is_shown(name)]
    _show("Predictions and prototypes", [name for name in PROTOTYPES if name in names] + others, lines, evaluations)
    if maps:
        _show("Relevance maps", maps, [line for line in lines if any(name in line.cells for name in maps)], evaluations)
    for sentence in diversity_conflict(evaluations):
        st.info(sentence, icon=":material/compare_arrows:")
    if any(row.source == "paper" for row in table):
        _show_published(table)
    _show_notes(table)


def _is_shown(name: str) -> bool:
    """Whether a metric has a column: chance levels are beside theirs, published forms beside the paper's figures, and
    D_dvs in exact arithmetic hardly varies."""
    kind = METRICS[name]
    return kind.between_networks and not (kind.chance_of or kind.reference_of or name in ALIKE)


def _show(about: str, names: Sequence[str], lines: Sequence[Line], evaluations: Sequence[Evaluation]) -> None:
    st.markdown(f"**{about}**")
    best = {name: found for name in names if (found := _best(evaluations, name)) is not None}
    show_metrics(f"{about} of all models", names, lines, best)


def _best(evaluations: Sequence[Evaluation], name: str) -> ranking.Best | None:
    return ranking.best(ranking.entries(evaluations, name), METRICS[name].better)


def _lines(compared: Sequence[Compared], evaluations: Sequence[Evaluation], measured: Sequence[Row]) -> list[Line]:
    """A line for each measured row, and one for each model that has no measurements yet."""
    rows, lines = iter(measured), []
    for each in compared:
        href = explore_address(chosen=each.selection)
        if each.evaluation is None:
            lines.append(Line(each.label, {}, {}, {}, href, "not measured yet"))
            continue
        for label, black_box in comparison.labels_of(each.evaluation):
            row = next(rows)
            intervals = {
                name: found.interval
                for name in row.cells
                for found in ranking.entries([each.evaluation], name)
                if found.label == label and found.interval is not None
            }
            lines.append(Line(row.label, row.cells, intervals, _chance(each.evaluation, row, black_box), href))
    return lines


def _chance(evaluation: Evaluation, row: Row, black_box: bool) -> dict[str, list[tuple[str, float]]]:
    """What each number is beside: guessing for accuracy, and the metrics' own chance levels."""
    found: dict[str, list[tuple[str, float]]] = {}
    for name in row.cells:
        for level, kind in METRICS.items():
            value = evaluation.metrics.get(kind.black_box if black_box else level)
            if kind.chance_of == name and value is not None and value.mean is not None:
                found.setdefault(name, []).append((kind.chance_name, value.mean))
    if "accuracy" in row.cells and len(evaluation.labels):
        guessing = chance_accuracy(evaluation.labels, int(evaluation.labels.max()) + 1)
        found["accuracy"] = [("guessing", guessing)]
    return found


def _show_published(table: Sequence[Row]) -> None:
    names = [
        name
        for name in METRICS
        if any(name in row.cells for row in table if row.source == "paper") or METRICS[name].reference_of
    ]
    names = [name for name in names if any(name in row.cells for row in table)]
    st.markdown("**As published**")
    show_metrics("Published figures", names, [Line(row.label, row.cells, {}, {}) for row in table], {})
    st.caption(
        "Rows marked *(paper)* are published figures, not measured here. Do not mix the two. "
        f"{published.source()[1]}. " + ". ".join(comparison.published_notes(table)) + "."
    )


def _show_notes(table: Sequence[Row]) -> None:
    st.caption(
        "A bar begins at the smallest possible value; the line across it is the 95% interval, the mark the chance "
        "level. **Best** is said only where intervals tell the best value from the next one: of accuracy, the paired "
        "interval on the same test images. No interval: one run of k-means says nothing of the next one; choose three "
        "runs or more. –: not applicable or not measured. ±: standard deviation over what follows: images, k-means "
        "seeds, samples of test images, or trainings."
    )
    measured = [row for row in table if row.source == "measured"]
    if measured:
        st.caption(markdown(_sizes(measured)))
    reasons = dict.fromkeys(cell.note for row in table for cell in row.cells.values() if cell.mean is None)
    notes = [f"{note}." for note in comparison.measured_notes(table)] + [
        f"Not computed: {reason}" for reason in reasons
    ]
    if notes:
        with st.expander(f"Notes on these numbers ({len(notes)})", icon=":material/sticky_note_2:"):
            st.markdown("\n".join(f"- {message(note)}" for note in notes))


def show_downloads(table: Sequence[Row]) -> None:
    """Show what keeps all numbers."""
    with st.container(horizontal=True):
        show_download("Table as CSV", lambda: comparison.as_csv(table), "comparison.csv", "Shares are fractions.")
        show_download(
            "Table as LaTeX", lambda: comparison.as_latex(table), "comparison.tex", "Uses the booktabs package."
        )


def show_differences(compared: Sequence[Compared]) -> None:
    """Show how much more accurate models are than the first one, with paired intervals, folded."""
    found = comparison.differences([each.evaluation for each in compared if each.evaluation is not None])
    if found:
        with st.expander("Differences in accuracy, image by image", icon=":material/difference:"):
            for difference in found:
                st.markdown(f"{message(difference.text)}.")


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
