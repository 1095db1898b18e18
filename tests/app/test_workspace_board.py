"""The board and its relevance maps, held against what the engine says."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.workspace import catalogue
from app.workspace.answer import Asked, Gone
from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import read_json
from kmex_core.base.store import Store
from kmex_core.data.display import packed_relevance
from kmex_core.data.framing import framed, read_framing
from kmex_core.models.catalogue import network_input
from kmex_core.networks.onnx_network import open_onnx
from kmex_core.prototypes.source import KMeans
from kmex_core.relevance.explain import judge
from kmex_core.relevance.types import JUDGED
from kmex_core.stages.subject import Subject, subject_of
from tests.helpers.foreign_models import onnx_file, put_foreign
from tests.helpers.pages import text_of
from tests.helpers.pictures import bomb, encoded, saved
from tests.helpers.stores import embed

TEXT = "kmeans:5:0:auto"


@pytest.fixture
def subject(demo: Store) -> Subject:
    return subject_of(demo, "digits")


def answer(subject: Subject, kind: str, **query: str) -> dict[str, Any]:
    asked = Asked(subject.conversion(KMeans(5)).key, {"source": TEXT, **query})
    found: dict[str, Any] = read_json(catalogue.read(subject, kind, asked).content)
    return found


def values_of(figure: Mapping[str, Any]) -> bytes:
    return base64.b64decode(figure["map"]["values"])


def test_the_board_says_what_the_engine_says(subject: Subject) -> None:
    kmex, prototypes = subject.explainer(KMeans(5)), subject.conversion(KMeans(5)).get().prototypes
    image = subject.data.split("test").image(100)
    sent = read_json(catalogue.send(subject, "pictures", Asked(body=encoded(image), name="four.png")).content)
    found = answer(subject, "board", picture=sent["picture"])
    engine = kmex.explain(network_input(subject.info, image), top=len(prototypes), judged=False)
    np.testing.assert_allclose(found["distance"], engine.distance, rtol=1e-5)
    np.testing.assert_allclose(found["posterior"], engine.kmex, atol=1e-6)
    assert engine.black_box is not None
    np.testing.assert_allclose(found["blackBox"], engine.black_box, atol=1e-6)
    assert (found["predicted"], found["beside"]) == (engine.predicted, engine.predicted_black_box)
    # the nearest of its class, of any other, and the second of its class
    order = engine.prototypes
    of_class = prototypes.classes[order] == engine.predicted
    assert [each["p"] for each in found["prototypes"]] == [
        order[of_class][0], order[~of_class][0], order[of_class][1],
    ]  # fmt: skip
    for each in found["prototypes"]:
        p = each["p"]
        of_its_class = np.flatnonzero(prototypes.classes == prototypes.classes[p]).tolist()
        assert each["place"] == f"{prototypes.classes[p]}.{of_its_class.index(p)}"
        assert (each["class"], each["image"], each["count"]) == (
            prototypes.classes[p], prototypes.exemplar[p], prototypes.count[p])  # fmt: skip
        assert each["share"] == pytest.approx(prototypes.importance[p])
    assert found["lines"] == sorted(found["lines"], key=lambda p: engine.distance[p])
    assert "both predict 4." in text_of(found["headline"])
    assert found["correct"] is None
    assert len(found["rivals"]) == 9
    data = answer(subject, "board", picture="test-100")
    assert (data["label"], data["correct"]) == (4, True)
    assert text_of(data["headline"]).endswith("Correct.")
    assert data["distance"] == found["distance"]


def test_a_picture_of_the_map_lands_where_it_is(subject: Subject) -> None:
    projection = subject.embedding_map().get()
    for index in (5, 700):
        found = answer(subject, "board", picture=f"train-{index}")
        # beside its own place: computed alone, its embedding differs by rounding, which no distance of 0 survives
        assert np.linalg.norm(found["place"] - projection.train[index]) < 0.05 * np.ptp(projection.train)
        assert found["far"] == []


def test_noise_is_unlike_the_training_data_and_far_on_the_map(subject: Subject) -> None:
    noise = encoded(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8))
    sent = read_json(catalogue.send(subject, "pictures", Asked(body=noise, name="noise.png")).content)
    found = answer(subject, "board", picture=sent["picture"])
    assert text_of(found["unusual"]).startswith("Unlike the training data.")
    assert text_of(found["headline"]).startswith("Best guess: ")
    assert "says little" in text_of(found["far"])


def test_a_framed_picture_is_another_question(subject: Subject) -> None:
    text = "turn90_region-500-0-1000_invert"
    found = answer(subject, "board", picture="test-100", framing=text)
    image = framed(subject.data.split("test").image(100), read_framing(text))
    engine = subject.explainer(KMeans(5)).explain(network_input(subject.info, image), top=1, judged=False)
    np.testing.assert_allclose(found["distance"], engine.distance, rtol=1e-5)
    assert found["framing"] == {
        "crop": "region", "turns": 1, "inverted": True, "size": 0.5, "across": 0.0, "down": 1.0, "text": text,
    }  # fmt: skip


def test_a_digit_on_its_side_in_white_beside_empty_paper_is_set_right(subject: Subject) -> None:
    image = np.rot90(subject.data.split("test").image(100))
    paper = encoded(np.hstack([255 - image, np.full((8, 8), 255, np.uint8)]))
    sent = read_json(catalogue.send(subject, "pictures", Asked(body=paper, name="side.png")).content)
    whole = answer(subject, "board", picture=sent["picture"])
    assert "squeezed into a square (one side shrinks 2.00 times" in text_of(whole["prepared"])
    # the left half is the upper one once it is turned
    found = answer(subject, "board", picture=sent["picture"], framing="turn90_region-1000-500-0_invert")
    assert "cropped to a square region" in text_of(found["prepared"])
    assert found["prototypes"][0]["p"] == subject.conversion(KMeans(5)).get().test_activated[100]
    assert "both predict 4." in text_of(found["headline"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"hello", "not a readable picture"),
        (encoded(np.zeros((90, 90), np.uint8) + 5)[:70], "damaged or truncated"),
        (bomb(20_000, 20_000), "the limit is 40 million"),
        (saved(Image.new("L", (9, 9)), "GIF", save_all=True, append_images=[Image.new("L", (9, 9), 9)]),
         "several frames"),
    ],
    ids=["empty", "text", "cut", "bomb", "moving"],
)  # fmt: skip
def test_a_bad_picture_gets_one_sentence_with_its_name(subject: Subject, content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=f"'x.png' .*{words}|'x.png'.*{words}"):
        catalogue.send(subject, "pictures", Asked(body=content, name="x.png"))


def test_unusual_pictures_are_explained(subject: Subject) -> None:
    for content in (
        saved(Image.new("CMYK", (30, 20), (0, 99, 99, 0)), "TIFF"),
        encoded(np.full((20, 30), 40_000, np.uint16)),
        saved(Image.new("P", (30, 20), 3), "PNG", transparency=3),
        saved(Image.new("RGBA", (30, 20), (9, 9, 9, 90)), "WEBP"),
        saved(Image.new("1", (1, 3000)), "PNG"),
    ):
        sent = read_json(catalogue.send(subject, "pictures", Asked(body=content, name="odd")).content)
        assert sum(answer(subject, "board", picture=sent["picture"])["posterior"]) == pytest.approx(1, abs=1e-3)


def test_maps_contrasts_and_their_verdicts_are_the_engine_s(subject: Subject) -> None:
    kmex, classes = subject.explainer(KMeans(5)), subject.conversion(KMeans(5)).get().prototypes.classes
    image = network_input(subject.info, subject.data.split("test").image(100))
    board = answer(subject, "board", picture="test-100")
    near = [each["p"] for each in board["prototypes"]]
    engine = kmex.explain(image, near)
    found = answer(subject, "maps", picture="test-100")
    assert [row["p"] for row in found["rows"]] == engine.prototypes.tolist()
    for row, of_row in enumerate(found["rows"]):
        assert values_of(of_row["picture"]) == packed_relevance(engine.maps.values[row])
    assert engine.black_box_map is not None
    assert values_of(found["blackBox"]) == packed_relevance(engine.black_box_map.values[0])
    judged = answer(subject, "verdicts", picture="test-100")["rows"]
    for of_row, verdict in zip(judged, engine.verdicts, strict=True):
        if verdict.margin is None:  # of another class than the prediction
            assert of_row["curve"] is None
            continue
        assert of_row["curve"]["shares"] == [0, *JUDGED]
        np.testing.assert_allclose(of_row["curve"]["map"][1:], verdict.margin.mean(0), atol=1e-5)
        np.testing.assert_allclose(of_row["curve"]["random"][1:], verdict.random.mean(0), atol=1e-5)
    # any other class as the rival: the nearest prototypes of both
    rival = board["rivals"][4]
    q = min(np.flatnonzero(classes == rival).tolist(), key=lambda p: float(engine.distance[p]))
    against = kmex.maps(image, [near[0]], target="margin", rival=q)
    contrast = answer(subject, "contrast", picture="test-100", rival=str(rival))
    assert [(contrast[side]["p"], contrast[side]["class"]) for side in ("own", "rival")] == [(near[0], 4), (q, rival)]
    assert values_of(contrast["map"]) == packed_relevance(against.values[0])
    (of_contrast,) = answer(subject, "verdicts", picture="test-100", rival=str(rival))["rows"]
    (expected,) = judge(kmex, image, near[:1], against)
    assert expected.margin is not None
    np.testing.assert_allclose(of_contrast["curve"]["map"][1:], expected.margin.mean(0), atol=1e-5)
    # without one, the nearest
    assert answer(subject, "contrast", picture="test-100")["rival"]["class"] == board["rivals"][0]


@pytest.mark.parametrize(
    ("kind", "query", "words"),
    [
        ("board", {}, "needs 'picture'"),
        ("board", {"picture": "x"}, "Unknown picture"),
        ("board", {"picture": "test-1", "framing": "pad_pad"}, "Invalid framing"),
        ("maps", {"picture": "test-1", "method": "magic"}, "magic"),
        ("maps", {"picture": "test-1", "target": "<b>"}, "<b>"),
        ("contrast", {"picture": "test-1", "rival": "99"}, "The rival '99' is not another class"),
        ("contrast", {"picture": "test-1", "rival": "1" * 5000}, "is not another class"),
        ("verdicts", {"picture": "test-1", "rival": "-1"}, "is not another class"),
    ],
)
def test_what_cannot_be_asked_gets_a_sentence(subject: Subject, kind: str, query: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        answer(subject, kind, **query)


def test_what_is_gone_says_so(subject: Subject) -> None:
    with pytest.raises(Gone, match="drop it again"):
        answer(subject, "board", picture="0" * 32)
    with pytest.raises(Gone, match="Reload the page"):
        catalogue.read(subject, "board", Asked("0" * 20, {"source": TEXT, "picture": "test-1"}))
    with pytest.raises(InputError, match="not a readable picture"):
        catalogue.send(subject, "pictures", Asked(body=b"<svg onload=alert(1)>", name="x.svg"))


def test_a_network_without_gradients_is_explained_by_another_method(store: Store, tmp_path: Path) -> None:
    put_foreign(store, "onnx:net.onnx", open_onnx(onnx_file(tmp_path / "net.onnx")), "onnx")
    embed(store, "onnx")
    subject = subject_of(store, "onnx")
    board = answer(subject, "board", picture="test-1")
    assert [name for name, _ in board["methods"]] == [board["method"]] == ["occlusion"]
    assert board["place"] is None  # no embedding map was made
    usual = answer(subject, "maps", picture="test-1")
    assert usual["note"] == ""
    found = answer(subject, "maps", picture="test-1", method="masked-gradients")
    assert "use occlusion" in found["note"]
    assert [values_of(row["picture"]) for row in found["rows"]] == [values_of(row["picture"]) for row in usual["rows"]]
    assert answer(subject, "verdicts", picture="test-1", rival=str(board["rivals"][0]), method="masked-gradients")[
        "rows"
    ]
