"""Sentences about images and a model that are being brought to the store, computed from the commands' answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kmex_core.base.phrases import joined
from kmex_core.base.plain_text import markdown

FEW = 20  # training images of a class, below which k-means has little to divide


def images_found(report: Mapping[str, Any]) -> str:
    """How many images and classes, as Markdown.

    Args:
        report: `data.report.DatasetReport` as the command gives it; also in the functions below.
    """
    counts = ", ".join(f"{count:,} {split}" for split, count in report["images"].items())
    return f"**{sum(report['images'].values()):,} images of {len(report['classes']):,} classes** ({counts})."


def sizes(report: Mapping[str, Any]) -> str:
    """Sizes, modes and formats of the images whose headers were read."""
    storage = report["storage"]
    ranges = []
    for what in ("heights", "widths"):
        low, middle, high = storage[what]
        ranges.append(f"{middle:,}" if low == high else f"{low:,} to {high:,} (median {middle:,})")
    kinds = [
        f"{name} ({count:,})"
        for of in ("modes", "formats")
        for name, count in storage[of].items()
        if name and len(storage[of]) > 1
    ] or [name for of in ("modes", "formats") for name in storage[of] if name]
    shapes = f"{storage['shapes']:,} different sizes" if storage["shapes"] > 1 else "all of one size"
    return (
        f"Sizes: {ranges[0]} pixels high, {ranges[1]} pixels wide, {shapes}; {joined('and', kinds)} "
        f"({storage['looked_at']:,} images looked at)."
    )


def copies(report: Mapping[str, Any]) -> str:
    """Images that occur several times, and what follows."""
    found = report["copies"]
    within, across = sum(found["within"].values()), {pair: n for pair, n in found["across"].items() if n}
    if not within and not across:
        return "Copies: no image occurs twice."
    texts = [f"{within:,} images are copies of another one in the same split."] if within else []
    texts += [f"{count:,} images are in {pair}." for pair, count in across.items()]
    if any("test" in pair and "train" in pair for pair in across):
        texts.append("Accuracy on those test images is no evidence: the network may know them by heart.")
    return " ".join(texts)


def balance(report: Mapping[str, Any]) -> str:
    """The ratio of the largest to the smallest class, and whether a class has few images."""
    counts = {entry["name"]: int(entry["images"]["train"]) for entry in report["classes"]}
    low, high = min(counts.values()), max(counts.values())
    text = (
        f"Every class has {low:,} training images."
        if low == high
        else f"{low:,} to {high:,} training images per class, a ratio of {report['imbalance']:.1f}."
    )
    few = [name for name, count in counts.items() if count < FEW]
    if few:
        text += f" {len(few):,} of the classes have fewer than {FEW}: their prototypes stand for very few images."
    return text


def check_verdict(check: Mapping[str, Any] | None, classes: int) -> str:
    """What the accuracy on held-out images says about the network, its classes and its preprocessing, as Markdown.

    Args:
        check: the check of `stages.new_report.described`; None if the network predicts none of the classes.
        classes: C.
    """
    if check is None:
        return (
            f"The network predicts none of your {classes:,} classes, so there is no accuracy to compare with: KMEx "
            "classifies by its embedding, and its accuracy is measured when it is converted."
        )
    accuracy, chance, images = check["accuracy"], check["chance"], check["images"]
    measured = f"{accuracy:.1%} of {images:,} held-out images are classified correctly; guessing reaches {chance:.1%}."
    if check["at_chance"]:
        return f"**No better than guessing.** {measured} Something does not fit: see what helps below."
    share = (accuracy - chance) / max(1e-9, 1 - chance)
    words = (
        "The network, its classes and its preprocessing fit together."
        if share >= 0.5
        else "Better than guessing, but less than half of the way from guessing to no mistakes."
    )
    return f"**{words}** {measured}"


def most_confused(check: Mapping[str, Any], class_names: list[str]) -> str:
    """The most frequent mistake, as Markdown; "" without mistakes."""
    mistakes = [entry for entry in check["confusion"] if entry[0] != entry[1]]
    if not mistakes:
        return "No held-out image is classified wrongly."
    label, predicted, count = max(mistakes, key=lambda entry: entry[2])
    of = sum(entry[2] for entry in check["confusion"] if entry[0] == label)
    return (
        f"The most frequent mistake: {count:,} of {of:,} images of **{markdown(class_names[label])}** are taken for "
        f"**{markdown(class_names[predicted])}**."
    )


def confusion(check: Mapping[str, Any], classes: int) -> np.ndarray:
    """(C, C) the numbers of images by class (row) and predicted class (column)."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    for label, predicted, images in check["confusion"]:
        counts[label, predicted] = images
    return counts


def cost(decision: Mapping[str, Any]) -> str:
    """What converting will take, as far as a few images tell.

    Args:
        decision: see `stages.new_report.described`.
    """
    seconds, megabytes = decision["expected_seconds"], decision["expected_megabytes"]
    time = (
        "a few seconds" if seconds < 5 else f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:,.0f} minutes"
    )
    return (
        f"All images pass through the network once: about {time} and {megabytes:,.0f} MB of memory, judged by a few "
        "images on this machine."
    )
