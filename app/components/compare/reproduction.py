"""The verdicts of the newest reproduction of the paper, beside the figures that it published."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from app import read
from app.claims.reproduction import about, newest, reasons
from app.wording import message
from kmex_core.analysis.comparison import Row
from kmex_core.base.errors import InputError
from kmex_core.base.phrases import joined
from kmex_core.base.plain_text import markdown, writable
from kmex_core.metrics.catalogue import METRICS
from kmex_core.reproduction.page_parts import signed
from kmex_core.reproduction.report import Judged
from kmex_core.reproduction.verdicts import SYMBOLS, our_figure, paper_figure


def show_reproduction(table: Sequence[Row]) -> None:
    """Show the verdicts on the paper's figures of the data sets that a table has such figures of.

    Args:
        table: what the page compares.
    """
    datasets = dict.fromkeys(row.dataset for row in table if row.source == "paper")
    if not datasets:
        return
    try:
        reports = read.reproductions()
    except InputError as error:
        st.warning(message(str(error)), icon=":material/broken_image:")
        return
    for dataset in datasets:
        report, found = newest(reports, dataset)
        if report is None:
            st.caption(
                f"The store has no reproduction of the paper's figures of {markdown(dataset)}; `python -m kmex_core "
                "reproduce` makes one."
            )
            continue
        st.markdown(f"**Reproduced?** The paper's figures of {markdown(dataset)}, beside ours by its definitions")
        st.html(_table(f"Reproduction of the paper's figures of {dataset}", found))
        st.caption(about(report, found))
        with st.expander(f"Why: the verdicts in words ({len(found)})", icon=":material/balance:"):
            st.markdown(reasons(found))


def _table(title: str, found: Sequence[Judged]) -> str:
    """Models as rows, metrics as columns."""
    first = {each.cell.metric: each.cell.table for each in reversed(found)}
    metrics = sorted(first, key=lambda metric: (first[metric], list(METRICS).index(metric)))
    by_place = {(each.cell.model, each.cell.metric): each for each in found}
    head = "".join(
        f'<th scope="col">{escape(METRICS[metric].heading)}<small>{_tables(metric, found)}</small></th>'
        for metric in metrics
    )
    body = "".join(
        f'<tr><th scope="row">{_text(model)}</th>{"".join(_cell(by_place.get((model, each))) for each in metrics)}</tr>'
        for model in dict.fromkeys(each.cell.model for each in found)
    )
    return (
        f'<div class="kx-compare" role="region" aria-label="{_text(title)}" tabindex="0"><table>'
        f'<thead><tr><th scope="col">Model</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _tables(metric: str, found: Sequence[Judged]) -> str:
    """The paper's tables of a metric: Table 8 has that of Table 7 for other models."""
    numbers = sorted({each.cell.table for each in found if each.cell.metric == metric})
    return f"Table{'s' * (len(numbers) > 1)} {joined('and', map(str, numbers))}"


def _cell(each: Judged | None) -> str:
    if each is None:
        return '<td class="kx-none">–</td>'
    outcome, errors = each.verdict.outcome, each.verdict.standard_errors
    lines = [f"paper {paper_figure(each.cell)}"]
    if outcome != "cannot be had":
        lines.append(f"ours {our_figure(each.cell.published)}")
        lines.append("" if errors is None else f"{signed(errors, 1)} SE")
    whole = [line.replace(" ", "\u00a0") for line in lines if line]  # a figure is on one line with its ±
    parts = "".join(f"<small>{_text(line)}</small>" for line in (each.how, *whole) if line)
    return f'<td title="{_text(each.verdict.because)}"><span>{SYMBOLS[outcome]} {outcome}</span>{parts}</td>'


def _text(words: str) -> str:
    return escape(writable(words))
