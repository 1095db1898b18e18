"""Silhouette of the clusters that the prototypes stand for."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import silhouette_score

from kmex_core.metrics.metric import DIVERSITY, Metric, NotComputed, Run, Value

IMAGES = 2000  # all pairs of them are compared


class Silhouette(Metric):
    """Silhouette of the clusters that the prototypes stand for."""

    name = "silhouette"
    title = "Silhouette"
    better = "higher"
    about = (
        "How much nearer test images are to the others of their prototype than to those of the next prototype, from −1 "
        "to 1 (mean silhouette in the embedding)."
    )
    group, place = DIVERSITY, 7
    range = (-1.0, 1.0)

    def measure(self, run: Run) -> Value:
        """Of the test images."""
        z, clusters = run.test.z[:IMAGES], run.converted.test_activated[:IMAGES]  # (N, D) and (N,)
        if not 1 < len(np.unique(clusters)) < len(z):
            return NotComputed("A silhouette needs two clusters or more, and one with at least two images.")
        return float(silhouette_score(z, clusters))
