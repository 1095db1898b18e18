"""Home: three ways to begin, the models of the store, and the way to the tour."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

from app.components.home.models import MOST, newest_first
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from tests.helpers.pages import address, button, data_of, healthy
from tests.helpers.paths import FRAME
from tests.helpers.stores import INFO, put


@pytest.fixture
def home() -> AppTest:
    return AppTest.from_file(str(FRAME), default_timeout=60)


def links(test: AppTest) -> dict[str, tuple[str, dict[str, list[str]]]]:
    """The links on the page by their label: the page each leads to, and what it selects there."""
    found = [one.proto for one in test.main.get("page_link")]
    return {link.label: (link.page, parse_qs(link.query_string)) for link in found}


def test_three_doors_and_the_models(home: AppTest, store: Store) -> None:
    test = healthy(home.run())
    assert [one.value for one in test.title] == ["KMEx Explorer"]
    assert len(test.image) == 4  # the doors, and how KMEx works
    doors = links(test)
    assert doors["**Look at a demo**"] == ("explore", {"model": ["faces"]})
    assert doors["**Explain my picture**"] == ("explain", {"model": ["faces"], "source": ["Upload"]})
    assert doors["**Open my model**"] == ("new", {})
    of_faces = models.describe(store, "faces")
    assert doors[f"**faces** · Faces · resnet20 · {of_faces.accuracy:.1%}"] == ("explore", {"model": ["faces"]})
    assert [link for link in doors if "digits" in link]
    assert address(test) == {}
    assert not store.root.exists()  # it computes and writes nothing


def test_own_models_come_first_and_explain_pictures(home: AppTest, store: Store) -> None:
    for at in range(MOST + 1):
        put(store, f"mine{at:02}")
    test = healthy(home.run())
    labels = [label for label, (page, query) in links(test).items() if page == "explore" and "·" in label]
    assert len(labels) == MOST
    assert all("mine" in label for label in labels)
    assert links(test)["**Explain my picture**"][1]["model"][0].startswith("mine")
    assert f"All {MOST + 6} models, and the data sets" in links(test)


def test_the_newest_is_first() -> None:
    dated = [
        replace(INFO, name=name, made_by={"date": date} if date else {}, embedded=name == "demo")
        for name, date in (("demo", "2030-01-01"), ("b", ""), ("c", "2026-01-02"), ("d", "2026-01-03"))
    ]
    assert [info.name for info in newest_first(dated)] == ["d", "c", "b", "demo"]


def test_names_of_models_are_text(home: AppTest, store: Store) -> None:
    models.save(store, replace(INFO, name="x", backbone=":red[b] **c**"), models.load(store, "digits").model)
    test = healthy(home.run())
    assert any(r"\:red\[b\] \*\*c\*\*" in label for label in links(test))


def test_a_damaged_model_is_named(home: AppTest, store: Store) -> None:
    path = store.path("models", "broken")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    test = healthy(home.run())
    assert sum("broken" in warning.value for warning in test.warning) == 1


def test_the_tour_begins_in_the_demo(home: AppTest, store: Store) -> None:
    test = healthy(home.run())
    button(test, "Take the 60-second tour").click()
    healthy(test.run())
    assert address(test)["model"] == "faces"
    tour = data_of(test, "tour")
    assert tour["asked"] == 1
    assert 5 <= len(tour["steps"]) <= 6
    assert all(step["selector"] and step["title"] and step["text"] for step in tour["steps"])


def test_the_selection_is_kept_over_a_visit_to_home(home: AppTest, demo: Store) -> None:
    home.query_params["model"], home.query_params["k"] = "digits", "7"
    test = healthy(home.switch_page("views/prototypes.py").run())
    test.query_params.clear()  # as the browser does
    healthy(test.switch_page("views/home.py").run())
    assert address(test) == {}
    healthy(test.switch_page("views/prototypes.py").run())
    assert address(test).items() >= {"model": "digits", "k": "7"}.items()
