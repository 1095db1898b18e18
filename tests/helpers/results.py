"""Results written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kmex_core.metrics.types import BRIGHTNESS, RANDOM, MapChecks
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.suggestion import Evidence, suggested
from kmex_core.prototypes.sweep import Sweep
from kmex_core.prototypes.types import LAST, NO_IMAGE, PatchConversion, PatchPrototypes, Prototypes, Summary
from kmex_core.relevance.types import REPLACEMENTS


def summary(**values: float | str | None) -> Summary:
    usual: dict[str, Any] = {
        "images": 100,
        "accuracy_black_box": 0.9,
        "accuracy_kmex": 0.89,
        "agreement": 0.95,
        "ghosting": 0.0,
        "diversity": 0.01,
        "diversity_reference": 0.4,
        "effective": 1.2,
        "effective_random": 1.3,
        "effective_random_low": 1.25,
        "effective_random_high": 1.35,
        "effective_equidistant": 2.0,
        "coverage_radius": 3.0,
        "calibration_error": 0.02,
        "metric": "whitened",
    }
    return Summary(**{**usual, **values})


def sweep_of(reach: int = 4, classes: int = 2, images: int = 100, **values: ArrayLike | None) -> Sweep:
    """A sweep of no training images; curves are given as numbers for all steps or one for each."""
    steps = np.arange(1, reach + 1)
    usual: dict[str, Any] = {
        "cluster": np.zeros((reach, 0), np.uint8),
        "counts": np.repeat(steps[:, None], classes, 1),
        "inertia": np.repeat(100.0 / steps[:, None], classes, 1),
        "parent": np.full((reach, classes, reach), -1, np.int16),
        "diversity": np.where(steps > 1, 0.01, np.nan),
        "effective_random": np.array([1.3, 1.25, 1.35]),
        "random_accuracy": np.array([0.7, 0.6, 0.8]),
        "random_agreement": np.array([0.7, 0.6, 0.8]),
        "images": images,
        "accuracy_black_box": 0.9,
        "metric": "whitened",
        "seconds": 1.0,
    }
    curves = {
        "accuracy": 0.89,
        "agreement": 0.95,
        "ghosting": 0.0,
        "effective": 1.2,
        "effective_equidistant": 2.0,
        "coverage_radius": 3.0,
    }
    found = {**usual, **curves, **values}
    for name in (*curves, "diversity"):
        found[name] = np.broadcast_to(np.asarray(found[name], dtype=float), reach)
    for name in ("effective_random", "random_accuracy", "random_agreement"):
        found[name] = np.broadcast_to(np.asarray(found[name], dtype=float), (reach, 3))
    return Sweep(**found)


def evidence_of(
    gap: ArrayLike, prediction_strength: ArrayLike, gap_error: ArrayLike = 0.01, rand_index: float = 0.9
) -> Evidence:
    """Evidence on classes, (C, S) each, and what the rule makes of it."""
    gaps, strength = np.atleast_2d(np.asarray(gap, float)), np.atleast_2d(np.asarray(prediction_strength, float))
    error = np.broadcast_to(np.asarray(gap_error, float), len(gaps))
    chosen = [suggested(*each) for each in zip(gaps, error, strength, strict=True)]
    return Evidence(gaps, error, strength, np.full(gaps.shape, rand_index), np.array(chosen))


def prototypes_of(centers: np.ndarray, classes: np.ndarray) -> Prototypes:
    """Prototypes with a description of no training images."""
    none = np.zeros(len(centers), np.int64)
    return Prototypes(
        centers=centers.astype(np.float32),
        classes=classes.astype(np.int64),
        count=none,
        importance=none.astype(float),
        count_all=none,
        nearest=np.full((len(centers), 1), NO_IMAGE),
        nearest_distance=np.full((len(centers), 1), np.inf, np.float32),
        nearest_any=np.full(len(centers), NO_IMAGE),
        distance_quantiles=np.arange(101, dtype=np.float32),
        class_size=np.ones(int(classes.max()) + 1, np.int64),
        activated=np.empty(0, np.int32),
    )


def suite_of(**changes: object) -> MapChecks:
    """Three kinds of maps beside a random order and brightness, on 40 images."""
    random = np.random.default_rng(0)
    level = np.array([0.2, 0.3, 0.7, 0.7, 0.5])[:, None, None]
    kept = np.clip(level + random.normal(0, 0.1, (5, 40, 3)), 0, 1)
    none = np.full((2, 40), np.nan)
    specific = np.concatenate(
        [np.abs(random.normal(0.2, 0.1, (1, 40))), random.normal(0, 0.1, (1, 40)), np.zeros((1, 40))]
    )
    usual = {
        "rows": ("good", "middling", "bad", RANDOM, BRIGHTNESS),
        "targets": ("margin",) * 3 + ("", ""),
        "methods": ("integrated-gradients", "occlusion", "prp", "", ""),
        "replacements": tuple(REPLACEMENTS),
        "kept": kept,
        "inserted": 1 - kept,
        "specificity": np.concatenate([specific, none]),
        "cosine_rival": np.concatenate([np.full((2, 40), 0.9), np.ones((1, 40)), none]),
        "cosine_prototype": np.concatenate([np.full((3, 40), 0.5), none]),
        "sensitivity": np.concatenate([np.full((3, 8), 0.1), none[:, :8]]),
        "random_layers": np.array([0.5, 1.0]),
        "randomised": np.array([[0.5, 0.1], [0.4, 0.3], [0.9, 0.8]])[:, :, None].repeat(8, 2),
        "seconds_per_image": np.zeros(5),
        "seconds": 1.0,
    }
    return MapChecks(**{**usual, **changes})  # type: ignore[arg-type]


def patch_conversion(
    by_similarity: np.ndarray, by_vote: np.ndarray, labels: np.ndarray, side: int, metric: str = "euclidean"
) -> PatchConversion:
    """What patches of a grid of this side predict, by two prototypes of no images."""
    none = np.full(2, -1)
    prototypes = PatchPrototypes(
        np.zeros((2, 3), np.float32),
        np.arange(2),
        np.zeros(2, np.int64),
        np.zeros(2),
        none,
        none,
        np.array([side, side]),
        np.array([3]),
        np.ones(1, np.float32),
    )
    return PatchConversion(
        prototypes,
        EmbeddingMetric(metric),
        LAST,
        by_similarity=by_similarity,
        by_vote=by_vote,
        accuracy_black_box=0.9,
        accuracy_similarity=float((by_similarity == labels).mean()),
        accuracy_vote=float((by_vote == labels).mean()),
        agreement_similarity=0.8,
        agreement_vote=0.8,
        seconds=1.0,
    )
