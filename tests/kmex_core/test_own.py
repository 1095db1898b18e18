"""Prototypical models explained by their own prototypes, against what the models themselves say."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.spatial.distance import cdist

from kmex_core.analysis import comparison
from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.data.network_input import normalise
from kmex_core.metrics.types import MapDivergences, NotComputed
from kmex_core.models import catalogue as models
from kmex_core.models.builtin import BuiltInPrototypes, built_in_details
from kmex_core.models.catalogue import network_input
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import BuiltIn
from kmex_core.prototypes.types import NO_IMAGE, Conversion
from kmex_core.relevance.catalogue import PUBLISHED
from kmex_core.relevance.lrp import lrp_of
from kmex_core.stages.evaluation import evaluate
from kmex_core.stages.explainer import explainer
from kmex_core.stages.subject import Subject, dataset_of

KINDS = ("protopnet", "flint", "protovae")


def own(store: Store, kind: str) -> tuple[ModelInfo, models.BlackBox, Conversion, BuiltInPrototypes]:
    info = models.describe(store, f"digits-{kind}")
    data = dataset_of(info)
    black_box = models.load(store, info.name)
    made = Subject(store, info, data).conversion(BuiltIn()).get()
    module = explainer(black_box, BuiltIn(), made, Subject(store, info, data).conversion(BuiltIn()).spec)
    assert isinstance(module, BuiltInPrototypes)
    return info, black_box, made, module


@pytest.mark.parametrize("kind", KINDS)
def test_it_predicts_what_the_model_predicts(kind: str, demo: Store) -> None:
    info, black_box, made, module = own(demo, kind)
    pixels, labels = next(dataset_of(info).batches("test", 500))
    images = normalise(pixels, info.preprocessing)
    with torch.no_grad():
        expected = black_box.model(images)
        z = module.encode(images)
        torch.testing.assert_close(module(images), expected)
        torch.testing.assert_close(module.reference_probabilities(module.similarity(z)), expected.softmax(1))
        assert module.temperature is not None
        torch.testing.assert_close(module.posterior(z), (expected / module.temperature.value).softmax(1))
    assert made.test_predicted.tolist() == expected.argmax(1).tolist() == module.predict(z).tolist()
    assert made.summary.accuracy_kmex == pytest.approx(float((expected.argmax(1) == labels).float().mean()))
    assert made.summary.agreement == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_activates_the_prototype_that_the_model_finds_most_similar(kind: str, demo: Store) -> None:
    info, black_box, made, _ = own(demo, kind)
    train = Subject(demo, info, dataset_of(info)).embedding("train").get()
    centers = black_box.model.get_buffer("head.prototype_class") if kind != "flint" else None
    p = made.prototypes
    z = train.z.astype(np.float64)
    far = -z @ p.centers.T.astype(np.float64) if kind == "flint" else cdist(z, p.centers)
    assert np.mean(far.argmin(1) == p.activated) > 0.999  # float32 may break a tie otherwise
    if centers is not None:
        assert p.classes.tolist() == centers.tolist()
    for k in range(0, len(p), 7):
        of_class = np.flatnonzero(train.labels == p.classes[k])
        assert far[p.exemplar[k], k] == pytest.approx(far[of_class, k].min(), abs=1e-3)
        assert p.count[k] == np.sum((p.activated == k) & (train.labels == p.classes[k]))


@pytest.mark.parametrize("kind", KINDS)
def test_its_maps_say_where_a_similarity_comes_from(kind: str, demo: Store) -> None:
    info, _, made, module = own(demo, kind)
    image = network_input(info, dataset_of(info).split("test").image(3))
    method = "integrated-gradients" if kind == "flint" else "prp"
    found = module.explain(image, top=2, method=method, target="similarity")
    assert found.predicted == found.predicted_black_box == made.test_predicted[3]
    assert found.prototypes[0] == found.similarity.argmax() == made.test_activated[3]
    with torch.no_grad():
        z = module.encode(image)
        ids = torch.tensor(found.prototypes)
        relevance = module.prototype_relevance(z.expand(2, -1), ids)
        torch.testing.assert_close(relevance.sum(1), module.similarity(z)[0, ids], rtol=1e-4, atol=1e-4)
    if kind == "flint":
        with pytest.raises(InputError, match="LRP has no rules for FLINT, .* use masked-gradients"):
            module.explain(image, method="prp")
    for target in ("margin", "similarity"):
        propagated = module.explain(image, top=2, method="lrp-epsilon", target=target, judged=False)
        assert propagated.maps.exact.all()
        assert propagated.black_box_map is not None
        assert propagated.black_box_map.exact.all()
    assert found.maps.exact.all()
    assert found.black_box_map is not None
    assert found.black_box_map.exact.all()


@pytest.mark.parametrize("kind", KINDS)
def test_its_margin_is_of_distances_or_of_class_scores(kind: str, demo: Store) -> None:
    info, _, _, module = own(demo, kind)
    image = network_input(info, dataset_of(info).split("test").image(3))
    found = module.explain(image, top=3, method="integrated-gradients")
    with torch.no_grad():
        scores = module.scores(module.encode(image))[0].numpy()
    classes = module.prototype_class.numpy()
    for p, q, number in zip(found.prototypes, found.maps.rivals, found.maps.numbers, strict=True):
        assert classes[p] != classes[q]
        if kind == "flint":
            assert number == pytest.approx(scores[classes[p]] - scores[classes[q]], rel=1e-4, abs=1e-4)
            others = [c for c in set(classes.tolist()) if c != classes[p]]
            assert classes[q] == max(others, key=lambda c: scores[c])
        else:
            distance = found.distance.astype(float)
            assert number == pytest.approx(distance[q] ** 2 - distance[p] ** 2, rel=1e-3, abs=1e-3)
            assert q == min(np.flatnonzero(classes != classes[p]), key=lambda other: distance[other])
    assert found.maps.exact.all()


def test_each_kind_tells_what_only_it_can(demo: Store) -> None:
    for kind in KINDS:
        info, black_box, made, _ = own(demo, kind)
        details = built_in_details(black_box.model)
        assert details.weights.shape == (10, len(made.prototypes))
        assert (details.pushed is None, details.decoded is None) == (kind != "protopnet", kind != "protovae")
        if details.pushed is not None:  # the push made each the embedding of that image
            assert (details.pushed != NO_IMAGE).all()
            train = Subject(demo, info, dataset_of(info)).embedding("train").get()
            np.testing.assert_allclose(train.z[details.pushed], made.prototypes.centers, atol=1e-4)
            assert details.pushed.tolist() == made.prototypes.exemplar.tolist()
        if details.decoded is not None:
            assert details.decoded.shape == (50, info.image_size, info.image_size, 3)
            assert details.decoded.std() > 10
        if kind == "flint":
            assert made.prototypes.classes.tolist() == details.weights.argmax(0).tolist()


def test_a_black_box_has_no_prototypes_of_its_own(demo: Store, digits: ModelInfo) -> None:
    with pytest.raises(InputError, match="'digits' is a black box without built-in prototypes"):
        Subject(demo, digits, dataset_of(digits)).conversion(BuiltIn()).get()


def test_its_maps_are_compared_with_those_of_a_separate_black_box(demo: Store) -> None:
    info, black_box, _, module = own(demo, "protovae")
    data = dataset_of(info)
    found = Subject(demo, info, data).divergences(images=5, seed=3, maps=PUBLISHED)
    assert isinstance(found, MapDivergences)
    reference = Subject(demo, info, dataset_of(info)).reference()
    assert reference is not None
    assert reference.name == "digits"
    other = models.load(demo, "digits")
    chosen = np.random.default_rng(3).choice(500, 5, replace=False)
    assert found.images.tolist() == np.sort(chosen).tolist()
    assert module.pixel_range is not None
    mine_of: dict[int, np.ndarray] = {}
    theirs_of: dict[int, np.ndarray] = {}
    for row, index in enumerate(found.images.tolist()):
        image = network_input(info, data.split("test").image(index))
        with torch.no_grad():
            z = other.encoder(image)
            second, said = other.head(z).argsort(1)[:, -2:].T
            weight = torch.as_tensor(other.head.weight)[said]
            theirs = lrp_of(other.encoder, *module.pixel_range, image.shape[1:]).maps(image, z * weight)[0]
            mine = module.prediction_relevance(module.encode(image), said)
        maps = lrp_of(black_box.encoder, *module.pixel_range, image.shape[1:]).maps(image, mine)[0]
        shares = [np.abs(one[0].numpy().astype(np.float64)).max(0).ravel() for one in (maps, theirs)]
        with torch.no_grad():
            runner_up = module.prediction_relevance(module.encode(image), second)
        lrp = lrp_of(black_box.encoder, *module.pixel_range, image.shape[1:])
        shares.append(np.abs(lrp.maps(image, runner_up)[0][0].numpy().astype(np.float64)).max(0).ravel())
        mine_of[index], theirs_of[index] = shares[:2]
        assert found.divergence[row] == pytest.approx(scipy.stats.entropy(*shares[:2]), rel=1e-3)
        assert found.divergence_runner_up[row] == pytest.approx(scipy.stats.entropy(shares[2], shares[1]), rel=1e-3)
        uniform = scipy.stats.entropy(np.ones_like(shares[1]), shares[1])
        assert found.divergence_uniform[row] == pytest.approx(uniform, rel=1e-3)
    for place, index in enumerate(chosen.tolist()):
        before = mine_of[int(chosen[place - 1])]
        row = found.images.tolist().index(index)
        other_image = scipy.stats.entropy(before, theirs_of[index])
        assert found.divergence_other_image[row] == pytest.approx(other_image, rel=1e-3)
    evaluated = evaluate([Subject(demo, info, data)], BuiltIn(), [3], images=5, names=["faithfulness"], maps=PUBLISHED)
    assert "Divergence of relevance maps of digits-protovae: beside digits" in comparison.as_text(
        comparison.rows([evaluated])
    )
    measured = evaluated.metrics["faithfulness"]
    assert measured.mean == pytest.approx(found.divergence.mean())
    assert measured.std_images == pytest.approx(found.divergence.std())
    assert [against.name for against in measured.against] == [
        "faithfulness_uniform",
        "faithfulness_other_image",
        "faithfulness_runner_up",
    ]


def test_without_a_black_box_of_the_same_data_there_is_nothing_to_compare_with(
    demo: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = models.describe(demo, "digits-protovae")
    faces = models.describe(demo, "faces")
    monkeypatch.setattr(models, "list_models", lambda _: ([info, faces], []))
    found = Subject(demo, info, dataset_of(info)).divergences(images=5)
    assert isinstance(found, NotComputed)
    assert "no black box in the store" in found.reason
