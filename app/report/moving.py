"""The two sections that a reader can move: the embedding map, and every number of prototypes per class."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from app import claims
from app.claims.curves import lines_and_bands
from app.figures.curves import course, curves_of
from app.figures.sweep import sweep_figure
from app.report.charts import chart
from app.report.data import Results
from app.report.markup import Child, Markup, tag
from app.report.pictures import Thumbnails
from app.report.sections import Section, not_computed, paragraph, swatch
from app.selection import SWEEP_SEEDS
from kmex_core.analysis.projection import place, remoteness, stratified_sample
from kmex_core.analysis.suggestion import overall, overall_reason, reason
from kmex_core.commands.embedding_map import embedding_map_job
from kmex_core.commands.sweep import sweep_job
from kmex_core.data.colours import class_colours
from kmex_core.prototypes.source import SUGGESTED
from kmex_core.prototypes.suggestion import Evidence
from kmex_core.prototypes.sweep import Sweep

DRAWN = 20_000  # training images on the map, at most
FINE = 65_535  # places are rounded to this many steps
Moving = dict[str, Any]  # what the page's script reads


def embedding_map(results: Results) -> tuple[Section, Moving | None]:
    """The training images by class, the prototypes over them."""
    projection = results.subject.embedding_map().peek()
    title = "Embedding map"
    if projection is None:
        command = embedding_map_job(results.subject).command
        return Section("map", title, missing=not_computed("The embedding map has", command)), None
    names, found = results.info.class_names, results.conversion.prototypes
    colours, total = class_colours(len(names)), len(projection.train)
    rows = stratified_sample(projection.labels[:total], DRAWN, np.random.default_rng(0))
    embedded = results.conversion.embedded
    places = place(projection, embedded)
    # one scale for both axes, so that distances are those of the map
    both = np.concatenate([projection.train[rows], places])
    low, span = both.min(0), float((both.max(0) - both.min(0)).max()) or 1.0

    def packed(points: np.ndarray) -> str:
        return _base64(np.round((points - low) / span * FINE).clip(0, FINE).astype("<u2"))

    moving = {
        "points": packed(projection.train[rows]),
        "classes": _base64(projection.labels[rows].astype("<u2")),
        "images": _base64(rows.astype("<u4")),
        "far": _base64(projection.far[rows].astype("u1")),
        "extent": ((both.max(0) - low) / span).tolist(),
        "prototypes": {
            "places": packed(places),
            "classes": found.classes,
            "importance": found.importance.round(4),
            "counts": found.count,
            "far": remoteness(projection, embedded) > projection.limit,
        },
    }
    shown = "" if len(rows) == total else f" {len(rows):,} of the images are drawn, of each class in proportion."
    about = (
        f"The {total:,} training images (dots) by class, placed by UMAP, and the prototypes over them: squares, the "
        f"larger the more important; ghosts are hollow diamonds.{shown} The map's "
        "trustworthiness, how far neighbours on it are neighbours in the embedding, is "
        f"{projection.trustworthiness:.3f} (0 to 1, higher is better). Point at a mark to see what it is."
    )
    legend = tag("ul", [tag("li", swatch(colours[label]), name) for label, name in enumerate(names)], class_="legend")
    canvas = tag(
        "canvas", role="img", aria_label=f"Embedding map of {total:,} training images of {len(names):,} classes"
    )
    hint = tag("output", class_="hint", hidden=True)
    drawing = tag("div", canvas, hint, class_="map")
    return Section(
        "map", title, [paragraph(about), drawing, legend, paragraph(claims.far_from_all(projection, False), "note")]
    ), moving


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def sweep(results: Results, thumbnails: Thumbnails) -> tuple[Section, Moving | None]:
    """Every number of prototypes per class: curves, and the prototypes of the number that a slider chooses."""
    title, evidence = "Prototypes per class", results.suggestion
    if not results.sweeps:
        command = sweep_job(results.subject, results.kmeans).command
        return Section("sweep", title, missing=not_computed("The other numbers of prototypes have", command)), None
    seeds, several = sorted(results.sweeps), list(results.sweeps.values())
    first = results.sweeps[seeds[0]]
    chosen = results.kmeans.k if results.kmeans.k > 0 else (1 if evidence is None else overall(evidence))
    chosen = min(chosen, first.reach)
    suggested = None if evidence is None else overall(evidence)
    charts = {
        name: chart(
            sweep_figure(several, SUGGESTED, suggested, name),
            f"{curve.kind.title} for 1 to {first.reach} prototypes per class",
            "KMEx",
        )
        for name, curve in curves_of(several).items()
    }
    pictures, reach = _pictures(results, first, thumbnails)
    moving = {
        "places": [chart.places for chart in charts.values()],
        "values": [_values(several, k) for k in range(1, first.reach + 1)],
        "suggested": suggested,
        "suggestedOfClass": None if evidence is None else evidence.suggested,
        "pictures": pictures,
    }
    content: list[Child] = []
    if results.source.built_in:
        content.append(
            paragraph(
                f"The model has {results.info.k} built-in prototypes per class. The curves show KMEx on its embedding."
            )
        )
    content += [
        paragraph(claims.predictions_over_k(several, results.kmeans.k)),
        *_suggestion(evidence, results.info.class_names),
    ]
    content.append(_slider(first.reach, chosen, suggested))
    figures = [
        tag(
            "div",
            tag("h3", f"{curve.kind.title} {curve.kind.arrow}"),
            charts[name].svg,
            tag("p", curve.kind.about, class_="note"),
        )
        for name, curve in curves_of(several).items()
    ]
    content += [tag("div", figures, class_="charts"), paragraph(lines_and_bands(several), "note")]
    limit = (
        ""
        if reach == first.reach
        else f" Pictures of more than {reach} per class are left out to keep this file small."
    )
    content += [
        tag("h3", "The prototypes of this number"),
        paragraph(
            "Each picture is the training image nearest to a prototype among the images of its class that belong to "
            f"it; below it is their share of the class.{limit}"
        ),
        tag("div", id="k-pictures"),
    ]
    return Section("sweep", title, content, _more(results, seeds)), moving


def _more(results: Results, seeds: list[int]) -> str:
    """What the store lacks besides the first seed's curves."""
    job = sweep_job(results.subject, results.kmeans, len(SWEEP_SEEDS))
    if results.suggestion is None:
        return not_computed("The suggested numbers have", job.command)
    if len(seeds) < len(SWEEP_SEEDS):
        return not_computed(f"{len(SWEEP_SEEDS) - len(seeds)} of {len(SWEEP_SEEDS)} seeds of k-means have", job.command)
    return ""


def _suggestion(evidence: Evidence | None, names: tuple[str, ...]) -> list[Child]:
    """The suggested number with its reason, for all classes together and for each."""
    if evidence is None:
        return []
    k = overall(evidence)
    words = f"**Suggested: {k} prototype{'s' if k != 1 else ''} per class.** {overall_reason(evidence)}"
    rows = [
        tag("li", tag("strong", name), f": {int(evidence.suggested[label])}. ", reason(evidence, label))
        for label, name in enumerate(names)
    ]
    return [paragraph(words), tag("details", tag("summary", "Each class's own number, and why"), tag("ul", rows))]


def _slider(reach: int, chosen: int, suggested: int | None) -> Markup:
    mark = None if suggested is None else tag("option", value=suggested, label="suggested")
    marks = tag("datalist", mark, id="k-marks")
    slider = tag(
        "input",
        type="range",
        id="k",
        min=1,
        max=reach,
        step=1,
        value=chosen,
        list="k-marks",
        aria_describedby="k-values",
    )
    ends = tag("span", tag("span", "1"), tag("span", str(reach)), class_="ends", aria_hidden="true")
    return tag(
        "div",
        tag("label", "Prototypes per class: ", tag("output", str(chosen), id="k-number"), for_="k"),
        tag("span", slider, ends, class_="slide"),
        marks,
        tag("p", id="k-values", aria_live="polite"),
        class_="slider",
    )


def _values(several: list[Sweep], k: int) -> str:
    """What one number of prototypes gives, in a sentence, with intervals and chance levels."""
    parts = []
    for curve in curves_of(several).values():
        kind, swept = curve.kind, course(several, curve)
        words = [kind.shown(ends[k - 1] / curve.scale) for ends in (swept.mean, swept.low, swept.high)]
        notes = [f"95 % interval {words[1]} to {words[2]}"] if curve.of_images else []
        if swept.chance is not None:
            low, high = (kind.shown(end / curve.scale) for end in swept.chance[k - 1])
            notes.append(f"random images {low} to {high}")
        beside = f" ({', '.join(notes)})" if notes else ""
        parts.append(f"{kind.title} {kind.arrow} {words[0]}{beside}")
    return "; ".join(parts) + "."


def _pictures(results: Results, first: Sweep, thumbnails: Thumbnails) -> tuple[list[list[list[list[float]]]], int]:
    """The pictures of the prototypes and their shares by number and class, and how many numbers have pictures."""
    by_class = results.exemplars(first)
    steps: list[list[list[list[float]]]] = []
    for step in range(first.reach):
        images = [
            [
                [int(nearest[step, number]), round(float(shares[step, number]), 6)]
                for number in range(int(first.counts[step, label]))
            ]
            for label, (nearest, shares) in enumerate(by_class)
        ]
        if not thumbnails.add(int(image) for of_class in images for image, _ in of_class):
            return steps, step
        steps.append(images)
    return steps, first.reach
