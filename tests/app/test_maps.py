"""The map where it is missing or damaged, and the page Prototypes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from app import read
from app.components.shared import prototype_list
from app.prototype_names import prototype_index, prototype_name
from app.selection import Selection
from kmex_core.analysis.types import Projection
from kmex_core.base import jobs
from kmex_core.base.specs import ProjectionSpec
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.stages.embedding_map import EmbeddingMap
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.pages import Page, cards, data_of, healthy, links, sent_to


@pytest.fixture
def drawn(demo: Store, digits: ModelInfo) -> Projection:
    return Subject(demo, digits, dataset_of(digits)).embedding_map().get()


@pytest.fixture
def damaged(demo: Store) -> Iterator[Callable[[str, str], Path]]:
    """Damages a file of the store until the test ends: `damaged("projections", key)`."""
    before: dict[Path, bytes] = {}

    def damage(room: str, key: str) -> Path:
        path = demo.path(room, key)
        before[path] = path.read_bytes()
        path.write_bytes(before[path][:64])
        return path

    yield damage
    for path, content in before.items():
        path.write_bytes(content)


def test_a_damaged_map_is_drawn_again_once(
    page: Page,
    demo: Store,
    digits: ModelInfo,
    drawn: Projection,
    damaged: Callable[[str, str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = dataset_of(digits)
    path = damaged("projections", Subject(demo, digits, data).embedding_map().spec.key)
    started: list[str] = []

    def start(store: Store, name: str, arguments: list[str]) -> None:
        assert not started, "the page draws the map again and again"
        started.append(name)
        Subject(store, digits, data).embedding_map().get()

    def look(store: Store, name: str) -> jobs.Job | None:
        return jobs.Job("done") if name in started else None

    monkeypatch.setattr(jobs, "start", start)
    monkeypatch.setattr(jobs, "look", look)
    test = healthy(page("explore"))
    assert started == [f"embedding-map-{path.stem}"]
    assert data_of(test, "explore")["model"]["train"] == len(drawn.train)


def test_a_damaged_result_is_found_once_it_is_made_again(
    demo: Store, digits: ModelInfo, damaged: Callable[[str, str], Path]
) -> None:
    data = dataset_of(digits)
    key = read.subject(digits).patches(KMeans(2)).key
    Subject(demo, digits, data).patches(KMeans(2)).get()
    damaged("patches", key)
    assert read.peek(read.subject(digits).patches(KMeans(2))) is None
    Subject(demo, digits, data).patches(KMeans(2)).get()
    assert read.peek(read.subject(digits).patches(KMeans(2))) is not None
    key = read.subject(digits).relevance_scores(KMeans(2), 8).key
    Subject(demo, digits, data).relevance_scores(KMeans(2), images=8).get_or_why_not()
    damaged("evaluations", key)
    assert read.scores(Selection(digits, KMeans(2)), 8) is None
    Subject(demo, digits, data).relevance_scores(KMeans(2), images=8).get_or_why_not()
    assert read.scores(Selection(digits, KMeans(2)), 8) is not None


def test_the_network_is_loaded_once_for_all_images_and_own_prototypes(
    demo: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = models.describe(demo, "digits-protopnet")
    Subject(demo, info, dataset_of(info)).conversion(BuiltIn()).get()
    loaded: list[str] = []
    load = models.load

    def spy(store: Store, name: str, device: str = "cpu") -> models.BlackBox:
        loaded.append(name)
        return load(store, name, device)

    monkeypatch.setattr(models, "load", spy)
    assert len(read.attracted(Selection(info, BuiltIn()), 1)[0])
    assert len(read.attracted(Selection(info, BuiltIn()), 0)[0])
    assert loaded == [info.name]


def test_a_map_that_is_not_drawn_is_drawn_in_the_background(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    nobody = ProjectionSpec("an embedding that nobody has mapped")
    monkeypatch.setattr(EmbeddingMap, "spec", nobody)
    monkeypatch.setattr(jobs, "start", lambda _store, name, arguments: started.append([name, *arguments]))
    test = healthy(page("explore"))
    assert started
    assert started[0][1:] == ["project", "--model", "digits"]
    assert any("Computing the embedding map" in text.value for text in test.markdown)
    for state, message in (("failed", "no room"), ("stopped", "")):
        monkeypatch.setattr(jobs, "look", lambda *_, s=state, m=message: jobs.Job(s, message=m))
        test = healthy(page("explore"))
        assert (test.error[0].value == message) if state == "failed" else ("Stopped" in test.info[0].value)


def test_a_map_that_was_removed_is_drawn_again(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = ProjectionSpec("an embedding whose map was removed")
    monkeypatch.setattr(EmbeddingMap, "spec", nobody)
    states = iter(["done", "running", "running", "running"])
    started: list[str] = []
    monkeypatch.setattr(jobs, "look", lambda *_: jobs.Job(next(states), "Fitting UMAP", 50, 200, 0, 10, 20))
    monkeypatch.setattr(jobs, "start", lambda _store, name, arguments: started.append(name))
    healthy(page("explore"))
    assert len(started) == 1


def test_prototypes_are_sorted_and_filtered(page: Page, demo: Store, digits: ModelInfo) -> None:
    prototypes = Subject(demo, digits, dataset_of(digits)).conversion(KMeans(5)).get().prototypes
    assert len(cards(healthy(page("prototypes")))) == 50
    shown = cards(healthy(page("prototypes", order=prototype_list.ORDERS["importance"], classes="3")))
    assert [card["id"] for card in shown] == ["15", "16", "17", "18", "19"]
    shown = cards(healthy(page("prototypes", order=prototype_list.ORDERS["wrong"])))
    others = prototypes.count_all - prototypes.count
    assert shown[0]["text"].endswith(f"{others.max()} wrong")
    few = dataclasses.replace(prototypes, count_all=prototypes.count + np.arange(50) % 7)
    assert prototype_list.in_order(few, "wrong")[0] == 6
    for order in prototype_list.ORDERS:
        assert sorted(prototype_list.in_order(prototypes, order)) == list(range(50))


def test_a_prototype_has_a_page_of_its_own(
    page: Page, demo: Store, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    prototypes = Subject(demo, digits, dataset_of(digits)).conversion(KMeans(5)).get().prototypes
    p = 17
    real = read.attracted
    monkeypatch.setattr(read, "attracted", lambda *given: (real(*given)[0], np.array([4, 9])))
    test = healthy(page("prototypes", prototype=f"{p // 5}.{p % 5}"))
    assert test.title[0].value == "Prototype 3 of 3"
    shown = links(test)
    assert shown["Show on the map"]["point"] == ["prototype-3.2"]
    assert shown["Explain with relevance maps"]["training"] == [str(prototypes.exemplar[p])]
    assert shown["Select all in Explore"]["select"] == ["prototype:3.2", "class:3", "split:train"]
    assert shown["Select these mistakes in Explore"]["select"] == ["prototype:3.2", "wrong", "split:train"]
    others = dataset_of(digits).split("train").labels[[4, 9]]  # by class, as there are several
    assert len(shown) == 4 + len(set(others.tolist())) > 5
    for label in others:
        assert shown[f"{label}: 1"]["select"] == ["prototype:3.2", f"class:{label}", "split:train"]
    galleries = [
        sent_to(element.proto)
        for element in test.get("bidi_component")
        if element.proto.component_name == "kmex_gallery"
    ]
    own = [int(card["id"]) for card in galleries[0]["groups"][0]["cards"]]
    assert own == prototypes.nearest[p].tolist()[: len(own)] or len(own) > 12
    assert len(own) == min(24, prototypes.count[p])
    wrong = galleries[-1]["groups"][0]["cards"]
    assert [(card["id"], card["wrong"]) for card in wrong] == [("4", True), ("9", True)]


def test_more_images_on_demand(page: Page) -> None:
    test = healthy(page("prototypes", k="1", prototype="4.0"))
    first = len(cards(test))
    healthy(test.button(key="more-own").click().run())
    assert (first, len(cards(test))) == (24, 48)


def test_a_prototype_that_this_k_does_not_have_leads_back(page: Page) -> None:
    test = healthy(page("prototypes", k="2", prototype="4.3"))
    assert "Class 4 has 2 prototypes now, so there is no number 4." in test.warning[0].value
    assert len(cards(test)) == 20


def test_names_of_prototypes_mean_the_same_for_every_k() -> None:
    five, twenty = np.repeat(np.arange(10), 5), np.repeat(np.arange(10), 20)
    assert prototype_name(17, five) == "3.2"
    assert prototype_index("3.2", five) == 17
    assert prototype_index("3.2", twenty) == 62
    for nonsense in ("3.5", "10.0", "", "3", "-1.0", "3.2.1", "a.b"):
        assert prototype_index(nonsense, five) is None
    mixed = np.array([2, 0, 2, 2, 0])  # FLINT's attributes are in no order
    assert [prototype_name(p, mixed) for p in range(5)] == ["2.0", "0.0", "2.1", "2.2", "0.1"]
    assert [prototype_index(prototype_name(p, mixed), mixed) for p in range(5)] == list(range(5))
    assert prototype_index("1.0", mixed) is None
