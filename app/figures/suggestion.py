"""What speaks for each number of prototypes of a class."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from app.figures.axis import axis_range
from app.figures.palette import BLACK_BOX, CHOSEN, KMEX
from kmex_core.prototypes.suggestion import ERRORS, STABLE, Evidence


def evidence_figure(evidence: Evidence, label: int, name: str) -> go.Figure:
    """The prediction strength or the gap of a class for each number of prototypes, with what is needed.

    Args:
        evidence: on all classes.
        label: the class.
        name: "prediction_strength" or "gap".
    """
    values = getattr(evidence, name)[label]
    needed = STABLE if name == "prediction_strength" else ERRORS * float(evidence.gap_error[label])
    ks, figure = np.arange(1, len(values) + 1), go.Figure()
    figure.add_trace(go.Scatter(x=ks, y=values, mode="lines+markers", line={"color": KMEX}, name=name))
    if np.isfinite(needed):
        figure.add_hline(needed, line={"color": BLACK_BOX, "dash": "dash"}, annotation={"text": "needed"})
    figure.add_vline(
        int(evidence.suggested[label]), line={"color": CHOSEN, "dash": "dot"}, annotation={"text": "suggested"}
    )
    limits = (0.0, 1.0) if name == "prediction_strength" else (-np.inf, np.inf)
    shown = np.append(values, needed if np.isfinite(needed) else 0.0)
    figure.update_yaxes(range=axis_range(shown, limits, 0.05), title="Share (0 to 1)" if limits[0] == 0 else "Gap")
    figure.update_xaxes(title="Prototypes of the class", dtick=max(1, len(ks) // 10))
    return figure.update_layout(height=240, margin={"l": 0, "r": 10, "t": 20, "b": 0}, showlegend=False)
