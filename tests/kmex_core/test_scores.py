"""Evaluations of models in the store: resumed, repeated over seeds, and clear where something cannot be computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.spatial.distance import cdist
from torch import nn

from kmex_core.analysis import comparison
from kmex_core.base.errors import InputError
from kmex_core.base.progress import Event
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import opened
from kmex_core.data import registry as datasets
from kmex_core.metrics import on_maps as evaluation
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.types import Evaluation, MapScores, Measured, NotComputed, image_means
from kmex_core.models import catalogue as models
from kmex_core.models import training
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.relevance.catalogue import PUBLISHED
from kmex_core.stages import relevance_scores, training_runs
from kmex_core.stages.evaluation import evaluate
from kmex_core.stages.relevance_scores import RelevanceScores
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.datasets import write_folder


def effective_by_hand(rows: np.ndarray, images: np.ndarray) -> float:
    """Exponential of the entropy of the eigenvalues of a Gaussian kernel as wide as the class, over their number."""
    variance = np.mean([np.sum((image - images.mean(0)) ** 2) for image in images])
    kernel = np.array([[np.exp(-np.sum((a - b) ** 2) / 2 / variance) for a in rows] for b in rows])
    return float(np.exp(scipy.stats.entropy(np.linalg.eigvalsh(kernel).clip(0))))


CHEAP = [name for name, kind in METRICS.items() if not kind.maps]


@pytest.fixture
def data(digits: ModelInfo) -> datasets.ImageDataset:
    return dataset_of(digits)


def measured(store: Store, info: ModelInfo, k: int = 2, names: list[str] | None = None, images: int = 12) -> Evaluation:
    return evaluate([Subject(store, info, dataset_of(info))], KMeans(k), [0], images, names or list(METRICS), PUBLISHED)


def value(found: Evaluation, name: str) -> float:
    mean = found.metrics[name].mean
    assert mean is not None, found.metrics[name].reason
    return mean


def test_every_metric_is_there_for_the_black_box_and_its_kmex(demo: Store, digits: ModelInfo) -> None:
    found = measured(demo, digits)
    of_both = ("accuracy", "calibration_error", *(name for name, kind in METRICS.items() if kind.maps))
    assert set(found.metrics) == set(METRICS) | {METRICS[name].black_box for name in of_both} - {""}
    for one in found.metrics.values():
        assert one.reason == ""
        assert one.mean is not None
        assert math.isfinite(one.mean)
        assert one.std_seeds is None
    assert found.images == 12
    assert found.test_images == 500
    low, high = found.metrics["accuracy"].interval or (1, 0)
    assert 0 < low < value(found, "accuracy") < high < 1


def test_the_numbers_are_those_of_the_formulas(demo: Store, digits: ModelInfo, data: datasets.ImageDataset) -> None:
    found = measured(demo, digits, 3, CHEAP)
    made = Subject(demo, digits, data).conversion(KMeans(3)).get()
    test = Subject(demo, digits, data).embedding("test").get().in_space(made.metric)
    train = Subject(demo, digits, data).embedding("train").get().in_space(made.metric)
    centers, classes = made.prototypes.centers.astype(float), made.prototypes.classes
    distance = cdist(test.z.astype(float), centers)
    nearest = distance.argmin(1)
    assert value(found, "accuracy") == np.mean(classes[nearest] == test.labels)
    assert value(found, "agreement") == np.mean(classes[nearest] == test.black_box)
    assert value(found, "coverage_radius") == pytest.approx(np.quantile(distance.min(1), 0.95), rel=1e-4)
    assert value(found, "ghosting") == 0
    of_class = [train.z[train.labels == c].astype(float) for c in range(10)]
    expected = np.mean([effective_by_hand(centers[classes == c], of_class[c]) for c in range(10)])
    assert value(found, "effective") == pytest.approx(expected, rel=1e-3)
    random = np.random.default_rng(1)
    by_chance = [
        np.mean([effective_by_hand(random.permutation(images)[:3], images) for images in of_class]) for _ in range(60)
    ]
    error = np.std(by_chance) / np.sqrt(60) + np.std(by_chance) / np.sqrt(100)
    assert value(found, "effective_random") == pytest.approx(np.mean(by_chance), abs=4 * error)
    # calibration: confidences by the formula, binned by a loop
    similarity = np.log((distance**2 + 1) / (distance**2 + 1e-4))
    shares = np.exp(similarity) / np.exp(similarity).sum(1, keepdims=True)
    sure = np.array([shares[i, classes == classes[nearest[i]]].sum() for i in range(len(test))])
    right = classes[nearest] == test.labels
    error = 0.0
    for at in range(15):
        inside = (sure > at / 15) & (sure <= (at + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert value(found, "calibration_error_reference") == pytest.approx(error, abs=1e-4)
    ratios = []
    for p in range(30):
        own = [q for q in range(30) if classes[q] == classes[p] and q != p]
        inside = train.z[train.labels == classes[p]].astype(float)
        spread = np.sqrt(((inside - inside.mean(0)) ** 2).sum(1).mean())
        ratios.append(min(np.linalg.norm(centers[p] - centers[q]) for q in own) / spread)
    assert value(found, "relative_distance") == pytest.approx(np.mean(ratios), rel=1e-3)


def test_what_was_measured_is_not_measured_again(
    demo: Store, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measured(demo, digits, images=10)
    monkeypatch.setattr(evaluation, "map_scores", lambda *_, **__: pytest.fail("measured again"))
    assert measured(demo, digits, images=10) == first


def test_a_stopped_measurement_leaves_nothing_and_the_next_one_is_whole(
    demo: Store, digits: ModelInfo, data: datasets.ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relevance_scores, "BATCH", 4)
    seen = []

    def stop(event: Event) -> None:
        seen.append((event.text, event.done, event.total))
        if event.text == "Measuring relevance maps":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Subject(demo, digits, data, progress=stop).relevance_scores(KMeans(2), images=6).get_or_why_not()
    assert seen[-1] == ("Measuring relevance maps", 4, 6)
    key = Subject(demo, digits, data).relevance_scores(KMeans(2), images=6).spec.key
    assert RelevanceScores.stored(demo, key) is None
    whole = Subject(demo, digits, data).relevance_scores(KMeans(2), images=6).get_or_why_not()
    assert isinstance(whole, MapScores)
    kept = RelevanceScores.stored(demo, key)
    assert kept is not None
    for name, array in whole.to_arrays().items():
        np.testing.assert_array_equal(array, kept.to_arrays()[name])
    described = demo.get("evaluations", key)
    assert described is not None
    assert set(described[1]) >= {"spec", "model", "versions"}


def test_more_images_than_there_are_means_all(demo: Store, digits: ModelInfo, data: datasets.ImageDataset) -> None:
    assert Subject(demo, digits, data).relevance_scores(KMeans(2), images=10**6).spec.images == 500
    assert (
        Subject(demo, digits, data).relevance_scores(KMeans(2), images=10**6).spec
        == Subject(demo, digits, data).relevance_scores(KMeans(2), images=500).spec
    )


def test_images_are_drawn_by_the_seed_without_repeats(
    demo: Store, digits: ModelInfo, data: datasets.ImageDataset
) -> None:
    def drawn(seed: int) -> np.ndarray:
        return np.concatenate(
            [rows for rows, _, _ in relevance_scores.drawn_images(Subject(demo, digits, data), 100, seed)]
        )

    assert len(set(drawn(0))) == 100
    assert np.array_equal(drawn(0), drawn(0))
    assert not np.array_equal(drawn(0), drawn(1))


def test_runs_have_a_mean_and_a_deviation(demo: Store, digits: ModelInfo, data: datasets.ImageDataset) -> None:
    names = ["accuracy", "average_drop"]
    found = evaluate([Subject(demo, digits, data)], KMeans(2), [0, 1], images=8, names=names)
    alone = [evaluate([Subject(demo, digits, data)], KMeans(2), [seed], images=8, names=names) for seed in (0, 1)]
    for name in (*names, "average_drop_black_box"):
        one = found.metrics[name]
        assert one.runs == (value(alone[0], name), value(alone[1], name))
        assert one.mean == pytest.approx(sum(one.runs) / 2)
        assert one.std_seeds == pytest.approx(abs(one.runs[0] - one.runs[1]) / math.sqrt(2))
        assert one.std_trainings is None
    asked = {name for name in found.metrics if "random" not in name}
    assert asked == {"accuracy", "accuracy_black_box", "average_drop", "average_drop_black_box"}
    chance = {"average_drop_random", "average_drop_random_black_box"}
    assert set(found.metrics) - asked == chance, "a figure comes with its chance level"
    assert found.seeds == (0, 1)
    drops = RelevanceScores.stored(demo, Subject(demo, digits, data).relevance_scores(KMeans(2), images=8).spec.key)
    assert drops is not None
    assert value(alone[0], "average_drop") == pytest.approx(drops.drop.mean())
    assert alone[0].metrics["average_drop"].std_images == pytest.approx(drops.drop.mean(1).std()), "of image means"
    (against,) = alone[0].metrics["average_drop"].against
    paired = (drops.drop_random - drops.drop).mean(1)
    assert against.name == "average_drop_random"
    assert against.difference == pytest.approx(paired.mean())
    assert against.error == pytest.approx(scipy.stats.sem(paired))
    test = scipy.stats.ttest_1samp(paired, 0).statistic
    assert against.better == (test > 1.96)
    (black_box,) = alone[0].metrics["average_drop_black_box"].against
    assert black_box.difference == pytest.approx((drops.drop_black_box_random - drops.drop_black_box).mean())


def test_two_trainings_with_two_seeds_have_two_deviations() -> None:
    one = Measured("accuracy", (0.5, 0.7, 0.8, 0.9), trainings=2)
    assert one.std_seeds == pytest.approx(np.sqrt((np.var([0.5, 0.7], ddof=1) + np.var([0.8, 0.9], ddof=1)) / 2))
    assert one.std_trainings == pytest.approx(np.std([0.6, 0.85], ddof=1))
    assert Measured("accuracy", (0.5, 0.7), trainings=2).std_seeds is None
    assert Measured("accuracy", (), reason="none", trainings=2).std_trainings is None


def test_means_over_prototypes_leave_out_what_is_missing() -> None:
    found = image_means(np.array([[0.2, 0.4], [np.nan, 0.5], [np.nan, np.nan]]))
    assert found.tolist() == pytest.approx([0.3, 0.5, np.nan], nan_ok=True)


def test_one_prototype_per_class_says_what_it_cannot_have(demo: Store, digits: ModelInfo) -> None:
    found = measured(demo, digits, 1, CHEAP)
    for name in ("diversity", "relative_distance"):
        assert found.metrics[name].mean is None
        assert "one prototype per class" in found.metrics[name].reason
    assert value(found, "effective") == pytest.approx(1)
    assert 0 <= value(found, "diversity_all") <= 1


def changed_when_loaded(monkeypatch: pytest.MonkeyPatch, change: Callable[[models.BlackBox], object]) -> None:
    """Let models come out of the store with a change."""
    real = models.load

    def load(*arguments: Any) -> models.BlackBox:
        found = real(*arguments)
        change(found)
        return found

    monkeypatch.setattr(models, "load", load)


def test_a_network_without_rules_has_no_maps_and_says_so(
    demo: Store, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_rules(black_box: models.BlackBox) -> None:
        name = next(name for name, module in black_box.model.named_modules() if isinstance(module, nn.ReLU))
        black_box.model.set_submodule(name, nn.GELU())

    changed_when_loaded(monkeypatch, without_rules)
    found = measured(demo, digits, 2, images=9)
    for name, kind in METRICS.items():
        assert (found.metrics[name].mean is None) == kind.maps
        if kind.maps:
            assert "no rules" in found.metrics[name].reason
    scores = Subject(demo, digits, dataset_of(digits)).relevance_scores(KMeans(2), images=9, maps=PUBLISHED)
    assert isinstance(scores.get_or_why_not(), NotComputed)
    assert RelevanceScores.stored(demo, scores.spec.key) is None  # it may have rules one day


def test_similarities_below_zero_have_no_share(demo: Store, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = np.full((3, 2), np.nan)
    curve = np.ones((3, 4))
    arrays = {field.name: nothing[:, 0] for field in fields(MapScores) if field.name not in ("conserving", "seconds")}
    arrays |= {name: nothing for name in arrays if name.startswith(("drop", "increase")) and "black_box" not in name}
    arrays |= {name: curve for name in arrays if name.startswith("curve")}
    arrays |= {"images": np.arange(3), "divergence": np.zeros(3)}
    made = MapScores.from_arrays(arrays, conserving=1.0, seconds=1.0)
    monkeypatch.setattr(RelevanceScores, "get_or_why_not", lambda _: made)
    found = measured(demo, digits, 2, ["average_drop", "faithfulness", "relevance_ordering"]).metrics
    assert found["average_drop"].mean is None
    assert "above 0" in found["average_drop"].reason
    assert found["faithfulness"].mean == 0
    assert found["relevance_ordering"].mean == pytest.approx(1)


def test_unknown_metrics_and_mixed_models_are_refused(demo: Store, digits: ModelInfo) -> None:
    with pytest.raises(InputError, match="did you mean 'ghosting'"):
        measured(demo, digits, 2, ["gosting"])
    with pytest.raises(InputError, match="must have the same data set"):
        evaluate(
            [Subject(demo, each, dataset_of(digits)) for each in [digits, models.describe(demo, "faces")]],
            KMeans(2),
            [0],
        )


def test_an_embedding_that_is_not_finite_is_refused(
    store: Store, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed_when_loaded(monkeypatch, lambda found: next(found.encoder.parameters()).data.fill_(float("nan")))
    with pytest.raises(InputError, match="not finite"):
        measured(store, digits, 2, CHEAP)


def test_colour_is_masked_with_noise_and_grey_with_black(demo: Store, digits: ModelInfo) -> None:
    grey = relevance_scores.replacement_of(digits)
    expected = (0 - np.array(digits.preprocessing.mean)) / np.array(digits.preprocessing.std)
    assert torch.allclose(grey.amax((1, 2)), torch.tensor(expected, dtype=torch.float32).expand(len(grey)))
    assert torch.equal(grey.amin((1, 2)), grey.amax((1, 2)))
    colour = relevance_scores.replacement_of(models.describe(demo, "faces"))
    assert colour.std() > 0.5
    assert torch.equal(colour, relevance_scores.replacement_of(models.describe(demo, "faces")))


@pytest.mark.parametrize("kind", ["protopnet", "flint"])
def test_a_prototypical_model_is_measured_beside_its_kmex(kind: str, store: Store, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", ("ant", "bee", "cat"), 20, 6, size=32)
    spec = DatasetSpec(str(folder))
    recipe = training.default_recipe(opened.dataset(spec), False, kind, epochs=2, batch_size=10, k=3)
    info = training_runs.train(store, training_runs.TrainRequest("net", spec, "resnet20", recipe, "cpu", ""))
    found = evaluate([Subject(store, info, opened.dataset(spec))], BuiltIn(), [0], images=6, maps=PUBLISHED)
    assert (found.kind, found.k, found.built_in) == (kind, 3, True)
    head: Any = models.load(store, "net").head  # of any kind: all have prototypes
    z = Subject(store, info, opened.dataset(spec)).embedding("train").get()
    centers = head.prototypes.detach().double().numpy()
    classes = head.prototype_class.numpy()
    if kind == "flint":
        similar, among = z.z @ centers.T, centers @ centers.T
    else:
        similar, among = (np.log((d**2 + 1) / (d**2 + 1e-4)) for d in (cdist(z.z, centers), cdist(centers, centers)))
    used = {p for p, label in zip(similar.argmax(1), z.labels, strict=True) if classes[p] == label}
    assert value(found, "ghosting") == pytest.approx(1 - len(used) / 9)
    share = np.exp(among - among.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    expected = np.mean([scipy.stats.entropy(row) for row in share]) / np.log(9)
    assert value(found, "diversity_all") == pytest.approx(expected, rel=1e-3)
    assert value(found, "accuracy") == pytest.approx(info.accuracy)
    assert found.metrics["faithfulness"].mean is None
    assert (found.metrics["average_drop"].mean is None) == (kind == "flint")
    assert (found.metrics["coverage_radius"].mean is None) == (kind == "flint")
    assert not any(name == "agreement" or name.endswith("black_box") for name in found.metrics)
    with_kmex = evaluate([Subject(store, info, opened.dataset(spec))], KMeans(3), [0], images=6, maps=PUBLISHED)
    assert value(with_kmex, "ghosting") == 0
    assert (with_kmex.metrics["faithfulness"].mean is None) == (kind == "flint")
    rows = {row.label: row for row in comparison.rows([found, with_kmex], False)}
    assert list(rows) == ["net", "net + KMEx"]
    assert rows["net"].cells["ghosting"].mean == value(found, "ghosting")
