"""Reports on reproductions: their JSON, their place in a store, and the page that is made of them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import markdown  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kmex_core.base.errors import InputError
from kmex_core.base.location import REPRODUCTIONS
from kmex_core.base.plain_text import document, writable
from kmex_core.base.store import Store
from kmex_core.reproduction import report_json
from kmex_core.reproduction.chart import figure_5
from kmex_core.reproduction.report import FIGURE, judged, page, write_page
from kmex_core.reproduction.report_json import from_json, from_values, reports, to_json
from kmex_core.reproduction.types import CurveRow, Report
from tests.helpers.hostile import ATTRIBUTES, FOREIGN, NAMES
from tests.helpers.paths import ROOT
from tests.helpers.reproductions import COMMAND, cell, keep, report, setting

HOSTILE = (
    *NAMES,
    *ATTRIBUTES,
    "a | b\n# c",
    "</text><script>",
    "`x` ``",
    "1. x",
    "!!! note",
    "{: onclick=x } {#a}",
    "\u202eevil\x1b[31m",
    f"{FOREIGN}/x",
)


# ---- JSON -----------------------------------------------------------------------------------------------------------


def test_a_report_comes_back_as_it_was() -> None:
    whole = report()
    assert from_json(to_json(whole)) == whole
    assert from_json(to_json(whole).encode()) == whole
    assert json.loads(to_json(whole))["report"]["cells"][0]["published"]["values"] == [0.903, 0.899, 0.901]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3), st.text(max_size=20), st.integers(0, 99))
def test_any_report_comes_back(values: list[float], text: str, number: int) -> None:
    whole = report(
        cell(*values, missing=text, short=(text,)), command=text, settings=(setting(images=number, notes=(text, "")),)
    )
    assert from_json(to_json(whole)) == whole


def test_what_is_not_finite_comes_back_as_no_number() -> None:
    found = from_json(to_json(report(cell(float("inf"), 0.5))))
    assert found.cells[0].published is not None
    assert str(found.cells[0].published.values) == "(nan, 0.5)"
    assert judged(found)[0].verdict.outcome == "cannot be had"


def changed(change: Callable[[dict[str, Any]], object]) -> Any:
    values = json.loads(to_json(report()))["report"]
    change(values)
    return values


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values.pop("cells"), "with cells"),
        (lambda values: values.update(more=1), "got 'more'"),
        (lambda values: values.update(date=3), "a text at report.date"),
        (lambda values: values.update(date="x" * 30_000), "a text at report.date"),
        (lambda values: values.update(budget="60"), "a number at report.budget"),
        (lambda values: values.update(budget=10**400), "a number at report.budget"),
        (lambda values: values.update(left="all"), "a list at report.left"),
        (lambda values: values.update(machine=[["cores"]]), "2 values at report.machine"),
        (lambda values: values["cells"].append(None), "a Cell at report.cells"),
        (lambda values: values["cells"][0].update(table=True), "a whole number at report.cells"),
        (lambda values: values["cells"][0].update(table=3.5), "a whole number"),
        (lambda values: values["cells"][0].update(metric="__class__"), "a metric at cells"),
        (lambda values: values["cells"][5]["second"].update(metric="x"), "a metric at cells"),
        (lambda values: values["cells"][0].update(mean=None), "the paper's figure"),
        (lambda values: values["cells"][0].update(std=-1), "the paper's figure"),
        (lambda values: values["settings"][0].update(imagenet=1), "yes or no"),
        (lambda values: values["settings"][0].update(kind="x"), "a kind of model"),
    ],
)
def test_damaged_values_are_refused(change: Callable[[dict[str, Any]], object], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        from_values(changed(change))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "null", '{"format": "x"}', b"\xff\xfe", "1" * 5000])
def test_other_files_are_refused(text: str | bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="Expected a report of `kmex reproduce`"):
        from_json(text)
    monkeypatch.setattr(report_json, "MOST", 10)
    with pytest.raises(InputError, match="at most 10 characters"):
        from_json(to_json(report()))


# ---- in a store -----------------------------------------------------------------------------------------------------


def test_the_reports_of_a_store_come_newest_first(store: Store) -> None:
    assert reports(store) == []
    dates = ("2026-11-27", "2026-11-29", "2026-11-28")
    for number, date in enumerate(dates):
        keep(store, report(date=date), f"report-{number}")
    assert [found.date for found in reports(store)] == sorted(dates, reverse=True)


def test_a_damaged_or_strange_report_is_refused_and_no_other_is_lost(store: Store) -> None:
    keep(store, report())
    path = store.path(REPRODUCTIONS, "report")
    path.write_bytes(path.read_bytes().replace(b"2026-11-28", b"2026-11-29"))
    with pytest.raises(InputError, match="damaged"):
        reports(store)
    store.put(REPRODUCTIONS, "report", {}, {"report": {"cells": []}})
    with pytest.raises(InputError, match="a Report with"):
        reports(store)
    keep(store, report(date="2026-11-30"), "other")
    assert [found.date for found in reports(store)] == ["2026-11-30"]


# ---- the page -------------------------------------------------------------------------------------------------------


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    part = text.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[one.strip() for one in line.strip("|").split("|")] for line in lines[2:]]


def test_every_figure_has_a_row_with_its_verdict() -> None:
    text, _ = page(report())
    table = {(row[0], row[1]): row[2:] for row in rows(text, "Table 3: Accuracy ↑")}
    assert table["MNIST", "ResNet34"] == [
        "90.0 ± 1.0%", "90.10 ± 0.20%", "–", "+0.10 (+0.2)", "✓ reproduced (1, 2)"
    ]  # fmt: skip
    assert table["MNIST", "R34+KMEx"][-1] == "≠ differs (1, 3, 4)"
    assert table["MNIST", "FLINT"][1:] == ["–", "–", "–", "– cannot be had (5)"]
    assert table["fMNIST", "ResNet34"][-1] == "≠ differs, unexplained"
    notes = dict(re.findall(r"^(\d)\. (.*)$", text.partition("## Table 3")[2].partition("\n## ")[0], re.MULTILINE))
    assert notes["1"] == "3 of 10 epochs."
    assert notes["2"] == "Random initial weights."
    assert notes["3"] == "Other initial weights."
    assert "from the test split" in notes["4"]
    assert notes["5"] == "Not trained; a larger budget would give it."
    missing = [
        cell(model=model, dataset="SVHN", missing="Get SVHN by `kmex a|b`, `x`.") for model in ("FLINT", "ProtoPNet")
    ]
    (row,) = rows(page(report(*missing))[0], "Table 3: Accuracy ↑")  # one for both
    assert row == ["SVHN", "all 2", "FLINT 90.0 ± 1.0%; ProtoPNet 90.0 ± 1.0%", "–", "–", "–", "– cannot be had (1)"]
    assert "\n1. Get SVHN by &#96;kmex a&#124;b&#96;, `x`." in page(report(*missing))[0]
    (drop,) = rows(text, "Table 4: Average drop as published ↓")
    assert drop[3:5] == ["20.50 ± 0.71% (a random order of pixels 30.0%)", "30.50 ± 0.71%"]
    assert drop[-1].startswith("✓ reproduced, weakly and as chance would")
    assert "Second edition: Average drop ↓." in text
    assert "a verdict by it is weak" in text


def test_the_summary_counts_the_verdicts_of_each_table() -> None:
    whole = report()
    text, _ = page(whole)
    found = judged(whole)
    counted = {row[0]: list(map(int, row[2:])) for row in rows(text, "Summary")}
    for table in ("3", "4", "7", "all"):
        of_table = [each for each in found if table in (str(each.cell.table), "all")]
        outcomes = [each.verdict.outcome for each in of_table]
        assert counted[table] == [
            len(outcomes), outcomes.count("reproduced"), sum(each.is_as_chance for each in of_table),
            outcomes.count("differs"), outcomes.count("cannot be had"),
        ]  # fmt: skip
    assert counted["all"] == [7, 3, 1, 3, 1]
    assert (
        "Of the 6 figures that were measured, 3 are reproduced (1 of them as chance would) and 3 differ; 1 more" in text
    )
    assert "- FLINT on MNIST." in text
    nothing, pictures = page(report(cell(), settings=(), defects=(), curve=(), left=(), machine=(), versions=()))
    assert "None of the paper's 1 figures could be measured." in nothing
    assert "nothing could be measured" in nothing
    assert pictures == {}
    assert "Figure 5" not in nothing


def test_what_reproduces_and_what_does_not_is_named_with_what_is_known() -> None:
    text, _ = page(report())
    said = text.partition("## What reproduces")[2].partition("\n## ")[0]
    assert "reproduced: MNIST (ResNet34); STL-10 (ResNet34)." in said
    assert "Differs: MNIST (R34+KMEx 10.00 points lower); fMNIST (ResNet34 5.05 points higher)." in said
    assert "\n    - Can be the cause of 1 of 2: 3 of 10 epochs.\n" in said
    assert "Nothing that is known explains: fMNIST (ResNet34)." in said
    assert "reproduced: MNIST (R34+KMEx weakly and as chance would)." in said


def test_every_part_names_the_command_that_made_it() -> None:
    text, _ = page(report())
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    assert f"`{COMMAND}`" in parts[0]
    named = [part.splitlines()[0] for part in parts[1:] if f"Made by `{COMMAND}`" in part]
    assert [part.splitlines()[0] for part in parts[1:]] == ["Summary", *named, "Machine and versions"]
    assert "| MNIST | ResNet34 | resnet34 | random | 3 (10) | 3 (5) | 60,000 | 10,000 | 4.0 min | 750 |" in text
    assert (
        "| Eq. 1 is constant. | Ghost prototypes, share ↓ | 0.98 | 0.02 | – | MNIST, R34+KMEx | It is wrong. |" in text
    )


def test_figure_5_is_drawn_and_listed_beside_chance() -> None:
    text, pictures = page(report())
    drawing = ElementTree.fromstring(pictures[FIGURE])
    words = "".join(drawing.itertext())
    assert f"]({FIGURE})" in text
    assert all(model in words for model in ("R34+KMEx", "ProtoPNet", "ProtoPNet+KMEx", "chance, 95%"))
    svg = "{http://www.w3.org/2000/svg}"
    assert len(drawing.findall(f"{svg}polyline")) == 3
    marks = [each.attrib["class"] for each in drawing.findall(f"{svg}polygon")]
    assert {kind: marks.count(kind) for kind in marks} == {"band": 2, "c0": 3, "c1": 6}  # points, and one at each name
    assert len(drawing.findall(f"{svg}rect[@class='band']")) == 2
    assert "2 below it (ProtoPNet at 1, ProtoPNet at 5)" in text
    assert "4 are within the band" in text
    assert ["5", "24 (28 to 35)"] in rows(text, "Figure 5")
    assert ["5", "30 (28 to 35)", "32 (28 to 35)"] in rows(text, "Figure 5")


def test_points_lie_where_their_numbers_say() -> None:
    """A straight line in the logarithm of k stays straight, and 0 and all attributes are at the ends of the axis."""
    line = [CurveRow("KMEx", k, captured, 30, 0, 30) for k, captured in ((1, 0), (2, 10), (4, 20), (8, 30))]
    drawing = ElementTree.fromstring(figure_5(line))
    (curve,) = drawing.findall("{http://www.w3.org/2000/svg}polyline")
    x, y = zip(*(map(float, place.split(",")) for place in curve.attrib["points"].split()), strict=True)
    assert list(x) == sorted(x)
    assert list(y) == sorted(y, reverse=True)
    for places in (x, y):
        assert len({round(after - before, 0) for before, after in itertools.pairwise(places)}) == 1
    for odd in (
        [CurveRow("KMEx", 5, 3, 30, 0, 30)],
        [CurveRow("x", 1, 99, 1, 2, float("nan")), CurveRow("x", 0, 1, 1, 0, 1)],
    ):
        assert "nan" not in figure_5(odd)


class Elements(HTMLParser):
    """What a page has besides text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attributes}
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(text: str) -> list[Elements]:
    """A page by the program of the site, and by one that follows CommonMark and GitHub."""
    return [
        Elements(markdown.markdown(text, extensions=["tables", "attr_list", "admonition"])),
        Elements(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)),
    ]


def hostile(name: str) -> Report:
    """A report in which every text is this one, but the names of metrics and kinds."""
    texts = {"metric": None, "kind": None}

    def renamed(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            kept = texts if "says" not in fields else {}
            new = {each: old if each in kept else renamed(old) for each, old in fields.items()}
            return dataclasses.replace(value, **new)
        if isinstance(value, tuple):
            return tuple(renamed(each) for each in value)
        return name if isinstance(value, str) and value else value

    renamed_report: Report = renamed(report())
    return renamed_report


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name: str) -> None:
    text, pictures = page(hostile(name))
    usual = shown(page(report())[0])
    for found, expected in zip(shown(text), usual, strict=True):
        assert set(found.tags) <= set(expected.tags)
        assert found.tags.count("h2") == expected.tags.count("h2")
        assert found.tags.count("table") <= expected.tags.count("table")
        assert found.tags.count("tr") <= expected.tags.count("tr")
        assert found.attributes <= expected.attributes
        assert set(found.addresses) <= {FIGURE}
        assert " ".join(writable(name).split())[:12].strip() in " ".join(found.text.split())
    if pictures:
        drawing = ElementTree.fromstring(pictures[FIGURE])
        assert not {element.tag.partition("}")[2] for element in drawing.iter()} - {
            "svg", "title", "style", "rect", "text", "line", "polyline", "polygon", "circle"
        }  # fmt: skip


@given(st.text(max_size=30))
def test_a_text_of_a_document_is_shown_as_it_is(text: str) -> None:
    whole = " ".join(writable(text).split())
    for found in shown(f"Before {document(text)} after."):
        assert set(found.tags) <= {"p"}
        assert " ".join(found.text.split()) == " ".join(f"Before {whole} after.".split())


def test_the_page_and_its_report_are_written_together(tmp_path: Path) -> None:
    whole = report()
    path, values, figure = write_page(whole, tmp_path / "paper.md")
    assert path.read_text() == page(whole)[0]
    assert values == tmp_path / "paper.json"
    assert from_json(values.read_bytes()) == whole
    assert figure == tmp_path / FIGURE
    assert ElementTree.fromstring(figure.read_text()).tag.endswith("svg")


COMMITTED = ROOT / "docs" / "reproduction.json"


@pytest.mark.skipif(not COMMITTED.exists(), reason="the paper was not reproduced yet")
def test_the_committed_page_is_that_of_the_committed_report() -> None:
    text, pictures = page(from_json(COMMITTED.read_bytes()))
    for name, content in {"reproduction.md": text, **pictures}.items():
        assert (COMMITTED.parent / name).read_text() == content, "write it again from the report: write_page"
