"""The report: one file that shows what the store has, in which names are text, and that asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.core import TyperGroup
from typer.main import get_command

from app.figures.curves import CURVES
from app.figures.sweep import sweep_figure
from app.report import html_report, pictures
from app.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, chart, ticks
from app.report.markup import sentences
from kmex_core import commands
from kmex_core.analysis.suggestion import overall, reason
from kmex_core.base.errors import InputError
from kmex_core.base.plain_text import JOINER, markdown, plain
from kmex_core.base.store import Store
from kmex_core.commands import taking_away
from kmex_core.data.dataset import ArraySplit
from kmex_core.prototypes.source import SUGGESTED, BuiltIn, KMeans
from kmex_core.stages.subject import Subject, subject_of
from tests.helpers.pages import healthy, open_link
from tests.helpers.paths import ROOT

LIMIT = 15 * 10**6
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=http://foreign.invalid onerror=alert(2)>",
    '"><b onclick="x">',
    "<!--",
    "**bold** `code` \\*",
    "\u202eevil",
    "&lt;b&gt;",
    "6",
    "7",
    "8",
)


class Parsed(HTMLParser):
    """The elements of a page, the texts outside of scripts and styles, and the content of those."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inline: list[tuple[str, str]] = []
        self._raw = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._raw = tag

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw:
            self.inline.append((self._raw, data))
        else:
            self.texts.append(data)

    def of(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name in names]

    @property
    def data(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.inline[1][1])
        return content


@pytest.fixture
def subject(demo: Store) -> Subject:
    """The demo's model with every result but the metrics on relevance maps."""
    found = subject_of(demo, "digits")
    for seed in range(5):
        found.sweep(KMeans(5, seed)).get()
    found.suggestion().get()
    return found


@pytest.fixture
def report(subject: Subject) -> str:
    return html_report(subject, KMeans(5))[0]


def test_it_shows_what_the_store_has(subject: Subject, report: str) -> None:
    page, text = Parsed(report), html.unescape(re.sub("<[^>]*>", "", report))
    assert [section["id"] for section in page.of("section")] == [
        *("overview", "prototypes", "map", "sweep", "evaluation", "method", "provenance")
    ]
    conversion, evidence = subject.conversion(KMeans(5)).get(), subject.suggestion().get()
    for value in (
        conversion.summary.accuracy_kmex,
        conversion.summary.accuracy_black_box,
        conversion.summary.agreement,
    ):
        assert value is not None
        assert f"{100 * value:.1f} %" in text
    assert reason(evidence, 3) in text
    assert subject.weights in text
    images = [attributes["data-image"] for attributes in page.of("img")]
    assert images == [str(image) for image in conversion.prototypes.exemplar]
    assert all(attributes["alt"] for attributes in page.of("img"))


def test_the_slider_has_the_prototypes_of_every_number(subject: Subject, report: str) -> None:
    sent, sweep = Parsed(report).data["sweep"], subject.sweep(KMeans(5)).get()
    train = subject.data.split("train").labels
    assert sent["suggested"] == overall(subject.suggestion().get())
    assert len(sent["values"]) == len(sent["pictures"]) == sweep.reach == 20
    for step, classes in enumerate(sent["pictures"]):
        assert [len(cards) for cards in classes] == sweep.counts[step].tolist()
        for label, cards in enumerate(classes):
            assert {int(train[image]) for image, _ in cards} == {label}
            assert sum(share for _, share in cards) == pytest.approx(1, abs=1e-4)
    agreement = np.mean([subject.sweep(KMeans(5, seed)).get().agreement[6] for seed in range(5)])
    assert f"{agreement:.1%}" in sent["values"][6]


def test_each_thumbnail_is_in_it_once(report: str) -> None:
    data = Parsed(report).data
    shown = {str(image) for step in data["sweep"]["pictures"] for cards in step for image, _ in cards}
    assert shown <= set(data["thumbnails"])
    assert set(Counter(re.findall(r"data:image/[^\"]+", report)).values()) == {1}
    assert len(report.encode()) < 1_000_000


@pytest.mark.parametrize("share", [1, 8])
def test_it_stays_small_whatever_the_pictures_are(
    subject: Subject, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise cannot be compressed. Beyond the budget, large numbers lose their pictures, and it says so."""
    monkeypatch.setattr(pictures, "BUDGET", pictures.BUDGET // share)
    train = subject.data.split("train")
    noise = np.random.default_rng(0).integers(0, 256, (len(train), 96, 96, 3), dtype=np.uint8)
    splits = {**subject.data.splits, "train": ArraySplit(noise, train.labels)}
    text, _ = html_report(replace(subject, data=replace(subject.data, splits=splits)), KMeans(5))
    data = Parsed(text).data
    assert len(text.encode()) <= LIMIT // share
    shown = len(data["sweep"]["pictures"])
    said = f"Pictures of more than {shown} per class are left out to keep this file small."
    assert (0 < shown < 20) == (said in text) == (share == 8)


def test_it_fetches_nothing_and_its_policy_allows_only_its_own_script(report: str) -> None:
    page = Parsed(report)
    assert not [
        (name, attributes)
        for name, attributes in page.elements
        if {"src", "srcset", "style", "background", "poster", "action", "data"} & attributes.keys()
        or any(attribute.startswith("on") for attribute in attributes)
        or name in ("link", "iframe", "object", "embed", "base", "form")
    ]
    assert all(str(attributes["href"]).startswith("#") for attributes in page.of("a", "use"))
    assert {name for name, _ in page.inline} == {"style", "script"}
    style, data, script = (content for _, content in page.inline)
    assert not re.search(r"url\(|@import|https?:", style)
    assert not re.search(r"fetch|XMLHttp|import\(|WebSocket|innerHTML|eval|https?://(?!www\.w3\.org/2000/svg)", script)
    assert "http" not in data
    policy = next(str(meta["content"]) for meta in page.of("meta") if "http-equiv" in meta)
    for kind, content in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


def test_names_are_text(subject: Subject) -> None:
    info, data = replace(subject.info, class_names=HOSTILE), replace(subject.data, class_names=HOSTILE)
    text, _ = html_report(replace(subject, info=info, data=data), KMeans(5))
    page, usual = Parsed(text), Parsed(html_report(subject, KMeans(5))[0])
    assert Counter(name for name, _ in page.elements) == Counter(name for name, _ in usual.elements)
    assert page.data["classes"] == list(HOSTILE)
    headings = set(page.texts)
    assert {plain(name) for name in HOSTILE} <= headings
    assert page.inline[2] == usual.inline[2]


@given(st.text())
def test_sentences_show_any_name_as_it_is(name: str) -> None:
    shown = html.unescape(re.sub("<[^>]*>", "", sentences(f"**{markdown(name)}** is")))
    whole = " ".join(plain(name.replace(JOINER, "")).split())
    assert " ".join(shown.split()) == f"{whole} is".strip()


def test_what_is_missing_names_commands_that_there_are(demo_cache: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_cache, tmp_path / "store")
    store = Store(tmp_path / "store")
    for room in ("projections", "sweeps", "suggestions", "evaluations"):
        shutil.rmtree(store.root / room, ignore_errors=True)
    subject = subject_of(store, "digits")
    subject.conversion(KMeans(2)).get()
    shutil.rmtree(store.root / "sweeps", ignore_errors=True)
    text, missing = html_report(subject, KMeans(2))
    assert len(missing) == 3
    group = get_command(commands.app)
    assert isinstance(group, TyperGroup)
    for sentence in missing:
        assert html.escape(sentence.partition(": ")[2]) in text
        name, *rest = shlex.split(sentence.partition("kmex_core ")[2])
        assert group.commands[name].make_context(name, rest).params["model"] in ("digits", ("digits",), ["digits"])
    assert not (store.root / "projections").exists()
    assert not (store.root / "sweeps").exists()


def test_images_that_are_not_embedded_are_refused(store: Store) -> None:
    with pytest.raises(InputError, match="kmex_core convert --model digits"):
        html_report(subject_of(store, "digits"), KMeans(5))


def test_built_in_prototypes_have_a_report_without_a_black_box(demo: Store) -> None:
    text, _ = html_report(subject_of(demo, "digits-protopnet"), BuiltIn())
    assert "Black box accuracy" not in text
    assert "ProtoPNet" in text


def test_attributes_are_in_the_report_of_a_data_set_that_has_some(faces_cache: Path) -> None:
    text, _ = html_report(subject_of(Store(faces_cache), "faces"), KMeans(5))
    page = Parsed(text)
    assert "attributes" in [section["id"] for section in page.of("section")]
    assert "All 30 attributes" in text


def test_a_chart_has_the_points_of_the_figure(subject: Subject) -> None:
    sweeps = [subject.sweep(KMeans(5, seed)).get() for seed in range(5)]
    for name, curve in CURVES.items():
        figure = sweep_figure(sweeps, SUGGESTED, 3, name)
        drawn = chart(figure, "about", "KMEx")
        scale = 100 if curve.kind.unit == "share" else 1
        low, high = figure.layout.yaxis.range
        for (x, y), value in zip(
            drawn.places, scale * np.mean([getattr(sweep, curve.field) for sweep in sweeps], 0), strict=True
        ):
            assert LEFT <= x <= WIDTH - RIGHT
            up = (HEIGHT - BOTTOM - y) / (HEIGHT - TOP - BOTTOM)
            assert low + up * (high - low) == pytest.approx(value, abs=0.001 * (high - low))


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_and_within_the_axis(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert len(found) <= 6
    assert all(low - 1e-6 * span <= tick <= low + span + 1e-6 * span for tick in found)


def test_the_report_is_made_by_the_dashboard_beside_the_engine(demo: Store, tmp_path: Path) -> None:
    """A folder `app` of another program, from which the command is called, does not take its place."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise SystemExit('another program')")
    done = subprocess.run(
        [sys.executable, "-m", "kmex_core", "export", "--model", "digits", "--html", "report.html", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = json.loads(done.stdout)["files"]
    assert (file["kind"], file["bytes"]) == ("html", (tmp_path / "report.html").stat().st_size)


def test_without_the_dashboard_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking_away, "entry_points", lambda **_: ())
    monkeypatch.setattr(taking_away, "MAKER", "no_such_package.report:html_report")
    with pytest.raises(InputError, match="not installed"):
        taking_away.report_maker()


def test_explore_offers_it(demo: Store) -> None:
    test = healthy(open_link("explore"))
    labels = [one.proto.label for one in test.get("download_button")]
    assert labels == [
        "Report (HTML)",
        "Model card (Markdown)",
        "Images on the map (CSV)",
        "Prototypes on the map (CSV)",
    ]
    assert any("export --model digits --kmex digits.kmex" in one.value for one in test.code)
