"""The jobs that pages start: the command parses what its job says, and each result has a job of its own."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from kmex_core import commands
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store, checked_name
from kmex_core.commands import (
    attributes,
    checks,
    comparison,
    conversion,
    datasets,
    embedding_map,
    evaluation,
    patches,
    sweep,
    taking_away,
)
from kmex_core.commands import new as bring
from kmex_core.commands.importing import import_again, import_job
from kmex_core.commands.requests import JobRequest
from kmex_core.commands.training import training_again, training_job
from kmex_core.metrics.catalogue import MAP_METRICS
from kmex_core.models import catalogue
from kmex_core.prototypes.source import SUGGESTED, BuiltIn, KMeans
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.stages.new_model import NewRequest
from kmex_core.stages.subject import Subject, subject_of

MAPS = ",".join(MAP_METRICS)
MANY = ShardedEmbedding(Path("store") / "sharded" / "many", "many", 1, 1, ("a",), ())
WHOLE = NewRequest(
    "mine",
    "torchvision:resnet18",
    DatasetSpec("photos", "", 0, "Even", True, "picture"),
    Path("a folder") / "w.pt",
    "fc",
    "none",
    "imagenet",
)
OF_WHOLE = {
    "images": "photos",
    "model": "torchvision:resnet18",
    "weights": Path("a folder") / "w.pt",
    "head": "fc",
    "classes": "none",
    "preprocess": "imagenet",
    "class_column": "Even",
    "image_column": "picture",
    "skip_broken": True,
}


def parsed(request: JobRequest) -> tuple[str, dict[str, Any]]:
    """The command that a job's arguments call, and the values of its parameters."""
    group = get_command(commands.app)
    assert isinstance(group, TyperGroup)
    name, *rest = request.arguments
    command = group.commands[name]
    values = command.make_context(name, rest).params
    return name, {parameter: None if value == () else value for parameter, value in values.items()}


def defaults(name: str) -> dict[str, Any]:
    group = get_command(commands.app)
    assert isinstance(group, TyperGroup)
    return {parameter.name: parameter.default for parameter in group.commands[name].params if parameter.name}


def requests(digits: Subject, protopnet: Subject) -> list[tuple[JobRequest, str, dict[str, Any]]]:
    """Every job with the command it calls, and the values that are not the command's defaults."""
    both = [(digits, KMeans(4)), (protopnet, BuiltIn()), (protopnet, KMeans(4))]
    weights = Path("a folder") / "w.pt"
    return [
        (conversion.preparation_job(digits, KMeans(5)), "convert", {"model": "digits", "k": 5}),
        (
            conversion.preparation_job(protopnet, KMeans(7, metric="cosine")),
            "convert",
            {"model": "digits-protopnet", "k": 7, "metric": "cosine"},
        ),
        (embedding_map.embedding_map_job(digits), "project", {"model": "digits"}),
        (embedding_map.density_map_job(MANY), "project", {"embeddings": "many"}),
        (sweep.sharded_sweep_job(MANY), "sweep", {"embeddings": "many", "k": "1:10"}),
        (
            sweep.sweep_job(digits, KMeans(4, 3)),
            "sweep",
            {"model": "digits", "k": "1:20", "seed": 3},
        ),
        (
            sweep.sweep_job(digits, KMeans(5, 2, "euclidean")),
            "sweep",
            {"model": "digits", "k": "1:20", "seed": 2, "metric": "euclidean"},
        ),
        (
            sweep.sweep_job(digits, KMeans(SUGGESTED, 2), 5),
            "sweep",
            {"model": "digits", "k": "1:20", "seed": 2, "runs": 5},
        ),
        (patches.patches_job(digits, KMeans(3, 1)), "patches", {"model": "digits", "k": 3, "seed": 1}),
        (patches.patches_job(digits, KMeans(3, 2)), "patches", {"model": "digits", "k": 3, "seed": 2}),
        (
            patches.patches_job(digits, KMeans(3, metric="cosine"), "several"),
            "patches",
            {"model": "digits", "k": 3, "blocks": "several"},
        ),
        (
            attributes.attributes_job(digits, range(1, 5), 3, KMeans(2)),
            "attributes",
            {"model": "digits", "k": "1:4", "runs": 3, "first": 2},
        ),
        (
            attributes.attributes_job(digits, range(1, 5), 1, KMeans(5, metric="whitened")),
            "attributes",
            {"model": "digits", "k": "1:4", "runs": 1, "first": 5, "metric": "whitened"},
        ),
        (
            attributes.attributes_job(protopnet, range(1, 5), 1, KMeans(5)),
            "attributes",
            {"model": "digits-protopnet", "k": "1:4", "first": 5},
        ),
        (attributes.built_in_attributes_job(protopnet), "attributes", {"model": "digits-protopnet", "own": True}),
        (
            evaluation.relevance_maps_job(digits, KMeans(4, 9), 100, 3),
            "evaluate",
            {"model": ["digits"], "metrics": MAPS, "k": 4, "images": 100, "runs": 3},
        ),
        (
            evaluation.relevance_maps_job(digits, KMeans(4), 100, 1),
            "evaluate",
            {"model": ["digits"], "metrics": MAPS, "k": 4, "images": 100},
        ),
        (
            evaluation.relevance_maps_job(digits, KMeans(4), 9000, 1),
            "evaluate",
            {"model": ["digits"], "metrics": MAPS, "k": 4, "images": 500},
        ),
        (
            evaluation.relevance_maps_job(protopnet, BuiltIn(), 100, 1),
            "evaluate",
            {"model": ["digits-protopnet"], "metrics": MAPS, "own": True, "images": 100},
        ),
        (
            checks.map_checks_job(digits, KMeans(4, 2), 100),
            "check",
            {"model": "digits", "k": 4, "seed": 2, "images": 100},
        ),
        (
            checks.map_checks_job(protopnet, BuiltIn(), 200),
            "check",
            {"model": "digits-protopnet", "own": True},
        ),
        (
            evaluation.stability_job(digits, KMeans(4)),
            "evaluate",
            {"model": ["digits"], "metrics": "ghosting", "k": 4, "runs": 3},
        ),
        (
            taking_away.kmex_export("digits", KMeans(4)),
            "export",
            {"model": "digits", "kmex": Path("digits.kmex"), "weights": True, "k": 4},
        ),
        (
            comparison.comparison_job(both, KMeans(4), 300, 2),
            "compare",
            {
                "models": ["digits", "digits-protopnet"],
                "published": False,
                "k": 4,
                "images": 300,
                "runs": 2,
            },
        ),
        (
            comparison.comparison_job(both[1:], KMeans(4), 300, 2),
            "compare",
            {"models": ["digits-protopnet"], "published": False, "k": 4, "images": 300, "runs": 2},
        ),
        (
            training_job("mine", "digits", "blackbox", "resnet20", 0),
            "train",
            {"name": "mine", "dataset": "digits", "backbone": "resnet20"},
        ),
        (
            training_job(
                "-x",
                "/a folder/it's",
                "flint",
                "vgg11_bn",
                4,
                class_column="Wearing Hat",
                epochs=3,
                learning_rate=1e-05,
                k=2,
                imagenet=True,
                skip_broken=True,
            ),
            "train",
            {
                "name": "-x",
                "dataset": "/a folder/it's",
                "kind": "flint",
                "backbone": "vgg11_bn",
                "seed": 4,
                "class_column": "Wearing Hat",
                "epochs": 3,
                "learning_rate": 1e-05,
                "k": 2,
                "imagenet": True,
                "skip_broken": True,
            },
        ),
        (
            import_job("mine", weights, "blackbox", "digits", "resnet18", 5),
            "import",
            {"name": "mine", "checkpoint": weights, "dataset": "digits", "backbone": "resnet18"},
        ),
        (
            import_job(
                "other",
                weights,
                "protovae",
                "digits",
                "resnet18",
                3,
                class_column="Even",
                mean="0.5,0.5,0.5",
                std="-0.2",
                ignore=["aux.*", "loss*"],
                skip_broken=True,
            ),
            "import",
            {
                "name": "other",
                "checkpoint": weights,
                "kind": "protovae",
                "dataset": "digits",
                "backbone": "resnet18",
                "k": 3,
                "class_column": "Even",
                "mean": "0.5,0.5,0.5",
                "std": "-0.2",
                "ignore": ["aux.*", "loss*"],
                "skip_broken": True,
            },
        ),
        (
            datasets.report_job(DatasetSpec("/a folder/it's")),
            "datasets",
            {"check": "/a folder/it's", "as_json": True},
        ),
        (
            datasets.report_job(DatasetSpec("/a folder", "", 0, "Even", True, "picture")),
            "datasets",
            {
                "check": "/a folder",
                "class_column": "Even",
                "image_column": "picture",
                "skip_broken": True,
                "as_json": True,
            },
        ),
        (
            bring.new_job(NewRequest("-x", "timm:test_vit", DatasetSpec("/a folder/it's")), SUGGESTED),
            "new",
            {
                "name": "-x",
                "images": "/a folder/it's",
                "model": "timm:test_vit",
                "k": SUGGESTED,
                "as_json": True,
            },
        ),
        (
            bring.new_job(WHOLE, 7),
            "new",
            {"name": "mine", "k": 7, "as_json": True} | OF_WHOLE,
        ),
        (bring.decision_job(WHOLE, "0123456789ab", "d1"), "new", {"dry_run": True, "as_json": True} | OF_WHOLE),
        (
            bring.decision_job(WHOLE, "0123456789ab", "d2"),
            "new",
            {"dry_run": True, "as_json": True} | OF_WHOLE,
        ),
    ]


@pytest.fixture
def subjects(demo: Store) -> tuple[Subject, Subject]:
    return subject_of(demo, "digits"), subject_of(demo, "digits-protopnet")


def test_every_command_parses_what_its_job_says(subjects: tuple[Subject, Subject]) -> None:
    for request, command, values in requests(*subjects):
        assert parsed(request) == (command, defaults(command) | values)


def test_each_result_has_a_job_of_its_own(subjects: tuple[Subject, Subject]) -> None:
    names = [request.name for request, _, _ in requests(*subjects)]
    assert len(set(names)) == len(names)
    for name in names:
        if not name.endswith("--x"):  # no model can be called that
            assert checked_name(name) == name


def test_what_a_result_does_not_depend_on_gives_the_same_job(subjects: tuple[Subject, Subject]) -> None:
    digits, _ = subjects
    assert sweep.sweep_job(digits, KMeans(3)) == sweep.sweep_job(digits, KMeans(SUGGESTED))
    assert conversion.preparation_job(digits, KMeans(3)).name == conversion.preparation_job(digits, KMeans(4)).name
    more = [evaluation.relevance_maps_job(digits, KMeans(4), images, 1) for images in (500, 501)]
    assert more[0] == more[1], "there are 500 test images"


def test_every_job_is_tried_here(subjects: tuple[Subject, Subject]) -> None:
    modules = [module for module in vars(commands).values() if isinstance(module, ModuleType)]
    builders = {
        name
        for module in modules
        for name, entry in inspect.getmembers(module, inspect.isfunction)
        if inspect.signature(entry).return_annotation == "JobRequest" and entry.__module__ == module.__name__
    }
    source = inspect.getsource(requests)
    assert {name for name in builders if f"{name}(" not in source} == {
        "training_again",
        "import_again",
        "new_again",
        "job_of",
    } & builders
    assert len(builders) > 8


def test_a_job_that_is_started_again_overwrites_nothing(demo: Store) -> None:
    whole = training_job("mine", "digits", "blackbox", "resnet20", 0)
    again = training_again("mine", (*whole.arguments, "--overwrite"), resume=True)
    assert (again.name, parsed(again)[1]["resume"], parsed(again)[1]["overwrite"]) == (whole.name, True, False)
    assert training_again("mine", again.arguments, resume=False) == whole
    imported = import_job("mine", Path("w.pt"), "blackbox", "digits", "resnet20", 5)
    assert import_again("mine", (*imported.arguments, "--overwrite")) == imported
    brought = bring.new_job(WHOLE, 5)
    assert bring.new_again("mine", (*brought.arguments, "--overwrite")) == brought
    assert bring.decision_job(WHOLE, "0", "d") == bring.decision_job(replace(WHOLE, name="other"), "0", "d")
    assert catalogue.has_run(demo, "mine") is False


def test_the_command_line_of_a_job_can_be_pasted_into_a_shell(subjects: tuple[Subject, Subject]) -> None:
    assert conversion.preparation_job(subjects[0], KMeans(5)).command == (
        "python -m kmex_core convert --model digits --k 5 --metric auto"
    )
    awkward = training_job("mine", "it's here", "blackbox", "resnet20", 0).command
    assert "--dataset 'it'\"'\"'s here' " in awkward
