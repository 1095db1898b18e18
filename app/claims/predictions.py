"""What an image is taken for, in sentences: what decides what the prediction is worth comes first.

Sentences are Markdown with no markup but `**`; `plain_text.spans` takes it away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.prototype_names import prototype_title
from app.selection import Selection
from kmex_core.base.plain_text import markdown
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.prototypes.types import Prototypes
from kmex_core.relevance.types import MapVerdict, Prediction, RelevanceMaps

NEAR_DISTANCE = 0.05
NEAR_PROBABILITY = 0.05
TYPICAL = 0.9  # the share of the training images that may be nearer to theirs without a picture being called unusual


@dataclass(frozen=True)
class Verdict:
    """What is said of a prediction, in the order in which it is read.

    Attributes:
        unusual: that the image is unlike the training data; "" if it is not.
        headline: what is predicted, how surely, and whether that is so, where it is known.
        tie: which class nearly won; "" when the decision is clear.
        likelier: that all prototypes together make another class likelier; "" if they do not.
        near: how the distance to the nearest prototype compares with the training images'.
        correct: whether every prediction is the true class; None where that is unknown.
    """

    unusual: str
    headline: str
    tie: str
    likelier: str
    near: str
    correct: bool | None


def verdict(chosen: Selection, prototypes: Prototypes, prediction: Prediction, label: int | None = None) -> Verdict:
    """What is said of a prediction.

    Args:
        chosen: the model and its prototypes.
        prototypes: the prototypes.
        prediction: of the image.
        label: the image's true class, None when unknown.
    """
    names = chosen.model.class_names
    near = how_near(prediction.distance_rank)
    unusual = likelier = ""
    if prediction.unusual:
        unusual = (
            f"**Unlike the training data.** {near} The model knows {len(names)} classes and predicts one of them for "
            "any image. Do not rely on this prediction."
        )
    if prediction.likeliest != prediction.predicted:
        likelier = (
            f"The nearest prototype is of **{markdown(names[prediction.predicted])}**, which is the prediction. All "
            f"prototypes together make **{markdown(names[prediction.likeliest])}** likelier "
            f"({prediction.kmex[prediction.likeliest]:.1%})."
        )
    wrong = None if label is None else _wrong(chosen, prediction, label)
    return Verdict(
        unusual=unusual,
        headline=" ".join(part for part in (_predicted(chosen, prediction), _true(names, label, wrong)) if part),
        tie=near_tie(prediction, prototypes.classes, names, not chosen.is_kmex),
        likelier=likelier,
        near=near if prediction.distance_rank > TYPICAL else f"Not unusual: {near[0].lower()}{near[1:]}",
        correct=None if wrong is None else not wrong,
    )


def _predicted(chosen: Selection, prediction: Prediction) -> str:
    names, hedge = chosen.model.class_names, "Best guess: " if prediction.unusual else ""
    kmex, sure = markdown(names[prediction.predicted]), f"{prediction.kmex[prediction.predicted]:.1%}"
    beside = prediction.predicted_black_box
    if not chosen.has_black_box or beside is None or prediction.black_box is None:
        return f"{hedge}{chosen.title} predicts **{kmex}** ({sure})."
    sure_beside = f"{prediction.black_box[beside]:.1%}"
    if beside == prediction.predicted:
        return f"{hedge}The black box ({sure_beside}) and KMEx ({sure}) both predict **{kmex}**."
    return (
        f"{hedge}The black box predicts **{markdown(names[beside])}** ({sure_beside}), KMEx predicts **{kmex}** "
        f"({sure}): they disagree."
    )


def _wrong(chosen: Selection, prediction: Prediction, label: int) -> list[str]:
    """Which of the models predict another class than `label`."""
    beside = [("the black box", prediction.predicted_black_box)] if chosen.has_black_box else []
    return [name for name, predicted in (*beside, (chosen.title, prediction.predicted)) if predicted != label]


def _true(names: tuple[str, ...], label: int | None, wrong: list[str] | None) -> str:
    if label is None or wrong is None:
        return ""
    if not wrong:
        return "Correct."
    both = "both are" if len(wrong) == 2 else f"{wrong[0]} is"
    return f"The true class is **{markdown(names[label])}**, so {both} wrong."


def how_near(rank: float) -> str:
    """How an image's distance to its nearest prototype compares with the training images'.

    Args:
        rank: share of the training images that are nearer to theirs, or as near, 0…1.
    """
    if rank >= 1:
        return "Every training image is nearer to its nearest prototype than this image is."
    if rank <= 0:
        return "This image is nearer to its nearest prototype than every training image is."
    share = min(99, max(1, round(100 * (1 - rank))))  # never all or none of them
    return f"{share}% of the training images are farther from their nearest prototype than this image is."


def decides(chosen: Selection, prototypes: Prototypes, prediction: Prediction) -> str:
    """By which prototypes a prediction is made."""
    nearest = int(np.argmax(prediction.similarity))
    name = f"**{markdown(prototype_title(nearest, prototypes.classes, chosen.model.class_names))}**"
    if chosen.is_kmex:
        return f"{chosen.title} decides by the nearest prototype: {name}."
    return f"{chosen.title} weighs the similarities to all prototypes. The most similar one is {name}."


def near_tie(explanation: Prediction, classes: np.ndarray, names: tuple[str, ...], built_in: bool) -> str:
    """Which class nearly won, and by how little; "" when the decision is clear.

    Args:
        explanation: what is predicted.
        classes: (K,) the prototypes' classes.
        names: of the classes.
        built_in: a prototypical model decides by its class probabilities; KMEx by the nearest prototype.
    """
    if built_in:
        probability = explanation.kmex
        second, first = np.argsort(probability)[-2:] if len(probability) > 1 else (-1, -1)
        if second < 0 or probability[first] - probability[second] >= NEAR_PROBABILITY:
            return ""
        return (
            f"**Near tie** with **{markdown(names[second])}**, whose probability is {probability[second]:.1%} against "
            f"{probability[first]:.1%} (less than {NEAR_PROBABILITY * 100:.0f} points apart)."
        )
    others = np.flatnonzero(classes != explanation.predicted)
    if len(others) == 0:
        return ""
    best = int(np.argmax(explanation.similarity))
    rival = int(others[np.argmax(explanation.similarity[others])])
    if explanation.distance[rival] >= explanation.distance[best] * (1 + NEAR_DISTANCE):
        return ""
    name = markdown(names[classes[rival]])
    return (
        f"**Near tie** with **{name}**, whose nearest prototype is at a distance of {explanation.distance[rival]:.3f} "
        f"against {explanation.distance[best]:.3f} (less than {NEAR_DISTANCE:.0%} farther away)."
    )


def map_worth(verdict: MapVerdict) -> str:
    """What a relevance map is worth, in a line; `map_verdict` has the numbers."""
    if verdict.margin is None:
        return "Another class is nearer, so there is no margin to test this map with."
    count, better = len(verdict.margin), verdict.better_than(verdict.random)
    words = {
        count: "**Better than random order**: removing its top pixels lowers the margin most.",
        0: "**No better than random order**: do not read anything into this map.",
    }.get(better, f"**Better than random order under {better} of {count} replacements** of the removed pixels.")
    return f"{words} It does not depend on the rival." if verdict.depends_on_rival is False else words


def map_verdict(verdict: MapVerdict, shares: Sequence[float], class_name: str) -> str:
    """What a relevance map is worth: how much of the margin its top pixels carry, and whether it is about the rival.

    Args:
        verdict: of the map.
        shares: of the pixels that were replaced, those of the verdict.
        class_name: of its prototype.
    """
    sentences = []
    if verdict.margin is not None:
        left, random, bright = (
            f"{values[:, -1].mean():.0%}".replace("-", "−")
            for values in (verdict.margin, verdict.random, verdict.brightness)
        )
        count = len(verdict.margin)
        below = " (below 0, another class is nearer)" if verdict.margin[:, -1].mean() < 0 else ""
        beats = [
            f"{name} under {verdict.better_than(other)} of {count} replacements"
            for name, other in (("random order", verdict.random), ("brightness", verdict.brightness))
        ]
        sentences.append(
            f"Without its top {shares[-1]:.0%} of pixels, {left} of the margin of **{markdown(class_name)}** is "
            f"left{below}; {random} in random order, {bright} by brightness. It removes more than "
            f"{' and '.join(beats)}."
        )
    if verdict.cosine is None or verdict.specificity is None:
        sentences.append("With two classes there is no other rival, so whether the map depends on it is not defined.")
    elif verdict.depends_on_rival:
        sentences.append(
            f"It depends on the rival: against a third class the map differs (cosine {verdict.cosine:.2f}), and each "
            f"map hurts its own margin more (specificity {verdict.specificity:+.2f})."
        )
    else:
        sentences.append(
            f"**It does not depend on the rival**: the map against a third class is as good (cosine "
            f"{verdict.cosine:.2f}, specificity {verdict.specificity:+.2f}). It does not show why this prototype and "
            "not another."
        )
    return " ".join(sentences)


def has_distances(chosen: Selection) -> bool:
    """Whether the prototypes have distances that can be compared: a dot product gives none."""
    return chosen.is_kmex or MODEL_KINDS[chosen.model.kind].similarity_from != "dot product"


def how_far(chosen: Selection, prototypes: Prototypes, prediction: Prediction, p: int) -> str:
    """How far an image is from a prototype, measured by how far training images are from theirs; its similarity where
    there are no distances."""
    if not has_distances(chosen):
        return f"similarity {prediction.similarity[p]:.3f}"
    compared = scale(chosen, prototypes)
    times = "" if compared is None else f", {prediction.distance[p] / compared[0]:.1f} × usual"
    return f"distance {prediction.distance[p]:.2f}{times}"


def scale(chosen: Selection, prototypes: Prototypes) -> tuple[float, float] | None:
    """The distances that `how_far` compares with: the usual one, and the one that 1% of the training images exceed;
    None where it does not."""
    middle = float(prototypes.distance_quantiles[50])
    return (middle, prototypes.typical_distance) if has_distances(chosen) and middle > 0 else None


def usual(chosen: Selection, prototypes: Prototypes) -> str:
    """What `how_far` compares distances with; "" where it does not."""
    compared = scale(chosen, prototypes)
    if compared is None:
        return ""
    middle, limit = compared
    return (
        f"Usual is the median distance of the training images to their nearest prototype, {middle:.2f}. The farthest "
        f"1% of them are at {limit / middle:.1f} × usual or beyond."
    )


def far_away(far: bool) -> str:
    """What the place of a picture on the embedding map says; "" where there is nothing to say of it."""
    return "It is far from every image on the map, so its place there says little." if far else ""


def sides(maps: RelevanceMaps, own: str, rival: str) -> str:
    """How much of the first map's magnitude speaks for either of two classes."""
    values = maps.values[0]
    positive = float(values[values > 0].sum()) / max(float(np.abs(values).sum()), 1e-12)
    return (
        f"Of the map's magnitude, {positive:.0%} speaks for **{markdown(own)}** and {1 - positive:.0%} for "
        f"**{markdown(rival)}**."
    )
