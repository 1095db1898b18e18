"""The head of Explore: each number is the stored one, with its interval and what guessing reaches."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from app.claims.header import expected_agreement, header_numbers
from app.selection import Selection
from kmex_core.base.store import Store
from kmex_core.metrics import wilson_interval
from kmex_core.models.info import AT_CHANCE, ModelInfo
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.pages import Page, header, healthy


@pytest.fixture
def subject(demo: Store, digits: ModelInfo) -> Subject:
    return Subject(demo, digits, dataset_of(digits))


def test_the_head_of_explore_has_the_model_in_a_line(page: Page, subject: Subject) -> None:
    test = healthy(page("explore"))
    assert test.markdown[0].value == "# Digits · resnet20"
    summary, geometry = subject.conversion(KMeans(5)).get().summary, subject.geometry().get()
    assert summary.agreement is not None
    numbers = header(test)
    assert list(numbers) == [
        "model digits",
        f"black box {summary.accuracy_black_box:.1%}",
        f"KMEx {summary.accuracy_kmex:.1%}",
        f"agreement {summary.agreement:.1%}",
        "no ghosts",
        f"{summary.metric} metric",
    ]
    low, high = wilson_interval(summary.accuracy_kmex, summary.images)
    kmex, metric = numbers[f"KMEx {summary.accuracy_kmex:.1%}"], numbers[f"{summary.metric} metric"]
    assert f"{low:.1%} to {high:.1%}" in kmex
    assert "McNemar" in kmex
    for value in (geometry.accuracy["whitened"], geometry.accuracy["euclidean"], geometry.probe):
        assert f"{value:.1%}" in metric
    # the most frequent class of the test split
    most = np.bincount(subject.data.split("test").labels).max() / summary.images
    assert f"would reach {most:.1%}" in kmex


def test_chance_of_agreement_is_that_of_kappa() -> None:
    random = np.random.default_rng(0)
    one, other = random.choice(4, 500, p=(0.7, 0.2, 0.1, 0)), random.choice(4, 500, p=(0.3, 0.3, 0.1, 0.3))
    observed, kappa = (one == other).mean(), cohen_kappa_score(one, other)
    assert expected_agreement(one, other, 4) == pytest.approx((observed - kappa) / (1 - kappa))
    assert expected_agreement(one[:1], one[:1], 4) == 1


def test_a_caveat_marks_every_share(subject: Subject) -> None:
    from dataclasses import replace

    info = replace(subject.info, made_by={AT_CHANCE: True})
    converted, labels = subject.conversion(KMeans(5)).get(), subject.data.split("test").labels
    numbers = header_numbers(Selection(info, KMeans(5)), converted, labels, None)
    assert [number.text.endswith("(!)") for number in numbers] == [False, True, True, True, False]
    assert all(info.caveat in number.about for number in numbers if number.text.endswith("(!)"))
