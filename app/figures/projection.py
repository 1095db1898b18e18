"""The map of an embedding: images as dots, prototypes as squares (paper, Figure 1), ghosts as diamonds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.figures.palette import OUTLINE, class_colours
from kmex_core.analysis.types import Projection
from kmex_core.base.plain_text import charts
from kmex_core.prototypes.types import Prototypes

DENSE = 5000


def projection_table(
    drawn: Projection, class_names: Sequence[str], rows: np.ndarray, predicted: np.ndarray
) -> pd.DataFrame:
    """One line per image: where it lies and what both models say.

    Args:
        drawn: the map of N training and M test images.
        class_names: C names.
        rows: which of the N + M images.
        predicted: (N + M,) the class that KMEx, or a prototypical model itself, predicts.

    Returns:
        Columns `split`, `index`, `class`, `predicted`, `black_box`, `x`, `y`.
    """
    train = len(drawn.train)
    places = np.concatenate([drawn.train, drawn.test])[rows]
    names = np.array(class_names, dtype=object)
    return pd.DataFrame(
        {
            "split": np.where(rows < train, "train", "test"),
            "index": np.where(rows < train, rows, rows - train),
            "class": names[drawn.labels[rows]],
            "predicted": names[predicted[rows]],
            "black_box": names[drawn.black_box[rows]],
            "x": places[:, 0],
            "y": places[:, 1],
        }
    )


def prototype_table(prototypes: Prototypes, places: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """One line per prototype: where it lies and what it stands for.

    Args:
        prototypes: K prototypes.
        places: (K, 2) where they lie.
        class_names: C names.

    Returns:
        Columns `prototype`, `class`, `ghost`, `share` (0…1 of the class's training images), `count`, `others` (training
        images of other classes), `picture` (a training image), `x`, `y`.
    """
    return pd.DataFrame(
        {
            "prototype": np.arange(len(prototypes)),
            "class": np.array(class_names, dtype=object)[prototypes.classes],
            "ghost": prototypes.ghost,
            "share": prototypes.importance,
            "count": prototypes.count,
            "others": prototypes.count_all - prototypes.count,
            "picture": prototypes.picture,
            "x": places[:, 0],
            "y": places[:, 1],
        }
    )


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
        drawn, class_names, rows, predicted: see `projection_table`.
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
