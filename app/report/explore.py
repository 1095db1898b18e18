"""The section that a reader can move: the component Explore, over answers of the workspace that lie in the file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import numpy as np

from app import claims
from app.claims.suggestion import suggested
from app.report.data import Results
from app.report.markup import Child, tag
from app.report.pictures import Thumbnails
from app.report.sections import Section, not_computed, paragraph
from app.selection import SMALL, SWEEP_SEEDS, Selection
from app.workspace.certainty import certainty_of
from app.workspace.cloud import packed, packed_attributes
from app.workspace.given import NOTHING_CHOSEN, given
from app.workspace.layers import layer_of
from app.workspace.prototype import details_of
from app.workspace.sources import source_text
from app.workspace.timeline import timeline
from kmex_core.analysis.projection import stratified_sample
from kmex_core.analysis.suggestion import reason
from kmex_core.analysis.types import Projection
from kmex_core.base.jsontext import write_json
from kmex_core.commands.conversion import preparation_job
from kmex_core.commands.embedding_map import embedding_map_job
from kmex_core.commands.sweep import sweep_job
from kmex_core.prototypes.source import SUGGESTED, KMeans, PrototypeSource
from kmex_core.prototypes.types import NO_IMAGE, Prototypes

MOST = 10_000  # images on the map
SPARE = 2 * 2**20  # characters of thumbnails, up to which any images of the map get one
LISTS = ("exemplars", "own", "others")  # of images, in what a card says of a prototype
UNQUOTED = "!'()*"  # beyond what Python never quotes: as JavaScript's encodeURIComponent
Embedded = dict[str, Any]  # what the page's script gives the component, and its files


def section(results: Results, thumbnails: Thumbnails) -> tuple[Section, Embedded | None]:
    """The map, the prototypes and the timeline over their number; without a map, what is known of the number."""
    artifact = results.subject.embedding_map()
    about = _about_numbers(results)
    if not artifact.exists():
        command = embedding_map_job(results.subject).command
        missing = [not_computed("The embedding map has", command), *_missing(results, [])]
        return Section("explore", "Explore", about, missing), None
    projection: Projection = results.subject.read(artifact)
    rows = shown_rows(projection, results.conversion.prototypes)
    shown, absent = _sources(results)
    files = _files(results, shown, projection, rows)
    _add_thumbnails(thumbnails, results, shown, rows)
    place = tag("div", id="component", class_="component")
    content = [paragraph(_about_map(projection, len(rows))), place, *about]
    content.append(paragraph(claims.far_from_all(projection, True), "note"))
    return Section("explore", "Explore", content, _missing(results, absent)), {
        "data": _given(results, shown, projection, rows),
        "files": {address: base64.b64encode(content).decode() for address, content in files.items()},
    }


def shown_rows(projection: Projection, prototypes: Prototypes) -> np.ndarray:
    """The images on the map, training images first: all of them, or at most `MOST`, ascending.

    Of many, those that prototypes are shown by, and a sample of the others, of each class and split in proportion.

    Args:
        projection: the map.
        prototypes: K of them, which are shown first.
    """
    total, train = len(projection.labels), len(projection.train)
    if total <= MOST:
        return np.arange(total)
    # the exemplars first, then the second nearest images
    images = list(dict.fromkeys(prototypes.nearest.T.ravel().tolist()))
    evidence = np.array([image for image in images if image != NO_IMAGE][: MOST // 2])
    others = np.setdiff1d(np.arange(total), evidence)
    groups = 2 * projection.labels[others] + (others >= train)
    room = MOST - len(evidence) - len(np.unique(groups))  # each group's part is rounded
    return np.sort(np.concatenate([evidence, others[stratified_sample(groups, room, np.random.default_rng(0))]]))


def _about_map(projection: Projection, shown: int) -> str:
    total, train = len(projection.labels), len(projection.train)
    text = (
        f"The {train:,} training and {total - train:,} test images, and the prototypes over them. "
        f"{claims.drawn_by(projection)}"
    )
    if shown == total:
        return text
    return (
        f"{text} This file has {shown:,} of the {total:,} images: those nearest to the prototypes, and a sample of the "
        "others, of each class and split in proportion. The legend, selections, and the number of test images on the "
        "card of a prototype count these; all other numbers are of all images."
    )


def _about_numbers(results: Results) -> list[Child]:
    """What the number of prototypes per class does, and which one is suggested."""
    if results.source.built_in or not results.sweeps:
        return []
    several, evidence = list(results.sweeps.values()), results.suggestion
    chosen = results.kmeans.k if results.kmeans.k <= several[0].reach else SUGGESTED  # beyond the curves
    content: list[Child] = [paragraph(claims.predictions_over_k(several, chosen))]
    if evidence is None:
        return content
    words = suggested(evidence)
    rows = [
        tag("li", tag("strong", name), f": {int(evidence.suggested[label])}. ", reason(evidence, label))
        for label, name in enumerate(results.info.class_names)
    ]
    return [
        *content,
        paragraph(words),
        tag("details", tag("summary", "Each class's own number, and why"), tag("ul", rows)),
    ]


def _sources(results: Results) -> tuple[list[PrototypeSource], list[KMeans]]:
    """The sources that are shown, the chosen one first, and those of the timeline whose prototypes would take long."""
    shown: list[PrototypeSource] = [results.source]
    absent: list[KMeans] = []
    if results.source.built_in or not results.sweeps:
        return shown, absent
    subject, reach = results.subject, next(iter(results.sweeps.values())).reach
    is_small = subject.read(subject.embedding("train")).z.size <= SMALL
    for k in range(1, reach + 1):
        source = replace(results.kmeans, k=k)
        if source == results.source:
            continue
        if is_small or subject.conversion(source).exists():
            shown.append(source)
        else:
            absent.append(source)
    return shown, absent


def _missing(results: Results, absent: Sequence[KMeans]) -> list[str]:
    """What the store lacks of the timeline."""
    if results.source.built_in:
        return []
    if not results.sweeps:
        return [
            not_computed("The other numbers of prototypes have", sweep_job(results.subject, results.kmeans).command)
        ]
    found, job = len(results.sweeps), sweep_job(results.subject, results.kmeans, len(SWEEP_SEEDS))
    missing = []
    if results.suggestion is None:
        missing.append(not_computed("The suggested numbers have", job.command))
    elif found < len(SWEEP_SEEDS):
        missing.append(
            not_computed(f"{len(SWEEP_SEEDS) - found} of {len(SWEEP_SEEDS)} seeds of k-means have", job.command)
        )
    if absent:
        ks = ", ".join(str(source.k) for source in absent)
        command = preparation_job(results.subject, absent[0]).command
        missing.append(not_computed(f"The prototypes for {ks} per class, which Explore would show, have", command))
    return missing


def _given(
    results: Results, shown: Sequence[PrototypeSource], projection: Projection, rows: np.ndarray
) -> dict[str, Any]:
    """What the component is given (`WorkspaceData` in explore/state.js)."""
    over_k = None
    if not results.source.built_in and results.sweeps:
        several = [results.sweeps[seed] for seed in sorted(results.sweeps)]
        over_k = timeline(several, results.suggestion, lambda k: source_text(replace(results.kmeans, k=k)))
        over_k = only(over_k, {source_text(source) for source in shown})
    data = given(results.subject, Selection(results.info, results.source), shown, over_k)
    train, total = len(projection.train), len(projection.labels)
    if len(rows) < total:
        in_train = int((rows < train).sum())
        numbers = np.where(rows < train, rows, rows - train)
        data["model"] |= {"train": in_train, "test": len(rows) - in_train, "numbers": numbers}
    return {
        **data,
        "base": "",
        "pictures": "",
        "unconverted": [],  # all of them are in the file
        "can": {"pictures": False, "edits": False, "open": False},
        "address": dict(NOTHING_CHOSEN),
        "turn": 0,
    }


def only(over_k: Mapping[str, Any], sources: set[str]) -> dict[str, Any] | None:
    """A timeline with those of its numbers whose sources are given; None without any."""
    kept = [place for place, source in enumerate(over_k["sources"]) if source in sources]

    def some(values: Sequence[Any]) -> list[Any]:
        return [values[place] for place in kept]

    curves = [
        {
            **curve,
            **{name: some(curve[name]) for name in ("values", "low", "high")},
            "chance": None if curve["chance"] is None else [some(end) for end in curve["chance"]],
        }
        for curve in over_k["curves"]
    ]
    parts = {name: some(over_k[name]) for name in ("ks", "sources", "steps")}
    suggested = over_k["suggested"] if over_k["suggested"] in parts["ks"] else None
    return {**over_k, **parts, "curves": curves, "suggested": suggested} if kept else None


def _files(
    results: Results, shown: Sequence[PrototypeSource], projection: Projection, rows: np.ndarray
) -> dict[str, bytes]:
    """What the workspace answers, by address, of the images that are shown."""
    subject, data = results.subject, results.subject.data
    chosen = given(subject, Selection(results.info, results.source), shown, None)
    files = {chosen["cloud"]: packed(projection, rows)}
    if data.split("train").attribute_names:
        files[f"attributes/{data.fingerprint}.bin"] = packed_attributes(data, rows)
    for source in shown:
        files |= _files_of(results, source, chosen["sources"][source_text(source)], rows)
    return files


def _files_of(
    results: Results, source: PrototypeSource, addresses: Mapping[str, str], rows: np.ndarray
) -> dict[str, bytes]:
    """The layer of a source, how certain its predictions are, and what the card says of each of its prototypes."""
    subject, text = results.subject, source_text(source)
    conversion = subject.read(subject.conversion(source))
    files = {
        addresses["layer"]: layer_of(subject, source, text, conversion, rows),
        addresses["certainty"]: certainty_of(subject, source, conversion, rows),
    }
    details = details_of(subject, source, conversion)
    for p in range(len(conversion.prototypes)):
        address = f"prototype/{addresses['key']}.json?source={quote(text, safe=UNQUOTED)}&p={p}"
        files[address] = write_json(among(details(p), rows), compact=True).encode()
    return files


def among(details: Mapping[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """What a card says of a prototype, with the places of its images among some, ascending; others are left out."""
    found = dict(details)
    for name in LISTS:
        images = np.asarray(found[name], dtype=np.int64)
        place = np.searchsorted(rows, images)
        found[name] = place[(place < len(rows)) & (np.append(rows, -1)[np.minimum(place, len(rows))] == images)]
    return found


def _add_thumbnails(
    thumbnails: Thumbnails, results: Results, shown: Sequence[PrototypeSource], rows: np.ndarray
) -> None:
    """Add the exemplars of all prototypes, then as many images of the map as there is room for."""
    subject, train = results.subject, len(results.subject.data.split("train"))
    for source in shown:
        thumbnails.fill("train", subject.read(subject.conversion(source)).prototypes.exemplar.tolist())
    nearest = results.conversion.prototypes.nearest
    thumbnails.fill("train", dict.fromkeys(nearest[np.isin(nearest, rows)].tolist()))
    for row in np.random.default_rng(0).permutation(rows).tolist():
        split, number = ("train", row) if row < train else ("test", row - train)
        if thumbnails.size > SPARE or not thumbnails.fill(split, [number]):
            return
