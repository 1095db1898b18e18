"""Every sentence on a page that claims something about the data, computed from the data that it is shown with.

A sentence that holds for one model need not hold for the next: what cannot be computed is not claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.claims.curves import swept_share
from kmex_core.analysis.bands import interval_over_seeds
from kmex_core.analysis.map_checks import Verdict, best, verdicts
from kmex_core.analysis.types import Projection
from kmex_core.base.phrases import joined, ranges
from kmex_core.base.plain_text import markdown
from kmex_core.metrics import chance_accuracy, paired_p_value
from kmex_core.metrics.stability import Stability
from kmex_core.metrics.types import MapChecks
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.metric_choice import K
from kmex_core.prototypes.source import per_class_words
from kmex_core.prototypes.sweep import Sweep
from kmex_core.prototypes.types import ConceptMap, PatchConversion, Summary
from kmex_core.stages.geometry import Geometry

LEVEL = 0.05
SHORT = 0.005  # of an accuracy: what KMEx may lose to its black box without a word
MENTIONED = 3  # prototypes of an image
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


def difference(predicted: np.ndarray, reference: np.ndarray, labels: np.ndarray) -> Difference:
    """How two models' predictions for the same images compare.

    Args:
        one, other: (N,) predicted classes.
        labels: (N,) true classes, N ≥ 1.
    """
    right, reference_right = predicted == labels, reference == labels
    gained, lost = int((right & ~reference_right).sum()), int((reference_right & ~right).sum())
    more = gained - lost
    p = paired_p_value(right, reference_right)
    beyond = p < LEVEL
    text = f"{more / len(labels) * 100:+.1f} points, {more:+,} of {len(labels):,}" if more else "equally many correct"
    text = text.replace("-", "−")
    verdict = "significant" if beyond else "not significant"
    about = (
        f"{gained:,} images are correct only with KMEx, {lost:,} only with the black box. This is {verdict} "
        f"(McNemar's test, p = {p:.2g})."
    )
    return Difference(text, beyond, about)


def patch_trade_off(patches: PatchConversion, kmex: np.ndarray, labels: np.ndarray, classes: int) -> str:
    """What it costs to classify an image by its patches instead of by the whole image.

    Args:
        patches: the patches.
        kmex: (M,) the classes that KMEx predicts for the test images.
        labels: (M,) their true classes.
        classes: C.
    """
    reference, chance = kmex == labels, chance_accuracy(labels, classes)
    rules = []
    for name, predicted, accuracy in (
        ("mean similarity", patches.by_similarity, patches.accuracy_similarity),
        ("majority vote", patches.by_vote, patches.accuracy_vote),
    ):
        right = predicted == labels
        points = (float(right.mean()) - float(reference.mean())) * 100
        verdict = "significant" if paired_p_value(right, reference) < LEVEL else "not significant"
        beside = "as many as by KMEx"
        if points:
            beside = f"{abs(points):.1f} points {'more' if points > 0 else 'fewer'} than by KMEx, {verdict}"
        poor = f"; always naming the most frequent class would reach {chance:.1%}" if accuracy <= chance else ""
        rules.append(f"{accuracy:.1%} correctly by {name} ({beside}{poor})")
    rows, columns = patches.prototypes.grid
    return f"Of {len(labels):,} test images, {rows}×{columns} patches classify {' and '.join(rules)}."


def finer_patches(one: PatchConversion, other: PatchConversion) -> str:
    """What the finer of two choices of patches costs.

    Args:
        one, other: by patches of grids of different sizes.
    """
    coarse, fine = sorted((one, other), key=lambda each: int(each.prototypes.grid.prod()))
    lost = (coarse.accuracy_similarity - fine.accuracy_similarity) * 100
    price = f"cost {lost:.1f} points" if lost > 0 else f"cost no accuracy ({-lost:+.1f} points)"
    metrics = (coarse.metric.name, fine.metric.name)
    differ = "" if len(set(metrics)) == 1 else f"; their metrics differ, too ({metrics[1]} instead of {metrics[0]})"
    grids = [f"{rows}×{columns}" for rows, columns in (fine.prototypes.grid, coarse.prototypes.grid)]
    return f"Maps of {grids[0]} instead of {grids[1]} patches {price} by mean similarity{differ}."


def concepts(concept_map: ConceptMap, class_names: Sequence[str], label: int) -> str:
    """What the patches of an image say of its class, and its most frequent prototypes.

    Args:
        concept_map: of the image.
        class_names: of the classes.
        label: the image's true class.
    """

    def named(predicted: int) -> str:
        return f"**{markdown(class_names[predicted])}** ({'correct' if predicted == label else 'wrong'})"

    of_class = dict(zip(concept_map.nearest.flat, concept_map.classes.flat, strict=True))
    shares = list(concept_map.shares.items())
    listed = [f"number {p} of {markdown(class_names[of_class[p]])} ({share:.0%})" for p, share in shares[:MENTIONED]]
    return (
        f"By mean similarity, the image is {named(concept_map.predicted)}; by majority vote, "
        f"{named(concept_map.voted)}, with {concept_map.votes[concept_map.voted]:,} of {concept_map.nearest.size:,} "
        f"patches. Most frequent of its {len(shares):,} patch prototypes: {', '.join(listed)}."
    )


def metric_choice(geometry: Geometry, name: str) -> str:
    """Why the embedding has its metric, from the trials on held-out images.

    Args:
        geometry: of the embedding.
        name: the metric in use.
    """
    images = sum(trial.images for trial in geometry.trials)
    whitened = sum(trial.whitened * trial.images for trial in geometry.trials) / images
    euclidean = sum(trial.euclidean * trial.images for trial in geometry.trials) / images
    where = "the validation split" if geometry.validation else "two halves of the test split, each for the other"
    on = (
        f"On {images:,} held-out images ({where}), whitened is correct for {whitened:.1%}, Euclidean for "
        f"{euclidean:.1%}"
    )
    if geometry.choice == "whitened":
        verdict = "Euclidean is not better by more than a standard error, so *auto* is **whitened**."
    elif len({trial.choice for trial in geometry.trials}) > 1:
        verdict = "The halves disagree, so *auto* is **Euclidean**, as published."
    else:
        verdict = "Euclidean is better by more than a standard error, so *auto* is **Euclidean**, as published."
    chosen = "" if name == geometry.choice else f" You have chosen **{name}** in the sidebar."
    return f"{on}. {verdict}{chosen}"


def below_black_box(geometry: Geometry, summary: Summary) -> str:
    """Why KMEx is less accurate than its black box, and what helps; "" when it is at most `SHORT` below or missing.

    Args:
        geometry: of the embedding.
        summary: of the conversion.
    """
    if summary.accuracy_black_box is None or summary.accuracy_black_box - summary.accuracy_kmex <= SHORT:
        return ""
    missing = summary.accuracy_black_box - summary.accuracy_kmex
    words = (
        f"KMEx is {missing * 100:.1f} points below the black box. The variance of the embedding within the classes is "
        f"{geometry.separation:.2f} times that between them (0: each class is one point)."
    )
    best = max(("whitened", "euclidean"), key=lambda name: geometry.accuracy[name])
    if summary.metric != best and geometry.accuracy[best] > summary.accuracy_kmex:
        words += f" With {K} prototypes per class, the {best} metric reaches {geometry.accuracy[best]:.1%}."
    return (
        f"{words} Training longer, with weight decay, makes them more compact; another number of prototypes can help, "
        "too."
    )


def drawn_by(projection: Projection) -> str:
    """What drew an embedding map from how many images, and how far it can be trusted.

    Args:
        projection: the map.
    """
    fitted, train = len(projection.sample), len(projection.train)
    images = f"all {train:,}" if fitted == train else f"{fitted:,} of the {train:,}"
    return (
        f"UMAP ({projection.made_by}) drew the map from {images} training images; everything else is placed among "
        "them. Its trustworthiness, how far neighbours on it are neighbours in the embedding, is "
        f"{projection.trustworthiness:.3f} (0 to 1, higher is better)."
    )


def far_from_all(projection: Projection, test: bool) -> str:
    """What the crosses on the embedding map mark.

    Args:
        projection: the map.
        test: whether the test images are shown.
    """
    count = len(projection.far) if test else len(projection.train)
    return (
        f"✕ marks images and prototypes farther from every image than 99% of the training images are: "
        f"{int(projection.far[:count].sum()):,} of {count:,} images. Their place says little."
    )


def seen_in_training(info: ModelInfo, split: str, fingerprint: str) -> str:
    """Whether the network saw the images of a split in training, as far as that is known.

    Args:
        info: the model.
        split: "train" or "test".
        fingerprint: of its data set as it is now.
    """
    if "imported" in info.made_by:
        return "The model was imported, so it is unknown whether it saw these images in training."
    if info.made_by.get("data") != fingerprint:
        return "The data set may have changed since training, so it is unknown whether the model saw these images."
    return {
        "train": "The model and its prototypes were made from these images.",
        "test": "The model was not trained on these images.",
    }[split]


# ---- numbers of prototypes ------------------------------------------------------------------------------------------


def predictions_over_k(sweeps: Sequence[Sweep], chosen: int) -> str:
    """What the number of prototypes per class does to agreement (to accuracy, without a black box), as far as seeds and
    chance let one say.

    Args:
        sweeps: of different seeds, at least one.
        chosen: the number in the sidebar, `SUGGESTED` for none.
    """
    name, does = swept_share(sweeps)
    values = np.stack([getattr(sweep, name) for sweep in sweeps])
    images, mean, count = sweeps[0].images, values.mean(0), values.shape[1]
    best, worst = int(mean.argmax()), int(mean.argmin())
    if f"{mean[best]:.1%}" == f"{mean[worst]:.1%}":
        return f"KMEx {does} {mean[best]:.1%} of the {images:,} test images, whatever the number."
    at_chosen = f"; with {chosen} per class on {mean[chosen - 1]:.1%}" if chosen > 0 else ""
    words = [f"KMEx {does} {mean[worst]:.1%} to {mean[best]:.1%} of the {images:,} test images{at_chosen}."]
    # the best is named only where the intervals of its neighbours end below its own
    low, high = interval_over_seeds(values, images)
    reaching = np.flatnonzero(high >= low[best])
    if all(step not in reaching for step in (best - 1, best + 1)):
        words.append(f"{name.capitalize()} is highest with {best + 1}.")
    else:
        words.append(f"No number is best beyond chance: the intervals of {len(reaching)} of {count} overlap the best.")
    above = mean > getattr(sweeps[0], f"random_{name}")[:, 2]
    if above.all():
        words.append("For every number it is above that of as many random training images of each class.")
    elif above.any():
        named = joined("and", ranges(np.flatnonzero(above) + 1))
        words.append(f"It is above that of as many random training images of each class with {named} only.")
    else:
        words.append("For no number is it above that of as many random training images of each class.")
    return " ".join(words)


def effective_number(summary: Summary, per_class: int) -> str:
    """The effective number of prototypes beside chance and separate groups; "" where there is none."""
    low, high, groups = summary.effective_random_low, summary.effective_random_high, summary.effective_equidistant
    if summary.effective is None or low is None or high is None or groups is None:
        return ""
    place = "below" if summary.effective < low else "above" if summary.effective > high else "within"
    if per_class == 1:
        return "With one prototype per class, the effective number is 1."
    return (
        f"With {per_class_words(per_class)}, the effective number is {summary.effective:.2f}, {place} the band of as "
        f"many random training images ({low:.2f} to {high:.2f} in 95% of draws); as many equidistant groups would "
        f"score {groups:.2f}."
    )


def stability(found: Stability, class_names: Sequence[str]) -> str:
    """How stable the prototypes are over seeds, against chance, and where least."""
    moved, by_chance = float(found.distance.mean()), float(found.distance_random.mean())
    index, worst = found.mean_rand_index, int(found.distance.argmax())
    groups = "" if index is None else f" The adjusted Rand index of the assigned images is {index:.2f} (chance: 0)."
    least = "" if found.distance[worst] == 0 else f" They move farthest in '{class_names[worst]}'."
    return (
        f"Over {len(found.seeds)} seeds, matched prototypes are {moved:.2f} standard deviations of their class apart; "
        f"from as many random training images they are {by_chance:.2f} apart.{groups}{least}"
    )


def diversity_over_k(sweep: Sweep) -> str:
    """How far the paper's measure of diversity moves with the number of prototypes; "" when there is little to say."""
    values = sweep.diversity[~np.isnan(sweep.diversity)]
    if len(values) < 2:
        return ""
    low, high = float(values.min()), float(values.max())
    moves = "hardly changes, staying" if high - low < STILL else "varies"
    return f"Over {len(values)} numbers of prototypes, it {moves} between {low:.4f} and {high:.4f}."


# ---- maps -----------------------------------------------------------------------------------------------------------


def map_checks(checks: MapChecks) -> str:
    """Which kinds of relevance maps find what the decision rests on, which do not, and which ignore the rival."""
    judged = [verdict for verdict, method in zip(verdicts(checks), checks.methods, strict=True) if method]
    tests = 2 * len(checks.replacements)

    def those(rows: Sequence[Verdict]) -> str:
        return ", ".join(verdict.row for verdict in rows)

    wins = [sum(verdict.deletion_random) + sum(verdict.insertion_random) for verdict in judged]
    groups = (
        (
            "Better than a random order of pixels in all {tests} tests",
            [v for v, n in zip(judged, wins, strict=True) if n == tests],
        ),
        ("Better in some", [v for v, n in zip(judged, wins, strict=True) if 0 < n < tests]),
        ("In none", [v for v, n in zip(judged, wins, strict=True) if n == 0]),
        ("Whatever the rival, the map is as good for it", [v for v in judged if v.depends_on_rival is False]),
    )
    first, _ = best([checks])[0]
    lines = [f"- {title.format(tests=tests)}: {those(rows)}." for title, rows in groups if rows]
    return "\n".join([f"Best mean rank over deletion and insertion: **{first}**.\n", *lines])


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
        return f"{title}: the probability stays between {low:.3f} and {high:.3f}, too flat to judge the maps."
    if f"{area:.3f}" == f"{beside:.3f}":
        return f"{title}: relevance order is no better than random order; the area under both curves is {area:.3f}."
    verdict = "better than random order" if area > beside else "no better than random order"
    return f"{title}: relevance order is {verdict}; the area under the curve is {area:.3f} against {beside:.3f}."
