"""What a page shows before there is an embedding, and that the work is done once, by a job."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from kmex_core.base import jobs
from kmex_core.base.jobs import Job
from kmex_core.base.store import Store
from tests.helpers.pages import cards, healthy
from tests.helpers.paths import FRAME
from tests.helpers.stores import embed


def opened(view: str = "prototypes", **query: str) -> AppTest:
    test = AppTest.from_file(str(FRAME), default_timeout=120)
    query = {"model": "digits", **query}
    for name, value in query.items():
        test.query_params[name] = value
    return healthy(test.switch_page(f"views/{view}.py").run())


class Jobs:
    """Jobs that are started by pages but never run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[tuple[str, tuple[str, ...]]] = []
        self.before: Job | None = None  # what each is before it is started
        self._running: dict[str, Job] = {}
        monkeypatch.setattr(jobs, "start", self.start)
        monkeypatch.setattr(jobs, "look", lambda store, name: self._running.get(name, self.before))

    def start(self, store: Store, name: str, arguments: list[str]) -> bool:
        self.started.append((name, tuple(arguments)))
        self._running[name] = Job("running", "Training images: computing embeddings", 512, 1297)
        return True


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    return Jobs(monkeypatch)


def test_the_first_start_prepares_the_demo_in_a_job(store: Store) -> None:
    test = opened()
    assert any("Preparing 'digits'" in one.value for one in test.markdown)
    assert len(cards(test)) == 10 * 8  # the data, while nothing else is there
    (name,) = jobs.names(store, "prepare-")
    for _ in range(600):
        if (job := jobs.look(store, name)) is None or job.state != "running":
            break
        time.sleep(0.2)
    assert job is not None
    assert job.state == "done", jobs.last_lines(store, name)
    healthy(test.run())
    assert len(cards(test)) == 10 * 5
    assert len(store.names("embeddings")) == 2
    assert len(store.names("prototypes")) == 1  # made by the job too, so that this process needs no torch for it
    assert store.names("shards") == []


@pytest.mark.parametrize("view", ["explore", "prototypes", "explain", "audit", "numbers", "compare"])
def test_every_page_shows_where_the_work_is_and_the_data(fake: Jobs, store: Store, view: str) -> None:
    test = opened(view)
    assert test.title
    assert any("Preparing 'digits'" in one.value for one in test.markdown)
    assert any(button.label == "Stop" for button in test.button)
    assert len(cards(test)) == 80
    assert len({name for name, _ in fake.started}) == len(fake.started) == 1


def test_a_demo_that_is_ready_is_offered_meanwhile(fake: Jobs, store: Store) -> None:
    test = opened()
    next(one for one in test.button if one.label == "Look at the demo faces meanwhile").click().run()
    assert healthy(test).sidebar.selectbox(key="model").value == "faces"
    assert len(cards(test)) == 3 * 5
    assert len(fake.started) == 1  # nothing is prepared for the faces


def test_sessions_pages_and_slides_share_one_job(fake: Jobs, store: Store) -> None:
    first, second = opened(), opened("explain", k="9")
    for k in (3, 4, 12):
        healthy(first.sidebar.slider(key="k").set_value(k).run())
    healthy(first.switch_page("views/explain.py").run())
    healthy(second.run())
    assert len(fake.started) == 1
    assert fake.started[0][1] == ("convert", "--model", "digits", "--k", "5", "--metric", "auto")


def test_compare_measures_what_is_missing_by_one_job(fake: Jobs, store: Store) -> None:
    embed(store, "digits")
    test = opened("compare")
    assert fake.started == []
    others = ["digits-flint", "digits-protopnet", "digits-protovae"]
    assert any(f"the embedding of {others[0]}, {others[1]} and {others[2]}" in one.value for one in test.caption)
    (table,) = (one.proto.body for one in test.get("html") if 'class="kx-compare"' in one.proto.body)
    assert table.count("not measured yet") == 6  # by their built-in prototypes, and with KMEx
    healthy(next(one for one in test.button if one.label == "Measure all").click().run())
    ((_, arguments),) = fake.started
    assert arguments[:1] == ("compare",)
    assert [name for flag, name in itertools.pairwise(arguments) if flag == "--models"] == ["digits", *others]


@pytest.mark.parametrize(
    ("state", "button", "words"),
    [("failed", "Try again", "The disk is full."), ("stopped", "Continue", "Stopped.")],
)
def test_a_job_that_has_ended_waits_for_a_button(fake: Jobs, store: Store, state: str, button: str, words: str) -> None:
    fake.before = Job(state, message="The disk is full.")
    test = opened()
    assert fake.started == []
    shown = [one.value for one in (*test.error, *test.info)]
    assert any(words in one for one in shown)
    next(one for one in test.button if one.label == button).click().run()
    assert len(fake.started) == 1


def test_a_result_that_was_removed_is_not_made_again_and_again(fake: Jobs, store: Store) -> None:
    fake.before = Job("done")
    test = opened()
    for _ in range(3):
        healthy(test.run())
    assert fake.started == []
    next(one for one in test.button if "again" in one.label).click().run()
    assert len(fake.started) == 1


def test_a_job_that_goes_on_judges_its_pace_by_what_it_did_itself() -> None:
    job = Job("running", done=8500, total=10_000, first=8000, stage_started=100.0, changed=150.0)
    assert job.left == pytest.approx(150.0)
    assert replace(job, first=0).left == pytest.approx(50 * 1500 / 8500)
    assert replace(job, done=8000).left is None
