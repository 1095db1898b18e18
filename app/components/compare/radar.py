"""The paper's Figure 4: strengths and weaknesses of every model with prototypes."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.components.shared.downloads import show_download
from app.figures.evaluation import radar_figure
from kmex_core.analysis.comparison import Row
from kmex_core.analysis.tables.evaluation import AXES, radar_table, radar_values
from kmex_core.metrics.catalogue import METRICS

LEAST = 3  # axes


def show_radar(table: Sequence[Row]) -> None:
    """Show models as polygons over the axes that are measured of all of them, folded; nothing for too few axes."""
    values = radar_values(table)
    axes = [axis for axis in AXES if all(axis.metric in of_model for of_model in values.values())]
    places = radar_table(values)
    with st.expander("Strengths and weaknesses in one figure", icon=":material/hexagon:"):
        if len(axes) < LEAST:
            st.caption(f"Fewer than {LEAST} axes are measured of all models that have prototypes.")
        else:
            kind = st.segmented_control(
                "Save the figure as",
                ["png", "svg"],
                format_func=str.upper,
                default="png",
                required=True,
                key="figure-kind",
                help="Format of the file that the camera button at the figure's top right saves.",
            )
            st.plotly_chart(
                radar_figure(places[places["axis"].isin([axis.title for axis in axes])]),
                key="radar",
                alt=f"Models on {len(axes)} axes; farther out is better",
                config={
                    "modeBarButtons": [["toImage"]],
                    "displayModeBar": True,
                    "displaylogo": False,
                    "toImageButtonOptions": {"format": kind, "filename": "comparison", "scale": 2},
                },
            )
            missing = [axis.title for axis in AXES if axis not in axes]
            st.caption(
                "After the paper's Figure 4. Every axis runs from 0 at the centre to 1; farther out is better. "
                + "; ".join(f"**{axis.title}**: {METRICS[axis.metric].title}, {axis.scale}" for axis in axes)
                + "."
                + (f" Not measured of all models: {', '.join(missing)}." if missing else "")
            )
        show_download("Radar as CSV", places, "radar.csv")
