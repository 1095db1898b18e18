"""Sentences of the page Attributes: each is computed from the figures that it is shown with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from kmex_core.base.phrases import joined
from kmex_core.base.plain_text import markdown
from kmex_core.metrics import DRAWS

# a group's accuracy, and a number of prototypes, against chance
ACCURACY = {
    "better": "more accurate than by chance",
    "within": "within chance",
    "worse": "less accurate than by chance",
}
VERDICT = {"better": "above chance", "within": "within chance", "worse": "below chance"}  # in a table's cell
OFTEN = {"more": "more than by chance", "within": "within chance", "fewer": "fewer than by chance"}


def words(name: str) -> str:
    """An attribute's name as it is shown: plain text."""
    return name.replace("_", " ")


def often(row: Mapping[Any, Any]) -> str:
    """A key of `OFTEN` for a row of a table with `prototypes`, `expected` and `beyond_chance`."""
    if not row["beyond_chance"]:
        return "within"
    return "more" if row["prototypes"] > row["expected"] else "fewer"


def in_prototypes(row: Mapping[Any, Any], total: int) -> str:
    """How frequent an attribute is among images and prototypes, and what chance gives, as Markdown.

    Args:
        row: of `attribute_table`.
        total: prototypes in all.
    """
    return (
        f"**{markdown(words(row['attribute']))}** occurs in {row['images']:,} training images ({row['frequency']:.1%}) "
        f"and in the exemplars of {row['prototypes']} of {total} prototypes ({row['among_prototypes']:.1%}); as many "
        f"random training images of each class give {row['expected']:.1f} on average: {OFTEN[often(row)]}. "
        f"{row['captured_chance']:.0%} of {DRAWS} such draws have it at least once."
    )


def least_accurate(table: pd.DataFrame, title: str, overall: float) -> str:
    """The least accurate group of test images, as Markdown.

    Args:
        table: see `accuracy_table`; not empty.
        title: what predicts.
        overall: accuracy on all test images.
    """
    worst = table.iloc[0]
    beside = f" The black box reaches {worst['accuracy_black_box']:.1%}." if "accuracy_black_box" in table else ""
    return (
        f"Least accurate: **{markdown(words(worst['group']))}**. {title} is correct on {worst['accuracy']:.1%} of its "
        f"{int(worst['images']):,} test images (95% interval {worst['low']:.1%} to {worst['high']:.1%}), against "
        f"{overall:.1%} of all test images; {ACCURACY[worst['verdict']]}.{beside}"
    )


def groups_against_chance(table: pd.DataFrame) -> str:
    """How many groups differ from chance in their accuracy, and which attributes, as Markdown."""
    total = len(table)
    parts = []
    for verdict, adjective in (("worse", "less"), ("better", "more")):
        rows = table[table["verdict"] == verdict]
        if not len(rows):
            continue
        pairs = zip(map(str, rows["attribute"]), map(str, rows["other"]), strict=True)
        shared = set.intersection(*map(set, pairs)) - {""}
        named = joined("and", [f"**{markdown(words(name))}**" for name in sorted(shared)]) if shared else ""
        which = f", {'all' if len(rows) > 1 else 'the one'} with {named}" if named else ""
        be = "is" if len(rows) == 1 else "are"
        parts.append(f"{len(rows):,} of {total:,} groups {be} {adjective} accurate than by chance{which}")
    if not parts:
        return f"None of {total:,} groups differs from chance: their accuracies are within chance."
    return f"{'; '.join(parts)}."


def pairs_against_chance(table: pd.DataFrame, limit: float) -> str:
    """How many pairs of attributes have too few or too many prototypes, see `subgroup_table`."""
    count = int(table["beyond_chance"].sum())
    how_many = f"{count:,} of {len(table):,} pairs have" if count else f"None of {len(table):,} pairs has"
    return (
        f"{how_many} a surplus beyond ±{limit:.1f} prototypes, which the largest of all pairs exceeds in 5% of "
        f"{DRAWS} draws of random training images, as many of each class as it has prototypes"
        f"{'' if count else ': all within chance'}."
    )


def correlations_against_chance(table: pd.DataFrame, limit: float) -> str:
    """How many pairs of attributes are correlated otherwise among the prototypes, see `correlation_table`."""
    count = int(table["beyond_chance"].sum())
    how_many = f"{count:,} of {len(table):,} pairs differ" if count else f"None of {len(table):,} pairs differs"
    return (
        f"{how_many} by more than {limit:.2f}, which the largest difference among as many random training images of "
        f"each class exceeds in 5% of {DRAWS} draws{'' if count else ': all within chance'}."
    )


# ---- what a mark shows, for those who do not see it: plain text -----------------------------------------------------


def of_prototype(prototype: str, name: str, exemplar: bool, images: int, total: int) -> str:
    """What a cell of prototypes × attributes shows.

    Args:
        prototype: what the prototype is called.
        name: of the attribute.
        exemplar: whether the prototype's exemplar has it.
        images, total: those of the prototype's training images that have it, and all.
    """
    has = "has" if exemplar else "does not have"
    share = f", {images / total:.0%}" if total else ""
    return f"{words(name)}: {images:,} of {total:,} images nearest to {prototype}{share}; its exemplar {has} it"


def of_class(label: str, name: str, prototypes: int, total: int) -> str:
    """What a cell of classes × attributes shows: prototypes of a class with an attribute, and all of that class."""
    return f"{words(name)}: exemplars of {prototypes} of the {total} prototypes of {label} have it"


def of_group(row: Mapping[Any, Any], title: str) -> str:
    """What the bar of a group of test images shows, see `accuracy_table`."""
    beside = f"; black box {row['accuracy_black_box']:.1%}" if "accuracy_black_box" in row else ""
    return (
        f"{words(row['group'])}: {title} {row['accuracy']:.1%} (95% interval {row['low']:.1%} to {row['high']:.1%}), "
        f"by chance {row['chance_low']:.1%} to {row['chance_high']:.1%}{beside}; {ACCURACY[row['verdict']]}"
    )


def of_pair(row: Mapping[Any, Any]) -> str:
    """What a correlation is, see `correlation_table`."""
    verdict = "a difference beyond chance" if row["beyond_chance"] else "a difference within chance"
    return (
        f"{words(row['attribute'])} and {words(row['other'])}: correlation {row['images']:+.2f} among the training "
        f"images, {row['prototypes']:+.2f} among the prototypes; {verdict}"
    )
