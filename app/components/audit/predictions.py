"""Trustworthiness of the predictions: does the model decide as its black box, and how sure is it?"""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import claims, read
from app.claims import audit
from app.components.audit.confusion import show_confusion, show_mistakes
from app.components.audit.headline import show_headline
from app.components.audit.numbers import show_numbers
from app.selection import Selection
from kmex_core import metrics
from kmex_core.metrics.catalogue import PREDICTIONS
from kmex_core.metrics.types import Evaluation


def show_predictions(chosen: Selection, evaluation: Evaluation) -> None:
    """Show the headline of predictions, what it costs in accuracy, how good the confidence is, and the numbers."""
    conversion, labels = read.conversion(chosen), read.dataset(chosen.model).split("test").labels
    black_box = conversion.test_black_box if chosen.has_black_box else None
    name, reference = ("accuracy", labels) if black_box is None else ("agreement", black_box)
    headline = audit.share(
        name,
        f"{chosen.title} decides as the black box" if black_box is not None else f"{chosen.title} is correct",
        int((conversion.test_predicted != reference).sum()),
        len(labels),
        metrics.chance_accuracy(reference, len(chosen.model.class_names)),
        _drawn(chosen, f"random_{name}"),
    )
    question = "Does KMEx decide as its black box?" if black_box is not None else "Are the predictions correct?"
    show_headline(PREDICTIONS, question, headline, caveat=evaluation.caveat)
    words = []
    if black_box is not None:
        found = claims.difference(conversion.test_predicted, black_box, labels)
        right, right_black_box = (float((each == labels).mean()) for each in (conversion.test_predicted, black_box))
        words.append(audit.beside_black_box(right, right_black_box, found))
    error, beside = (evaluation.metrics.get(f"calibration_error{suffix}") for suffix in ("", "_black_box"))
    if error is not None and error.mean is not None:
        words.append(audit.confidence(chosen.title, error.mean, None if beside is None else beside.mean))
    st.markdown(" ".join(words))
    show_mistakes(chosen)
    show_confusion(chosen)
    with st.expander("Numbers", icon=":material/tag:"):
        show_numbers(evaluation, PREDICTIONS)


def _drawn(chosen: Selection, field: str) -> tuple[float, float] | None:
    """The band of random training images as prototypes, where the store has the sweep with it."""
    k = chosen.kmeans.k
    sweep = next(iter(read.sweeps(chosen).values()), None) if chosen.is_kmex and k > 0 else None
    if sweep is None or k > sweep.reach:
        return None
    low, high = (float(end) for end in getattr(sweep, field)[k - 1, 1:])
    return (low, high) if np.isfinite(low) else None
