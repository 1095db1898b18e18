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
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.core import TyperGroup
from typer.main import get_command

from app.report import explore, html_report, pictures
from app.report.markup import sentences
from app.workspace import catalogue
from app.workspace.answer import Asked
from kmex_core import commands
from kmex_core.analysis.suggestion import overall, reason
from kmex_core.base.errors import InputError
from kmex_core.base.plain_text import JOINER, markdown, plain
from kmex_core.base.store import Store
from kmex_core.commands import taking_away
from kmex_core.data.dataset import ArraySplit
from kmex_core.data.display import png
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.stages.subject import Subject, subject_of
from tests.helpers.pages import healthy, open_link
from tests.helpers.paths import ROOT

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


@pytest.fixture(scope="module")
def subject(demo_cache: Path) -> Subject:
    """The demo's model with every result but the metrics on relevance maps."""
    found = subject_of(Store(demo_cache), "digits")
    for seed in range(5):
        found.sweep(KMeans(5, seed)).get()
    found.suggestion().get()
    return found


@pytest.fixture(scope="module")
def report(subject: Subject) -> str:
    return html_report(subject, KMeans(5))[0]


@pytest.fixture
def bare(demo_cache: Path, tmp_path: Path) -> Subject:
    """The same without other numbers of prototypes."""
    shutil.copytree(demo_cache, tmp_path / "store", ignore=lambda *_: {"sweeps", "suggestions", "evaluations"})
    return subject_of(Store(tmp_path / "store"), "digits")


def asked(subject: Subject, address: str) -> bytes:
    """What the workspace answers at an address."""
    parts = urlsplit(address)
    kind, _, rest = parts.path.partition("/")
    return catalogue.read(subject, kind, Asked(rest.partition(".")[0], dict(parse_qsl(parts.query)))).content


def test_it_shows_what_the_store_has(subject: Subject, report: str) -> None:
    page, text = Parsed(report), html.unescape(re.sub("<[^>]*>", "", report))
    assert [section["id"] for section in page.of("section")] == [
        *("overview", "prototypes", "explore", "evaluation", "method", "provenance")
    ]
    conversion, evidence = subject.conversion(KMeans(5)).get(), subject.suggestion().get()
    for value in (
        conversion.summary.accuracy_kmex,
        conversion.summary.accuracy_black_box,
        conversion.summary.agreement,
    ):
        assert value is not None
        assert f"{100 * value:.1f}%" in text
    assert reason(evidence, 3) in text
    assert subject.weights in text
    images = [attributes["data-image"] for attributes in page.of("img")]
    assert images == [f"train/{image}.png" for image in conversion.prototypes.exemplar]
    assert all(attributes["alt"] for attributes in page.of("img"))


def test_what_is_embedded_is_what_the_workspace_answers(subject: Subject, report: str) -> None:
    """Of every number on the timeline; cards of all prototypes for one number, of some for others."""
    explore = Parsed(report).data["explore"]
    data, files = explore["data"], explore["files"]
    assert data["timeline"]["sources"] == [f"kmeans:{k}:0:auto" for k in range(1, 21)]
    assert (data["source"], data["timeline"]["suggested"]) == ("kmeans:5:0:auto", overall(subject.suggestion().get()))
    addresses = {data["cloud"]}
    for k in range(1, 21):
        of_source = data["sources"][f"kmeans:{k}:0:auto"]
        count = len(subject.conversion(KMeans(k)).get().prototypes)
        card = f"prototype/{of_source['key']}.json?source=kmeans%3A{k}%3A0%3Aauto&p="
        addresses |= {of_source["layer"], of_source["certainty"], *(f"{card}{p}" for p in range(count))}
        for p in range(count) if k == 3 else (0, count - 1):
            assert base64.b64decode(files[f"{card}{p}"]) == asked(subject, f"{card}{p}")
    assert set(files) == addresses
    for address in addresses:
        if not address.startswith("prototype"):
            assert base64.b64decode(files[address]) == asked(subject, address), address
    assert data["can"] == {"pictures": False, "edits": False, "open": False}


def test_of_many_images_a_sample_is_shown_and_it_says_so(bare: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """All columns are those of the workspace at the same rows."""
    monkeypatch.setattr(explore, "MOST", 400)
    projection, prototypes = bare.embedding_map().get(), bare.conversion(KMeans(5)).get().prototypes
    rows = explore.shown_rows(projection, prototypes)
    assert 350 < len(rows) <= 400
    assert (np.diff(rows) > 0).all()
    assert set(prototypes.exemplar.tolist()) <= set(rows.tolist())
    assert set(projection.labels[rows[rows >= 1297]].tolist()) == set(range(10))

    text, _ = html_report(bare, KMeans(5))
    assert f"This file has {len(rows)} of the 1,797 images" in text
    sent = Parsed(text).data["explore"]
    data, model = sent["data"], sent["data"]["model"]
    files = {address: base64.b64decode(content) for address, content in sent["files"].items()}
    assert model["train"] == (rows < 1297).sum()
    assert model["train"] + model["test"] == len(rows)
    assert model["numbers"] == np.where(rows < 1297, rows, rows - 1297).tolist()
    cloud, total = asked(bare, data["cloud"]), 1797
    places = np.frombuffer(cloud, "<f4", 2 * total).reshape(-1, 2)[rows]
    assert files[data["cloud"]][: places.nbytes] == places.tobytes()
    assert files[data["cloud"]][-len(rows) :] == np.frombuffer(cloud, "u1", total, 12 * total)[rows].tobytes()
    of_source = data["sources"][data["source"]]
    layer, whole = files[of_source["layer"]], asked(bare, of_source["layer"])
    size = len(rows) + -len(rows) % 8
    nearest = np.frombuffer(whole[-1800:], "u1", total)  # 1,797 numbers of a byte, padded
    assert np.frombuffer(layer[-size:], "u1", len(rows)).tolist() == nearest[rows].tolist()
    certainty = np.frombuffer(asked(bare, of_source["certainty"]), "<f4", total)
    np.testing.assert_allclose(np.frombuffer(files[of_source["certainty"]], "<f4", len(rows)), certainty[rows], 1e-5)
    for address in (address for address in files if address.startswith("prototype")):
        here, there = json.loads(files[address]), json.loads(asked(bare, address))
        for name in ("exemplars", "others"):
            assert rows[here[name]].tolist() == [image for image in there[name] if image in rows]
        assert (here["attracts"], here["rival"]) == (there["attracts"], there["rival"])


def test_a_timeline_has_the_numbers_whose_prototypes_are_there(bare: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others would take long, it says which are missing."""
    bare.sweep(KMeans(5)).get()
    bare.conversion(KMeans(3)).get()
    kept = {bare.conversion(KMeans(k)).key for k in (3, 5)}
    for path in (bare.store.root / "prototypes").iterdir():
        if path.name.partition(".")[0] not in kept:
            path.unlink()
    monkeypatch.setattr(explore, "SMALL", 0)
    text, missing = html_report(bare, KMeans(5))
    sent = Parsed(text).data["explore"]["data"]
    assert (sent["timeline"]["ks"], len(sent["timeline"]["steps"])) == ([3, 5], 2)
    assert all(len(curve["values"]) == 2 for curve in sent["timeline"]["curves"])
    assert set(sent["sources"]) == {"kmeans:3:0:auto", "kmeans:5:0:auto"}
    assert any("for 1, 2, 4, 6," in sentence for sentence in missing)
    assert not bare.conversion(KMeans(4)).exists()


def test_each_thumbnail_is_in_it_once(subject: Subject, report: str) -> None:
    thumbnails = Parsed(report).data["thumbnails"]
    assert len(thumbnails) == 1797  # there is room for all of the digits
    assert (
        thumbnails["test/3.png"]
        == f"data:image/png;base64,{base64.b64encode(png(subject.data.split('test').image(3))).decode()}"
    )
    assert Parsed(report).inline[1][1].count("data:image/") == len(thumbnails)
    assert len(report.encode()) < 2_200_000


def test_it_stays_small_whatever_the_pictures_are(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise cannot be compressed. The pictures of the chosen prototypes come first."""
    monkeypatch.setattr(pictures, "BUDGET", pictures.BUDGET // 8)
    train = subject.data.split("train")
    noise = np.random.default_rng(0).integers(0, 256, (len(train), 96, 96, 3), dtype=np.uint8)
    splits = {**subject.data.splits, "train": ArraySplit(noise, train.labels)}
    text, _ = html_report(replace(subject, data=replace(subject.data, splits=splits)), KMeans(5))
    thumbnails = Parsed(text).data["thumbnails"]
    exemplars = subject.conversion(KMeans(5)).get().prototypes.exemplar.tolist()
    assert {f"train/{image}.png" for image in exemplars} <= set(thumbnails)
    assert pictures.BUDGET / 2 < sum(map(len, thumbnails.values())) <= pictures.BUDGET


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
    forbidden = (
        r"(?<![.\w])fetch\((?!\w*\)\{)|"  # methods of ours have that name
        r"XMLHttp|import\(|WebSocket|sendBeacon|innerHTML|\beval\b|new Function|https?://(?!www\.w3\.org/2000/svg)"
    )
    assert [found[0] for found in re.finditer(forbidden, script)] == []
    assert "http" not in data
    policy = next(str(meta["content"]) for meta in page.of("meta") if "http-equiv" in meta)
    for kind, content in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


def test_names_are_text(subject: Subject, report: str) -> None:
    info, data = replace(subject.info, class_names=HOSTILE), replace(subject.data, class_names=HOSTILE)
    text, _ = html_report(replace(subject, info=info, data=data), KMeans(5))
    page, usual = Parsed(text), Parsed(report)
    assert Counter(name for name, _ in page.elements) == Counter(name for name, _ in usual.elements)
    assert page.data["explore"]["data"]["model"]["classes"] == list(HOSTILE)
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
