"""The suggested numbers of prototypes, as `sweep` answers and prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from kmex_core.prototypes.suggestion import Evidence


def suggestion_answer(evidence: Evidence, class_names: Sequence[str], counts: np.ndarray) -> dict[str, Any]:
    """The number for all classes and that of each, with their reasons.

    Args:
        evidence: on C classes.
        class_names: C names.
        counts: (C,) training images of each class.
    """
    from kmex_core.analysis.suggestion import overall, overall_reason, reason, sampled

    numbers = evidence.suggested.tolist()
    return {
        "overall": overall(evidence),
        "reason": overall_reason(evidence),
        "sampled": sampled(counts),
        "classes": [
            {"class": name, "k": k, "reason": reason(evidence, label)}
            for label, (name, k) in enumerate(zip(class_names, numbers, strict=True))
        ],
    }


def show_suggestion(suggested: dict[str, Any]) -> None:
    """Print it."""
    sentences = (f"Suggested: {suggested['overall']} per class.", suggested["reason"], suggested["sampled"])
    print(" ".join(filter(None, sentences)))
    for each in suggested["classes"]:
        print(f"  {each['class']}: {each['k']}. {each['reason']}")
