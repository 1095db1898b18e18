"""The paper's tables reproduced on tiny made data: interrupted anywhere, resumed, stored, and said what is missing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kmex_core.analysis.published import figures
from kmex_core.base.errors import InputError, TrainingError
from kmex_core.base.jsontext import write_json
from kmex_core.base.location import REPRODUCTIONS
from kmex_core.base.progress import Event
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.models import catalogue
from kmex_core.reproduction import cells, plan, recipes, runs, stored, trainings
from kmex_core.reproduction.plan import Plan, Training, Wanted
from kmex_core.reproduction.runs import reproduce
from kmex_core.reproduction.trainings import Workshop
from kmex_core.reproduction.types import Cell, CurveRow, DefectRow, Measured, Report, Setting
from kmex_core.stages import upkeep
from tests.helpers.official import write_idx

EPOCHS = 2
WANTED = Wanted(("mnist", "svhn"), (3, 4, 5, 6), runs=1)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of a moment: a small network, for few epochs."""
    monkeypatch.setattr(plan, "NETWORKS", ("resnet20",))
    for module in (plan, recipes, cells):
        monkeypatch.setattr(module, "paper_epochs", lambda kind, name: EPOCHS)


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A data root with 30 training and 10 test images that take MNIST's place."""
    write_idx(tmp_path / "data", "MNIST")
    return str(tmp_path / "data")


def timeless(report: Report) -> dict[str, Any]:
    """A report without what depends on when and how fast it was made."""
    values = dataclasses.asdict(report)
    for setting in values["settings"]:
        del setting["seconds"], setting["images_per_second"]
    del values["date"], values["command"]
    return values


def test_interrupted_at_every_stage_and_resumed_it_is_the_same_report(
    tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: set[tuple[str, str]] = set()

    def listen(event: Event) -> None:
        events.add((event.stage, event.group))

    told: list[str] = []
    whole = Store(tmp_path / "whole")
    undisturbed = reproduce(whole, WANTED, data_root=root, progress=listen, tell=told.append)

    assert any("could not be had, so trainings start from random weights" in sentence for sentence in told)
    assert any("kmex datasets --check svhn" in sentence for sentence in told)
    expected = [each for each in figures() if each.dataset in ("MNIST", "SVHN") and each.table in WANTED.tables]
    assert len(undisturbed.cells) == len(expected)
    for cell in undisturbed.cells:
        assert (cell.published is None) == (cell.dataset == "SVHN") == bool(cell.missing), cell
        paper = next(
            each
            for each in expected
            if (each.metric, each.model, each.dataset, each.table)
            == (cell.metric, cell.model, cell.dataset, cell.table)
        )
        assert (cell.mean, cell.std) == (paper.mean, paper.std)
    assert [(setting.dataset, setting.kind, setting.epochs, setting.imagenet) for setting in undisturbed.settings] == [
        ("MNIST", kind, EPOCHS, False) for kind in ("blackbox", "protopnet", "flint", "protovae")
    ]
    assert undisturbed.left == ()

    waiting = set(events)

    def stop(event: Event) -> None:
        if (event.stage, event.group) in waiting:
            waiting.remove((event.stage, event.group))
            raise KeyboardInterrupt

    interrupted, resumed, attempts = Store(tmp_path / "parts"), None, 0
    while resumed is None:
        with contextlib.suppress(KeyboardInterrupt):
            resumed = reproduce(interrupted, WANTED, data_root=root, resume=attempts > 0, progress=stop)
        attempts += 1
    assert attempts > 20, "every stage of every training was interrupted"
    assert timeless(resumed) == timeless(undisturbed)
    assert stored.load(interrupted, WANTED) == (resumed, stored.load(whole, WANTED)[1])  # type: ignore[index]

    # what is there is not done again
    def nothing(event: Event) -> None:
        pytest.fail(f"{event.text} is done again") if event.stage == "Epoch" else None

    assert timeless(reproduce(whole, WANTED, data_root=root, resume=True, progress=nothing)) == timeless(undisturbed)
    with pytest.raises(InputError, match=r"is in the store, of 20\d\d.*--resume"):
        reproduce(whole, WANTED, data_root=root)
    assert upkeep.verify(whole).damaged == upkeep.verify(whole).unknown == []


def test_the_figures_are_those_of_the_evaluation(store: Store, root: str) -> None:
    """Of the black box and of a model with built-in prototypes, beside the black box of the same run."""
    from kmex_core.prototypes.source import BuiltIn, KMeans
    from kmex_core.relevance.catalogue import PUBLISHED
    from kmex_core.stages.subject import subject_of

    wanted = Wanted(("mnist",), (3, 6), runs=2)
    report = reproduce(store, wanted, data_root=root)
    # another black box of the same data, which comes first in the store
    other = catalogue.describe(store, "reproduce-mnist-blackbox-1-resnet20")
    catalogue.save(store, dataclasses.replace(other, name="a"), catalogue.load(store, other.name).model)
    again = reproduce(store, wanted, data_root=root, resume=True)
    assert timeless(again) == timeless(report)

    for cell in report.cells:
        assert cell.published is not None
        assert len(cell.published.values) == 2
    by = {(cell.table, cell.model): cell for cell in report.cells}
    for run in (0, 1):
        subject = subject_of(store, f"reproduce-mnist-blackbox-{run}-resnet20", root)
        published, second = (
            subject.conversion(KMeans(5, run, metric)).get().summary for metric in ("euclidean", "auto")
        )
        accuracy = by[3, "R34+KMEx"]
        assert accuracy.published is not None
        assert accuracy.second is not None
        assert accuracy.published.values[run] == published.accuracy_kmex
        assert accuracy.second.values[run] == second.accuracy_kmex
        black_box = by[3, "ResNet34"]
        assert black_box.published is not None
        assert black_box.published.values[run] == published.accuracy_black_box
        assert black_box.second is None, "it is the same"

        divergence = by[6, "ProtoPNet"]
        assert divergence.published is not None
        assert [name for name, _ in divergence.published.chance] == [
            "a uniform map",
            "another image's map",
            "the runner-up class's map",
        ]
        protopnet = subject_of(store, f"reproduce-mnist-protopnet-{run}-resnet20", root)
        beside = runs._Beside(store, protopnet.info, protopnet.data, black_box=subject.info)
        found = beside.reference_divergence(maps=PUBLISHED, seed=run)
        assert found is not None
        scores = found.peek()
        assert scores is not None, "it was compared with the black box of the same run"
        assert divergence.published.values[run] == pytest.approx(scores.divergence.mean())
        assert beside.conversion(BuiltIn()).exists()
    assert "2 of 5 runs" in by[3, "ResNet34"].short
    assert "random initial weights" in by[3, "ResNet34"].short
    assert "30 of 60,000 training images" in by[3, "ResNet34"].short


def test_a_training_that_diverges_is_told_and_the_others_go_on(
    store: Store, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = trainings._trained

    def diverges(workshop: Workshop, training: Training) -> Any:
        if training.kind == "protopnet":
            raise TrainingError("The loss became nan.")
        return train(workshop, training)

    monkeypatch.setattr(trainings, "_trained", diverges)
    report = reproduce(store, Wanted(("mnist",), (5,), 1), data_root=root)
    missing = {cell.model: cell.missing for cell in report.cells}
    why = "ProtoPNet on MNIST could not be trained: The loss became nan."
    assert missing == {"ProtoPNet": why, "FLINT": "", "ProtoVAE": "", "R34+KMEx": ""}
    assert report.left == (why,)


def test_a_budget_is_planned_by_the_speed_of_this_machine(store: Store, root: str) -> None:
    told: list[str] = []
    wanted = Wanted(("mnist",), (5,), 1, budget=600.0)
    report = reproduce(store, wanted, data_root=root, tell=told.append)
    assert any("images of 32×32 pixels a second here" in sentence for sentence in told)
    assert any(sentence.startswith("Planned: 4 trainings") for sentence in told)
    assert all(cell.published is not None for cell in report.cells)
    assert report.budget == 600.0
    # no time at all: everything is named, nothing is trained
    nothing = reproduce(store, dataclasses.replace(wanted, budget=1e-6), data_root=root)
    assert nothing.left == ("Not one training fits into 1e-06 minutes.",)
    assert all("budget of 1e-06 minutes" in cell.missing for cell in nothing.cells)


def test_no_training_begins_when_the_time_is_over(store: Store, root: str) -> None:
    data = recipes.opened("mnist", root)
    assert not isinstance(data, str)
    one, two = (Training("mnist", "blackbox", run, "resnet20", EPOCHS) for run in (0, 1))
    workshop = Workshop(store, {"mnist": data}, root, "cpu", "test", imagenet=False)
    assert [each for each, _ in trainings.trained(workshop, [one])] == [one]
    late = dataclasses.replace(workshop, until=0.0)
    assert [each for each, _ in trainings.trained(late, [two, one])] == [one], "what is trained is given"
    info = catalogue.describe(store, one.name)
    other = dataclasses.replace(info, name=two.name, made_by={**info.made_by, "data": f"{info.made_by['data']}0"})
    catalogue.save(store, other, catalogue.load(store, one.name).model)
    with pytest.raises(InputError, match=rf"{two.name}.*delete --model {two.name}"):
        list(trainings.trained(workshop, [two]))


# ---- reports in the store -------------------------------------------------------------------------------------------


REPORT = Report(
    "kmex reproduce",
    "2026-11-28T20:00:00+00:00",
    (("cores", "2"),),
    (("torch", "2"),),
    60.0,
    (Setting("MNIST", "blackbox", "resnet34", False, 1, 10, 1, 5, 60_000, 10_000, 1.5, 2.5, "cpu", ("A note.",)),),
    (
        Cell(
            3, "accuracy", "ResNet34", "MNIST", 0.994, 0.0, Measured("accuracy", (0.9, 1.0)), None, "", ("1 of 5 runs",)
        ),
        Cell(6, "faithfulness", "R34+KMEx", "MNIST", 0.1, 0.1, Measured("faithfulness", (0.5,), 0.1, (("x", 0.2),))),
        Cell(5, "ghosting", "FLINT", "SVHN", 0.1, 0.1, missing="Not there."),
    ),
    (DefectRow("It rounds.", "D_dvs ↓", 0.4, 0.01, None, "MNIST", "R34+KMEx", "It matters."),),
    (CurveRow("FLINT", 5, 10.0, 40, 8.0, 12.5),),
    "Sprites",
    ("ProtoVAE.",),
)


def test_a_report_comes_back_as_it_was_stored(store: Store) -> None:
    planned = Plan((plan.Part("mnist", "blackbox", "resnet34", 1, 2),), 100, False, 12.5, False, ("mnist",), ("Cut.",))
    stored.save(store, WANTED, REPORT, planned)
    assert stored.load(store, WANTED) == (REPORT, planned)
    assert stored.load(store, dataclasses.replace(WANTED, budget=60)) is None
    newer = dataclasses.replace(REPORT, date="2026-11-29T20:00:00+00:00")
    stored.save(store, dataclasses.replace(WANTED, budget=60.0), newer, planned)
    assert stored.reports(store) == [newer, REPORT]
    assert upkeep.verify(store).damaged == upkeep.verify(store).unknown == []
    assert upkeep.needless(store) == []


def _broken() -> Iterator[Any]:
    values = json.loads(write_json(dataclasses.asdict(REPORT)))
    yield {**values, "cells": [{**values["cells"][0], "table": "three"}]}
    yield {**values, "cells": [{**values["cells"][0], "mean": None}]}
    yield {**values, "more": 1}
    yield {**values, "settings": 5}
    yield {**values, "machine": [["cores"]]}
    yield []


@pytest.mark.parametrize("values", _broken())
def test_what_is_no_report_is_left_aside(store: Store, values: Any) -> None:
    spec = stored.spec_of(WANTED)
    described = {"report": values, "plan": dataclasses.asdict(Plan())}
    store.put(REPRODUCTIONS, spec.key, {}, {"spec": spec.described(), **described})
    assert stored.load(store, WANTED) is None
    assert stored.reports(store) == []


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tables", "2-8"], "Invalid --tables '2-8'"),
        (["--tables", "8-3"], "Invalid --tables '8-3'"),
        (["--tables", "3;4"], "Invalid --tables '3;4'"),
        (["--datasets", "mnist,cifar"], "no data set of the paper named 'cifar'"),
        (["--runs", "0"], "--runs"),
        (["--budget", "-1"], "--budget"),
        (["--out", "taken.md"], "already exists"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.md").write_text("mine")
    result = CliRunner().invoke(app, ["reproduce", *arguments, "--json"])
    assert result.exit_code == 2, result.output
    assert message in json.loads(result.stdout)["error"]
    assert Path("taken.md").read_text() == "mine"


def test_the_command_prints_a_report(store: Store, root: str) -> None:
    arguments = ["reproduce", "--datasets", "mnist,svhn", "--tables", "5", "--runs", "1", "--data-root", root]
    result = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "4 of 8 figures of the paper were measured." in result.stdout
    assert "Table 5: Ghost prototypes" in result.stdout
    assert "SVHN is not in the data root. `kmex datasets --check svhn` downloads it" in result.stdout
    assert "ImageNet weights of resnet20 could not be had" in result.stderr
    again = CliRunner().invoke(app, [*arguments, "--json"])
    assert again.exit_code == 2
    assert "--resume" in json.loads(again.stdout)["error"]
    resumed = CliRunner().invoke(app, [*arguments, "--resume", "--json"])
    assert resumed.exit_code == 0, resumed.output
    answer = json.loads(resumed.stdout)
    assert {cell["dataset"] for cell in answer["cells"] if cell["published"]} == {"MNIST"}
    assert answer["settings"][0]["notes"]
