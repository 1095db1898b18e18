"""What is measured: pure functions on arrays, one concept per file (those on maps are in files that need torch)."""

from kmex_core.metrics.accuracy import accuracy, agreement, class_accuracy, confusion, wilson_interval
from kmex_core.metrics.calibration import expected_calibration_error
from kmex_core.metrics.diversity import (
    coverage_radius,
    diversity,
    effective_prototypes,
    relative_distance,
    similarity_diversity,
)
from kmex_core.metrics.ghosting import activation_counts, ghosting

__all__ = [
    "accuracy",
    "activation_counts",
    "agreement",
    "class_accuracy",
    "confusion",
    "coverage_radius",
    "diversity",
    "effective_prototypes",
    "expected_calibration_error",
    "ghosting",
    "relative_distance",
    "similarity_diversity",
    "wilson_interval",
]
