"""What the component Explore fetches by address, held against what the engine says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from app.workspace import catalogue
from app.workspace.answer import Asked, Gone, with_header
from app.workspace.layers import NONE, packed_layer, parents_of
from app.workspace.sources import source_of, source_text
from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import read_json
from kmex_core.base.store import Store
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.stages.subject import Subject, subject_of
from tests.helpers.columns import unpacked

K5 = KMeans(5)


@pytest.fixture
def subject(demo: Store) -> Subject:
    return subject_of(demo, "digits")


def asked(subject: Subject, kind: str, source: KMeans = K5, **query: str) -> bytes:
    key = subject.conversion(source).key
    return catalogue.read(subject, kind, Asked(key, {"source": source_text(source), **query})).content


def test_columns_come_back_whatever_their_lengths() -> None:
    arrays: dict[str, np.ndarray] = {
        "a": np.arange(3, dtype=np.uint16),
        "b": np.empty(0, np.float32),
        "c": np.arange(9, dtype=np.uint8),
    }
    header, columns = unpacked(with_header({"name": "Größe"}, arrays))
    assert header["name"] == "Größe"
    for name, array in arrays.items():
        np.testing.assert_array_equal(columns[name], array)


@pytest.mark.parametrize("source", [KMeans(5), KMeans(-1, 3, "cosine"), KMeans(50, 2**32 - 1, "whitened"), BuiltIn()])
def test_a_source_is_found_again_by_its_text(subject: Subject, source: KMeans | BuiltIn) -> None:
    assert source_of(source_text(source), subject) == source


@pytest.mark.parametrize(
    "text",
    ["", "kmeans", "kmeans:0:0:auto", "kmeans:5:0:nothing", "kmeans:5:4294967296:auto", "version", "own ", "../x"],
)
def test_what_names_no_source_is_refused(subject: Subject, text: str) -> None:
    with pytest.raises(InputError, match="Unknown source"):
        source_of(text, subject)


def test_the_cloud_is_the_embedding_map(subject: Subject) -> None:
    projection = subject.embedding_map().get()
    content = catalogue.read(subject, "cloud", Asked(subject.embedding_map().key)).content
    images = len(projection.labels)
    places = np.frombuffer(content, "<f4", 2 * images).reshape(-1, 2)
    np.testing.assert_array_equal(places, np.concatenate([projection.train, projection.test]))
    np.testing.assert_array_equal(np.frombuffer(content, "<u2", images, 8 * images), projection.labels)
    np.testing.assert_array_equal(np.frombuffer(content, "<u2", images, 10 * images), projection.black_box)
    np.testing.assert_array_equal(np.frombuffer(content, "u1", images, 12 * images), projection.far)
    assert len(content) == 13 * images


def test_a_layer_has_the_prototypes_and_their_predictions(subject: Subject) -> None:
    header, columns = unpacked(asked(subject, "layer"))
    conversion = subject.conversion(K5).get()
    prototypes = conversion.prototypes
    shown = header["prototypes"]
    assert shown["class"] == prototypes.classes.tolist()
    assert shown["count"] == prototypes.count.tolist()
    assert shown["picture"] == prototypes.nearest[:, 0].tolist()
    assert shown["place"][:6] == ["0.0", "0.1", "0.2", "0.3", "0.4", "1.0"]
    labels = np.concatenate([subject.data.split(split).labels for split in ("train", "test")])
    train = len(subject.data.split("train"))
    # which images of other classes a prototype attracts, counted by what is sent
    others = [int(((columns["nearest"] == p) & (labels != prototypes.classes[p]))[:train].sum()) for p in range(50)]
    assert shown["others"] == others
    assert list(columns) == ["nearest"]  # what is predicted is the class of the nearest
    assert columns["nearest"].dtype == np.uint8
    predicted = prototypes.classes[columns["nearest"]]
    np.testing.assert_array_equal(predicted, np.concatenate([conversion.train_predicted, conversion.test_predicted]))
    assert header["summary"]["accuracy"] == float((predicted == labels)[train:].mean())
    assert len(columns["nearest"]) == len(labels)


def test_predictions_that_are_not_the_nearest_prototype_s_are_sent(subject: Subject) -> None:
    conversion = subject.conversion(K5).get()
    other = dataclasses.replace(conversion, test_predicted=(conversion.test_predicted + 1) % 10)
    _, columns = unpacked(packed_layer("", subject.embedding_map().get(), other, [NONE] * 50))
    predicted = np.concatenate([other.train_predicted, other.test_predicted])
    np.testing.assert_array_equal(columns["predicted"], predicted)


def test_more_prototypes_than_a_byte_counts_keep_their_numbers(subject: Subject) -> None:
    conversion = subject.conversion(KMeans(30)).get()
    _, columns = unpacked(asked(subject, "layer", KMeans(30)))
    assert columns["nearest"].max() > 255
    nearest = np.concatenate([conversion.prototypes.activated, conversion.test_activated])
    np.testing.assert_array_equal(columns["nearest"], nearest)


def test_a_prototype_s_parent_is_the_one_that_had_most_of_its_images(subject: Subject) -> None:
    for k in (2, 5):
        subject.sweep(KMeans(k)).get()
        header, _ = unpacked(asked(subject, "layer", KMeans(k)))
        cluster = subject.sweep(KMeans(k)).get().cluster
        labels = subject.data.split("train").labels
        for p, (label, place) in enumerate(
            zip(header["prototypes"]["class"], header["prototypes"]["place"], strict=True)
        ):
            own = (labels == label) & (cluster[k - 1] == int(place.split(".")[1]))
            before = np.bincount(cluster[k - 2][own])
            assert header["prototypes"]["parent"][p] == label * (k - 1) + before.argmax()
    # beyond the sweep of the timeline nothing is known of parents
    assert parents_of(subject, KMeans(30), np.array([0, 1])) == [-1, -1]


def test_certainty_is_the_distance_and_the_posterior(subject: Subject) -> None:
    import torch

    content = asked(subject, "certainty")
    conversion, module = subject.conversion(K5).get(), subject.explainer(K5)
    images = len(conversion.train_predicted) + len(conversion.test_predicted)
    distance, confidence = (
        np.frombuffer(content, "<f4", images),
        np.frombuffer(content, "<f4", images, -(-images // 2) * 8),
    )
    z = np.concatenate([subject.embedding(split).get().z for split in ("train", "test")])
    apart = conversion.metric(z)[:, None] - conversion.prototypes.centers
    np.testing.assert_allclose(distance, np.sqrt((apart.astype(float) ** 2).sum(2)).min(1), rtol=1e-4, atol=1e-4)
    posterior = module.posterior(torch.from_numpy(z[: len(conversion.train_predicted)])).detach().numpy()
    of_predicted = posterior[np.arange(len(posterior)), conversion.train_predicted]
    np.testing.assert_allclose(confidence[: len(posterior)], of_predicted, atol=1e-6)
    np.testing.assert_array_equal(confidence[len(posterior) :], conversion.test_confidence)


def test_attributes_are_bits(faces_cache: object, demo: Store) -> None:
    subject = subject_of(demo, "faces")
    content = catalogue.read(subject, "attributes", Asked(subject.data.fingerprint)).content
    has = np.concatenate([subject.data.split(split).attributes for split in ("train", "test")])
    size = -(-len(has) // 8)
    bits = np.frombuffer(content, np.uint8).reshape(2, has.shape[1], size)
    for attribute in range(has.shape[1]):
        for image in (0, 1, 7, 8, len(has) - 1):
            assert bits[0, attribute, image >> 3] >> (image & 7) & 1 == has[image, attribute]
            assert bits[1, attribute, image >> 3] >> (image & 7) & 1 == 1


def test_a_card_says_what_a_prototype_attracts_and_what_rivals_it(subject: Subject) -> None:
    card = read_json(asked(subject, "prototype", p="7"))
    _, columns = unpacked(asked(subject, "layer"))
    conversion, labels = subject.conversion(K5).get(), subject.data.split("train").labels
    others = np.flatnonzero((columns["nearest"][: len(labels)] == 7) & (labels != 1))
    assert sum(count for _, count in card["attracts"]) == len(others)
    assert set(card["others"]) <= set(others.tolist())
    centres = conversion.prototypes.centers
    apart = np.where(conversion.prototypes.classes == 1, np.inf, np.linalg.norm(centres - centres[7], axis=1))
    assert card["rival"]["p"] == int(apart.argmin())
    assert card["rival"]["distance"] == pytest.approx(float(apart.min()), rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "key", "query", "error"),
    [
        ("layer", "0" * 20, {"source": "kmeans:5:0:auto"}, Gone),
        ("layer", "", {}, InputError),
        ("cloud", "0" * 20, {}, Gone),
        ("attributes", "else", {}, Gone),
        ("nothing", "", {}, Gone),
        ("prototype", "", {"source": "own"}, InputError),
    ],
)
def test_what_is_not_there_is_refused(
    subject: Subject, kind: str, key: str, query: Mapping[str, str], error: type[InputError]
) -> None:
    with pytest.raises(error):
        catalogue.read(subject, kind, Asked(key, query))


@pytest.mark.parametrize("p", ["", "-1", "50", "1e1", "９", "9" * 400])
def test_a_prototype_that_is_not_there_is_refused(subject: Subject, p: str) -> None:
    with pytest.raises(InputError, match="There is no prototype"):
        asked(subject, "prototype", p=p)


def test_what_nothing_takes_is_refused(subject: Subject) -> None:
    with pytest.raises(Gone, match="takes no"):
        catalogue.send(subject, "layer", Asked())
