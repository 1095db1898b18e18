"""The headlines of the page Audit: each of the paper's predicates in words, computed from the numbers below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app import claims
from app.claims import Difference
from kmex_core.base.phrases import joined
from kmex_core.base.plain_text import message
from kmex_core.metrics import wilson_interval
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.metric import Metric
from kmex_core.metrics.stability import Stability
from kmex_core.metrics.types import AgainstChance, Evaluation
from kmex_core.prototypes.types import Summary

ROBUSTNESS = ("average_drop", "average_increase", "relevance_ordering")


@dataclass(frozen=True)
class Headline:
    """A predicate in words.

    Attributes:
        text: what was found, as Markdown.
        chance: what it is compared with, as Markdown; "" for nothing.
        verdict: what comes of the comparison with chance, in a few words.
        tone: "good" when it is beyond chance in the better direction, "bad" in the worse one, "open" otherwise.
    """

    text: str
    chance: str
    verdict: str
    tone: Literal["good", "open", "bad"]


def share(
    name: str, does: str, missed: int, images: int, constant: float, drawn: tuple[float, float] | None
) -> Headline:
    """How often predictions agree with the black box's or with the classes, beside two chance levels.

    Args:
        name: of the metric in `METRICS`.
        does: what predicts and does it: "KMEx decides as the black box".
        missed: test images for which it does not.
        images: test images.
        constant: the share, 0…1, that always naming the same class would reach.
        drawn: the band, 95% of draws, for as many random training images as prototypes; None where it is not known.
    """
    value = 1 - missed / images
    low, high = wilson_interval(value, images)
    count = f"all but **{missed:,} of {images:,}** test images" if missed else f"all **{images:,}** test images"
    text = f"{METRICS[name].title} ↑ **{value:.1%}** (95% interval {low:.1%} to {high:.1%}): {does} in {count}."
    chance = f"Chance: always naming one class would reach {constant:.1%}"
    if drawn is not None:
        chance += f"; random training images as prototypes reach {drawn[0]:.1%} to {drawn[1]:.1%} (95% of draws)"
    if low <= constant:
        return Headline(text, f"{chance}.", "no better than chance", "bad" if high < constant else "open")
    if drawn is not None and value < drawn[0]:
        return Headline(text, f"{chance}.", "worse than random prototypes", "bad")
    if drawn is not None and value <= drawn[1]:
        return Headline(text, f"{chance}.", "no better than random prototypes", "open")
    return Headline(text, f"{chance}.", "better than chance", "good")


def beside_black_box(accuracy: float, black_box: float, found: Difference) -> str:
    """How accuracy compares with the black box's, in a sentence."""
    beyond = "more than chance" if found.beyond_chance else "no more than chance"
    return (
        f"KMEx is correct for **{accuracy:.1%}** of the test images, the black box for {black_box:.1%} ({found.text}: "
        f"{beyond})."
    )


def confidence(by: str, error: float, black_box: float | None) -> str:
    """What the calibration error means, beside the black box's.

    Args:
        by: what predicts.
        error, black_box: calibration errors, 0…1; None without a black box.
    """
    beside = "" if black_box is None else f", that of the black box by {black_box * 100:.1f}"
    return f"The confidence of {by} is off by {error * 100:.1f} percentage points on average{beside}."


def ghosts(count: int, prototypes: int, by_distance: bool) -> Headline:
    """Whether every prototype takes part in decisions.

    Args:
        count: ghosts.
        prototypes: how many there are.
        by_distance: whether similarity is a distance: then a training image is nearest to itself.
    """
    chance = "Chance: random training images as prototypes would have none, since each is nearest to itself."
    if count == 0:
        text = f"Ghosts ↓ **0 of {prototypes:,}**: each prototype is the nearest of a training image of its class."
        return Headline(text, chance if by_distance else "", "no ghosts", "good")
    text = (
        f"Ghosts ↓ **{count:,} of {prototypes:,}** ({count / prototypes:.1%}): these prototypes are the nearest of no "
        "training image of their class."
    )
    if by_distance:
        return Headline(text, chance, "worse than random prototypes", "bad")
    return Headline(text, "", "has ghosts", "bad")


def diversity(summary: Summary, per_class: float, means: bool) -> Headline:
    """Whether the prototypes of a class differ more than random training images.

    Args:
        summary: of the conversion.
        per_class: prototypes per class, on average over the classes.
        means: whether prototypes are means of images.
    """
    low, high = summary.effective_random_low, summary.effective_random_high
    if summary.effective is None or low is None or high is None:
        return Headline("The model's similarity is a dot product, not a distance.", "", "not measured", "open")
    if per_class <= 1:
        return Headline("With one prototype per class, there is nothing to compare.", "", "not measured", "open")
    text = (
        f"Effective number ↑ **{summary.effective:.2f} of {per_class:.3g}**: the prototypes of a class count as "
        f"{summary.effective:.2f} different ones."
    )
    chance = f"Chance: as many random training images count as {low:.2f} to {high:.2f} (95% of draws)."
    if summary.effective < low:
        why = " Prototypes are means of many images, and means are closer together than images." if means else ""
        return Headline(text, f"{chance}{why}", "less diverse than random images", "bad")
    if summary.effective > high:
        return Headline(text, chance, "more diverse than random images", "good")
    return Headline(text, chance, "as diverse as random images", "open")


def stability(found: Stability, class_names: Sequence[str]) -> Headline:
    """Whether prototypes are nearer to those of another seed of k-means than to random training images.

    Args:
        found: over some seeds.
        class_names: of the classes.
    """
    text = message(claims.stability(found, class_names))
    if found.distance.mean() < found.distance_random.mean():
        return Headline(text, "", "more stable than chance", "good")
    return Headline(text, "", "no more stable than chance", "bad")


def faithful_maps(evaluation: Evaluation, by: str) -> Headline | None:
    """Whether relevance maps are nearer to the black box's than maps that know less; None where there are no others.

    Args:
        evaluation: with metrics on maps.
        by: whose maps they are.
    """
    value = evaluation.metrics.get("faithfulness")
    if value is None or value.mean is None:
        return None
    better = [_level(evaluation, against) for against in value.against if against.better]
    others = [_level(evaluation, against) for against in value.against if not against.better]
    text = f"Divergence ↓ **{METRICS['faithfulness'].with_unit(value.mean)}** of the maps of {by} from the black box's."
    parts = [f"nearer to the black box's than {joined('and', better)}"] if better else []
    parts += [f"no nearer than {joined('and', others)}"] if others else []
    chance = f"Chance: {'; '.join(parts)}." if parts else ""
    if not others:
        return Headline(text, chance, "faithful beyond chance", "good")
    return Headline(text, chance, "partly faithful" if better else "no more faithful than chance", "open")


def robust_maps(evaluation: Evaluation, by: str) -> Headline:
    """In how many of the paper's tests relevance maps beat a random order of pixels.

    Args:
        evaluation: with metrics on maps.
        by: whose maps they are.
    """
    tests: dict[bool, list[str]] = {True: [], False: []}
    for name in ROBUSTNESS:
        value = evaluation.metrics.get(name)
        if value is None or value.mean is None or not value.against:
            continue
        kind, level = METRICS[name], evaluation.metrics[value.against[0].name].mean
        beside = "" if level is None else f", random {kind.shown(level)}"
        tests[bool(value.better_than_chance)].append(f"{_within(kind)} {kind.arrow} ({kind.shown(value.mean)}{beside})")
    count = len(tests[True]) + len(tests[False])
    if count == 0:
        return Headline("No similarity is above 0, so robustness is not measured.", "", "not measured", "open")
    text = f"The maps of {by} beat a random order of pixels in **{len(tests[True])} of {count}** tests."
    parts = [f"better by {joined('and', tests[True])}"] if tests[True] else []
    parts += [f"no better by {joined('and', tests[False])}"] if tests[False] else []
    chance = f"Chance: {'; '.join(parts)}."
    if not tests[False]:
        return Headline(text, chance, "robust beyond chance", "good")
    return Headline(text, chance, "robust in some tests" if tests[True] else "no more robust than chance", "open")


def mistakes(shown: Sequence[int], missed: int) -> str:
    """How many mistakes the most frequent confusions account for, as a lead-in to them.

    Args:
        shown: images of each confusion that follows.
        missed: mistakes in all.
    """
    if not missed:
        return "No test image is misclassified."
    if sum(shown) == missed:
        return f"All **{missed:,}** mistakes:"
    return f"The most frequent mistakes, {sum(shown):,} of **{missed:,}**:"


def _level(evaluation: Evaluation, against: AgainstChance) -> str:
    kind, mean = METRICS[against.name], evaluation.metrics[against.name].mean
    return kind.chance_name if mean is None else f"{kind.chance_name} ({kind.shown(mean)})"


def _within(kind: Metric) -> str:
    return kind.title[0].lower() + kind.title[1:]
