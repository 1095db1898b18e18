"""How costs grow, from what `scale` measured: fitted exponents, docs/scale.md, and what 100 million images need."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks import figures
from benchmarks.figures import Curve, number

FIGURE = "images/benchmarks/scale.svg"
MANY = 100_000_000
AXES = {
    "images": "images",
    "dimensions": "dimensions of the embedding",
    "k": "prototypes per class",
    "classes": "classes, of as many images in all",
}
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Law:
    """A power law y = factor · x^exponent.

    Attributes:
        factor, exponent: by least squares between the logarithms.
        error: standard error of the exponent; None with two points, which leave none.
    """

    factor: float
    exponent: float
    error: float | None


def fitted(x: Sequence[float], y: Sequence[float]) -> Law:
    """The power law through points.

    Args:
        x, y: at least two, above 0; not all x are equal.

    Raises:
        ValueError: for other points.
    """
    if len(x) != len(y) or len(set(x)) < 2 or min(*x, *y) <= 0:
        raise ValueError(f"expected at least two points above 0 at different x, got {list(x)}, {list(y)}")
    across, up = np.log(x), np.log(y)
    centred = across - across.mean()
    slope = float(centred @ up / (centred @ centred))
    offset = float(up.mean() - slope * across.mean())
    left = up - offset - slope * across
    error = math.sqrt(float(left @ left) / (len(x) - 2) / float(centred @ centred)) if len(x) > 2 else None
    return Law(math.exp(offset), slope, error)


def page(measured: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The text of docs/scale.md, and its figure by its path in docs/.

    Args:
        measured: what `results.read` gives for the part `scale`.
    """
    rows, machine = measured["rows"], measured["machine"]
    series = _series(rows)
    laws = {key: fitted(*_points(of)) for key, of in series.items() if len({row["at"] for row in of}) > 1}
    text = [
        _introduction(machine),
        _costs(series, machine),
        _growth(laws, series),
        _linear(series, rows),
        _many(series, rows, machine),
    ]
    return "\n".join(text), {FIGURE: _figure(series, laws)}


Series = Mapping[tuple[str, str], Rows]  # the rows of a step and an axis


def _series(rows: Rows) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    series: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if "cost" in row:
            series.setdefault((row["cost"], row["axis"]), []).append(row)
    return series


def _points(rows: Rows) -> tuple[list[float], list[float]]:
    return [float(row["at"]) for row in rows], [float(row["median"]) for row in rows]


def _introduction(machine: Mapping[str, Any]) -> str:
    return f"""# Scale

`python -m benchmarks scale report` measures what this page is about and writes it; do not edit it. Measured on {machine.get("date")} on
{machine.get("cores")} cores ({machine.get("processor")}, memory {machine.get("memory", "unknown")}). Each step is the product's own function on a
generated embedding; each number is the median of up to three runs.
"""


def _largest(of: Rows) -> Mapping[str, Any]:
    return max(of, key=lambda row: float(row["at"]))


def _costs(series: Series, machine: Mapping[str, Any]) -> str:
    lines = [
        "## Cost per million images\n",
        "From the largest size that was measured, in proportion. Core hours are of the processor: what the cores together were busy.\n",
        "| step | measured | per million images ↓ | core hours per million ↓ |",
        "| --- | --- | --- | --- |",
    ]
    for (step, axis), of in series.items():
        if axis == "images":
            row = _largest(of)
            per_image, busy = row["median"] / row["at"], row["processor"] / row["at"]
            lines.append(
                f"| {_described(step, row)} | {number(row['at'])} images in {number(row['median'])} s "
                f"| {_duration(per_image * 1e6)} | {number(busy * 1e6 / 3600)} |"
            )
    return "\n".join(lines) + "\n"


def _described(step: str, row: Mapping[str, Any]) -> str:
    """A step with the sizes on which it depends."""
    d, k, classes = f"{row['dimensions']} dimensions", row["k"], f"{row['classes']} classes"
    sizes = {
        "conversion": f"{d}, k = {k}, {classes}",
        "sweep": f"{d}, k = 1 to {k}, {classes}",
        "evaluation": f"{d}, k = {k}, {classes}",
        "embedding map": d,
        "attributes": f"40 attributes, k = {k}",
        "writing in parts": d,
        "reading in parts": d,
    }
    return f"{step} ({sizes[step]})" if step in sizes else step


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{number(seconds)} s"
    return f"{number(seconds / 60)} min" if seconds < 7200 else f"{number(seconds / 3600)} h"


def _growth(laws: Mapping[tuple[str, str], Law], series: Series) -> str:
    steps = list(dict.fromkeys(step for step, _ in laws))
    heads = " | ".join(AXES.values())
    lines = [
        "## How costs grow\n",
        "The exponent of a power law through the measured times: 1 is in proportion, 0 does not depend on it. ± is the standard "
        "error of the fit, over the sizes.\n",
        f"![Seconds of each step beside images, dimensions, prototypes per class and classes]({FIGURE})\n",
        f"| step | {heads} |",
        "| --- |" + " --- |" * len(AXES),
    ]
    for step in steps:
        cells = [_exponent(laws.get((step, axis)), series.get((step, axis), [])) for axis in AXES]
        lines.append(f"| {step} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _exponent(law: Law | None, of: Rows) -> str:
    if law is None:
        return "–"
    ends = sorted(float(row["at"]) for row in of)
    error = "" if law.error is None else f" ± {law.error:.2f}"
    return f"{_signed(law.exponent)}{error} ({number(ends[0])} to {number(ends[-1])})"


def _signed(exponent: float) -> str:
    return f"{exponent:.2f}".replace("-", "−")


def _figure(series: Series, laws: Mapping[tuple[str, str], Law]) -> str:
    panels = []
    for axis, words in AXES.items():
        curves = [
            Curve(step, *_points(sorted(of, key=lambda row: float(row["at"]))), law.factor, law.exponent)
            for (step, name), of in series.items()
            if name == axis and (law := laws.get((step, name)))
        ]
        if curves:
            panels.append((f"Seconds by {words.partition(',')[0]}", words, curves))
    return figures.growth("Seconds of each step, and the exponent of its growth", panels)


# ---- where it stops being linear ------------------------------------------------------------------------------------


def _linear(series: Series, rows: Rows) -> str:
    from kmex_core.base.specs import ProjectionSpec
    from kmex_core.prototypes import kmeans
    from kmex_core.stages import sweep

    lines = [
        "## Where it stops being linear\n",
        f"- k-means tries its starts on a coreset of {kmeans.CORESET:,} images of a class (more than "
        f"{kmeans.CORESET // kmeans.CORESET_PER_CLUSTER} prototypes: {kmeans.CORESET_PER_CLUSTER} for each), whatever its size. Of a "
        f"class with more than {kmeans.PART:,} images, that many are clustered to convergence first, and the whole class then needs "
        "few rounds.",
        f"- Distances are computed in portions of {kmeans.CELLS['cpu']:,} at once, which stay in the processor's cache.",
        f"- A sweep draws random images in place of prototypes {sweep.DRAWS} times, and fewer times ({sweep.FEWEST_DRAWS} at least) where "
        f"these took more than {sweep.COST:.0e} multiplications.",
        f"- UMAP is fitted on at most {ProjectionSpec('').sample:,} images; all others are placed among them, each at the same cost.",
    ]
    for (step, axis), of in series.items():
        if axis == "images" and (words := _local(of)):
            lines.append(f"- Measured, {step}: {words}.")
    for step in dict.fromkeys(row["memory of"] for row in rows if "memory of" in row):
        lines.append(f"- {_memory_words(step, rows)}")
    return "\n".join(lines) + "\n"


def _local(of: Rows) -> str:
    """The exponents between neighbouring sizes, where there are at least three."""
    ordered = sorted(of, key=lambda row: float(row["at"]))
    if len(ordered) < 3:
        return ""
    steps = []
    for before, after in pairwise(ordered):
        grown = math.log(after["median"] / before["median"]) / math.log(after["at"] / before["at"])
        steps.append(f"{_signed(grown)} from {number(before['at'])} to {number(after['at'])} images")
    return "exponent " + ", ".join(steps)


def memory_law(step: str, rows: Rows) -> tuple[float, float]:
    """Peak memory beyond the embedding as a line: MB for each million images, and MB that do not depend on them."""
    (few, many) = sorted((row for row in rows if row.get("memory of") == step), key=lambda row: int(row["images"]))[:2]
    slope = (many["median"] - few["median"]) / (many["images"] - few["images"])
    return max(0.0, slope * 1e6), few["median"] - slope * few["images"]


def _memory_words(step: str, rows: Rows) -> str:
    each, fixed = memory_law(step, rows)
    row = next(row for row in rows if row.get("memory of") == step)
    held = row["dimensions"] * 4
    return (
        f"Memory, {step} in one process: the embedding ({row['dimensions']} dimensions × 4 bytes, {number(held)} MB for each million images), and "
        f"beside it {number(each)} MB for each million and {number(max(0.0, fixed))} MB whatever their number."
    )


# ---- what very many images need -------------------------------------------------------------------------------------


def _many(series: Series, rows: Rows, machine: Mapping[str, Any]) -> str:
    lines = [
        f"## What {MANY:,} images need\n",
        f"Computed from the measurements above, in proportion to the images. The largest size that was measured is "
        f"{number(max(float(row['at']) for (_, axis), of in series.items() if axis == 'images' for row in of))} images: this is an "
        "extrapolation, which leaves out what only such sizes show (slow disks, lost workers, traffic between machines).\n",
        "| | how it is computed | need ↓ |",
        "| --- | --- | --- |",
        *(f"| {' | '.join(cells)} |" for cells in _needs(series, rows)),
    ]
    return "\n".join(lines) + "\n"


def _needs(series: Series, rows: Rows) -> Iterator[tuple[str, str, str]]:
    """What, its derivation, and the result."""
    dimensions = max(row["dimensions"] for row in rows if "dimensions" in row)
    raw = MANY * dimensions * 4
    yield (
        "embedding, as numbers",
        f"{number(MANY)} × {dimensions} dimensions × 4 bytes",
        f"{number(raw / 1e9)} GB",
    )
    for row in rows:
        if row.get("disk") == "bytes":
            yield (
                "embedding, in parts on disk",
                f"{number(MANY)} × {number(row['median'])} bytes for each row of {row['dimensions']} dimensions",
                f"{number(MANY * row['median'] / 1e9)} GB",
            )
    for (step, axis), of in series.items():
        if axis == "images":
            row = _largest(of)
            each = row["processor"] / row["at"]
            yield (
                _described(step, row),
                f"{number(MANY)} × {_small(each)} of a core for each image",
                f"{number(MANY * each / 3600)} core hours",
            )
    for step in dict.fromkeys(row["memory of"] for row in rows if "memory of" in row):
        each, fixed = memory_law(step, rows)
        yield (
            f"memory of {step} in one process",
            f"{number(raw / 1e9)} GB for the embedding + {MANY // 10**6} × {number(each)} MB for each million + {number(max(0.0, fixed))} MB",
            f"{number((raw / 1e6 + MANY / 1e6 * each + max(0.0, fixed)) / 1e3)} GB",
        )


def _small(seconds: float) -> str:
    return f"{number(seconds * 1e3)} ms" if seconds >= 1e-3 else f"{number(seconds * 1e6)} µs"
