"""Metrics as pure functions on arrays, one concept per file; only those on relevance maps need torch."""

from kmex_core.base.chance import chance_accuracy
from kmex_core.metrics.accuracy import (
    accuracy,
    agreement,
    black_box_accuracy,
    black_box_agreement,
    class_accuracy,
    confusion,
    paired_interval,
    paired_p_value,
    wilson_interval,
)
from kmex_core.metrics.attribute_chance import (
    DRAWS,
    AttributeChance,
    attribute_chance,
    chance_band,
    simultaneous_limit,
)
from kmex_core.metrics.attributes import (
    GroupAccuracy,
    Subgroups,
    captured,
    correlation,
    correlation_error,
    correlation_ratio,
    first_captured,
    frequency,
    group_accuracy,
    lift,
    subgroups,
)
from kmex_core.metrics.band import CONFIDENCE, Band
from kmex_core.metrics.calibration import expected_calibration_error
from kmex_core.metrics.diversity import (
    coverage_radius,
    diversity,
    relative_distance,
    similarity_diversity,
)
from kmex_core.metrics.effective import (
    class_variance,
    effective_prototypes,
    equidistant_effective,
    random_effective,
)
from kmex_core.metrics.ghosting import ghosting
from kmex_core.metrics.group_chance import GroupChance, group_chance

__all__ = [
    "CONFIDENCE",
    "DRAWS",
    "AttributeChance",
    "Band",
    "GroupAccuracy",
    "GroupChance",
    "Subgroups",
    "accuracy",
    "agreement",
    "attribute_chance",
    "black_box_accuracy",
    "black_box_agreement",
    "chance_accuracy",
    "chance_band",
    "captured",
    "class_accuracy",
    "class_variance",
    "confusion",
    "correlation",
    "correlation_error",
    "coverage_radius",
    "diversity",
    "effective_prototypes",
    "equidistant_effective",
    "expected_calibration_error",
    "first_captured",
    "frequency",
    "ghosting",
    "group_accuracy",
    "group_chance",
    "lift",
    "paired_interval",
    "paired_p_value",
    "random_effective",
    "relative_distance",
    "similarity_diversity",
    "simultaneous_limit",
    "subgroups",
    "correlation_ratio",
    "wilson_interval",
]
