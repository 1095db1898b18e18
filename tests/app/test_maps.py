"""The map: what is served by address, and the pages Embedding and Prototypes."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.requests import Request
from starlette.responses import Response

from app import read
from app.components.shared import prototype_list
from app.components.shared.embedding_map import SHOWN
from app.links import prototype_index, prototype_name
from app.routes import embedding_map
from app.selection import Selection
from kmex_core.analysis.projection import place
from kmex_core.analysis.types import Projection
from kmex_core.base import jobs
from kmex_core.base.specs import ProjectionSpec
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.stages.embedding_map import EmbeddingMap
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.pages import Page, cards, data_of, healthy, links


@pytest.fixture
def drawn(demo: Store, digits: ModelInfo) -> Projection:
    return Subject(demo, digits, dataset_of(digits)).embedding_map().get()


def get(**keys: str) -> Response:
    return embedding_map.serve(Request({"type": "http", "path_params": keys}))


def test_the_cloud_is_served_as_the_browser_reads_it(demo: Store, digits: ModelInfo, drawn: Projection) -> None:
    key = Subject(demo, digits, dataset_of(digits)).embedding_map().spec.key
    body = bytes(get(projection=key).body)
    total = 1297 + 500
    assert len(body) == total * 13
    np.testing.assert_array_equal(np.frombuffer(body, "<f4", 2 * 1297).reshape(-1, 2), drawn.train)
    labels = np.frombuffer(body, "<u2", total, 8 * total)
    np.testing.assert_array_equal(labels[1297:], dataset_of(digits).split("test").labels)
    np.testing.assert_array_equal(np.frombuffer(body, "<u2", total, 10 * total), drawn.black_box)
    np.testing.assert_array_equal(np.frombuffer(body, bool, total, 12 * total), drawn.far)


def test_a_layer_is_small_and_complete(demo: Store, digits: ModelInfo, drawn: Projection) -> None:
    data = dataset_of(digits)
    made = Subject(demo, digits, data).conversion(KMeans(5)).get()
    projection = Subject(demo, digits, data).embedding_map().spec.key
    conversion = Subject(demo, digits, data).conversion(KMeans(5)).spec.key
    answer = get(projection=projection, conversion=conversion)
    assert "immutable" in answer.headers["cache-control"]
    layer = json.loads(bytes(answer.body))
    np.testing.assert_allclose(np.stack([layer["x"], layer["y"]], 1), place(drawn, made.embedded), atol=1e-3)
    assert layer["picture"] == made.prototypes.exemplar.tolist()
    predicted = np.frombuffer(base64.b64decode(layer["predicted"]), "<u2")
    np.testing.assert_array_equal(predicted[:1297], np.array(layer["class"])[made.prototypes.activated])
    np.testing.assert_array_equal(predicted[1297:], made.test_predicted)
    assert embedding_map.layer_url(projection, conversion) == f"maps/{projection}/{conversion}.json"


def test_what_is_not_in_the_store_is_not_served(demo: Store) -> None:
    for keys in (
        {"projection": "0" * 20},
        {"projection": "../../../../etc"},
        {"projection": "0" * 20, "conversion": "1" * 20},
    ):
        assert get(**keys).status_code == 404


def test_a_layer_of_another_map_is_not_served(demo: Store, digits: ModelInfo, drawn: Projection) -> None:
    data = dataset_of(digits)
    Subject(demo, digits, data).conversion(KMeans(5)).get()
    projection = Subject(demo, digits, data).embedding_map().spec.key
    own = Subject(demo, digits, data).conversion(KMeans(5)).spec
    stored = demo.get("prototypes", own.key)
    assert stored is not None
    arrays, description = stored
    other = dataclasses.replace(own, embedding="of another network")
    demo.put("prototypes", other.key, arrays, description | {"spec": other.described()})
    try:
        assert get(projection=projection, conversion=own.key).status_code == 200
        assert get(projection=projection, conversion=other.key).status_code == 404
        assert get(projection=own.key, conversion=own.key).status_code == 404
        assert get(projection=projection, conversion=projection).status_code == 404
    finally:
        demo.path("prototypes", other.key).unlink()


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
    test = healthy(page("embedding"))
    assert started == [f"embedding-map-{path.stem}"]
    assert data_of(test, "map")["cloud"]["train"] == len(drawn.train)


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
    first, second = (read.similarities(Selection(info, BuiltIn()), "test", index) for index in (3, 4))
    assert len(first) == len(second) == len(read.conversion(Selection(info, BuiltIn())).prototypes)
    assert len(read.attracted(Selection(info, BuiltIn()), 0)[0])
    assert loaded == [info.name]


def test_a_layer_on_a_damaged_map_is_not_served(
    demo: Store, digits: ModelInfo, drawn: Projection, damaged: Callable[[str, str], Path]
) -> None:
    data = dataset_of(digits)
    Subject(demo, digits, data).conversion(KMeans(2)).get()
    projection = Subject(demo, digits, data).embedding_map().spec.key
    damaged("projections", projection)
    assert (
        get(projection=projection, conversion=Subject(demo, digits, data).conversion(KMeans(2)).spec.key).status_code
        == 404
    )


def test_the_map_is_told_what_is_chosen(page: Page) -> None:
    test = healthy(page("embedding", k="3", show=SHOWN["wrong"], classes="7", test="true", point="prototype-7.2"))
    sent = data_of(test, "map")
    assert sent["show"] == "wrong"
    assert sent["classes"] == [7]
    assert sent["test"] is True
    assert sent["selected"] == "prototype-23"
    assert sent["cloud"]["train"] == 1297
    assert len(sent["colours"]) == 10
    assert len(json.dumps(sent)) < 5_000
    assert any("number 3 of 3 of class **7**" in text.value for text in test.markdown)
    test.sidebar.slider(key="k").set_value(2).run()
    assert data_of(healthy(test), "map")["selected"] == ""  # there is no third prototype now
    assert data_of(test, "map")["cloud"] == sent["cloud"]


def test_the_card_of_an_image_tells_what_both_models_say(page: Page, demo: Store, digits: ModelInfo) -> None:
    data = dataset_of(digits)
    made = Subject(demo, digits, data).conversion(KMeans(5)).get()
    wrong = int(np.flatnonzero(made.test_predicted != data.split("test").labels)[0])
    test = healthy(page("embedding", point=f"test-{wrong}"))
    said = [text.value for text in test.markdown]
    assert any(f"KMEx predicts **{made.test_predicted[wrong]}** ✗ wrong" in text for text in said)
    nearest = cards(test)
    assert nearest[0]["id"] == str(made.test_activated[wrong])
    similarity = [float(card["text"].split(": ")[1]) for card in nearest]
    assert similarity == sorted(similarity, reverse=True)


@pytest.mark.parametrize("point", ["train-99999", "train-x", "prototype-1.99", "<b>", "test--1"])
def test_a_point_that_does_not_exist_is_nothing(page: Page, point: str) -> None:
    test = healthy(page("embedding", point=point))
    assert data_of(test, "map")["selected"] == ""
    assert "Click a dot" in test.info[0].value


def test_an_image_is_found_by_its_number(page: Page) -> None:
    test = page("embedding")
    healthy(test.number_input(key="find").set_value(12).run())
    assert data_of(test, "map")["selected"] == "train-12"
    assert test.query_params["point"] == "train-12"


def test_the_table_has_what_the_map_shows(page: Page, demo: Store, digits: ModelInfo) -> None:
    test = healthy(page("embedding", show=SHOWN["wrong"], test="true", table="true"))
    data = dataset_of(digits)
    made = Subject(demo, digits, data).conversion(KMeans(5)).get()
    shown = test.dataframe[0].value
    in_test = shown[shown["split"] == "test"]
    assert in_test["index"].tolist() == np.flatnonzero(made.test_predicted != data.split("test").labels).tolist()
    assert (shown["class"] != shown["predicted"]).all()


def test_without_webgl_the_map_is_a_figure(page: Page) -> None:
    test = page("embedding")
    test.session_state["map-plain"] = True
    healthy(test.run())
    assert "no WebGL" in test.info[0].value
    assert len(test.get("plotly_chart")) == 1


def test_a_map_that_is_not_drawn_is_drawn_in_the_background(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    nobody = ProjectionSpec("an embedding that nobody has mapped")
    monkeypatch.setattr(EmbeddingMap, "spec", nobody)
    monkeypatch.setattr(jobs, "start", lambda _store, name, arguments: started.append([name, *arguments]))
    test = healthy(page("embedding"))
    assert started
    assert started[0][1:] == ["project", "--model", "digits"]
    assert any("Computing the embedding map" in text.value for text in test.markdown)
    for state, message in (("failed", "no room"), ("stopped", "")):
        monkeypatch.setattr(jobs, "look", lambda *_, s=state, m=message: jobs.Job(s, message=m))
        test = healthy(page("embedding"))
        assert (test.error[0].value == message) if state == "failed" else ("Stopped" in test.info[0].value)


def test_a_map_that_was_removed_is_drawn_again(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = ProjectionSpec("an embedding whose map was removed")
    monkeypatch.setattr(EmbeddingMap, "spec", nobody)
    states = iter(["done", "running", "running", "running"])
    started: list[str] = []
    monkeypatch.setattr(jobs, "look", lambda *_: jobs.Job(next(states), "Fitting UMAP", 50, 200, 0, 10, 20))
    monkeypatch.setattr(jobs, "start", lambda _store, name, arguments: started.append(name))
    healthy(page("embedding"))
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
    assert test.title[0].value == f"Prototype {p}"
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
        json.loads(element.proto.json)
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
