"""What the curves over the number of prototypes per class show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kmex_core.analysis.bands import interval_over_seeds
from kmex_core.prototypes.sweep import Sweep


def swept_share(sweeps: Sequence[Sweep]) -> tuple[str, str]:
    """The share of a sweep that its sentences are about, and what KMEx does with it."""
    beside = sweeps[0].has_black_box
    return ("agreement", "agrees with the black box on") if beside else ("accuracy", "is correct on")


def last_step(sweeps: Sequence[Sweep], k: int) -> str:
    """What the last prototype of each class bought, between k − 1 and k per class; "" where there is no such step.

    Args:
        sweeps: of different seeds, at least one.
        k: prototypes per class.
    """
    if k < 2:
        return ""
    name, _ = swept_share(sweeps)
    shares = np.stack([getattr(sweep, name) for sweep in sweeps])
    low, high = interval_over_seeds(shares, sweeps[0].images)
    gain = 100 * float((shares[:, k - 1] - shares[:, k - 2]).mean())
    within = high[k - 1] >= low[k - 2] and high[k - 2] >= low[k - 1]
    # squared distances of all training images to their prototype, before and after
    before, after = (np.array([sweep.inertia[place].sum() for sweep in sweeps]) for place in (k - 2, k - 1))
    nearer = 1 - float((after / np.where(before > 0, before, 1)).mean()) if (before > 0).all() else 0.0
    return (
        f"From {k - 1} to {k}: {name} {f'{gain:+.2f}'.replace('-', '−')} points"
        f"{' (no more than chance)' if within else ''}; squared distances to prototypes fall by {nearer:.1%}."
    )


def lines_and_bands(sweeps: Sequence[Sweep]) -> str:
    """What the lines and the bands of curves stand for.

    Args:
        sweeps: of different seeds, at least one.
    """
    several = len(sweeps) > 1
    seeds = f"the mean over {len(sweeps)} seeds of k-means" if several else "one seed of k-means"
    widened = ", widened to the range over the seeds" if several else ""
    shares = "accuracy and agreement" if sweeps[0].has_black_box else "accuracy"
    return (
        f"Lines: {seeds}. Blue bands of {shares}: the 95% interval of a share of {sweeps[0].images:,} test "
        f"images{widened}; of the others, the range over the seeds. Grey bands: as many random training images of each "
        "class in place of the prototypes, the middle 95% of draws."
    )
