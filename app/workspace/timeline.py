"""The numbers of the k timeline: what each number of prototypes per class gives, and which one is suggested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from app.claims.curves import last_step, lines_and_bands
from app.figures.curves import COVERAGE, CURVES, Curve, course, range_of
from kmex_core.analysis.suggestion import overall, overall_reason
from kmex_core.prototypes.suggestion import Evidence
from kmex_core.prototypes.sweep import Sweep

DECIMALS = 3


def timeline(sweeps: Sequence[Sweep], evidence: Evidence | None, source: Callable[[int], str]) -> dict[str, Any]:
    """What the component Explore draws inside its timeline, as JSON.

    Shares are in per cent. `chance` is the middle 95% of draws of random training images in place of the prototypes,
    `range` that of a curve's axis, which has room for its own band: chance may be far from it.

    Args:
        sweeps: of different seeds, at least one.
        evidence: for the suggested number; None without it.
        source: gives the text of the source with k prototypes per class, see `sources.source_text`.
    """
    ks = range(1, sweeps[0].reach + 1)
    return {
        "ks": list(ks),
        "sources": [source(k) for k in ks],
        "curves": [_drawn(name, curve, sweeps) for name, curve in _curves(sweeps).items()],
        "seeds": len(sweeps),
        "suggested": None if evidence is None else overall(evidence),
        "reason": "" if evidence is None else overall_reason(evidence),
        "steps": [last_step(sweeps, k) for k in ks],
        "about": lines_and_bands(sweeps),
    }


def _curves(sweeps: Sequence[Sweep]) -> dict[str, Curve]:
    share = "agreement" if sweeps[0].has_black_box else "accuracy"
    of_share = CURVES["agreement" if share == "agreement" else "accuracy_kmex"]
    return {share: of_share, "effective": CURVES["effective"], "coverage": COVERAGE}


def _drawn(name: str, curve: Curve, sweeps: Sequence[Sweep]) -> dict[str, Any]:
    swept, kind = course(sweeps, curve), curve.kind
    most = sweeps[0].reach if name == "effective" else np.inf
    return {
        "name": name,
        "title": kind.title,
        "unit": "%" if kind.unit == "share" else "",
        "better": kind.better,
        "values": _rounded(swept.mean),
        "low": _rounded(swept.low),
        "high": _rounded(swept.high),
        "chance": None if swept.chance is None else [_rounded(end) for end in swept.chance.T],
        "range": _rounded(np.array(range_of(curve, [swept.low, swept.high], most))),
        "about": kind.about,
    }


def _rounded(values: np.ndarray) -> list[float]:
    rounded: list[float] = np.round(values, DECIMALS).tolist()
    return rounded
