"""Tables of the attributes that prototypes cover, and of the groups of images for which predictions fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from kmex_core import metrics
from kmex_core.analysis.coverage import Coverage, Curves
from kmex_core.data.registry import Split
from kmex_core.models.info import ModelInfo, trained_alike
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.networks.types import NO_CLASS
from kmex_core.prototypes.types import Conversion

CURVES = ("captured", "error", "ghosted")
CHANCE = ("captured", "error")
LEAST_IMAGES = 5
BOTH = " + "


def curves_table(lines: Mapping[str, Curves]) -> pd.DataFrame:
    """One row per model and number of prototypes per class.

    Returns:
        Columns `model`, `k`, `prototypes`, `seeds`; for each of `CURVES`, its mean over seeds and `<name>_std` (missing
        for one seed); for each of `CHANCE`, `<name>_chance`, `<name>_chance_low`, `<name>_chance_high` (mean and 95%
        of the draws of random training images) and `<name>_verdict` ("better", "within" or "worse").
    """
    rows = []
    for label, curves in lines.items():
        for column, k in enumerate(curves.ks):
            row: dict[str, str | float] = {
                "model": label,
                "k": k,
                "prototypes": int(curves.prototypes[column]),
                "seeds": len(curves.seeds),
            }
            for name in CURVES:
                of_seeds = getattr(curves, name)[:, column]  # (S,)
                row[name] = float(of_seeds.mean())
                row[f"{name}_std"] = float(of_seeds.std(ddof=1)) if len(curves.seeds) > 1 else np.nan
            for name, chance in zip(CHANCE, (curves.chance_captured[column], curves.chance_error[column]), strict=True):
                row |= {f"{name}_chance": chance.mean, f"{name}_chance_low": chance.low}
                row |= {f"{name}_chance_high": chance.high}
                mean = float(getattr(curves, name)[:, column].mean())
                row[f"{name}_verdict"] = chance.verdict(mean, name == "captured")
            rows.append(row)
    columns = ["model", "k", "prototypes", "seeds", *(f"{name}{end}" for name in CURVES for end in ("", "_std"))]
    ends = ("_chance", "_chance_low", "_chance_high", "_verdict")
    columns += [f"{name}{end}" for name in CHANCE for end in ends]
    return pd.DataFrame(rows, columns=columns)


def attribute_table(covered: Coverage, curves: Curves | None = None) -> pd.DataFrame:
    """One row per attribute, in order.

    Returns:
        Columns `attribute`, `images`, `frequency`, `among_prototypes`, `prototypes`, `expected` (prototypes, if they
        were random training images of their classes), `beyond_chance` (whether `prototypes` differs from that by more
        than the largest difference over all attributes does in 95% of the draws), `captured`, `captured_chance` (share
        of the draws that capture it), `lift`, `told_apart` and, with curves, `first_k`, the median over seeds (missing
        where half of them never capture it).
    """
    limit = metrics.simultaneous_limit(covered.chance.deviation)
    table = pd.DataFrame(
        {
            "attribute": covered.names,
            "images": covered.images,
            "frequency": covered.frequency,
            "among_prototypes": covered.share,
            "prototypes": covered.has.sum(0),
            "expected": covered.chance.expected,
            "beyond_chance": np.abs(covered.has.sum(0) - covered.chance.expected) > limit,
            "captured": covered.captured,
            "captured_chance": covered.chance.capture_rate,
            "lift": metrics.lift(covered.share, covered.frequency),
            "told_apart": covered.told_apart,
        }
    )
    if curves is not None:
        first = curves.first.astype(float)
        first[first == 0] = np.inf
        middle = np.median(first, axis=0)
        table["first_k"] = np.where(np.isinf(middle), np.nan, middle)
    return table


def subgroup_table(covered: Coverage) -> pd.DataFrame:
    """One row per combination of two attributes that some training image has, the most under-represented first.

    Returns:
        Columns `subgroup`, `attribute`, `other`, `images`, `frequency`, `expected` (prototypes, if they were random
        training images of their classes), `prototypes`, `surplus` and `beyond_chance` (whether `surplus` is larger than
        the largest of all pairs is in 95% of the draws: one band for all, since some of many pairs leave their own by
        chance).
    """
    groups, expected = covered.subgroups, covered.chance.expected_pairs
    surplus = groups.prototypes - expected
    table = pd.DataFrame(
        {
            "subgroup": [group_name(covered.names, pair) for pair in groups.pairs],
            **_attributes_of(covered.names, groups.pairs),
            "images": groups.images,
            "frequency": groups.frequency,
            "expected": expected,
            "prototypes": groups.prototypes,
            "surplus": surplus,
            "beyond_chance": np.abs(surplus) > metrics.simultaneous_limit(covered.chance.deviation_pairs),
        }
    )
    return table[table["images"] > 0].sort_values("surplus", kind="stable", ignore_index=True)


def accuracy_table(test: Split, conversion: Conversion, black_box: bool = True) -> pd.DataFrame:
    """One row per attribute and per combination of two that at least `LEAST_IMAGES` test images have, worst first.

    Columns: `group`, `attribute`, `other` (its attributes; `other` is "" for one), `images`, `accuracy`, `low`, `high`
    (95% Wilson interval), `difference` (to all test images), `expected`, `chance_low`, `chance_high` (if errors fell
    at random within each class: mean, and a simultaneous 95% band for all groups), `verdict` ("better", "within" or
    "worse" than that), and with a black box `accuracy_black_box`, `low_black_box`, `high_black_box`. The worst is the
    one whose accuracy is lowest at best, at the upper end of its interval, so that a few images prove little.

    Args:
        test: M images.
        conversion: what was predicted for them.
        black_box: whether KMEx is compared with the black box, if that predicts the classes.
    """

    def measured(predicted: np.ndarray) -> metrics.GroupAccuracy:
        return metrics.group_accuracy(predicted == test.labels, test.attributes, LEAST_IMAGES)

    accuracy = measured(conversion.test_predicted)
    right = conversion.test_predicted == test.labels
    chance = metrics.group_chance(right, test.labels, test.attributes, accuracy.groups)
    beside = None
    if black_box and bool((conversion.test_black_box != NO_CLASS).any()):
        beside = measured(conversion.test_black_box)
    return accuracy_rows(test.attribute_names, accuracy, chance, float(right.mean()), beside)


def accuracy_rows(
    names: Sequence[str],
    accuracy: metrics.GroupAccuracy,
    chance: metrics.GroupChance,
    of_all: float,
    beside: metrics.GroupAccuracy | None = None,
) -> pd.DataFrame:
    """`accuracy_table` from its figures.

    Args:
        names: of the attributes.
        accuracy, chance: of the groups.
        of_all: share of all test images that are predicted correctly.
        beside: the black box's accuracy of the same groups, if it is compared.
    """
    beyond = np.abs(accuracy.accuracy - chance.expected) > chance.limit * chance.deviation
    table = pd.DataFrame(
        {
            "group": [group_name(names, pair) for pair in accuracy.groups],
            **_attributes_of(names, accuracy.groups),
            "images": accuracy.images,
            "accuracy": accuracy.accuracy,
            "low": accuracy.low,
            "high": accuracy.high,
            "difference": accuracy.accuracy - of_all,
            "expected": chance.expected,
            "chance_low": chance.low,
            "chance_high": chance.high,
            "verdict": np.where(beyond, np.where(accuracy.accuracy > chance.expected, "better", "worse"), "within"),
        }
    )
    if beside is not None:
        table = table.assign(accuracy_black_box=beside.accuracy, low_black_box=beside.low, high_black_box=beside.high)
    return table.iloc[accuracy.order].reset_index(drop=True)


def group_families(table: pd.DataFrame) -> list[tuple[int, list[int]]]:
    """The groups of `accuracy_table`, folded: each attribute with those of its pairs that no worse attribute has.

    So that a single cause, such as sunglasses, is one entry and not one per pair with it.

    Returns:
        For each attribute its row in the table and the rows of the pairs below it, which are the worst first; the
        attributes are in the order of their worst row. Every row of the table is there once.
    """
    rows = list(zip(table["attribute"], table["other"], strict=True))
    single = {attribute: row for row, (attribute, other) in enumerate(rows) if not other}
    families: dict[int, list[int]] = {row: [] for row in single.values()}
    for row, (attribute, other) in enumerate(rows):
        if other:  # a pair has no more images than either of its attributes, which therefore have rows
            families[min(single[attribute], single[other])].append(row)
    return sorted(families.items(), key=lambda family: min([family[0], *family[1][:1]]))


def _attributes_of(names: Sequence[str], groups: np.ndarray) -> dict[str, list[str]]:
    """Columns `attribute` and `other` of groups (G, 2); `other` is "" for a single attribute, which appears twice."""
    return {
        "attribute": [names[first] for first, _ in groups.tolist()],
        "other": [names[second] if second != first else "" for first, second in groups.tolist()],
    }


def group_name(names: Sequence[str], pair: np.ndarray) -> str:
    """What to call a group of one or two attributes."""
    first, second = (names[int(attribute)] for attribute in pair)
    return first if first == second else first + BOTH + second


def attribute_overview(covered: Coverage, curves: Curves | None = None) -> pd.DataFrame:
    """`attribute_table`, missed attributes first, the rarest on top."""
    return attribute_table(covered, curves).sort_values(["captured", "frequency"], ignore_index=True)


def coverage_table(covered: Coverage, classes: Sequence[str]) -> pd.DataFrame:
    """One row per prototype: columns `prototype`, `class` and, for each attribute, whether its exemplar has it.

    Args:
        covered: what K prototypes cover.
        classes: K names of their classes.
    """
    table = pd.DataFrame(covered.has, columns=list(covered.names))
    table.insert(0, "class", list(classes))
    table.insert(0, "prototype", np.arange(len(table)))
    return table


def correlation_table(covered: Coverage) -> pd.DataFrame:
    """One row per pair of attributes: columns `attribute`, `other`, their correlation among the training `images` and
    among the `prototypes`, and `beyond_chance` (whether these differ by more than the largest difference over all pairs
    does in 95% of the draws of random training images)."""
    first, second = np.triu_indices(len(covered.names), 1)
    difference = np.abs(covered.correlation_prototypes - covered.correlation)[first, second]
    return pd.DataFrame(
        {
            "attribute": [covered.names[attribute] for attribute in first],
            "other": [covered.names[attribute] for attribute in second],
            "images": covered.correlation[first, second],
            "prototypes": covered.correlation_prototypes[first, second],
            "beyond_chance": difference > metrics.simultaneous_limit(covered.chance.deviation_correlation),
        }
    )


def curve_lines(
    infos: Sequence[ModelInfo],
    of_kmex: Callable[[ModelInfo], Curves | None],
    groups: Sequence[tuple[ModelInfo, Sequence[ModelInfo]]],
    of_built_in: Callable[[Sequence[ModelInfo]], Curves],
) -> dict[str, Curves]:
    """The curves of models side by side, by their labels: KMEx of each, then built-in prototypes.

    Args:
        infos: models of one data set.
        of_kmex: gives the curves of a model's KMEx, None for none.
        groups: of those with stored built-in prototypes, see `trainings`.
        of_built_in: gives the curves of the built-in prototypes of a group.
    """
    lines: dict[str, Curves] = {}
    for info in infos:
        if (curves := of_kmex(info)) is not None:
            lines[f"{info.name} + KMEx"] = curves
    for info, group in groups:
        more = f" and {len(group) - 1} alike" if len(group) > 1 else ""
        lines[f"{info.name}{more} ({MODEL_KINDS[info.kind].title} alone)"] = of_built_in(group)
    return lines


def comparable(info: ModelInfo, others: Sequence[ModelInfo]) -> list[ModelInfo]:
    """Those of the models that predict the same classes of the same data."""
    key = info.dataset, info.class_column, info.class_names
    return [other for other in others if (other.dataset, other.class_column, other.class_names) == key]


def trainings(infos: Sequence[ModelInfo], chosen: str) -> list[tuple[ModelInfo, list[ModelInfo]]]:
    """Prototypical models in groups that were trained alike, each with the one that names it; the chosen one first."""
    groups: list[tuple[ModelInfo, list[ModelInfo]]] = []
    prototypical = [info for info in infos if info.kind != "blackbox"]
    for info in sorted(prototypical, key=lambda info: info.name != chosen):
        if not any(info in group for _, group in groups):
            groups.append((info, trained_alike(info, prototypical)))
    return groups
