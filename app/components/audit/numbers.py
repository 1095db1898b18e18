"""The numbers behind a headline: each with its direction, chance levels, what its ± is over, and what it means."""

from __future__ import annotations

from html import escape

import streamlit as st

from app.components.shared.notes import marked
from app.wording import BETTER, interval, message
from kmex_core.analysis import comparison
from kmex_core.metrics.catalogue import METRICS, PREDICTIONS, Metric
from kmex_core.metrics.types import Evaluation, Measured

# the paper's forms: what is the published form of another metric, and the diversity that the paper defines
PUBLISHED = {name for name, kind in METRICS.items() if kind.reference_of} | {"diversity", "diversity_all"}


def show_numbers(evaluation: Evaluation, group: str) -> None:
    """Show each metric of a group, how it compares with its chance levels, and why one could not be computed."""
    names = [
        name
        for name, kind in METRICS.items()
        if kind.group == group and name in evaluation.metrics and not kind.chance_of
    ]
    caveat = evaluation.caveat if group == PREDICTIONS else ""
    own = [_row(evaluation, name, caveat) for name in names if name not in PUBLISHED]
    published = [_row(evaluation, name, caveat) for name in names if name in PUBLISHED]
    heading = '<tr><th colspan="3" scope="rowgroup">As published</th></tr>' if published else ""
    st.html(
        '<table class="kx-numbers"><thead><tr><th scope="col">Metric</th><th scope="col">Value</th>'
        '<th scope="col">Meaning</th></tr></thead>'
        f"<tbody>{''.join(own)}</tbody><tbody>{heading}{''.join(published)}</tbody></table>"
    )
    sentences = comparison.chance_sentences(evaluation, group)
    if sentences:
        st.markdown("\n".join(f"- {message(sentence)}" for sentence in sentences))
        st.caption(BETTER)


def _row(evaluation: Evaluation, name: str, caveat: str) -> str:
    kind, value = METRICS[name], evaluation.metrics[name]
    shown = "not computed" if value.mean is None else kind.with_unit(value.mean)
    beside = [value.reason] if value.mean is None else _beside(evaluation, kind, value)
    lines = "".join(f"<small>{escape(line)}</small>" for line in beside)
    return (
        f'<tr><th scope="row">{escape(marked(f"{kind.title} {kind.arrow}", caveat))}</th>'
        f"<td><b>{escape(shown)}</b>{lines}</td><td>{escape(f'{kind.about} {_direction(kind)}')}</td></tr>"
    )


def _beside(evaluation: Evaluation, kind: Metric, value: Measured) -> list[str]:
    """What stands beside a value: its spread, the black box's, and its chance levels."""
    lines = []
    if value.interval is not None:
        lines.append(interval(*value.interval))
    elif value.std_images is not None:
        lines.append(f"± {kind.shown(value.std_images)}: standard deviation over images.")
    named = [(kind.black_box, "Black box")]
    named += [(name, level.title) for name, level in METRICS.items() if level.chance_of == kind.name]
    for name, title in named:
        other = evaluation.metrics.get(name)
        if other is not None and other.mean is not None:
            lines.append(f"{title}: {kind.shown(other.mean)}.")
    return lines


def _direction(kind: Metric) -> str:
    return f"{kind.better.capitalize()} is better." if kind.better else ""
