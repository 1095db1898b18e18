"""No axis shows a value that its quantity cannot have."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.figures.attributes import CURVES as ATTRIBUTE_CURVES
from app.figures.attributes import curves_figure
from app.figures.axis import axis_range
from app.figures.curves import CURVES
from app.figures.evaluation import distribution_figure, ordering_figure, shares_figure
from app.figures.sweep import sweep_figure
from kmex_core.metrics.catalogue import METRICS
from tests.helpers.results import sweep_of

KS = range(1, 21)


def within(axis: go.layout.XAxis, low: float, high: float) -> None:
    """The axis is fixed, and its range (its ticks, where they are named) has possible values only."""
    shown = axis.tickvals if axis.tickvals is not None else axis.range
    assert shown is not None
    assert min(shown) >= low
    assert max(shown) <= high


@pytest.mark.parametrize("share", [0.0, 0.004, 0.5, 0.982, 0.998, 1.0])
def test_curves_over_k_stay_in_the_metrics_range(share: float) -> None:
    values: dict[str, Any] = {"accuracy": share, "accuracy_black_box": share, "agreement": share, "ghosting": share}
    beside: dict[str, Any] = {
        "random_accuracy": share,
        "random_agreement": share,
        "effective_random": 1,
        "effective_equidistant": 1,
    }
    one = sweep_of(20, **values, **beside, effective=1 + share * np.arange(20))
    other = sweep_of(20, **{**values, **beside, "accuracy": share**2, "agreement": share**2})
    for name, curve in CURVES.items():
        figure = sweep_figure([one, other], 5, 3, name)
        low, high = curve.kind.range
        if name == "effective":
            within(figure.layout.yaxis, 1, 20)
        else:
            within(figure.layout.yaxis, 100 * low, 100 * high)
        drawn = np.concatenate([np.asarray(trace.y, dtype=float) for trace in figure.data])
        assert figure.layout.yaxis.range[0] <= drawn.min() <= drawn.max() <= figure.layout.yaxis.range[1]
        assert figure.layout.yaxis.range[1] - figure.layout.yaxis.range[0] >= curve.least


def test_bands_over_seeds_stay_in_range() -> None:
    rows = [
        {
            "model": "m",
            "k": k,
            "prototypes": 10 * k,
            "seeds": 3,
            "captured": captured,
            "captured_std": 3.0,
            "error": 0.01,
            "error_std": 0.2,
            "ghosted": 0.3,
            "ghosted_std": 0.6,
            "captured_chance": 29.0,
            "captured_chance_low": 27.0,
            "captured_chance_high": 30.0,
            "error_chance": 0.02,
            "error_chance_low": 0.0,
            "error_chance_high": 0.3,
        }
        for k, captured in ((1, 1.0), (5, 29.5))
    ]
    limits = {"captured": 30, "error": 2, "ghosted": math.inf}
    for name in ATTRIBUTE_CURVES:
        figure = curves_figure(pd.DataFrame(rows), name, 5, KS, 30)
        within(figure.layout.yaxis, 0, limits[name])
        band = np.asarray(figure.data[0].y, dtype=float)
        assert band.min() >= 0
        assert band.max() <= limits[name]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shares_end_at_0_and_100(share: float) -> None:
    pieces = pd.DataFrame(
        {
            "class": ["ant"] * 9,
            "prototype": range(9),
            "share": [1.0] + [0.0] * 8,
            "count": [9] + [0] * 8,
            "ghost": [False] + [True] * 8,
        }
    )
    within(shares_figure(pieces).layout.xaxis, 0, 100)
    all_in_one_bin = distribution_figure({"KMEx": np.full(7, share)}, "Drop", 1.0)
    within(all_in_one_bin.layout.yaxis, 0, 100)
    within(all_in_one_bin.layout.xaxis, 0, 1)
    curve = np.full(5, share)
    ordering = pd.DataFrame(
        {
            "pixels": np.linspace(0, 1, 5),
            "kmex": curve,
            "kmex_random": curve,
            "black_box": curve,
            "black_box_random": curve,
        }
    )
    figure = ordering_figure(ordering)
    within(figure.layout.yaxis, 0, 1)
    within(figure.layout.yaxis2, 0, 1)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_a_range_that_fits_its_unit(name: str) -> None:
    limits = METRICS[name].range
    assert limits[0] < limits[1]
    if METRICS[name].unit == "share":
        assert limits == (0, 1)
    assert METRICS[name].unit != "nats" or limits == (0, math.inf)


@given(
    st.lists(st.floats(0, 100), max_size=6),
    st.sampled_from([(0.0, 100.0), (0.0, math.inf), (1.0, 20.0), (1.0, math.inf)]),
    st.floats(0, 10),
)
def test_an_axis_shows_all_there_is_and_nothing_else(
    values: list[float], limits: tuple[float, float], least: float
) -> None:
    shown = np.clip(np.array(values), *limits)
    low, high = axis_range(np.append(shown, np.nan), limits, least)
    assert limits[0] <= low < high <= limits[1]
    assert high - low >= min(least, limits[1] - limits[0]) - 1e-6
    if len(shown):
        assert low <= shown.min() <= shown.max() <= high
