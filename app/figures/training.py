"""How a training run goes: loss with its terms, and accuracy, epoch by epoch."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from kmex_core.base.plain_text import chart
from kmex_core.data.colours import class_colours

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def loss_figure(table: pd.DataFrame, epochs: int = 0) -> go.Figure:
    """The loss and its terms over epochs.

    Args:
        table: see `analysis.tables.models.history_table`.
        epochs: how many there will be; as many as there are when 0.
    """
    epochs = max(epochs, int(table["epoch"].max()))
    terms = [name for name in table.columns if name not in ("epoch", "stage", "accuracy")]
    colours = class_colours(len(terms))
    figure = go.Figure(
        [
            go.Scatter(
                x=table["epoch"],
                y=table[name],
                name=chart(name),
                mode="lines+markers",
                line={
                    "color": colours[index],
                    "dash": DASHES[index % len(DASHES)],
                    "width": 3 if name == "loss" else 1.5,
                },
                hovertemplate=f"{chart(name)}: %{{y:.4g}} in epoch %{{x}}<extra></extra>",
            )
            for index, name in enumerate(terms)
        ]
    )
    figure.update_xaxes(title="Epoch", range=[0.5, epochs + 0.5], dtick=max(1, epochs // 10), tick0=1)
    figure.update_yaxes(title="Loss, weighted (no unit)")
    return figure.update_layout(
        height=300, margin={"l": 0, "r": 10, "t": 10, "b": 0}, showlegend=True, legend={"orientation": "h", "y": -0.3}
    )
