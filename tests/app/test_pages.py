from __future__ import annotations

import ast
import dataclasses
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.requests import Request
from starlette.responses import Response
from streamlit.testing.v1 import AppTest

from app import read
from app.components.shared.gallery import prototype_card
from app.routes import pictures
from app.workspace.pictures import keep_picture
from kmex_core.base import jobs
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.conversion import ModelConversion
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.pages import Page, address, board, button, cards, data_of, healthy, open_link, said, text_of
from tests.helpers.paths import ROOT
from tests.helpers.pictures import encoded
from tests.helpers.stores import converted


def test_everything_follows_the_slider(page: Page, demo: Store, digits: ModelInfo) -> None:
    test = page()
    for k in (1, 20, 7):
        healthy(test.sidebar.slider(key="k").set_value(k).run())
        assert len(cards(test)) == 10 * k
        made = Subject(demo, digits, dataset_of(digits)).conversion(KMeans(k)).get()
        for card, image, count in zip(cards(test), made.prototypes.exemplar, made.prototypes.count, strict=True):
            assert data_of(test, "gallery")["pictures"] == pictures.folder("digits", "digits-1")
            assert card["picture"] == f"train/{image}"
            assert f"· {count:,}" in card["text"]


def test_the_sidebar_shows_how_prototypes_are_spread_and_what_the_last_choice_changed(
    page: Page, demo: Store, digits: ModelInfo
) -> None:
    found = {k: Subject(demo, digits, dataset_of(digits)).conversion(KMeans(k)).get().summary for k in (5, 3)}
    test = healthy(page("prototypes"))
    effective, radius = test.sidebar.metric
    assert (effective.label, effective.value, effective.delta) == (
        "Effective number ↑", f"{found[5].effective:.2f}", "")  # fmt: skip
    assert (radius.label, radius.value) == ("Coverage radius ↓", f"{found[5].coverage_radius:.2f}")
    (about,) = (one.value for one in test.sidebar.caption if "random images" in one.value)
    assert f"{found[5].effective_random:.2f}" in about
    assert f"{found[5].effective_equidistant:.2f}" in about
    test = healthy(test.sidebar.slider[0].set_value(3.0).run())
    effective, radius = test.sidebar.metric
    assert effective.value == f"{found[3].effective:.2f}"
    assert effective.delta == f"{(found[3].effective or 0) - (found[5].effective or 0):+.2f}"
    assert radius.delta == f"{(found[3].coverage_radius or 0) - (found[5].coverage_radius or 0):+.2f}"
    assert any("Changes are from 5 prototypes per class." in one.value for one in test.sidebar.caption)
    # it stays while other things change
    again = healthy(test.run())
    assert again.sidebar.metric[0].delta == effective.delta


def test_the_selection_is_kept_across_pages_and_comes_from_the_link(page: Page) -> None:
    test = page("explain", k="3", image="12")
    assert healthy(test).sidebar.slider(key="k").value == 3
    test.switch_page("views/prototypes.py").run()
    assert healthy(test).sidebar.slider(key="k").value == 3
    assert len(cards(test)) == 30


@pytest.mark.parametrize(
    "query", [{"k": "900"}, {"k": "x"}, {"model": "../../etc"}, {"dataset": "<b>"}, {"image": "-4"}]
)
def test_nonsense_in_the_link_is_ignored(page: Page, query: dict[str, str]) -> None:
    test = healthy(page("explain", **query))
    assert test.sidebar.slider(key="k").value == 5
    assert not test.error


def test_a_test_image_is_explained(page: Page, demo: Store, digits: ModelInfo) -> None:
    test = healthy(page("explain"))
    subject = Subject(demo, digits, dataset_of(digits))
    made = subject.conversion(KMeans(5)).get()
    wrong = int(np.flatnonzero(made.test_predicted != subject.data.split("test").labels)[0])
    assert data_of(test, "explain")["address"]["picture"] == "test-0"
    healthy(test.number_input(key="image").set_value(wrong).run())
    assert data_of(test, "explain")["key"] == subject.conversion(KMeans(5)).key
    found = board(test, demo)
    assert found["title"] == f"Test image {wrong}"
    assert found["prototypes"][0]["p"] == made.test_activated[wrong]
    assert not found["correct"]


def test_the_buttons_pick_mistakes_and_disagreements(page: Page, demo: Store, digits: ModelInfo) -> None:
    test = page("explain")
    data = dataset_of(digits)
    made = Subject(demo, digits, data).conversion(KMeans(5)).get()
    buttons = {re.sub(r"\W*\d.*", "", button.label): button for button in test.button}
    healthy(buttons["Random mistake"].click().run())
    index = int(test.number_input(key="image").value or 0)
    assert made.test_predicted[index] != data.split("test").labels[index]
    buttons = {re.sub(r"\W*\d.*", "", button.label): button for button in test.button}
    healthy(buttons["Random disagreement"].click().run())
    index = int(test.number_input(key="image").value or 0)
    assert made.test_predicted[index] != made.test_black_box[index]


def test_a_training_image_is_explained(page: Page, demo: Store, digits: ModelInfo) -> None:
    test = healthy(page("explain", source="Training image", training="7"))
    assert test.number_input(key="training").value == 7
    label = dataset_of(digits).split("train").labels[7]
    assert text_of(board(test, demo)["headline"]).endswith(f"both predict {label}. Correct.")


def test_a_picture_from_outside_is_taken_by_the_board(page: Page) -> None:
    test = healthy(page("explain", source="Upload"))
    data = data_of(test, "explain")
    assert (data["upload"], data["address"]["picture"]) == (True, "")
    assert not test.get("download_button")


def turned(index: int = 100) -> np.ndarray:
    return np.rot90(datasets.load(DatasetSpec("digits")).split("test").image(index))


def test_the_address_names_the_picture_and_how_it_is_framed(page: Page, demo: Store, digits: ModelInfo) -> None:
    """Pictures of Explore: an image of the data set, one that the server has, one that it no longer has."""
    made = Subject(demo, digits, dataset_of(digits)).conversion(KMeans(5)).get()
    test = healthy(page("explain", picture="test-100"))
    assert (test.number_input(key="image").value, "picture" in address(test)) == (100, False)
    turned_back = keep_picture(encoded(turned()), "side.png")
    test = healthy(page("explain", picture=turned_back.picture, framing="turn90"))
    assert board(test, demo)["prototypes"][0]["p"] == made.test_activated[100]
    assert address(test)["picture"] == turned_back.picture
    healthy(test.segmented_control(key="source").set_value("Test image").run())
    assert {"picture", "framing"}.isdisjoint(address(test))
    gone = healthy(page("explain", picture="0" * 32))  # the board says so
    assert data_of(gone, "explain")["address"]["picture"] == "0" * 32
    assert not gone.get("download_button")
    wrong = healthy(page("explain", picture="test-9999", framing="sideways"))
    assert "Test images are numbered 0 to 499" in said(wrong)
    assert "Invalid framing" in said(wrong)


def test_the_options_of_the_board_come_from_the_address_and_go_into_it(page: Page, digits: ModelInfo) -> None:
    link = {"rival": "7", "target": "Probability of the class", "method": "Gradient × input", "image": "3"}
    test = healthy(page("explain", **link))
    sent = data_of(test, "explain")
    given = {"picture": "test-3", "framing": "", "rival": "7", "target": "class", "method": "gradient-input"}
    assert sent["address"] == given
    assert (sent["options"]["targets"][0][0], sent["options"]["methods"][0][0]) == ("margin", "masked-gradients")
    assert "not available" not in said(test)
    told = {**given, "framing": "turn90", "method": "", "target": "margin", "rival": "", "turn": 4}
    remembering = AppTest.from_function(remembered, kwargs={"info": digits, "told": told})
    for name, text in link.items():
        remembering.query_params[name] = text
    assert address(healthy(remembering.run())) == {"framing": "turn90", "image": "3"}
    told["picture"] = "0" * 32
    assert address(healthy(remembering.run()))["picture"] == "0" * 32


def remembered(info: object, told: dict[str, str]) -> None:
    """What Explain does when its board tells of an address."""
    import streamlit as st

    from app.components.explain.board import KEY, remember_address

    st.session_state[KEY] = {"address": told}
    remember_address(info, "test-3")  # type: ignore[arg-type]


def test_a_conversion_that_fails_is_a_message(
    page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from kmex_core.base.errors import InputError

    own = shutil.copytree(converted(tmp_path_factory, "digits"), tmp_path / "cache")  # no other test converts here
    monkeypatch.setenv("KMEX_CACHE", str(own))

    def fails(*_: object, **__: object) -> None:
        raise InputError("The embedding has values that are not finite.")

    monkeypatch.setattr(ModelConversion, "make", fails)
    test = page(k="18")
    healthy(test)
    assert "not finite" in test.error[0].value


def test_the_store_is_listed_as_often_for_many_cards_as_for_few(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    listed, list_models = [], models.list_models

    def counted(store: Store) -> tuple[list[ModelInfo], list[str]]:
        listed.append(store)
        return list_models(store)

    counts = {}
    test = page("prototypes", k="5")
    monkeypatch.setattr(models, "list_models", counted)
    for k in (1, 12):
        listed.clear()
        healthy(test.slider[0].set_value(k).run())
        counts[k] = len(listed)
    assert 0 < counts[12] == counts[1] <= 3, counts


def test_a_damaged_model_is_named_once_and_the_others_work(
    page: Page, demo: Store, caplog: pytest.LogCaptureFixture
) -> None:
    path = demo.path("models", "broken")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"damaged")
    try:
        test = healthy(page())
        assert cards(test)
        for view in ("models", "compare"):  # which list models more than once
            assert sum("broken" in warning.value for warning in test.warning) == 1
            healthy(test.switch_page(f"views/{view}.py").run())
        assert sum("broken" in warning.value for warning in test.warning) == 1
        assert sum("broken" in record.message for record in caplog.records if record.name == "kmex") == 1
    finally:
        path.unlink()


def test_a_store_that_cannot_be_written_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KMEX_CACHE", str(tmp_path / "file"))
    test = healthy(open_link("explain", model="digits"))  # the faces' results come with the product
    assert "KMEX_CACHE" in test.error[0].value


def test_ghosts_are_marked(demo: Store, digits: ModelInfo) -> None:
    prototypes = Subject(demo, digits, dataset_of(digits)).conversion(KMeans(5)).get().prototypes
    count = prototypes.count.copy()
    count[7] = 0
    ghostly = dataclasses.replace(prototypes, count=count, importance=count / prototypes.class_size[prototypes.classes])
    shown = [prototype_card(digits, ghostly, p) for p in range(50)]
    assert [p for p, card in enumerate(shown) if card.ghost] == [7]
    assert shown[7].text == "ghost"
    assert "a ghost" in shown[7].about


def test_pictures_are_served_and_nothing_else(demo: Store) -> None:
    def get(model: str, state: str, split: str, index: object) -> Response:
        asked = {"model": model, "state": state, "split": split, "index": str(index)}
        return pictures.serve(Request({"type": "http", "path_params": asked}))

    found = get("digits", "digits-1", "train", 3)
    assert found.status_code == 200
    assert found.media_type == "image/png"
    data = dataset_of(models.describe(demo, "digits"))
    shown = np.asarray(Image.open(io.BytesIO(bytes(found.body))))
    np.testing.assert_array_equal(shown[::12, ::12, 0], data.split("train").image(3))
    assert get("nobody", "digits-1", "train", 3).status_code == 404
    assert get("digits", "old", "train", 3).status_code == 404
    assert get("digits", "digits-1", "valid", 3).status_code == 404
    assert get("digits", "digits-1", "train", 99_999).status_code == 404
    assert get("../../etc", "digits-1", "train", 3).status_code == 404
    for index in ("-1", "9" * 4_400, "9" * 10, "٣", "³", "1_0", " 3", "3 ", "+3", "0x3", "3.0", "", "1e1"):
        assert get("digits", "digits-1", "train", index).status_code == 404, index


def test_patches_are_found_in_the_background_and_shown(
    page: Page, demo: Store, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda _, name, arguments: started.append(list(arguments)))
    closed = healthy(page("prototypes", k="4"))
    assert not any("patch" in one.label for one in closed.button)
    test = healthy(page("prototypes", k="4", patches="true"))
    healthy(button(test, "Find patch prototypes").click().run())
    last = ["patches", "--model", "digits", "--k", "4", "--blocks", "last", "--metric", "auto", "--seed", "0"]
    assert started == [last]
    subject = Subject(demo, digits, dataset_of(digits))
    made, kmex = subject.patches(KMeans(4)).get(), subject.conversion(KMeans(4)).get().summary
    test = healthy(page("prototypes", k="4", patches="true"))
    assert {one.label: one.value for one in test.main.metric} == {
        "Black box ↑": f"{made.accuracy_black_box:.1%}",
        "KMEx ↑": f"{kmex.accuracy_kmex:.1%}",
        "Patches, mean similarity ↑": f"{made.accuracy_similarity:.1%}",
        "Patches, majority vote ↑": f"{made.accuracy_vote:.1%}",
    }
    assert all(one.help for one in test.metric)
    assert any("8×8 patches classify" in one.value for one in test.markdown)
    healthy(test.selectbox(key="patch-class").set_value("7").run())
    names = {"patches": "true", "patch-class": "7", "patch-image": "3"}
    test = healthy(page("prototypes", k="4", **names))
    assert test.selectbox(key="patch-class").value == "7"
    assert test.number_input(key="patch-image").value == 3
    assert not any("Find patch" in one.label for one in test.button)
    shown = [one.value for one in test.markdown]
    assert any(text.startswith("By mean similarity, the image is") for text in shown)
    assert any(text.startswith("**Test image 3**") for text in shown)
    assert len(test.get("plotly_chart")) == 2
    # several blocks have no metric of the embedding
    healthy(page("prototypes", k="4", metric="cosine", patches="true", blocks="Several blocks"))
    test = healthy(page("prototypes", k="4", metric="cosine", patches="true", blocks="Several blocks"))
    healthy(button(test, "Find patch prototypes").click().run())
    assert started[1:] == [["patches", "--model", "digits", "--k", "4", "--blocks", "several", "--seed", "0"]]


def test_blocks_with_too_few_positions_are_not_offered(
    page: Page, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        read, "why_no_patches", lambda _, blocks: "The last feature map has 2×2 positions." * (blocks == "last")
    )
    test = healthy(page("prototypes", k="17", patches="true"))
    assert "Last block: The last feature map has 2×2 positions." in [one.value for one in test.info]
    assert not [one for one in test.button_group if one.key == "blocks"]
    assert button(test, "Find patch prototypes")
    monkeypatch.setattr(read, "why_no_patches", lambda _, blocks: "None.")
    test = healthy(page("prototypes", k="17", patches="true"))
    assert not any("Find patch" in one.label for one in test.button)


def test_a_picture_is_sent_without_loss() -> None:
    """Streamlit takes JPEG unless told otherwise, which blurs a picture of few pixels."""
    shown = 0
    for path in (ROOT / "app").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            named = {word.arg: word.value for word in call.keywords} if isinstance(call, ast.Call) else {}
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(".image") and "alt" in named:
                assert ast.unparse(named.get("output_format", ast.Constant("JPEG"))) == "'PNG'", path
                shown += 1
    assert shown
