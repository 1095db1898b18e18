"""How costs grow, from what `scale` measured: fitted exponents and lines, docs/scale.md, and what many images need."""

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
DOMINANT = 0.5  # share of the smallest size's cost, above which fixed costs are told from those of the images
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
    if not _is_drawn(x, y) or min(y) <= 0:
        raise ValueError(f"expected at least two points above 0 at different x, got {list(x)}, {list(y)}")
    across, up = np.log(x), np.log(y)
    centred = across - across.mean()
    slope = float(centred @ up / (centred @ centred))
    offset = float(up.mean() - slope * across.mean())
    left = up - offset - slope * across
    error = math.sqrt(float(left @ left) / (len(x) - 2) / float(centred @ centred)) if len(x) > 2 else None
    return Law(math.exp(offset), slope, error)


def _is_drawn(x: Sequence[float], y: Sequence[float]) -> bool:
    """Whether points have a line: at least two, at different x above 0."""
    return len(x) == len(y) and len(set(x)) > 1 and min(x) > 0


@dataclass(frozen=True)
class Line:
    """A straight line y = fixed + each · x.

    Attributes:
        fixed: what does not depend on x, at least 0.
        each: for each unit of x, at least 0.
    """

    fixed: float
    each: float

    def at(self, x: float) -> float:
        """The value at x."""
        return self.fixed + self.each * x


def straight(x: Sequence[float], y: Sequence[float]) -> Line:
    """The line through points by least squares, among those that neither begin below 0 nor fall.

    Args:
        x: above 0, at least two, not all equal.
        y: as many, at least 0.

    Raises:
        ValueError: for other points.
    """
    if not _is_drawn(x, y) or min(y) < 0:
        raise ValueError(f"expected at least two points from 0 on at different x above 0, got {list(x)}, {list(y)}")
    across, up = np.asarray(x, float), np.asarray(y, float)
    centred = across - across.mean()
    each = float(centred @ up / (centred @ centred))
    fixed = float(up.mean() - each * across.mean())
    # a bound that is crossed is reached by the best line within both
    if each < 0:
        return Line(float(up.mean()), 0.0)
    if fixed < 0:
        return Line(0.0, float(across @ up / (across @ across)))
    return Line(fixed, each)


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
        _costs(series),
        _growth(laws, series),
        _linear(series, rows),
        _many(series, rows),
    ]
    return "\n".join(text), {FIGURE: _figure(series, laws)}


Series = Mapping[tuple[str, str], Rows]  # the rows of a step and an axis


def _series(rows: Rows) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    series: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if "cost" in row:
            series.setdefault((row["cost"], row["axis"]), []).append(row)
    return series


def _points(rows: Rows, of: str = "median", at: str = "at") -> tuple[list[float], list[float]]:
    return [float(row[at]) for row in rows], [float(row[of]) for row in rows]


def cost(of: Rows, what: str) -> Line:
    """What a step costs for so many images: in proportion to the largest size that was measured, or by a straight line
    through all sizes, where its fixed part is most of what the smallest cost.

    Args:
        of: the step's rows along its images.
        what: "median" for seconds, "processor" for those of all cores.
    """
    x, y = _points(of, what)
    row = _largest(of)
    if _is_drawn(x, y) and (line := straight(x, y)).each > 0 and line.fixed > DOMINANT * y[x.index(min(x))]:
        return line
    return Line(0.0, row[what] / row["at"])


def _introduction(machine: Mapping[str, Any]) -> str:
    note = f" Beware: {machine['note']}." if "note" in machine else ""
    hardware = f"{machine.get('cores')} cores ({machine.get('processor')}, memory {machine.get('memory', 'unknown')})"
    return f"""# Scale

`python -m benchmarks scale report` measures what this page is about and writes it; do not edit it. Measured on
{machine.get("date")} on {hardware}. Each step is the product's own function
on a generated embedding; each number is the median of up to three runs.{note}
"""


def _largest(of: Rows) -> Mapping[str, Any]:
    return max(of, key=lambda row: float(row["at"]))


def _costs(series: Series) -> str:
    lines = [
        "## Cost per million images\n",
        "In proportion to the largest size that was measured. Where most of the time at the smallest size does not "
        "depend on the number of images, a straight line through all sizes tells *fixed* costs from those *for each "
        "image*. Core hours are what all cores together were busy.\n",
        "| step | measured | fixed ↓ | for each image ↓ | per million images ↓ | core hours per million ↓ |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (step, axis), of in series.items():
        if axis == "images":
            row = _largest(of)
            seconds, busy = cost(of, "median"), cost(of, "processor")
            measured = f"{number(row['at'])} images in {number(row['median'])} s"
            parts = [f"{number(seconds.fixed)} s" if seconds.fixed else "–", _small(seconds.each)]
            million = [_duration(seconds.at(1e6)), number(busy.at(1e6) / 3600)]
            cells = [_described(step, row), measured, *parts, *million]
            lines.append(f"| {' | '.join(cells)} |")
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
        "sweep in parts": f"{d}, k = 1 to {k}, {classes}",
        "sweep in parts, by coresets": f"{d}, k = 1 to {k}, {classes}",
    }
    return f"{step} ({sizes[step]})" if step in sizes else step


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{number(seconds)} s"
    return f"{number(seconds / 60)} min" if seconds < 7200 else f"{number(seconds / 3600)} h"


def _growth(laws: Mapping[tuple[str, str], Law], series: Series) -> str:
    heads = " | ".join(AXES.values())
    lines = [
        "## How costs grow\n",
        "The exponent of a power law through the measured times, and the sizes it is over: 1 is in proportion, 0 does "
        "not depend on it. ± is the standard error of the fit.\n",
        f"![Seconds of each step beside images, dimensions, prototypes per class and classes]({FIGURE})\n",
        f"| step | {heads} |",
        "| --- |" + " --- |" * len(AXES),
    ]
    for step in dict.fromkeys(step for step, _ in laws):
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
    lines = ["## Where it stops being linear\n", *(f"- {words}" for words in _thresholds())]
    for (step, axis), of in series.items():
        if axis == "images" and (words := _local(of)):
            lines.append(f"- Measured, {step}: {words}.")
        if axis == "images" and "loss" in (row := _largest(of)):
            lines.append(f"- Measured, {step}, k = {row['k']}, {number(row['at'])} images: {_loss(row)}.")
    lines += [f"- {_memory_words(step, rows)}" for step in _with_memory(rows)]
    return "\n".join(lines) + "\n"


def _loss(row: Mapping[str, Any]) -> str:
    share = f"{number(100 * row['loss'])}% larger than after the rounds over all rows"
    return f"with the prototypes of the coresets alone the inertia was {share} (lower is better; mean over the classes)"


def _thresholds() -> list[str]:
    """The sizes at which the program changes what it does, from the program."""
    from kmex_core.base.specs import ProjectionSpec
    from kmex_core.prototypes import kmeans
    from kmex_core.scale import clustering, coreset, parts
    from kmex_core.stages import sweep

    many = kmeans.CORESET // kmeans.CORESET_PER_CLUSTER
    return [
        f"k-means tries its starts on a sample of {kmeans.CORESET:,} images of a class (with more than {many} "
        f"prototypes, {kmeans.CORESET_PER_CLUSTER} for each), whatever its size. Of a class with more than "
        f"{kmeans.PART:,} images, that many are clustered to convergence before all of them.",
        f"Distances are computed {kmeans.CELLS['cpu']:,} at a time, in memory that is used again.",
        f"A sweep draws random images in place of prototypes {sweep.DRAWS} times; fewer times, and at least "
        f"{sweep.FEWEST_DRAWS}, where that would take more than {sweep.COST / 1e9:g} billion multiplications.",
        f"UMAP is fitted on at most {ProjectionSpec('').sample:,} images; all others are placed among them, each at "
        "the same cost.",
        f"In parts, {parts.PART_ROWS:,} rows are read at once. A class whose rows take more than "
        f"a {_ordinal(clustering.COPIES)} of a task's memory is clustered by a coreset of {coreset.SIZE:,} rows, then "
        f"by {coreset.ROUNDS} rounds over all of its rows.",
    ]


def _ordinal(parts: int) -> str:
    return {2: "half", 3: "third", 4: "quarter"}.get(parts, f"{parts}th")


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


def _with_memory(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["memory of"] for row in rows if "memory of" in row))


def memory_line(step: str, rows: Rows) -> Line:
    """Peak memory in MB beside the number of images, as a straight line through all sizes; in proportion for one."""
    x, y = _points([row for row in rows if row.get("memory of") == step], at="images")
    return straight(x, y) if _is_drawn(x, y) else Line(0.0, y[0] / x[0])


def _memory_words(step: str, rows: Rows) -> str:
    line = memory_line(step, rows)
    of = [row for row in rows if row.get("memory of") == step]
    measured = ", ".join(f"{number(row['median'])} MB at {number(row['images'])} images" for row in of)
    words = f"{number(line.fixed)} MB whatever their number and {number(line.each * 1e6)} MB for each million images"
    if of[0]["in parts"]:
        return f"Memory, {step}: {measured}; that is {words}."
    held = f"{of[0]['dimensions']} dimensions × 4 bytes, {number(of[0]['dimensions'] * 4)} MB for each million images"
    return f"Memory, {step} in one process: the embedding ({held}), and beside it {measured}; that is {words}."


# ---- what very many images need -------------------------------------------------------------------------------------


def _many(series: Series, rows: Rows) -> str:
    largest = max(float(row["at"]) for (_, axis), of in series.items() if axis == "images" for row in of)
    lines = [
        f"## What {MANY:,} images need\n",
        "Computed from the measurements above: time as in the first table, memory by a straight line through all "
        f"sizes. The largest size that was measured is {number(largest)} images, so this is an extrapolation by a "
        f"factor of {number(MANY / largest)}; it leaves out what only such sizes show: slow disks, lost workers, "
        "traffic between machines.\n",
        "| | how it is computed | need ↓ |",
        "| --- | --- | --- |",
        *(f"| {' | '.join(cells)} |" for cells in _needs(series, rows)),
    ]
    return "\n".join(lines) + "\n"


def _needs(series: Series, rows: Rows) -> Iterator[tuple[str, str, str]]:
    """What, its derivation, and the result."""
    dimensions = max(row["dimensions"] for row in rows if "dimensions" in row)
    raw, many = MANY * dimensions * 4, number(MANY)
    yield "embedding, as numbers", f"{many} × {dimensions} dimensions × 4 bytes", f"{number(raw / 1e9)} GB"
    stored = [row for row in rows if row.get("disk") == "bytes"]
    if stored:
        row = max(stored, key=lambda each: int(each["images"]))
        derived = f"{many} × {number(row['median'])} bytes for each row of {row['dimensions']} dimensions"
        yield "embedding, in parts on disk", derived, f"{number(MANY * row['median'] / 1e9)} GB"
    for (step, axis), of in series.items():
        if axis == "images":
            busy = cost(of, "processor")
            fixed = f"{number(busy.fixed)} s + " if busy.fixed else ""
            derived = f"{fixed}{many} × {_small(busy.each)} of a core for each image"
            yield _described(step, _largest(of)), derived, f"{number(busy.at(MANY) / 3600)} core hours"
    for step in _with_memory(rows):
        if not next(row["in parts"] for row in rows if row.get("memory of") == step):
            line = memory_line(step, rows)
            derived = (
                f"{number(raw / 1e9)} GB for the embedding + {number(line.fixed)} MB + {many} × "
                f"{number(line.each * 1e6)} bytes for each image"
            )
            total = raw / 1e6 + line.at(MANY)
            yield f"memory of {step} in one process", derived, f"{number(total / 1e3)} GB"
    yield from _memory_in_parts(series, rows, dimensions)


def _memory_in_parts(series: Series, rows: Rows, dimensions: int) -> Iterator[tuple[str, str, str]]:
    """Of a task: a class at once, or by a coreset, whose memory does not follow the images and is not extrapolated."""
    from kmex_core.scale.clustering import COPIES

    for step in _with_memory(rows):
        of = [row for row in rows if row.get("memory of") == step and row["in parts"]]
        if of and "coresets" not in step:
            classes = _largest(series[step, "images"])["classes"]
            derived = f"{number(MANY)} / {classes} classes × {dimensions} dimensions × 4 bytes × {COPIES} copies"
            yield f"memory of a task, {step}", derived, f"{number(MANY / classes * dimensions * 4 * COPIES / 1e9)} GB"
        elif of:
            largest = max(of, key=lambda row: int(row["images"]))
            derived = f"as measured at {number(largest['images'])} images: that of a coreset and a part of the rows"
            yield f"memory of a task, {step}", derived, f"{number(largest['median'] / 1e3)} GB"


def _small(seconds: float) -> str:
    return f"{number(seconds * 1e3)} ms" if seconds >= 1e-3 else f"{number(seconds * 1e6)} µs"
