"""What pages say of the suggested number of prototypes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kmex_core.analysis.suggestion import overall, overall_reason, reason, sampled
from kmex_core.base.plain_text import markdown
from kmex_core.prototypes.suggestion import Evidence


def suggested(evidence: Evidence) -> str:
    """The number for all classes and what the classes suggest, as Markdown."""
    k = overall(evidence)
    return f"**Suggested: {k} prototype{'s' if k != 1 else ''} per class.** {overall_reason(evidence)}"


def suggested_of(evidence: Evidence, counts: np.ndarray) -> str:
    """`suggested`, and which images it is from where it is not from all, as Markdown.

    Args:
        evidence: on C classes.
        counts: (C,) training images of each class.
    """
    return " ".join(filter(None, [suggested(evidence), sampled(counts)]))


def class_reason(evidence: Evidence, class_names: Sequence[str], label: int) -> str:
    """Why a class needs its number, as Markdown."""
    return f"**{markdown(class_names[label])}**: {reason(evidence, label)}"
