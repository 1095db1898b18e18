"""What is measured: pure functions on arrays, one concept per file."""

from kmex_core.metrics.accuracy import accuracy, agreement, wilson_interval
from kmex_core.metrics.diversity import diversity, effective_prototypes
from kmex_core.metrics.ghosting import activation_counts, ghosting

__all__ = [
    "accuracy",
    "activation_counts",
    "agreement",
    "diversity",
    "effective_prototypes",
    "ghosting",
    "wilson_interval",
]
