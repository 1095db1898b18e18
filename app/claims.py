"""Every sentence of a page that claims something about the data, computed from the data that it is shown with.

A sentence that holds for one model need not hold for the next: what cannot be computed is not claimed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kmex_core.base.plain_text import markdown
from kmex_core.metrics import paired_p_value
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.types import Summary
from kmex_core.relevance.types import Explanation

LEVEL = 0.05
NEAR_DISTANCE = 0.05
NEAR_PROBABILITY = 0.05
STILL = 0.05  # of 0…1: a number that moves less is said to hardly move


# ---- predictions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """How much more often one model is right than another.

    Attributes:
        text: in points and images.
        beyond_chance: a paired test says so.
        about: what the test found, in a sentence.
    """

    text: str
    beyond_chance: bool
    about: str


def difference(one: np.ndarray, other: np.ndarray, labels: np.ndarray) -> Difference:
    """How two models' predictions for the same images compare.

    Args:
        one, other: (N,) predicted classes.
        labels: (N,) true classes, N ≥ 1.
    """
    gained, lost = int(((one == labels) & (other != labels)).sum()), int(((other == labels) & (one != labels)).sum())
    more = gained - lost
    p = paired_p_value(one == labels, other == labels)
    beyond = p < LEVEL
    text = f"{more / len(labels) * 100:+.1f} points, {more:+,} of {len(labels):,}" if more else "as many right"
    verdict = "more than chance explains" if beyond else "within what chance explains"
    about = f"{gained:,} images are right only here, {lost:,} only there: {verdict} (McNemar's test, p = {p:.2g})."
    return Difference(text, beyond, about)


def near_tie(found: Explanation, classes: np.ndarray, names: tuple[str, ...], built_in: bool) -> str:
    """Which class nearly won, and by how little; "" when the decision is clear.

    Args:
        found: an explanation.
        classes: (K,) the prototypes' classes.
        names: of the classes.
        built_in: a prototypical model decides by its class probabilities; KMEx by the nearest prototype.
    """
    if built_in:
        second, first = np.argsort(found.kmex)[-2:] if len(found.kmex) > 1 else (-1, -1)
        if second < 0 or found.kmex[first] - found.kmex[second] >= NEAR_PROBABILITY:
            return ""
        return (
            f"**Near tie** with **{markdown(names[second])}**: its probability is {found.kmex[second]:.1%} against "
            f"{found.kmex[first]:.1%} (less than {NEAR_PROBABILITY * 100:.0f} points apart)."
        )
    others = np.flatnonzero(classes != found.predicted)
    if len(others) == 0:
        return ""
    best = int(np.argmax(found.similarity))
    rival = int(others[np.argmax(found.similarity[others])])
    if found.distance[rival] >= found.distance[best] * (1 + NEAR_DISTANCE):
        return ""
    name = markdown(names[classes[rival]])
    return (
        f"**Near tie** with **{name}**: the nearest prototype of that class has a similarity of "
        f"{found.similarity[rival]:.3f} against {found.similarity[best]:.3f} (it is less than {NEAR_DISTANCE:.0%} "
        "farther away)."
    )


def how_near(rank: float) -> str:
    """How an image's distance to its nearest prototype compares with the training images', as a clause.

    Args:
        rank: share of the training images that are nearer to theirs, or as near, 0…1.
    """
    if rank >= 1:
        return "no training image is farther from its nearest prototype than this image is from its own"
    if rank <= 0:
        return "every training image is farther from its nearest prototype than this image is from its own"
    share = "fewer than 0.1 %" if rank < 0.001 else f"{np.floor(rank * 1000) / 10:.1f} %"
    return f"{share} of the training images are nearer to their nearest prototype than this image is to its own"


def seen_in_training(info: ModelInfo, split: str, fingerprint: str) -> str:
    """Whether the network saw the images of a split in training, as far as that is known.

    Args:
        info: the model.
        split: "train" or "test".
        fingerprint: of its data set as it is now.
    """
    if "imported" in info.made_by:
        return "The model was imported: whether it saw these images in training is not known."
    if info.made_by.get("data") != fingerprint:
        return "The data set may have changed since training, so it is not known whether the model saw these images."
    return {
        "train": "The model and the prototypes were made from these images.",
        "test": "The model was not trained on these images.",
    }[split]


# ---- numbers of prototypes ------------------------------------------------------------------------------------------


def agreement_over_k(found: Mapping[int, Summary], chosen: int) -> str:
    """What more prototypes per class do to agreement, from the numbers that were measured.

    Args:
        found: summaries by prototypes per class.
        chosen: the slider's number.
    """
    ks = sorted(found)
    if len(ks) < 2:
        return ""
    agreement = {k: found[k].agreement for k in ks}
    best, worst = max(ks, key=lambda k: (agreement[k], -k)), min(ks, key=lambda k: (agreement[k], k))
    images = found[ks[0]].images
    if f"{agreement[best]:.1%}" == f"{agreement[worst]:.1%}":
        about = "" if agreement[best] == agreement[worst] else "about "
        same = f"{about}{agreement[best]:.1%} of the {images:,} test images"
        return f"KMEx agrees with the black box on {same} for every number."
    here = f"; with {chosen} on {agreement[chosen]:.1%}" if chosen in found and chosen not in (best, worst) else ""
    ends = (
        f"KMEx agrees with the black box most often with {best} per class (on {agreement[best]:.1%} of {images:,} test "
        f"images) and least often with {worst} ({agreement[worst]:.1%}){here}."
    )
    drop, before, after = max((agreement[a] - agreement[b], a, b) for a, b in itertools.pairwise(ks))
    if drop <= 0:
        return f"{ends} It never falls as prototypes are added."
    lost = round(drop * images)
    return (
        f"{ends} More prototypes do not always follow it more closely: from {before} to {after} agreement falls by "
        f"{'less than 0.1' if drop < 0.001 else f'{drop * 100:.1f}'} points ({lost:,} image{'s' * (lost != 1)})."
    )


def diversity_over_k(found: Mapping[int, Summary]) -> str:
    """How far the paper's measure of diversity moves with the number of prototypes; "" when there is little to say."""
    values = [summary.diversity for summary in found.values() if summary.diversity is not None]
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    moves = "hardly moves: it is" if high - low < STILL else "is"
    return f"Over the {len(values)} numbers measured here it {moves} between {low:.4f} and {high:.4f}."


# ---- maps -----------------------------------------------------------------------------------------------------------


def ordering(ordered: np.ndarray, at_random: np.ndarray, title: str) -> str:
    """Whether putting the most relevant pixels in first beats random order, and whether the curve can show it.

    Args:
        ordered, at_random: mean curves of the predicted class's probability, of equal length.
        title: what predicts.
    """
    area, beside = (float(np.trapezoid(curve) / (len(curve) - 1)) for curve in (ordered, at_random))
    both = np.concatenate([ordered, at_random])
    low, high = float(both.min()), float(both.max())
    if high - low < STILL:
        return f"{title}'s probability moves between {low:.3f} and {high:.3f} only: the curves say little of its maps."
    if f"{area:.3f}" == f"{beside:.3f}":
        return f"{title}'s maps do no better than random order: both areas are {area:.3f}."
    verdict = "above random order" if area > beside else "not above random order"
    return f"{title}'s maps are {verdict}: the area is {area:.3f} against {beside:.3f}."
