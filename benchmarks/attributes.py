"""The attribute audit at CelebA's size, on a generated embedding of images with generated attributes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from kmex_core.analysis.coverage import CurveMaker, SplitAttributes, coverage
from kmex_core.analysis.tables.attributes import accuracy_table, subgroup_table
from kmex_core.data.registry import ArraySplit
from kmex_core.metrics import DRAWS, attribute_chance, correlation_ratio
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.fit import activated, fit_prototypes
from kmex_core.prototypes.metric import EUCLIDEAN, EmbeddingMetric
from kmex_core.prototypes.temperature import Temperature
from kmex_core.prototypes.types import Conversion, Prototypes, Summary

TRAIN, TEST, DIMENSIONS, ATTRIBUTES = 162_770, 19_962, 512, 40
KS = range(1, 21)


def _images(count: int, random: np.random.Generator, mix: np.ndarray) -> tuple[ArraySplit, Embeddings]:
    """Images whose embedding follows from their attributes and as much of their own, as after a ReLU."""
    common = np.linspace(0.02, 0.6, ATTRIBUTES)
    has = random.random((count, ATTRIBUTES)) < common
    split = ArraySplit(np.empty((count, 0, 0), np.uint8), has[:, -1].astype(np.int64))
    split.attributes, split.attribute_names = has[:, :-1], tuple(f"a{at}" for at in range(ATTRIBUTES - 1))
    hidden = np.concatenate([has * 2.0, random.standard_normal((count, 24))], 1).astype(np.float32)
    z = np.maximum(hidden @ mix, 0)
    return split, Embeddings(z, split.labels, split.labels)


def measure() -> list[dict[str, Any]]:
    """Seconds for k = 1…20, and for what is looked at for one k."""
    random = np.random.default_rng(0)
    mix = random.standard_normal((ATTRIBUTES + 24, DIMENSIONS)).astype(np.float32) / 4
    train, embedded = _images(TRAIN, random, mix)
    test, test_embedded = _images(TEST, random, mix)
    started = time.perf_counter()
    maker, found = CurveMaker(SplitAttributes(train)), None
    for k in KS:
        found = fit_prototypes(embedded, ("no", "yes"), k)
        predicted = found.classes[activated(test_embedded.z, found.centers)]
        maker.add(k, 0, found)
    maker.curves()
    swept = time.perf_counter() - started
    assert found is not None
    started = time.perf_counter()
    looked = coverage(train, found)
    subgroup_table(looked)
    accuracy_table(test, _converted(found, predicted, test))
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    correlation_ratio(train.attributes, found.activated, len(found))
    apart = time.perf_counter() - started
    size = f"{TRAIN:,} × {DIMENSIONS}, {ATTRIBUTES - 1} attributes"
    return [
        {
            "what": f"{size}, k = 1…20: prototypes, predictions, curves",
            "median": round(swept, 2),
            "runs": 1,
            "unit": "s",
            "target": 60,
        },
        {"what": f"{size}, k = 20: coverage, subgroups, accuracy", "median": round(seconds, 3), "runs": 1, "unit": "s"},
        {"what": "of that, what prototypes tell apart", "median": round(apart, 3), "runs": 1, "unit": "s"},
        _chance(random),
    ]


def _chance(random: np.random.Generator) -> dict[str, Any]:
    labels, has = random.integers(0, 2, 16_000), random.random((16_000, 40)) < np.linspace(0.02, 0.6, 40)
    started = time.perf_counter()
    for k in KS:
        attribute_chance(has, labels, np.full(2, k))
    seconds = time.perf_counter() - started
    what = f"16,000 images × 40 attributes, k = 1…20: the chance level, {DRAWS} draws each"
    return {"what": what, "median": round(seconds, 3), "runs": 1, "unit": "s", "target": 2}


def _converted(found: Prototypes, predicted: np.ndarray, test: ArraySplit) -> Conversion:
    summary = Summary(
        images=len(test),
        accuracy_black_box=1.0,
        accuracy_kmex=1.0,
        agreement=1.0,
        ghosting=0.0,
        diversity=None,
        diversity_reference=None,
        effective=None,
        effective_random=None,
        effective_random_low=None,
        effective_random_high=None,
        effective_equidistant=None,
        coverage_radius=None,
        calibration_error=0.0,
        metric=EUCLIDEAN,
    )
    return Conversion(
        prototypes=found,
        summary=summary,
        metric=EmbeddingMetric(),
        temperature=Temperature(1.0, (1.0, 1.0), len(test), False),
        train_predicted=found.activated,
        test_predicted=predicted,
        test_activated=predicted,
        test_black_box=test.labels,
        test_confidence=np.ones(len(test), dtype=np.float32),
        test_likeliest=predicted,
        seconds=0.0,
    )
