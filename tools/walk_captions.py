"""Captions of the recorded walk: sentences whose figures are what the page says."""

from __future__ import annotations

import re
from collections.abc import Mapping

WRONG = re.compile(r"(\d[\d,]*) wrong")
WORST = "Worst subgroup"


def start(header: str) -> str:
    """The caption of the page as it opens.

    Args:
        header: the page's line of figures, such as "black box 71.2%".
    """
    black_box, kmex = (_only(rf"{name} ([\d.]+%)", header) for name in ("black box", "KMEx"))
    return (
        "A planted shortcut: in training, nearly all seniors wear sunglasses, and hardly anybody else does. "
        f"Of the test images, where half of each class do, the network has {black_box} right, KMEx {kmex}."
    )


def mistakes(legend: Mapping[str, str]) -> str:
    """The caption of the map coloured by right and wrong.

    Args:
        legend: the numbers of images by the entries of the legend.
    """
    wrong, right = (int(legend[name].replace(",", "")) for name in ("wrong", "right"))
    return (
        f"1. Colour: Right / wrong. KMEx is wrong on {wrong:,} of {wrong + right:,} training images, "
        "in a few crowds. Which prototypes are near them?"
    )


def suspect(label: str) -> str:
    """The caption of a prototype in the panel.

    Args:
        label: its name for screen readers, such as "Prototype 3 of senior, 20%, 13 wrong".
    """
    title = label.split(",")[0]
    attracts = _only(WRONG.pattern, label)
    return f"2. {title}, at the edge of such a crowd, attracts {attracts} training images of other classes. Open it."


def card(attracted: str, title: str) -> str:
    """The caption of a prototype's card.

    Args:
        attracted: the heading "Attracted from other classes: adult 13".
        title: "Prototype 3 of senior".
    """
    classes = ", ".join(f"{count} of {name}" for name, count in re.findall(r"([^:,]+) (\d[\d,]*)(?:,|$)", attracted))
    classes = re.sub(r" +", " ", classes)
    return (
        f"3. {title} attracts images of other classes: {classes}. Look at the pictures: all of them wear sunglasses. "
        "No label of sunglasses was used to find this."
    )


def scores(rows: Mapping[str, tuple[str, str]], legend: Mapping[str, str]) -> str:
    """The caption of the scores after an edit.

    Args:
        rows: for each line of the table its scored and its untouched cell, such as "53.3 → 69.0% ▲".
        legend: as in `mistakes`.
    """
    scored, untouched = (_change(cell) for cell in rows[WORST])
    return (
        f"4. Edit, Hide. Worst subgroup of the scored half: {scored}. Of the untouched half: {untouched}. "
        f"Of the training images {legend['wrong']} are wrong now: there the shortcut was right."
    )


def saved(before: str, after: str, edited: str) -> str:
    """The caption of the saved version.

    Args:
        before, after: the lines of figures of the page before and after.
        edited: what the page says of the version.
    """
    was, now = (_only(r"KMEx ([\d.]+%)", header) for header in (before, after))
    return f"5. Saved as a version. {edited} KMEx {was} before, {now} now on all test images. Nothing was trained."


def _change(cell: str) -> str:
    before, after = re.findall(r"\d+\.\d", cell)
    return f"{before} to {after}%"


def _only(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"The page does not say {pattern!r}: {text!r}")
    return found[1]
