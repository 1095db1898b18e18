"""What a link asks for: it is shown, named by the address from then on, and what is not here is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.networks import architectures
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.datasets import write_folder
from tests.helpers.pages import Page, address, cards, open_link, said
from tests.helpers.stores import embed


@pytest.fixture
def page(demo: Store) -> Page:
    """Opens a page by a link, without another page before it."""

    return open_link


def healthy(test: AppTest) -> AppTest:
    assert not test.exception, test.exception
    assert not test.error, test.error
    return test


def selected(test: AppTest) -> tuple[object, object, object]:
    """Data set, model and k as the sidebar has them."""
    side = test.sidebar
    return side.selectbox(key="dataset").value, side.selectbox(key="model").value, side.slider(key="k").value


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({"model": "faces"}, ("Faces", "faces", 5)),
        ({"dataset": "Faces"}, ("Faces", "faces", 5)),
        ({"dataset": "faces", "k": "7"}, ("Faces", "faces", 7)),
        ({"model": "digits-flint", "dataset": "Digits", "k": "20"}, ("Digits", "digits-flint", 20)),
        ({"model": ""}, ("Faces", "faces", 5)),
    ],
)
def test_the_address_names_what_is_shown(page: Page, query: dict[str, str], shown: tuple[str, str, int]) -> None:
    test = healthy(page("models", **query))
    assert selected(test) == shown
    assert said(test) == ""
    assert address(test) == {"dataset": shown[0], "model": shown[1], "k": str(shown[2])}
    again = healthy(page("models", **address(test)))  # what a reload does
    assert selected(again) == shown
    assert address(again) == address(test)


def test_a_model_that_is_not_here_is_said_and_others_are_offered(page: Page) -> None:
    test = healthy(page("prototypes", model="n_o**pe**"))
    assert "The store has no model named 'n_o**pe**'" in said(test)
    assert not test.get("bidi_component")
    assert address(test)["model"] == "n_o**pe**"  # a reload says the same
    assert {"digits", "faces"} <= {button.label for button in test.button}
    next(button for button in test.button if button.label == "digits").click().run()
    assert selected(healthy(test))[:2] == ("Digits", "digits")
    assert said(test) == ""
    assert cards(test)
    assert address(test)["model"] == "digits"


def test_a_data_set_that_is_not_here_is_said(page: Page) -> None:
    test = healthy(page("prototypes", dataset="Cats"))
    assert "No model in the store was trained on 'Cats'" in said(test)
    assert not test.get("bidi_component")
    test.sidebar.selectbox(key="dataset").set_value("Digits").run()
    assert selected(healthy(test))[:2] == ("Digits", "digits")
    assert cards(test)


def test_a_model_and_a_data_set_that_do_not_belong_together(page: Page) -> None:
    test = healthy(page("models", model="faces", dataset="Digits"))
    assert selected(test)[:2] == ("Faces", "faces")
    assert "names 'Digits', but faces is a model of Faces" in said(test)


def test_the_page_models_works_whatever_is_selected(page: Page) -> None:
    test = healthy(page("models", model="nope"))
    assert len(test.dataframe[0].value) >= 5


@pytest.fixture
def mine(demo: Store) -> Iterator[ModelInfo]:
    """A model of its own, with the embeddings of the demo, whose weights are the same."""
    info = models.describe(demo, "digits")
    models.save(demo, replace(info, name="mine"), models.load(demo, "digits").model)
    yield replace(info, name="mine")
    for name in ("mine", "yours"):
        if name in demo.names(models.ROOM):
            models.delete(demo, name)


def test_a_folder_called_as_a_data_set_is_named_by_its_path(page: Page, demo: Store, mine: ModelInfo) -> None:
    models.save(demo, replace(mine, dataset="/data/faces"), models.load(demo, "digits").model)
    test = healthy(page("models", model="mine"))
    assert selected(test) == ("/data/faces", "mine", 5)
    assert selected(healthy(page("models", **address(test)))) == ("/data/faces", "mine", 5)  # what a reload does
    assert selected(healthy(page("models", dataset="faces"))) == ("Faces", "faces", 5)


def test_a_model_that_another_session_deletes(page: Page, demo: Store, mine: ModelInfo) -> None:
    test = healthy(page("prototypes", model="mine"))
    assert cards(test)
    models.delete(demo, "mine")
    healthy(test.run())
    assert "The store has no model named 'mine'" in said(test) or "was renamed" in said(test)
    assert not test.get("bidi_component")
    assert address(test)["model"] == "mine"


def test_a_model_that_another_session_renames(page: Page, demo: Store, mine: ModelInfo) -> None:
    test = healthy(page("prototypes", model="mine"))
    models.rename(demo, "mine", "yours")
    healthy(test.run())
    assert "The model 'mine' was renamed" in said(test)
    next(button for button in test.button if button.label == "yours").click().run()
    assert selected(healthy(test))[1] == "yours"
    assert cards(test)


def test_another_data_set_selects_its_first_model(page: Page) -> None:
    test = healthy(page("models", model="digits-flint"))
    test.sidebar.selectbox(key="dataset").set_value("Faces").run()
    assert selected(healthy(test))[:2] == ("Faces", "faces")
    test.sidebar.selectbox(key="dataset").set_value("Digits").run()
    assert selected(healthy(test))[0] == "Digits"
    assert str(selected(test)[1]).startswith("digits")


@pytest.mark.parametrize(
    ("view", "key", "wrong", "words"),
    [
        ("prototypes", "k", "900", "1 to 20 prototypes per class"),
        ("prototypes", "k", "0", "1 to 20"),
        ("prototypes", "k", "4.5", "1 to 20"),
        ("explain", "image", "99999", "Test images are numbered 0 to 499"),
        ("explain", "image", "inf", "Test images are numbered 0 to 499"),
        ("explain", "source", "Camera", "Choose one of Test image"),
        ("prototypes", "prototype", "3.17", "Class 3 has 5 prototypes now, so there is no number 18"),
        ("prototypes", "prototype", "33.0", "Name a class, 0 to 9"),
        ("prototypes", "order", "by colour", "Choose one of By class"),
        ("prototypes", "classes", "eleven", "Choose one of this data set's classes"),
        ("explore", "show", "Right", "Use all, wrong, or disagree"),
        ("explore", "classes", "eleven", "Use the names of the model's classes"),
        ("audit", "images", "12", "Choose one of 100, 300, 1000"),
        ("audit", "by", "dice", "Choose one of KMEx, Black box"),
        ("explain", "colours", "constructor", "Choose one of Red and blue"),
        ("explain", "opacity", "101", "0 to 100"),
        ("explain", "opacity", "50%", "0 to 100"),
        ("explore", "view", "0_0_0.0", "the centre and the side"),
        ("explore", "view", "0_0_Infinity", "the centre and the side"),
        ("explore", "view", "all", "the centre and the side"),
        ("compare", "models", "nobody", "deleted or renamed"),
        ("compare", "runs", "2", "Choose one of 1, 3, 5"),
        ("compare", "published", "perhaps", "true or false"),
        ("models", "chosen", "nobody", "deleted or renamed"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_said(page: Page, view: str, key: str, wrong: str, words: str) -> None:
    test = healthy(page(view, **{key: wrong}))
    assert f"'{wrong}', which is not available" in said(test)
    assert words in said(test)


def test_a_link_names_several_options_where_several_can_be_chosen(page: Page) -> None:
    test = healthy(page("prototypes", classes=["3", "8"]))
    assert (said(test), test.multiselect(key="classes").value) == ("", ["3", "8"])
    test = healthy(page("compare", models=["digits", "digits-flint"]))
    assert (said(test), test.multiselect(key="models").value) == ("", ["digits", "digits-flint"])
    assert "'eleven', which is not available" in said(healthy(page("prototypes", classes=["3", "eleven"])))
    # of two numbers of prototypes, neither is chosen
    assert "which is not available" in said(healthy(page("prototypes", k=["3", "8"])))


def test_a_training_image_that_is_not_here_is_said(page: Page) -> None:
    test = healthy(page("explain", source="Training image", training="1297"))
    assert "'1297', which is not available. Training images are numbered 0 to 1,296" in said(test)
    assert test.number_input(key="training").value == 0


def test_what_was_said_goes_when_something_else_is_chosen_and_the_address_follows(page: Page) -> None:
    test = healthy(page("explain", image="inf", k="0"))
    assert "image 'inf'" in said(test)
    test.number_input(key="image").set_value(7).run()
    assert "image 'inf'" not in said(healthy(test))
    assert "k '0'" in said(test)
    assert address(test)["image"] == "7"
    test.sidebar.slider(key="k").set_value(6).run()
    assert said(healthy(test)) == ""
    assert (address(test)["k"], address(test)["image"]) == ("6", "7")
    test.number_input(key="image").set_value(0).run()
    assert "image" not in address(healthy(test))


def test_the_model_that_was_chosen_is_in_the_link(page: Page) -> None:
    test = healthy(page("models", chosen="faces"))
    assert any("**faces**" in text.value for text in test.markdown)


def test_a_label_from_the_link_is_the_choice_and_what_follows_is_a_label_again(page: Page) -> None:
    test = healthy(page("prototypes", order="by colour"))
    assert "order 'by colour'" in said(test)
    test.selectbox(key="order").set_value("least").run()
    assert said(healthy(test)) == ""
    assert address(test)["order"] == "Least important first"


def test_labels_are_those_of_the_options_as_they_are_now(page: Page, demo: Store) -> None:
    embed(demo, "digits-protopnet")
    test = healthy(page("audit", model="digits-protopnet", kmex="false", by="dice"))
    assert "by 'dice'" in said(test)
    test.sidebar.toggle(key="kmex").set_value(True).run()
    healthy(test).segmented_control(key="by").set_value("black_box").run()
    assert said(healthy(test)) == ""
    assert address(test)["by"] == "Black box"


@pytest.fixture
def pets(demo: Store, tmp_path: Path) -> Iterator[str]:
    """The data set of a model beside the digits': two classes of a few images."""
    data = datasets.load(DatasetSpec(str(write_folder(tmp_path / "pets", ("a", "b"), 10, 4))))
    described = ModelInfo(
        "pet",
        "blackbox",
        data.name,
        "",
        "resnet20",
        data.class_names,
        Preprocessing.plain(32, 3, (0.5,) * 3, (0.5,) * 3),
        0.5,
        {"data": data.fingerprint},
    )
    models.save(demo, described, architectures.build("resnet20", 2, 32))
    info = models.describe(demo, "pet")
    embed(demo, "pet")
    Subject(demo, info, dataset_of(info)).embedding_map().get()
    yield "pets"
    models.delete(demo, "pet")


OF_DIGITS = [
    ("explain", {"image": "450"}),
    ("prototypes", {"classes": "7"}),
    ("prototypes", {"prototype": "7.2"}),
    ("explore", {"classes": "7"}),
]


@pytest.mark.parametrize(("view", "query"), OF_DIGITS)
def test_another_data_set_is_not_a_link(page: Page, pets: str, view: str, query: dict[str, str]) -> None:
    test = healthy(page(view, model="digits", k="3", **query))
    assert "The link asks for" not in said(test)
    test.sidebar.selectbox(key="dataset").set_value(pets).run()
    for _ in range(2):
        assert selected(healthy(test))[1] == "pet"
        assert "The link asks for" not in said(test)
        assert not query.keys() & address(test).keys()
        test.run()
    assert "The link asks for" in said(healthy(page(view, model="pet", k="3", **query)))


CHOICES = [
    ("explore", {"point": "train-12"}, True),
    ("models", {"chosen": "faces"}, True),
    ("audit", {"by": "Black box"}, True),
    ("prototypes", {"prototype": "7.2", "others": "1"}, False),
    ("explore", {"view": "0.1_-0.2_0.5"}, False),
]


@pytest.mark.parametrize(("view", "query", "back"), CHOICES)
def test_a_page_comes_back_to_what_was_picked_there(page: Page, view: str, query: dict[str, str], back: bool) -> None:
    test = healthy(page(view, k="5", **query))
    assert said(test) == ""
    assert address(test).items() >= query.items()
    healthy(test.switch_page("views/compare.py" if view == "models" else "views/models.py").run())
    for name in query:  # as the browser does, which takes along what widgets of the new page are bound to
        test.query_params.pop(name, None)
    healthy(test.switch_page(f"views/{view}.py").run())
    assert (address(test).items() >= query.items()) is back
    assert back or not query.keys() & address(test).keys()
