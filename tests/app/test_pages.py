from __future__ import annotations

import ast
import dataclasses
import hashlib
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
from streamlit.testing.v1.element_tree import Element

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
from tests.helpers.pages import Page, address, button, cards, data_of, figures, healthy, open_link, said
from tests.helpers.paths import ROOT
from tests.helpers.pictures import bomb, encoded, saved
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
    data = dataset_of(digits)
    made = Subject(demo, digits, data).conversion(KMeans(5)).get()
    wrong = int(np.flatnonzero(made.test_predicted != data.split("test").labels)[0])
    right = int(np.flatnonzero(made.test_predicted == data.split("test").labels)[0])
    healthy(test.number_input(key="image").set_value(right).run())
    assert "Correct." in test.success[0].value
    healthy(test.number_input(key="image").set_value(wrong).run())
    said = test.warning[-1].value
    assert f"The true class is **{data.split('test').labels[wrong]}**" in said
    assert "wrong" in said
    nearest = made.test_activated[wrong]
    assert any(
        f"Nearest prototype (decides): {made.test_predicted[wrong]}**, number {nearest}" in m.value
        for m in test.markdown
    )
    assert len(figures(test)) == 3 * 3 + 1 + 3  # and the contrast


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
    assert f"both predict **{label}**. Correct." in test.success[0].value
    assert len(figures(test)) == 3 * 3 + 1 + 3  # and the contrast


def upload(page: Page, name: str, content: bytes) -> AppTest:
    test = page("explain", source="Upload")
    return healthy(test.file_uploader(key="upload").upload(name, content, "image/png").run())


def test_an_upload_gives_what_the_test_image_gives(page: Page, demo: Store, digits: ModelInfo) -> None:
    image = dataset_of(digits).split("test").image(100)
    test = upload(page, "four.png", encoded(image))
    made = Subject(demo, digits, dataset_of(digits)).conversion(KMeans(5)).get()
    assert not test.error
    assert any(f", number {made.test_activated[100]} ·" in m.value for m in test.markdown)
    assert "both predict **4**" in test.info[0].value


def test_an_upload_unlike_the_training_data_is_flagged_before_any_verdict(page: Page) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    test = upload(page, "noise.png", encoded(noise))
    words = [
        one.value
        for one in test.main
        if isinstance(one, Element) and one.type in ("alert", "warning", "info", "success", "error")
    ] or [one.value for column in test.columns for one in (*column.warning, *column.info)]
    warned = next(at for at, text in enumerate(words) if "Unlike the training data" in text)
    verdict = next(at for at, text in enumerate(words) if "predict" in text and "**Unlike" not in text)
    assert warned < verdict
    assert "Best guess: " in words[verdict]


def test_a_test_image_like_the_training_data_is_not_hedged(page: Page) -> None:
    test = healthy(page("explain", image="100"))
    assert not test.warning
    assert "Best guess" not in test.success[0].value


def turned(index: int = 100) -> np.ndarray:
    return np.rot90(datasets.load(DatasetSpec("digits")).split("test").image(index))


def test_what_the_network_sees_follows_crop_turn_and_inversion(page: Page, demo: Store, digits: ModelInfo) -> None:
    """A digit that lies on its side, in white on black, beside empty paper, is set right by the controls."""
    made = Subject(demo, digits, dataset_of(digits)).conversion(KMeans(5)).get()
    paper = np.hstack([255 - turned(), np.full((8, 8), 255, np.uint8)])
    name = hashlib.blake2b(encoded(paper), digest_size=16).hexdigest()
    test = upload(page, "side.png", encoded(paper))
    assert any("**squeezed into a square** (one side shrinks 2.00 times" in one.value for one in test.caption)
    assert any("The link has these settings." in one.value for one in test.caption)
    test.session_state[f"crop-{name}"] = "region"
    healthy(test.run())
    healthy(test.slider(key=f"down-{name}").set_value(0).run())  # the left half is the upper one once it is turned
    healthy(test.toggle(key=f"invert-{name}").set_value(True).run())
    healthy(test.button(key=f"turn-{name}").click().run())
    assert address(test)["framing"] == "turn90_region-1000-500-0_invert"
    assert any(f", number {made.test_activated[100]} ·" in one.value for one in test.markdown)
    assert any("both predict **4**" in one.value for one in test.info)
    for _ in range(4):
        healthy(test.button(key=f"turn-{name}").click().run())
    assert any("both predict **4**" in one.value for one in test.info)


def test_a_new_upload_starts_with_the_whole_picture(page: Page) -> None:
    test = upload(page, "side.png", encoded(turned()))
    healthy(next(one for one in test.button if one.label == "Rotate").click().run())
    test.file_uploader(key="upload").clear()
    square = encoded(turned(7))
    healthy(test.file_uploader(key="upload").upload("other.png", square, "image/png").run())
    assert any(one.value.startswith("8 × 8 pixels; squeezed into 32 × 32 pixels, greyscale.") for one in test.caption)


def test_the_address_names_the_picture_and_how_it_is_framed(page: Page, demo: Store, digits: ModelInfo) -> None:
    """Pictures of Explore: an image of the data set, one that the server has, one that it no longer has."""
    made = Subject(demo, digits, dataset_of(digits)).conversion(KMeans(5)).get()
    test = healthy(page("explain", picture="test-100"))
    assert (test.number_input(key="image").value, "picture" in address(test)) == (100, False)
    turned_back = keep_picture(encoded(turned()), "side.png")
    test = healthy(page("explain", picture=turned_back.picture, framing="turn90"))
    assert any(f", number {made.test_activated[100]} ·" in one.value for one in test.markdown)
    assert address(test)["picture"] == turned_back.picture
    healthy(test.toggle(key=f"invert-{turned_back.picture}").set_value(True).run())
    assert address(test)["framing"] == "turn90_invert"
    healthy(test.segmented_control(key="source").set_value("Test image").run())
    assert {"picture", "framing"}.isdisjoint(address(test))
    gone = healthy(page("explain", picture="0" * 32))
    assert gone.error[0].value == "The server no longer has this picture; drop it again."
    wrong = healthy(page("explain", picture="test-9999", framing="sideways"))
    assert "Test images are numbered 0 to 499" in said(wrong)
    assert "Invalid framing" in said(wrong)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.png", b"", "empty"),
        ("text.png", b"hello", "not a readable picture"),
        ("cut.png", encoded(np.zeros((90, 90), np.uint8) + 5)[:70], "damaged or truncated"),
        ("bomb.png", bomb(20_000, 20_000), "the limit is 40 million"),
        ("moving.png", saved(Image.new("L", (9, 9)), "GIF", save_all=True, append_images=[Image.new("L", (9, 9), 9)]),
         "several frames"),
    ],
)  # fmt: skip
def test_a_bad_upload_gets_one_sentence_and_the_page_goes_on(
    page: Page, name: str, content: bytes, message: str
) -> None:
    test = upload(page, name, content)
    assert len(test.error) == 1
    assert message in test.error[0].value
    assert name in test.error[0].value
    good = encoded(np.zeros((8, 8), np.uint8))
    test.file_uploader(key="upload").clear()
    healthy(test.file_uploader(key="upload").upload("black.png", good, "image/png").run())
    assert not test.error
    assert test.image


@pytest.mark.parametrize(
    "content",
    [
        saved(Image.new("CMYK", (30, 20), (0, 99, 99, 0)), "TIFF"),
        encoded(np.full((20, 30), 40_000, np.uint16)),
        saved(Image.new("P", (30, 20), 3), "PNG", transparency=3),
        saved(Image.new("RGBA", (30, 20), (9, 9, 9, 90)), "WEBP"),
        saved(Image.new("1", (1, 3000)), "PNG"),
    ],
    ids=["cmyk", "16-bit", "palette", "alpha", "thin"],
)
def test_unusual_pictures_are_explained_with_a_note(page: Page, content: bytes) -> None:
    test = upload(page, "odd.png", content)
    assert not test.error
    assert test.image


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
    test = healthy(page("prototypes", k="3", patches="true"))
    assert "Last block: The last feature map has 2×2 positions." in [one.value for one in test.info]
    assert not [one for one in test.button_group if one.key == "blocks"]
    assert button(test, "Find patch prototypes")
    monkeypatch.setattr(read, "why_no_patches", lambda _, blocks: "None.")
    test = healthy(page("prototypes", k="3", patches="true"))
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
