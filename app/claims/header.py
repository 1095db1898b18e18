"""A model and its prototypes in a few numbers: each with its interval and what guessing reaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app import claims
from app.selection import Selection
from app.wording import GHOST, how_it_works, interval, what_it_is
from kmex_core.analysis.comparison import CAVEAT
from kmex_core.metrics import chance_accuracy, wilson_interval
from kmex_core.prototypes.metric_choice import K
from kmex_core.prototypes.types import Conversion
from kmex_core.stages.geometry import Geometry


@dataclass(frozen=True)
class HeaderNumber:
    """One number.

    Attributes:
        text: the number with what it is of, a few words.
        about: what it means, as Markdown.
    """

    text: str
    about: str


def header_numbers(
    chosen: Selection, converted: Conversion, labels: np.ndarray, geometry: Geometry | None
) -> list[HeaderNumber]:
    """The model's name, accuracies, agreement, ghosts and the metric, those of them that there are.

    Args:
        chosen: the model and the source of its prototypes.
        converted: the prototypes.
        labels: (M,) the true classes of the test images.
        geometry: of the embedding; None for built-in prototypes, which have no other metric.
    """
    summary, classes, images = converted.summary, len(chosen.model.class_names), converted.summary.images
    guessing = f"Always naming the most frequent class would reach {chance_accuracy(labels, classes):.1%}."
    about = f"{what_it_is(chosen.model)} {how_it_works(chosen.model.kind, chosen.source)}"
    numbers = [HeaderNumber(f"model {chosen.model.name}", about)]

    def add(name: str, share: float, what: str, chance: str) -> None:
        about = f"Share of {images:,} test images {what}. Higher is better. "
        about += f"{interval(*wilson_interval(share, images))} {chance} {chosen.model.caveat}"
        mark = f" {CAVEAT}" if chosen.model.caveat else ""
        numbers.append(HeaderNumber(f"{name} {share:.1%}{mark}", about.strip()))

    if summary.accuracy_black_box is not None:
        who = "black box" if chosen.has_black_box else chosen.title
        add(who, summary.accuracy_black_box, "that the original network classifies correctly", guessing)
    if chosen.is_kmex:
        compared = ""
        if chosen.has_black_box:
            compared = f" {claims.difference(converted.test_predicted, converted.test_black_box, labels).about}"
        what = "whose nearest prototype has the correct class"
        add("KMEx", summary.accuracy_kmex, what, f"{guessing}{compared}")
    if summary.agreement is not None:
        expected = expected_agreement(converted.test_predicted, converted.test_black_box, classes)
        what = "for which KMEx and the black box predict the same class, correct or not"
        add(
            "agreement",
            summary.agreement,
            what,
            f"Two independent models that name each class as often would agree on {expected:.1%}.",
        )
    return [*numbers, _ghosts(converted), *([_metric(geometry, converted)] if geometry is not None else [])]


def expected_agreement(predicted: np.ndarray, reference: np.ndarray, classes: int) -> float:
    """The share of images, 0…1, on which two models would agree by chance, given how often each names each class.

    Args:
        predicted, reference: (M,) classes, M ≥ 1.
        classes: C.
    """
    one, other = (np.bincount(each, minlength=classes) / len(each) for each in (predicted, reference))
    return float(one @ other)


def _ghosts(converted: Conversion) -> HeaderNumber:
    count, ghosts = len(converted.prototypes), int(converted.prototypes.ghost.sum())
    text = "no ghosts" if ghosts == 0 else f"{ghosts} of {count} prototypes are ghosts"
    about = f"{GHOST} Of {count:,} prototypes, {ghosts:,} are ghosts. Fewer is better."
    return HeaderNumber(text, about)


def _metric(geometry: Geometry, converted: Conversion) -> HeaderNumber:
    """The metric in use, why, and what the others reach."""
    accuracy = geometry.accuracy
    sentences = [
        claims.metric_choice(geometry, converted.metric.name),
        claims.below_black_box(geometry, converted.summary),
        f"With {K} prototypes per class, whitened is correct for {accuracy['whitened']:.1%} of all test images, "
        f"Euclidean (as published) for {accuracy['euclidean']:.1%}; a linear probe of the embedding for "
        f"{geometry.probe:.1%}.",
        "Variance of the embedding within the classes, relative to that between them: "
        f"{geometry.separation:.2f} (lower is more separated).",
    ]
    return HeaderNumber(f"{converted.metric.name} metric", " ".join(filter(None, sentences)))
