"""The map of an embedding: images as dots, prototypes as squares (paper, Figure 1), ghosts as diamonds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures.palette import OUTLINE, class_colours
from kmex_core.analysis.tables.embedding_map import projection_table
from kmex_core.analysis.types import Projection
from kmex_core.base.plain_text import charts
from kmex_core.prototypes.types import Prototypes

DENSE = 5000


def projection_figure(
    drawn: Projection,
    prototypes: Prototypes,
    places: np.ndarray,
    class_names: Sequence[str],
    rows: np.ndarray,
    predicted: np.ndarray,
    by: str = "KMEx",
    gl: bool = True,
) -> go.Figure:
    """The map as a Plotly figure, to keep or where there is no WebGL.

    Args:
        drawn, class_names, rows, predicted: see `analysis.tables.embedding_map.projection_table`.
        prototypes: K prototypes.
        places: (K, 2) where they lie.
        by: what predicts.
        gl: draw with WebGL, for many images.
    """
    scatter = go.Scattergl if gl else go.Scatter
    colours, class_names = class_colours(len(class_names)), charts(class_names)
    table = projection_table(drawn, class_names, rows, predicted)
    figure = go.Figure()
    for label, name in enumerate(class_names):
        own = table[table["class"] == name]
        figure.add_trace(
            scatter(
                x=own["x"],
                y=own["y"],
                mode="markers",
                name=name,
                legendgroup=name,
                marker={"size": 4 if len(table) > DENSE else 7, "color": colours[label], "opacity": 0.6},
                customdata=own[["split", "index", "predicted", "black_box"]],
                hovertemplate=f"%{{customdata[0]}} image %{{customdata[1]}}<br>{by} says %{{customdata[2]}}"
                + (", black box %{customdata[3]}" if by == "KMEx" else ""),
            )
        )
    for label, name in enumerate(class_names):
        own_prototypes = np.flatnonzero(prototypes.classes == label)
        figure.add_trace(
            scatter(
                x=places[own_prototypes, 0],
                y=places[own_prototypes, 1],
                mode="markers",
                name=name,
                legendgroup=name,
                showlegend=False,
                marker={
                    "size": 9 + 16 * np.sqrt(prototypes.importance[own_prototypes]),
                    "symbol": np.where(prototypes.ghost[own_prototypes], "diamond-open", "square"),
                    "color": colours[label],
                    "line": {"width": 1.5, "color": OUTLINE},
                },
                customdata=np.stack([own_prototypes, prototypes.count[own_prototypes]], 1),
                hovertemplate="prototype %{customdata[0]}<br>nearest to %{customdata[1]} images of its class",
            )
        )
    figure.update_xaxes(title="UMAP 1 (no unit)", showgrid=False, zeroline=False)
    figure.update_yaxes(title="UMAP 2 (no unit)", showgrid=False, zeroline=False, scaleanchor="x")
    return figure.update_layout(
        height=640, legend_title="Class (■ prototypes, ◇ ghosts)", margin={"l": 0, "r": 0, "t": 20, "b": 0}
    )
