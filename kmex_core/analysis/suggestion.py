"""Which number of prototypes to take, and why, in words computed from the evidence."""

from __future__ import annotations

import math

import numpy as np

from kmex_core.prototypes.suggestion import IMAGES, STABLE, Evidence


def overall(evidence: Evidence) -> int:
    """One number for all classes: the median of their suggestions, the larger of two."""
    return int(np.sort(evidence.suggested)[len(evidence.suggested) // 2])


def reason(evidence: Evidence, label: int) -> str:
    """Why this number for a class, and why not more."""
    strength, gap = evidence.prediction_strength[label], evidence.gap[label]
    error, k = float(evidence.gap_error[label]), int(evidence.suggested[label])
    tried = int((~np.isnan(strength)).sum())
    if k == 1:
        if tried < 2 or not math.isfinite(error):
            return "Too few different images to look for groups."
        best = int(np.nanargmax(strength[1:])) + 1
        if strength[best] < STABLE:
            return (
                f"No evidence for more than 1: with {best + 1}, the most stable number, {strength[best]:.1%} of an "
                f"image's cluster mates stay together in the other half of the images; {STABLE:.0%} are needed."
            )
        return (
            "No evidence for more than 1: where clusters are stable, they fit no better than in a class of the same "
            "shape without groups."
        )
    found = (
        f"With {k}, {strength[k - 1]:.0%} of an image's cluster mates stay together in the other half of the images, "
        f"and clusters fit {-math.expm1(-gap[k - 1]):.0%} better than in a class of the same shape without groups."
    )
    if k == tried:
        return f"{found} {k} is the largest number tried."
    if strength[k] < STABLE:
        return f"{found} With {k + 1}, only {strength[k]:.1%} would stay together; {STABLE:.0%} are needed."
    return f"{found} With {k + 1}, they would fit no better beyond chance."


def overall_reason(evidence: Evidence) -> str:
    """What the classes suggest, together."""
    counts, classes = evidence.suggested, len(evidence.suggested)
    ones = int((counts == 1).sum())
    if ones == classes:
        return "No class has evidence for more than one group: more prototypes show how its images vary, not groups."
    k = overall(evidence)
    about = f"{ones} of {classes} classes show no groups" if ones else "Every class shows groups"
    return f"{about}; the suggestions range from {counts.min()} to {counts.max()}, with a median of {k}."


def sampled(counts: np.ndarray) -> str:
    """Which images the evidence is from, where it is not from all of them; "" otherwise.

    Args:
        counts: (C,) images of each class.
    """
    large, classes = int((counts > IMAGES).sum()), len(counts)
    if not large:
        return ""
    some = "the one class that has more" if large == 1 else f"each of the {large:,} classes that have more"
    which = "each class" if large == classes else some
    return f"The evidence is from a random sample of {IMAGES:,} images of {which}."
