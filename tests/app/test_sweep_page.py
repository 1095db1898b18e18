"""The page Prototypes per class: what it computes itself, what it leaves to a job, and how a suggestion is taken."""

from __future__ import annotations

import numpy as np
import pytest

from app import claims, read
from app.components.shared import sweeps
from app.selection import SWEEP_SEEDS
from kmex_core.analysis.suggestion import overall, overall_reason, reason
from kmex_core.base import jobs
from kmex_core.base.store import Store
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import SUGGESTED, KMeans
from kmex_core.prototypes.suggestion import Evidence
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.pages import Page, address, button, cards, header, healthy, open_link

CHARTS = 2 + 2 + 1  # curves, evidence, lineage


@pytest.fixture
def subject(demo: Store, digits: ModelInfo) -> Subject:
    return Subject(demo, digits, dataset_of(digits))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments of the jobs that pages start."""
    found: list[list[str]] = []
    monkeypatch.setattr(jobs, "look", lambda *_: None)
    monkeypatch.setattr(jobs, "start", lambda _store, name, arguments: found.append(list(arguments)))
    return found


def runs(arguments: list[str]) -> str:
    return arguments[arguments.index("--runs") + 1]


def test_a_link_names_the_class(page: Page, subject: Subject) -> None:
    evidence = subject.suggestion().get()
    test = healthy(open_link("numbers", model="digits", **{"class": "7"}))
    assert f"**7**: {reason(evidence, 7)}" in [one.value for one in test.markdown]


def test_a_small_model_is_swept_by_the_page_itself(page: Page, subject: Subject, started: list[list[str]]) -> None:
    test = healthy(page("numbers", k="4"))
    assert started == []
    assert len(test.get("plotly_chart")) == CHARTS
    peeked = [subject.sweep(KMeans(1, seed)).peek() for seed in SWEEP_SEEDS]
    found = [sweep for sweep in peeked if sweep is not None]
    assert len(found) == 5
    texts = [one.value for one in test.markdown]
    assert claims.predictions_over_k(found, 4) in texts
    assert any("the mean over 5 seeds of k-means" in one.value for one in test.caption)
    evidence = subject.suggestion().peek()
    assert evidence is not None
    assert any(overall_reason(evidence) in text for text in texts)
    assert f"**0**: {reason(evidence, 0)}" in texts
    test = healthy(test.selectbox(key="class").set_value("7").run())
    assert f"**7**: {reason(evidence, 7)}" in [one.value for one in test.markdown]


def test_a_large_model_is_left_to_a_job(
    page: Page, subject: Subject, started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "SMALL", 0)
    first = {0: subject.sweep(KMeans(1)).get()}
    subject.suggestion().get()
    monkeypatch.setattr(read, "sweeps", lambda _: {})
    test = healthy(page("numbers", k="4"))
    (arguments,) = started
    assert arguments[:3] == ["sweep", "--model", "digits"]
    assert runs(arguments) == "1"
    assert len(test.get("plotly_chart")) == 0
    monkeypatch.setattr(read, "sweeps", lambda _: first)
    test = healthy(page("numbers", k="4"))
    assert len(test.get("plotly_chart")) == CHARTS
    assert any("Lines: one seed of k-means." in one.value for one in test.caption)
    assert len(started) == 1, "the other seeds wait for a button"
    healthy(button(test, "Add the other 4 seeds").click().run())
    assert runs(started[1]) == "5"


def test_a_suggestion_is_taken_for_all_classes_or_for_each(
    page: Page, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subject.suggestion().get()
    numbers = np.array([1, 3, 2, 3, 1, 7, 3, 1, 4, 3])
    own = Evidence(real.gap, real.gap_error, real.prediction_strength, real.rand_index, numbers)
    assert overall(own) == 3
    monkeypatch.setattr(read, "suggestion", lambda _: own)
    test = healthy(page("numbers", k="4"))
    assert any("**Suggested: 3 prototypes per class.**" in one.value for one in test.markdown)
    test = healthy(button(test, "Take 3 for all classes").click().run())
    assert (test.sidebar.slider(key="k").value, address(test)["k"]) == (3, "3")
    assert button(test, "Take 3 for all classes").disabled
    test = healthy(button(test, "Take each class's own").click().run())
    assert test.sidebar.toggle(key="auto").value
    assert address(test)["auto"] == "true"
    assert button(test, "Take each class's own").disabled
    assert test.sidebar.slider(key="k").disabled
    test = healthy(button(test, "Take 3 for all classes").click().run())
    assert not test.sidebar.toggle(key="auto").value
    assert "auto" not in address(test)


def test_a_link_shows_the_suggested_numbers_on_every_page(page: Page, subject: Subject) -> None:
    made = subject.conversion(KMeans(SUGGESTED)).get()
    suggested = subject.suggestion().get().suggested
    assert np.bincount(made.prototypes.classes).tolist() == suggested.tolist()
    assert len(cards(healthy(page("prototypes", auto="true")))) == suggested.sum()
    test = healthy(page("explore", auto="true"))
    assert f"KMEx {made.summary.accuracy_kmex:.1%}" in header(test)
    for view in ("prototypes", "explain", "audit", "numbers"):
        test = healthy(test.switch_page(f"views/{view}.py").run())
        assert address(test)["auto"] == "true"
