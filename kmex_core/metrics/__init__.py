"""What is measured: pure functions on arrays, one concept per file."""

from kmex_core.metrics.accuracy import accuracy, agreement
from kmex_core.metrics.ghosting import activation_counts, ghosting

__all__ = ["accuracy", "activation_counts", "agreement", "ghosting"]
