"""Sentences about compared models, computed from their numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.claims import LEVEL
from kmex_core.analysis.changes import PrototypeChanges
from kmex_core.analysis.comparison import labels_of
from kmex_core.base.plain_text import markdown
from kmex_core.metrics import paired_p_value
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.types import Evaluation

LEAST = 3  # models to compare
_NAMES = ("effective", "diversity_reference", "diversity_all")


def diversity_conflict(evaluations: Sequence[Evaluation]) -> list[str]:
    """Where the best effective number comes with the worst D_dvs as published, and what explains it, as Markdown.

    Once for built-in prototypes, once for those of KMEx: only prototypes of the same kind are compared.
    """
    found = []
    for built_in in (True, False):
        known = [
            (labels_of(evaluation)[-1][0], numbers)
            for evaluation in evaluations
            if evaluation.built_in == built_in and (numbers := _numbers(evaluation)) is not None
        ]
        if len(known) < LEAST:
            continue
        label, (effective, published, exact) = max(known, key=lambda each: each[1][0])
        others = [numbers for name, numbers in known if name != label]
        if any(of_other >= published for _, of_other, _ in others):
            continue
        found.append(
            f"Of the {len(known)} models with {'built-in prototypes' if built_in else 'the prototypes of KMEx'}, "
            f"**{markdown(label)}** has the highest effective number ({effective:.3f}) and the worst "
            f"{METRICS['diversity_reference'].title} ({published:.3f}). "
            + _reason(published, exact, [of_other for _, _, of_other in others])
        )
    return found


def _numbers(evaluation: Evaluation) -> tuple[float, float, float] | None:
    """The effective number, D_dvs as published and in exact arithmetic; None where one is missing."""
    found = [evaluation.metrics[name].mean for name in _NAMES if name in evaluation.metrics]
    known = [value for value in found if value is not None]
    return (known[0], known[1], known[2]) if len(known) == len(_NAMES) else None


def _reason(published: float, exact: float, others: Sequence[float]) -> str:
    if published > 2 * exact:  # most of it is no diversity
        return (
            f"In exact arithmetic its D_dvs is {exact:.3f} (the others': {min(others):.3f} to {max(others):.3f}); the "
            "rest of the published form is rounding in 32 bits, which grows with the embedding's distance from its "
            "origin. The effective number, measured in spreads of the class, does not depend on that."
        )
    return (
        "The two measure different things: D_dvs compares prototypes by the model's similarity alone, the effective "
        "number by their distances in spreads of their class."
    )


def changed_classes(labels: tuple[str, str], truth: np.ndarray, predicted: tuple[np.ndarray, np.ndarray]) -> str:
    """How many test images get another class from the second model, and who is right, as Markdown.

    Args:
        labels: the models' names, A and B.
        truth: (M,) the images' classes, M ≥ 1.
        predicted: (M,) by A and by B.
    """
    one, other = (markdown(label) for label in labels)
    right, other_right = (of_model == truth for of_model in predicted)
    changed = predicted[0] != predicted[1]
    if not changed.any():
        return f"**{one}** and **{other}** predict the same class for all {len(truth):,} test images."
    lost, gained = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    neither = int(changed.sum()) - lost - gained
    p = paired_p_value(right, other_right)
    verdict = "more than chance gives" if p < LEVEL else "no more than chance gives"
    return (
        f"**{changed.sum():,} of {len(truth):,} test images** ({changed.mean():.1%}) get another class from "
        f"**{other}** than from **{one}**: {lost:,} are correct only with {one}, {gained:,} only with {other}, "
        f"{neither:,} with neither. {lost:,} against {gained:,} is {verdict} (McNemar's test, p = {p:.2g})."
    )


def changed_prototypes(labels: tuple[str, str], changes: PrototypeChanges) -> str:
    """How far two models group the training images alike, as Markdown.

    Args:
        labels: the models' names, A and B.
        changes: between them.
    """
    one, other = (markdown(label) for label in labels)
    count, of, matched = int(changes.changed.sum()), len(changes.changed), int((changes.match >= 0).sum())
    index = changes.rand_index
    alike = f" Adjusted Rand index within the classes: {index:.2f} (0: chance, 1: the same groups)."
    return (
        f"**{count:,} of {of:,} training images** ({count / of:.1%}) have another prototype. Prototypes of {one} and "
        f"{other} are matched by the images that they share ({matched:,} of {len(changes.match):,} have a match); an "
        f"image changes when its nearest prototypes are not matched.{'' if np.isnan(index) else alike}"
    )
