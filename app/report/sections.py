"""The sections of a report. Each sentence about the data is computed from it; what is missing names its command."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app import claims
from app.figures.diagram import DIAGRAM_ALT, diagram
from app.prototype_names import prototype_title
from app.report.data import Results
from app.report.markup import Child, Markup, escaped, joined, sentences, table, tag
from app.report.pictures import Thumbnails, picture
from app.wording import BETTER, EXEMPLARS, IMPORTANCE, how_it_works, message, short, what_it_is
from kmex_core.analysis import published
from kmex_core.analysis.comparison import chance_sentences
from kmex_core.analysis.coverage import coverage, finding
from kmex_core.analysis.tables.attributes import accuracy_table, attribute_table
from kmex_core.analysis.tables.metric_lines import MetricLine, metric_lines
from kmex_core.base.jsontext import write_json
from kmex_core.base.provenance import versions
from kmex_core.commands.evaluation import relevance_maps_job
from kmex_core.data.colours import class_colours
from kmex_core.metrics import chance_accuracy
from kmex_core.metrics.metric import GROUPS
from kmex_core.prototypes.operations import words
from kmex_core.prototypes.source import Version, edited_note, per_class_words
from kmex_core.prototypes.types import fewer_prototypes
from kmex_core.stages.subject import IMAGES

WORST = 12  # groups of images


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        name: of its place in the page.
        title: its heading.
        content: what is in it.
        missing: what the store lacks for it, sentences that name the command.
    """

    name: str
    title: str
    content: list[Child] = field(default_factory=list)
    missing: Sequence[str] = ()

    @property
    def markup(self) -> Markup:
        missing = [paragraph(sentence, "missing") for sentence in self.missing]
        return tag("section", tag("h2", self.title), self.content, missing, id=self.name)


def not_computed(what: str, command: str) -> str:
    """A sentence on what the store lacks, with the command that computes it."""
    return f"{what} not been computed yet. Run this, then make the report again: `{command}`"


def paragraph(text: str, kind: str | None = None) -> Markup:
    """Sentences of the pages as a paragraph."""
    return tag("p", sentences(text), class_=kind)


def overview(results: Results) -> Section:
    """What the model is, how good it is, and what to know about that."""
    info, summary, data = results.info, results.conversion.summary, results.subject.data
    labels = data.split("test").labels
    warnings = [*results.subject.warnings(), info.prototype_caveat if results.source.built_in else ""]
    notes = list(data.notes)
    words = [
        f"Naming one class every time, that of the majority, would be correct on "
        f"{chance_accuracy(labels, len(info.class_names)):.1%} of {summary.images:,} test images.",
    ]
    if not results.source.built_in:
        conversion = results.conversion
        if info.predicts:
            words.append(claims.difference(conversion.test_predicted, conversion.test_black_box, labels).about)
        notes.append(
            edited_note(results.source, conversion.prototypes, info.class_names)
            if isinstance(results.source, Version)
            else fewer_prototypes(conversion.prototypes, info.class_names, results.kmeans.k)
        )
        geometry = results.subject.geometry().peek()
        if geometry is not None:
            words += [claims.metric_choice(geometry, conversion.metric.name).partition(" You have chosen")[0]]
            words += [claims.below_black_box(geometry, summary)]
    words.append(claims.effective_number(summary, results.source.per_class(info.k)))
    lines = {line.metric.name: line for line in metric_lines(results.evaluation, len(info.class_names))}
    cards = [_number("Black box accuracy ↑", lines["accuracy"].black_box)] if lines["accuracy"].black_box else []
    for name in ("accuracy", "agreement", "ghosting"):
        if name in lines and not (name == "agreement" and summary.agreement is None):
            line = lines[name]
            whose = f"{results.title} " if name == "accuracy" else ""
            title = f"{whose}{line.metric.heading.lower() if whose else line.metric.heading}"
            cards.append(_number(title, f"{line.value} {line.interval}", line.metric.about))
    return Section(
        "overview",
        "Overview",
        [
            paragraph(what_it_is(info)),
            [paragraph(message(warning), "warning") for warning in warnings if warning],
            tag("dl", cards, class_="numbers"),
            [paragraph(text) for text in words if text],
            [paragraph(message(note), "note") for note in notes if note],
            tag(
                "p",
                "↑ higher is better, ↓ lower is better. Ranges in parentheses are 95 % Wilson intervals.",
                class_="note",
            ),
        ],
    )


def _number(title: str, value: str, about: str = "") -> Markup:
    number, opened, interval = value.strip().partition(" (")
    return tag(
        "div",
        tag("dt", title),
        tag("dd", number, tag("small", opened.strip() + interval) if opened else None),
        tag("dd", about, class_="note") if about else None,
    )


def prototypes(results: Results, thumbnails: Thumbnails) -> Section:
    """The exemplar and the importance of every prototype, by class."""
    info, found = results.info, results.conversion.prototypes
    colours, rows, without = class_colours(len(info.class_names)), [], 0
    for label, name in enumerate(info.class_names):
        of_class = np.flatnonzero(found.classes == label).tolist()
        shown = thumbnails.add("train", (int(found.exemplar[p]) for p in of_class))
        without += 0 if shown else len(of_class)
        cards = [_card(results, p, shown) for p in of_class]
        rows.append(class_row(name, colours[label], f"{found.class_size[label]:,} training images", cards))
    left_out = f"{without:,} pictures are left out to keep this file small." if without else ""
    return Section(
        "prototypes", "Prototypes", [paragraph(f"{EXEMPLARS} {IMPORTANCE} {left_out}".strip()), tag("div", rows)]
    )


def _card(results: Results, p: int, shown: bool) -> Markup:
    found = results.conversion.prototypes
    image, ghost = int(found.exemplar[p]), bool(found.ghost[p])
    text = "ghost" if ghost else f"{found.importance[p]:.1%} ({found.count[p]:,})"
    about = f"{prototype_title(p, found.classes, results.info.class_names)}, exemplar: training image {image}"
    return tag(
        "figure",
        picture(image, about) if shown and image >= 0 else tag("span", "no picture", class_="none"),
        tag("figcaption", text),
        class_="card ghost" if ghost else "card",
    )


def class_row(name: str, colour: str, about: Child, cards: Iterable[Child]) -> Markup:
    """A class with pictures."""
    return tag("div", tag("h3", swatch(colour), name, " ", tag("small", about)), tag("div", cards, class_="cards"))


def swatch(colour: str) -> Markup:
    """A spot of a colour."""
    spot = tag("rect", width=12, height=12, rx=2, fill=colour)
    return tag("svg", spot, viewBox="0 0 12 12", width=12, height=12, aria_hidden="true")


def evaluation(results: Results) -> Section:
    """All metrics with their directions, chance levels and what their ± is over."""
    found, source = results.evaluation, results.source
    lines = metric_lines(found, len(results.info.class_names))
    content: list[Child] = [
        paragraph(
            f"On {found.test_images:,} test images. ↑ higher is better, ↓ lower is better. What a ± is over follows "
            "it: images, or seeds of k-means. Ranges in parentheses are 95 % Wilson intervals."
        )
    ]
    for group in GROUPS:
        of_group = [line for line in lines if line.metric.group == group]
        if not of_group:
            continue
        both, others = (any(getattr(line, name) for line in of_group) for name in ("black_box", "chance"))
        head = ["Metric", results.title, *(["Black box"] if both else []), *(["To compare with"] if others else [])]
        content += [tag("h3", group), table(head, [_line(line, both, others) for line in of_group], group)]
        if beside := chance_sentences(found, group):
            content += [tag("ul", [tag("li", text) for text in beside]), paragraph(BETTER, "note")]
    notes = [
        f"Not computed: {line.note}" if line.value == "not computed" else f"{line.metric.title}: {line.note}"
        for line in lines
        if line.note
    ]
    content += [paragraph(message(note), "note") for note in dict.fromkeys(notes)]
    missing = []
    if not found.images:
        command = relevance_maps_job(results.subject, source, IMAGES, 1).command
        missing.append(not_computed("The metrics on relevance maps have", command))
    return Section("evaluation", "Evaluation", content, missing)


def _line(line: MetricLine, both: bool, others: bool) -> list[Child]:
    name = joined(line.metric.heading, tag("small", line.metric.about))
    cells = [name, f"{line.value} {line.interval}".strip()]
    return [*cells, *([line.black_box] if both else []), *(["; ".join(line.chance)] if others else [])]


def attributes(results: Results) -> Section | None:
    """What the prototypes cover of the data set's attributes, and for whom predictions fail; None without any."""
    train = results.subject.data.split("train")
    if not train.attribute_names:
        return None
    covered = coverage(train, results.conversion.prototypes)
    groups = accuracy_table(results.subject.data.split("test"), results.conversion, not results.source.built_in)
    rows = attribute_table(covered)
    head = ["Attribute", "Training images", "Prototypes", "Expected by chance", "Captured", "Captured by chance"]
    cells = [
        [
            str(row["attribute"]).replace("_", " "),
            f"{row['images']:,} ({row['frequency']:.1%})",
            f"{row['prototypes']} ({row['among_prototypes']:.1%})",
            f"{row['expected']:.1f}",
            "yes" if row["captured"] else "no",
            f"{row['captured_chance']:.0%} of draws",
        ]
        for row in rows.sort_values("images", ascending=False).to_dict("records")
    ]
    content: list[Child] = [
        [paragraph(message(text)) for text in finding(covered, results.source.per_class(results.info.k))]
    ]
    if len(groups):
        content += [
            tag("h3", "Least accurate groups"),
            _worst(results, groups.head(WORST).to_dict("records"), len(groups)),
        ]
    content += [
        tag("h3", "Coverage"),
        tag("details", tag("summary", f"All {len(cells)} attributes"), table(head, cells)),
    ]
    return Section("attributes", "Attributes", content)


def _worst(results: Results, groups: Sequence[dict[Any, Any]], total: int) -> Markup:
    rows: list[list[Child]] = []
    for group in groups:
        rows.append(
            [
                str(group["group"]).replace("_", " "),
                f"{group['images']:,}",
                f"{group['accuracy']:.1%} ({group['low']:.1%} to {group['high']:.1%})",
                *([f"{group['accuracy_black_box']:.1%}"] if "accuracy_black_box" in group else []),
            ]
        )
    head = ["Group", "Test images", f"{results.title}, accuracy ↑", *(["Black box"] if len(rows[0]) > 3 else [])]
    about = (
        f"The {len(rows)} least accurate of {total:,} groups with at least five test images, ranked by the upper end "
        "of the 95 % Wilson interval, which keeps small groups from dominating. Among many groups, some are low by "
        "chance."
    )
    return joined(paragraph(about), table(head, rows))


def method(results: Results) -> Section:
    """How the model predicts, and where that was published."""
    picture_of_it = None
    if not results.source.built_in:
        drawn = diagram("currentColor").replace("<svg ", '<svg role="img" class="diagram" ', 1)
        picture_of_it = Markup(drawn.replace("<rect", f"<title>{DIAGRAM_ALT}</title><rect", 1))
    about = how_it_works(results.info.kind, results.source)
    return Section(
        "method", f"How {results.title} works", [paragraph(about), picture_of_it, tag("p", published.source()[0])]
    )


def provenance(results: Results) -> Section:
    """What made the model and this report."""
    subject, info = results.subject, results.info
    made = info.made_by
    command = str(made.get("command") or made.get("imported", {}).get("command", ""))
    other = {name: value for name, value in made.items() if name not in ("command", "history")}
    seed = None if results.source.built_in else results.kmeans.seed
    source = results.source
    edits = [words(each, info.class_names) for each in source.operations] if isinstance(source, Version) else []
    facts: list[tuple[str, str]] = [
        ("Model", info.name),
        ("Data set", short(info.dataset)),
        ("Prototypes", "built-in" if seed is None else f"{per_class_words(results.kmeans.k)}, seed {seed} of k-means"),
        *([("Edits", " ".join(edits))] if edits else []),
        ("Metric of the embedding", results.conversion.metric.name),
        ("Command that made the model", short(command) or "unknown"),
        ("Model made", str(made.get("date", "unknown"))),
        ("Fingerprint of the weights", subject.weights),
        ("Fingerprint of the data", subject.data.fingerprint),
        ("Name of the prototypes in the store", subject.conversion(results.source).key),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions().items())),
        ("Report made", datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
    details = tag(
        "details",
        tag("summary", "Hyperparameters, data, versions of the training"),
        tag("pre", _lines(short(write_json(other, indent=1))), tabindex="0"),
    )
    listed = tag("dl", [joined(tag("dt", name), tag("dd", value)) for name, value in facts], class_="facts")
    return Section("provenance", "Versions and provenance", [listed, details])


def _lines(text: str) -> Markup:
    """A text with its line breaks."""
    return Markup("\n".join(escaped(line) for line in text.splitlines()))
