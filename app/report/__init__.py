"""A report of a model in one HTML file, which opens offline and asks no other machine for anything."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from app.figures.palette import custom_properties
from app.report import explore, sections
from app.report.data import Results
from app.report.markup import Markup, joined, tag
from app.report.pictures import SMALL, Thumbnails
from kmex_core.base.jsontext import write_json
from kmex_core.base.provenance import __version__
from kmex_core.prototypes.source import PrototypeSource
from kmex_core.stages.subject import Subject


def html_report(subject: Subject, source: PrototypeSource) -> tuple[str, list[str]]:
    """A report as HTML, and what is missing in it because the store lacks it.

    Args:
        subject: a model with its data, whose images are embedded.
        source: where its prototypes come from.

    Raises:
        InputError: see `stored.stored_conversion`.
    """
    results = Results(subject, source)
    thumbnails = Thumbnails(subject.data)
    # the prototypes first: their pictures are the last that may be left out
    of_prototypes = sections.prototypes(results, thumbnails)
    of_explore, embedded = explore.section(results, thumbnails)
    of_attributes = sections.attributes(results)
    shown = [
        sections.overview(results),
        of_prototypes,
        of_explore,
        sections.evaluation(results),
        *([of_attributes] if of_attributes is not None else []),
        sections.method(results),
        sections.provenance(results),
    ]
    data = {"thumbnails": thumbnails.files, "small": SMALL, "explore": embedded}
    text = _page(f"{subject.info.name}: {results.title}", shown, data)
    return text, [sentence.replace("`", "") for section in shown for sentence in section.missing]


def _page(title: str, shown: list[sections.Section], data: dict[str, object]) -> str:
    style = custom_properties() + _asset("web", "bundle", "explore.css") + _asset("report", "report.css")
    script = _asset("web", "bundle", "explore.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; "
        "form-action 'none'"
    )
    head = joined(
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content=f"KMEx Explorer {__version__}"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    links = [tag("li", tag("a", section.title, href=f"#{section.name}")) for section in shown]
    # nothing in JSON can end its element: no `<` is left in it
    embedded = Markup(write_json(data, compact=True).replace("<", "\\u003c"))
    body = joined(
        tag("header", tag("h1", title), tag("nav", tag("ul", links), aria_label="Sections")),
        tag(
            "noscript",
            tag("p", "Pictures and Explore need JavaScript, which this browser does not run.", class_="missing"),
        ),
        tag("main", [section.markup for section in shown]),
        tag("script", embedded, type="application/json", id="data"),
        tag("script", Markup(script), type="module"),
    )
    return f"<!doctype html>\n{tag('html', tag('head', head), tag('body', body, class_='kx-report'), lang='en')}\n"


def _asset(*path: str) -> str:
    return files("app").joinpath("assets", *path).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a Content-Security-Policy allows an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
