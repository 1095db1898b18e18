"""The demo on real images, on files of the official layouts with made content: nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kmex_core.analysis import projection
from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.data.sources import official
from kmex_core.models import catalogue
from kmex_core.stages import training_runs
from tests.helpers import stores
from tests.helpers.official import WRITERS


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["demo", *arguments])


@pytest.mark.parametrize("name", ["Fashion-MNIST"])
def test_one_command_trains_converts_and_maps_and_repeats_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    WRITERS[name.lower()](tmp_path)
    real = ("--real", name, "--data-root", str(tmp_path), "--k", "1")

    def broken(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(projection, "fit", broken)
        stopped = run(*real)
    assert stopped.exit_code == 130
    assert "about 5 minutes on two cores" in stopped.stderr
    assert "to download" not in stopped.stderr  # it is there
    model = f"{name.lower()}18"
    info = catalogue.describe(store, model)
    assert (info.backbone, info.dataset, info.made_by["recipe"]["epochs"]) == ("resnet18", name.lower(), 1)
    monkeypatch.setattr(training_runs, "train", lambda *_, **__: pytest.fail("it was trained again"))
    answer = json.loads(run(*real, "--json").stdout)
    assert answer["model"] == model
    assert answer["k"] == 1
    assert all(store.names(room) for room in ("projections", "sweeps", "suggestions"))


def test_what_would_be_downloaded_is_said_before(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any) -> None:
        raise InputError("MNIST could not be downloaded.")

    monkeypatch.setattr(official, "_download", offline)
    result = run("--real", "mnist", "--data-root", str(tmp_path))
    assert result.exit_code == 2
    assert "12 MB to download" in result.stderr.partition("could not be downloaded")[0]


def test_a_demo_that_there_is_not_and_a_name_that_is_taken(store: Store) -> None:
    unknown = run("--real", "mnits")
    assert unknown.exit_code == 2
    assert "did you mean 'mnist'" in unknown.stderr
    other = run("--real", "cifar10")
    assert "known: fashion-mnist, mnist" in other.stderr
    both = run("--real", "mnist", "--large", "10")
    assert both.exit_code == 2
    assert "give one of them" in both.stderr
    stores.put(store, "mnist18")
    taken = run("--real", "mnist")
    assert taken.exit_code == 2
    assert "'mnist18' in the store is of digits" in taken.stderr
