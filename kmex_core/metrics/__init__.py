"""What is measured: pure functions on arrays, one concept per file (those on maps are in files that need torch)."""

from kmex_core.metrics.accuracy import accuracy, agreement, class_accuracy, confusion, paired_p_value, wilson_interval
from kmex_core.metrics.attributes import (
    GroupAccuracy,
    Subgroups,
    captured,
    correlation,
    correlation_error,
    first_captured,
    frequency,
    group_accuracy,
    lift,
    subgroups,
    told_apart,
)
from kmex_core.metrics.calibration import expected_calibration_error
from kmex_core.metrics.diversity import (
    coverage_radius,
    diversity,
    effective_prototypes,
    relative_distance,
    similarity_diversity,
)
from kmex_core.metrics.ghosting import ghosting

__all__ = [
    "GroupAccuracy",
    "Subgroups",
    "accuracy",
    "agreement",
    "captured",
    "class_accuracy",
    "confusion",
    "correlation",
    "correlation_error",
    "coverage_radius",
    "diversity",
    "effective_prototypes",
    "expected_calibration_error",
    "first_captured",
    "frequency",
    "ghosting",
    "group_accuracy",
    "lift",
    "paired_p_value",
    "relative_distance",
    "similarity_diversity",
    "subgroups",
    "told_apart",
    "wilson_interval",
]
