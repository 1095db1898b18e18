"""The numbers inside the k timeline are those of the charts over k."""

from __future__ import annotations

import json

import numpy as np
import pytest

from app.claims.curves import last_step
from app.figures.curves import CURVES
from app.figures.sweep import sweep_figure
from app.workspace.timeline import timeline
from kmex_core.analysis.suggestion import overall_reason
from kmex_core.prototypes.source import SUGGESTED
from tests.helpers.results import evidence_of, sweep_of

SWEEPS = [
    sweep_of(4, agreement=[0.9, 0.5, 0.7, 0.8], effective=[1, 1.5, 2, 2.2], coverage_radius=[4, 3, 2, 1]),
    sweep_of(4, agreement=[0.9, 0.7, 0.7, 0.9], effective=[1, 1.7, 2, 2.6], coverage_radius=[5, 3, 2, 1]),
]


def text(k: int) -> str:
    return f"kmeans:{k}:0:auto"


def test_curves_are_those_of_the_charts() -> None:
    found = timeline(SWEEPS, None, text)
    assert found["ks"] == [1, 2, 3, 4]
    assert found["sources"][2] == "kmeans:3:0:auto"
    assert [curve["name"] for curve in found["curves"]] == ["agreement", "effective", "coverage"]
    for curve, name in zip(found["curves"], ("agreement", "effective"), strict=False):
        figure = sweep_figure(SWEEPS, SUGGESTED, None, name)
        traces = {trace.name: np.asarray(trace.y, float) for trace in figure.data}
        assert curve["values"] == pytest.approx(traces["KMEx"], abs=1e-3)
        assert [*curve["high"], *curve["low"][::-1]] == pytest.approx(traces["KMEx, interval"], abs=1e-3)
        low, high = curve["chance"]
        assert [*high, *low[::-1]] == pytest.approx(traces["Random images (95% of draws)"], abs=1e-3)
        assert (curve["title"], curve["better"]) == (CURVES[name].kind.title, "higher")
        bottom, top = curve["range"]
        assert bottom <= min(curve["low"])
        assert max(curve["high"]) <= top
    coverage = found["curves"][2]
    assert (coverage["values"], coverage["low"], coverage["high"]) == ([4.5, 3, 2, 1], [4, 3, 2, 1], [5, 3, 2, 1])
    assert (coverage["chance"], coverage["better"], coverage["unit"]) == (None, "lower", "")
    assert found["steps"][0] == ""
    assert found["steps"][1:] == [last_step(SWEEPS, k) for k in (2, 3, 4)]
    assert (found["suggested"], found["reason"]) == (None, "")


def test_without_a_black_box_accuracy_takes_the_place_of_agreement() -> None:
    alone = sweep_of(2, accuracy_black_box=None, accuracy=[0.5, 0.75], agreement=np.nan, random_agreement=np.nan)
    found = timeline([alone], evidence_of([[0, 1.0]] * 2, [[1, 0.9]] * 2), text)
    assert [curve["name"] for curve in found["curves"]] == ["accuracy", "effective", "coverage"]
    assert (found["curves"][0]["values"], found["curves"][0]["unit"]) == ([50, 75], "%")
    assert (found["suggested"], found["reason"]) == (
        2,
        overall_reason(evidence_of([[0, 1.0]] * 2, [[1, 0.9]] * 2)),
    )
    json.dumps(found, allow_nan=False)
