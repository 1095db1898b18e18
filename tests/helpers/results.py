"""Results written by hand."""

from __future__ import annotations

from typing import Any

from kmex_core.prototypes.types import Summary


def summary(**values: float | str | None) -> Summary:
    usual: dict[str, Any] = {
        "images": 100,
        "accuracy_black_box": 0.9,
        "accuracy_kmex": 0.89,
        "agreement": 0.95,
        "ghosting": 0.0,
        "diversity": 0.01,
        "diversity_reference": 0.4,
        "effective": 1.2,
        "effective_random": 1.3,
        "effective_random_low": 1.25,
        "effective_random_high": 1.35,
        "effective_equidistant": 2.0,
        "coverage_radius": 3.0,
        "calibration_error": 0.02,
        "metric": "whitened",
    }
    return Summary(**{**usual, **values})
