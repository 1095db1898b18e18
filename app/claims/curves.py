"""What the curves over the number of prototypes per class show."""

from __future__ import annotations

from collections.abc import Sequence

from kmex_core.prototypes.sweep import Sweep


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
