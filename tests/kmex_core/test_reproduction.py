"""The paper's tables reproduced on tiny made data: interrupted anywhere, resumed, stored, and said what is missing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from dataclasses import dataclass
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
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.relevance.catalogue import PUBLISHED
from kmex_core.reproduction import beside, cells, plan, recipes, runs, stored, trainings
from kmex_core.reproduction.defects import Defects
from kmex_core.reproduction.plan import Plan, Training, Wanted
from kmex_core.reproduction.runs import reproduce
from kmex_core.reproduction.trainings import Workshop
from kmex_core.reproduction.types import Cell, CurveRow, DefectRow, Measured, Report, Setting
from kmex_core.stages import upkeep
from kmex_core.stages.subject import Subject, subject_of
from kmex_core.stages.training_runs import TrainRequest, train
from tests.helpers.official import write_idx

EPOCHS = 1
WANTED = Wanted(("mnist", "svhn"), (3, 5, 6), runs=1)
PROTOPNET = "reproduce-mnist-protopnet-0-resnet20"


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Trainings and relevance maps of a moment: a small network, few epochs, two images."""
    patch.setattr(plan, "NETWORKS", ("resnet20",))
    for module in (plan, recipes, cells):
        patch.setattr(module, "paper_epochs", lambda kind, name: EPOCHS)
        patch.setattr(module, "MAP_IMAGES", 2)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data root with 30 training and 10 test images that take MNIST's place."""
    folder = tmp_path_factory.mktemp("data")
    write_idx(folder, "MNIST")
    return str(folder)


@dataclass(frozen=True)
class Undisturbed:
    """A reproduction that nothing disturbed, of a black box and a model with built-in prototypes."""

    store: Store
    report: Report
    events: tuple[tuple[str, str], ...]
    told: tuple[str, ...]


def two_kinds(patch: pytest.MonkeyPatch) -> None:
    shrink(patch)
    patch.setattr(plan, "kinds_of", lambda tables: ["blackbox", "protopnet"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, root: str) -> Undisturbed:
    store, events, told = Store(tmp_path_factory.mktemp("store")), dict[tuple[str, str], None](), list[str]()

    def listen(event: Event) -> None:
        events[event.stage, event.group] = None

    with pytest.MonkeyPatch.context() as patch:
        two_kinds(patch)
        report = reproduce(store, WANTED, data_root=root, progress=listen, tell=told.append)
    return Undisturbed(store, report, tuple(events), tuple(told))


def timeless(report: Report) -> dict[str, Any]:
    """A report without what depends on when and how fast it was made."""
    values = dataclasses.asdict(report)
    for setting in values["settings"]:
        del setting["seconds"], setting["images_per_second"]
    del values["date"], values["command"]
    return values


def test_every_cell_is_filled_or_explained(undisturbed: Undisturbed) -> None:
    expected = [each for each in figures() if each.dataset in ("MNIST", "SVHN") and each.table in WANTED.tables]
    assert len(undisturbed.report.cells) == len(expected)
    by = {(each.table, each.metric, each.model, each.dataset): each for each in expected}
    for cell in undisturbed.report.cells:
        paper = by[cell.table, cell.metric, cell.model, cell.dataset]
        assert (cell.mean, cell.std) == (paper.mean, paper.std)
        here = cell.dataset == "MNIST" and (
            "ResNet34" in cell.model or "R34" in cell.model or "ProtoPNet" in cell.model
        )
        assert (cell.published is not None) == here == (not cell.missing), cell
        assert bool(cell.short) == here
    assert [(of.dataset, of.kind, of.epochs, of.imagenet, of.runs) for of in undisturbed.report.settings] == [
        ("MNIST", "blackbox", EPOCHS, False, 1),
        ("MNIST", "protopnet", EPOCHS, False, 1),
    ]
    assert undisturbed.report.left == ()
    assert any("could not be had, so trainings start from random weights" in each for each in undisturbed.told)
    assert any("kmex datasets --check svhn" in each for each in undisturbed.told)


def test_interrupted_in_every_stage_and_resumed_it_is_the_same_report(
    undisturbed: Undisturbed, store: Store, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_kinds(monkeypatch)
    first = dict(reversed(undisturbed.events))  # of each stage the first that occurs
    waiting = {*first.items(), *(each for each in undisturbed.events if each[0] == "Epoch")}

    def stop(event: Event) -> None:
        if (event.stage, event.group) in waiting:
            waiting.remove((event.stage, event.group))
            raise KeyboardInterrupt

    resumed, attempts = None, 0
    while resumed is None:
        with contextlib.suppress(KeyboardInterrupt):
            resumed = reproduce(store, WANTED, data_root=root, resume=attempts > 0, progress=stop)
        attempts += 1
    assert waiting == set()
    assert attempts > 8
    assert timeless(resumed) == timeless(undisturbed.report)
    assert upkeep.verify(store).damaged == upkeep.verify(store).unknown == []


def test_what_is_there_is_not_done_again(undisturbed: Undisturbed, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    two_kinds(monkeypatch)
    store = undisturbed.store
    # another black box of the same data, which comes first in the store: maps are not compared with its maps
    info = catalogue.describe(store, "reproduce-mnist-blackbox-0-resnet20")
    catalogue.save(store, dataclasses.replace(info, name="a"), catalogue.build(info))

    def nothing(event: Event) -> None:
        pytest.fail(f"done again: {event.text}")

    with pytest.raises(InputError, match=r"is in the store, of 20\d\d.*--resume"):
        reproduce(store, WANTED, data_root=root)
    again = reproduce(store, WANTED, data_root=root, resume=True, progress=nothing)
    assert timeless(again) == timeless(undisturbed.report)


def test_the_figures_are_those_of_the_artifacts(undisturbed: Undisturbed, root: str) -> None:
    store, by = undisturbed.store, {(cell.table, cell.model): cell for cell in undisturbed.report.cells[:20]}
    subject = subject_of(store, "reproduce-mnist-blackbox-0-resnet20", root)
    published, second = (subject.conversion(KMeans(5, 0, metric)).get().summary for metric in ("euclidean", "auto"))
    by = {(cell.table, cell.model): cell for cell in undisturbed.report.cells if cell.dataset == "MNIST"}
    assert by[3, "R34+KMEx"].published == Measured("accuracy", (published.accuracy_kmex,))
    assert by[3, "R34+KMEx"].second == Measured("accuracy", (second.accuracy_kmex,))
    assert by[3, "ResNet34"].published == Measured("accuracy", (published.accuracy_black_box or 0.0,))
    assert by[3, "ResNet34"].second is None, "it is the same"
    assert by[5, "ProtoPNet"].published == Measured("ghosting", (ghosts(subject_of(store, PROTOPNET, root)),))

    divergence, maps = by[6, "ProtoPNet"].published, by[6, "R34+KMEx"].published
    assert divergence is not None
    assert maps is not None
    levels = ["a uniform map", "another image's map", "the runner-up class's map"]
    assert [name for name, _ in divergence.chance] == [name for name, _ in maps.chance] == levels
    scores = subject.relevance_scores(KMeans(5, 0, "euclidean"), 2, 0, PUBLISHED).peek()
    assert scores is not None
    assert list(maps.values) == pytest.approx([scores.divergence.mean()])
    assert maps.over_images == pytest.approx(scores.divergence.std())
    assert dict(maps.chance)["a uniform map"] == pytest.approx(scores.divergence_uniform.mean())
    newer = subject.relevance_scores(KMeans(5, 0, "auto"), 2, 0).peek()
    assert newer is not None, "the second edition has its own maps"
    by_second = by[6, "R34+KMEx"].second
    assert by_second is not None
    assert list(by_second.values) == pytest.approx([newer.divergence.mean()])
    assert {"1 of 5 runs", "random initial weights", "30 of 60,000 training images"} <= set(by[6, "ProtoPNet"].short)


def ghosts(subject: Subject) -> float:
    return subject.conversion(BuiltIn()).get().summary.ghosting


def test_a_training_that_diverges_is_told_and_the_others_go_on(
    store: Store, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(store: Store, request: TrainRequest, **options: Any) -> Any:
        if request.recipe.kind == "protopnet":
            raise TrainingError("The loss became nan.")
        return train(store, request, **options)

    two_kinds(monkeypatch)
    monkeypatch.setattr("kmex_core.reproduction.trainings.train", diverges)
    report = reproduce(store, Wanted(("mnist",), (5,), 1), data_root=root)
    missing = {cell.model: cell.missing for cell in report.cells if cell.model in ("ProtoPNet", "R34+KMEx")}
    why = "ProtoPNet on MNIST could not be trained: The loss became nan."
    assert missing == {"ProtoPNet": why, "R34+KMEx": ""}
    assert report.left == (why,)


def test_a_budget_is_planned_by_the_speed_of_this_machine(
    store: Store, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_kinds(monkeypatch)
    told: list[str] = []
    wanted = Wanted(("mnist",), (5,), 2, budget=600.0)
    report = reproduce(store, wanted, data_root=root, tell=told.append)
    assert any("images of 32×32 pixels a second here" in sentence for sentence in told)
    assert any(sentence.startswith("Planned: 4 trainings") for sentence in told)
    assert [len(cell.published.values) for cell in report.cells if cell.published] == [2] * 2
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
    done: list[Training] = []
    trainings.train_all(workshop, [one], lambda training, _: done.append(training))
    late = dataclasses.replace(workshop, until=0.0)
    trainings.train_all(late, [two, one], lambda training, _: done.append(training))
    assert done == [one, one], "what is trained is given"
    info = catalogue.describe(store, one.name)
    other = dataclasses.replace(info, name=two.name, made_by={**info.made_by, "data": f"{info.made_by['data']}0"})
    catalogue.save(store, other, catalogue.load(store, one.name).model)
    with pytest.raises(InputError, match=rf"{two.name}.*delete --model {two.name}"):
        trainings.train_all(workshop, [two], lambda *_: None)


def test_on_a_card_trainings_run_by_its_scheduler_and_stop_in_time(
    store: Store, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainings, "_on_card", lambda device: True)  # the scheduler trains one at a time on a CPU
    data = recipes.opened("mnist", root)
    assert not isinstance(data, str)
    todo = [Training("mnist", "blackbox", run, "resnet20", EPOCHS) for run in (0, 1)]
    found: dict[Training, Any] = {}
    workshop = Workshop(store, {"mnist": data}, root, "cpu", "test", imagenet=False)
    trainings.train_all(dataclasses.replace(workshop, until=0.0), todo, found.__setitem__)
    assert found == {}
    trainings.train_all(workshop, todo, found.__setitem__)
    assert [info.name for info in found.values()] == [training.name for training in todo]
    assert [info.made_by["recipe"]["seed"] for info in found.values()] == [0, 1]


def test_the_whole_paper_has_defects_and_figure_5_beside_its_tables(
    store: Store, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_kinds(monkeypatch)
    monkeypatch.setattr(runs, "TABLES", (5,))
    asked: list[tuple[str, Any, float]] = []

    def defects(subject: Subject, source: Any, images: int, minutes: float) -> Defects:
        asked.append((subject.info.name, source, minutes))
        return Defects(REPORT.defects, ("One is left.",))

    monkeypatch.setattr(beside, "defects", defects)
    report = reproduce(store, Wanted(("mnist",), (5,), 1), data_root=root)
    assert asked == [("reproduce-mnist-blackbox-0-resnet20", KMeans(5, 0, "euclidean"), float("inf"))]
    assert report.defects == REPORT.defects
    assert report.curve == ()
    assert report.left == ("One is left.", beside.NO_FACES)


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
    assert upkeep.verify(store).damaged == upkeep.verify(store).unknown == []
    assert upkeep.needless(store) == []


VALUES: dict[str, Any] = json.loads(write_json(dataclasses.asdict(REPORT)))
BROKEN: list[Any] = [
    {**VALUES, "cells": [{**VALUES["cells"][0], "table": "three"}]},
    {**VALUES, "cells": [{**VALUES["cells"][0], "mean": None}]},
    {**VALUES, "more": 1},
    {**VALUES, "settings": 5},
    {**VALUES, "machine": [["cores"]]},
    [],
]


@pytest.mark.parametrize("values", BROKEN)
def test_what_is_no_report_is_left_aside(store: Store, values: Any) -> None:
    spec = stored.spec_of(WANTED)
    described = {"report": values, "plan": dataclasses.asdict(Plan())}
    store.put(REPRODUCTIONS, spec.key, {}, {"spec": spec.described(), **described})
    assert stored.load(store, WANTED) is None


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


def test_the_command_prints_a_report_and_writes_a_page(store: Store, root: str, tmp_path: Path) -> None:
    arguments = ["reproduce", "--datasets", "mnist,svhn", "--tables", "5", "--runs", "1", "--data-root", root]
    result = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "4 of 8 figures of the paper were measured." in result.stdout
    assert "Table 5: Ghost prototypes" in result.stdout
    assert re.search(r"MNIST +R34\+KMEx .*(reproduced|differs)", result.stdout)
    assert "SVHN is not in the data root. `kmex datasets --check svhn` downloads it" in result.stdout
    assert "ImageNet weights of resnet20 could not be had" in result.stderr
    again = CliRunner().invoke(app, [*arguments, "--json"])
    assert again.exit_code == 2
    assert "--resume" in json.loads(again.stdout)["error"]
    page = tmp_path / "page.md"
    resumed = CliRunner().invoke(app, [*arguments, "--resume", "--json", "--out", str(page)])
    assert resumed.exit_code == 0, resumed.output
    answer = json.loads(resumed.stdout)
    assert {cell["dataset"] for cell in answer["cells"] if cell["published"]} == {"MNIST"}
    assert answer["settings"][0]["notes"]
    outcomes = {cell["dataset"]: of["outcome"] for cell, of in zip(answer["cells"], answer["verdicts"], strict=True)}
    assert outcomes["SVHN"] == "cannot be had"
    assert str(page) in answer["files"]
    assert all(Path(file).is_file() for file in answer["files"])
    assert "kmex datasets --check svhn" in page.read_text()
