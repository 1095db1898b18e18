"""The embedding map: images as dots, prototypes as squares (paper, Figure 1), ghosts as diamonds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures.palette import OUTLINE
from kmex_core.analysis.tables.embedding_map import projection_table
from kmex_core.analysis.types import Projection
from kmex_core.base.plain_text import charts
from kmex_core.data.colours import class_colours
from kmex_core.prototypes.types import Prototypes

DENSE = 5000


def projection_figure(
    projection: Projection,
    prototypes: Prototypes,
    places: np.ndarray,
    class_names: Sequence[str],
    rows: np.ndarray,
    predicted: np.ndarray,
    by: str = "KMEx",
    gl: bool = True,
) -> go.Figure:
    """The embedding map as a Plotly figure, to download or where there is no WebGL.

    Args:
        projection, class_names, rows, predicted: see `analysis.tables.embedding_map.projection_table`.
        prototypes: K prototypes.
        places: (K, 2) where they lie.
        by: what predicts.
        gl: draw with WebGL, for many images.
    """
    scatter = go.Scattergl if gl else go.Scatter
    colours, class_names = class_colours(len(class_names)), charts(class_names)
    table = projection_table(projection, class_names, rows, predicted)
    figure = go.Figure()
    for label, name in enumerate(class_names):
        images = table[table["class"] == name]
        figure.add_trace(
            scatter(
                x=images["x"],
                y=images["y"],
                mode="markers",
                name=name,
                legendgroup=name,
                marker={"size": 4 if len(table) > DENSE else 7, "color": colours[label], "opacity": 0.6},
                customdata=images[["split", "index", "predicted", "black_box"]],
                hovertemplate=f"%{{customdata[0]}} image %{{customdata[1]}}<br>{by}: %{{customdata[2]}}"
                + (", black box %{customdata[3]}" if by == "KMEx" else ""),
            )
        )
    for label, name in enumerate(class_names):
        of_class = np.flatnonzero(prototypes.classes == label)
        figure.add_trace(
            scatter(
                x=places[of_class, 0],
                y=places[of_class, 1],
                mode="markers",
                name=name,
                legendgroup=name,
                showlegend=False,
                marker={
                    "size": 9 + 16 * np.sqrt(prototypes.importance[of_class]),
                    "symbol": np.where(prototypes.ghost[of_class], "diamond-open", "square"),
                    "color": colours[label],
                    "line": {"width": 1.5, "color": OUTLINE},
                },
                customdata=np.stack([of_class, prototypes.count[of_class]], 1),
                hovertemplate="prototype %{customdata[0]}<br>nearest prototype of %{customdata[1]} images of its class",
            )
        )
    figure.update_xaxes(title="UMAP 1 (no unit)", showgrid=False, zeroline=False)
    figure.update_yaxes(title="UMAP 2 (no unit)", showgrid=False, zeroline=False, scaleanchor="x")
    return figure.update_layout(
        height=640, legend_title="Class (■ prototypes, ◇ ghosts)", margin={"l": 0, "r": 0, "t": 20, "b": 0}
    )
