"""What the curves over the number of prototypes per class show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kmex_core.analysis.bands import interval_over_seeds
from kmex_core.prototypes.sweep import Sweep


@dataclass(frozen=True)
class Step:
    """What one more prototype per class bought, from k − 1 to k.

    Attributes:
        share: what KMEx is measured by: "agreement", or "accuracy" without a black box.
        gain: of that share, in percentage points, mean over seeds.
        within_chance: whether the intervals of k − 1 and k overlap.
        nearer: by which share the squared distance of training images to their prototype fell, 0…1, mean over seeds.
    """

    share: str
    gain: float
    within_chance: bool
    nearer: float


def swept_share(sweeps: Sequence[Sweep]) -> tuple[str, str]:
    """The share of a sweep that its sentences are about, and what KMEx does with it."""
    beside = sweeps[0].has_black_box
    return ("agreement", "agrees with the black box on") if beside else ("accuracy", "is correct on")


def step(sweeps: Sequence[Sweep], k: int) -> Step | None:
    """What the last prototype of each class bought; None for the first.

    Args:
        sweeps: of different seeds, at least one.
        k: prototypes per class.
    """
    if k < 2:
        return None
    name, _ = swept_share(sweeps)
    shares = np.stack([getattr(sweep, name) for sweep in sweeps])
    low, high = interval_over_seeds(shares, sweeps[0].images)
    # inertia of all classes together, before and after
    before, after = (np.array([sweep.inertia[place].sum() for sweep in sweeps]) for place in (k - 2, k - 1))
    nearer = 1 - (after / np.where(before > 0, before, 1)).mean() if (before > 0).all() else 0.0
    gain = 100 * (shares[:, k - 1] - shares[:, k - 2]).mean()
    within = high[k - 1] >= low[k - 2] and high[k - 2] >= low[k - 1]
    return Step(name, float(gain), bool(within), float(nearer))


def step_in_short(sweeps: Sequence[Sweep], k: int) -> str:
    """What the last step bought, in a line; "" where there is none."""
    bought = step(sweeps, k)
    if bought is None:
        return ""
    chance = " (no more than chance)" if bought.within_chance else ""
    gain = f"{bought.gain:+.2f}".replace("-", "−")
    return (
        f"From {k - 1} to {k}: {bought.share} {gain} points{chance}; squared distances to prototypes fall by "
        f"{bought.nearer:.1%}."
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
        f"Lines: {seeds}. Blue bands of {shares}: the 95 % interval of a share of {sweeps[0].images:,} test "
        f"images{widened}; of the others, the range over the seeds. Grey bands: as many random training images of each "
        "class in place of the prototypes, the middle 95 % of draws."
    )
