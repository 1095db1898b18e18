"""A read-only server, and the folders that pages may open."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import streamlit as st

from app import access
from app.components.models import jobs as model_jobs
from app.routes import pictures, workspace
from app.workspace import catalogue
from app.workspace.answer import Asked
from kmex_core.base import jobs
from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.commands.importing import import_job
from kmex_core.commands.training import training_job
from kmex_core.data import opened
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.conversion import ModelConversion
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.datasets import write_folder
from tests.helpers.pages import Page, button, healthy
from tests.helpers.stores import converted, snapshot


@pytest.fixture(scope="module")
def demo_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for these tests alone: jobs that other tests have started may still write to theirs."""
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(converted(tmp_path_factory, "digits"), root, dirs_exist_ok=True)
    return root


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Processes that were started; none really is."""
    started: list[Any] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **_: started.append(arguments))
    return started


@pytest.mark.parametrize(
    ("value", "on"),
    [("1", True), ("true", True), ("YES", True), ("anything", True), ("0", False), ("", False), ("False", False),
     (" off ", False), ("no", False)],
)  # fmt: skip
def test_what_switches_read_only_on(value: str, on: bool, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMEX_READ_ONLY", value)
    if on:
        with pytest.raises(InputError, match="KMEX_READ_ONLY"):
            jobs.start(store, "train-x", ["train"])
        assert not store.root.exists()
    else:
        store.put("prototypes", "x", {}, {})
        assert store.get("prototypes", "x") == ({}, {})


def changes(store: Store, info: ModelInfo) -> dict[str, Callable[[], object]]:
    """Everything that the pages, or somebody in their place, could change in a store."""
    forged_import = partial(import_job, "forged", kind="blackbox", dataset="digits", backbone="resnet20", k=5)
    return {
        "train": lambda: model_jobs.start_training(training_job("forged", "digits", "blackbox", "resnet20", 0)),
        "import": lambda: model_jobs.start_import("forged", forged_import, None),
        "any job": lambda: jobs.start(store, "sweep-forged", ["sweep"]),
        "stop": lambda: jobs.stop(store, "train-mine"),
        "forget": lambda: jobs.forget(store, "train-mine"),
        "rename": lambda: models.rename(store, "mine", "forged"),
        "delete": lambda: models.delete(store, "mine"),
        "save": lambda: models.save(store, info, models.load(store, "mine").model),
        "put": lambda: store.put("models", "forged", {}, {}),
        "lock": lambda: store.locked("runs", "forged").__enter__(),
    }


def test_nothing_changes_a_read_only_store(
    store: Store, no_processes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    info = models.describe(store, "digits")
    models.save(store, info, models.load(store, "digits").model)
    models.rename(store, "digits", "mine")
    (store.root / "jobs").mkdir()
    jobs._write(store.root / "jobs" / "train-mine.json", jobs.Job("failed", message="The job failed."))
    st.cache_resource.clear()
    monkeypatch.setenv("KMEX_READ_ONLY", "1")
    before = snapshot(store.root)
    for what, change in changes(store, info).items():
        with pytest.raises(InputError, match="read-only"):
            change()
        assert snapshot(store.root) == before, what
    assert no_processes == []


def test_forged_events_change_nothing(
    page: Page, demo: Store, no_processes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    writable = page("models")
    writable.text_input(key="train-name").set_value("forged")
    events = button(writable, "Train").click()
    assert events is not None
    clicked = writable._tree.get_widget_states()
    monkeypatch.setenv("KMEX_READ_ONLY", "1")
    before = snapshot(demo.root)
    healthy(writable._run(clicked))  # a page that was open before
    healthy(page("models")._run(clicked))  # one that never had the form
    assert snapshot(demo.root) == before
    assert no_processes == []
    monkeypatch.delenv("KMEX_READ_ONLY")
    page("models")._run(clicked)
    assert len(no_processes) == 1, "the same events train a model where that is allowed"
    jobs._paths(demo, "train-forged").report.unlink()


@pytest.mark.parametrize(
    "view",
    ["home", "explore", "prototypes", "numbers", "audit", "attributes", "compare", "explain", "models"],
)
def test_every_page_works_on_a_read_only_server(
    view: str, page: Page, demo: Store, no_processes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMEX_READ_ONLY", "1")
    before = snapshot(demo.root)
    test = healthy(page(view, k="5"))
    labels = {one.label for one in test.button}
    assert not labels & {"Train", "Import", "Rename", "Delete", "Stop", "Try again", "Dismiss"}
    assert not any(label.startswith(("Measure", "Find", "Add")) for label in labels)
    assert snapshot(demo.root) == before
    assert no_processes == []


def test_a_conversion_that_is_not_there_is_made_and_held_in_memory(
    page: Page, demo: Store, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMEX_READ_ONLY", "1")
    before = snapshot(demo.root)
    test = healthy(page("prototypes", k="19"))  # which no other test has made
    assert test.title[0].value == "Prototypes"
    data = dataset_of(digits)
    spec = Subject(demo, digits, data).conversion(KMeans(19)).spec
    assert not demo.path("prototypes", spec.key).exists()
    asked = Asked(spec.key, {"source": "kmeans:19:0:auto"})
    assert catalogue.read(workspace.subject_of("digits"), "layer", asked).content, "the map is served what is held"
    assert snapshot(demo.root) == before
    held = ModelConversion.stored(demo, spec.key)
    monkeypatch.delenv("KMEX_READ_ONLY")
    assert held is not None
    assert ModelConversion.stored(demo, spec.key) is None, "a writable process reads what is on disk"


def test_a_model_that_was_not_prepared_says_who_can(
    page: Page, store: Store, no_processes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMEX_READ_ONLY", "1")
    test = healthy(page("prototypes"))  # `store` is empty, and the default store
    assert any("read-only" in one.value for one in test.info)
    assert any("python -m kmex_core" in one.value for one in test.code)
    assert not store.root.exists()
    assert no_processes == []


def test_nothing_is_downloaded_by_a_read_only_server(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMEX_READ_ONLY", "1")
    with pytest.raises(InputError, match="downloads nothing"):
        opened.dataset(DatasetSpec("mnist"))
    assert not store.root.exists()


def serve(monkeypatch: pytest.MonkeyPatch, address: str, hosts: list[str] | None = None) -> None:
    options = {"server.address": address, "server.allowedHosts": ["localhost", "127.0.0.1", "::1"] + (hosts or [])}
    real = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: options[name] if name in options else real(name))


def test_a_server_for_this_machine_only_opens_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("127.0.0.1", "localhost", "::1", "127.0.0.8"):
        serve(monkeypatch, address)
        assert access.data_roots() is None, address
        assert access.dataset_to_open(str(tmp_path)) == str(tmp_path)


@pytest.mark.parametrize(
    ("address", "hosts"),
    [("0.0.0.0", []), ("", []), ("::", []), ("192.168.0.5", []), ("kmex.example.org", []), ("unix:///run/kmex", []),
     ("127.0.0.1", ["kmex.example.org"])],
)  # fmt: skip
def test_a_server_that_others_reach_opens_the_data_root_only(
    address: str, hosts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for folder in (root / "photos", elsewhere):
        folder.mkdir(parents=True)
    monkeypatch.setenv("KMEX_DATA", str(root))
    serve(monkeypatch, address, hosts)
    assert access.dataset_to_open("mnist") == "mnist"
    assert access.dataset_to_open("photos") == str(root / "photos")
    assert access.dataset_to_open(str(root / "photos")) == str(root / "photos")
    with pytest.raises(InputError, match="KMEX_DATA_ROOTS"):
        access.dataset_to_open(str(elsewhere))


def test_named_folders_and_nothing_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other, outside = tmp_path / "one", tmp_path / "other", tmp_path / "one-more"
    for folder in (one / "in" / "deep", other, outside / "photos"):
        folder.mkdir(parents=True)
    (outside / "list.parquet").write_bytes(b"")
    (one / "list.parquet").write_bytes(b"")
    (one / "away").symlink_to(outside)
    (outside / "home").symlink_to(one / "in")
    (outside / "of-one.parquet").symlink_to(one / "list.parquet")
    monkeypatch.setenv("KMEX_DATA_ROOTS", os.pathsep.join([str(one), "", str(other) + "/"]))
    monkeypatch.setenv("KMEX_DATA", str(outside))
    monkeypatch.chdir(outside)
    opened = {
        str(one): one,
        f"{one}/in/deep": one / "in/deep",
        f"{one}/in/../in": one / "in",
        f"{other}/": other,
        f"{one}/list.parquet": one,
        f"{outside}/home": one / "in",
        "home/deep": one / "in" / "deep",
        f"{one}/not-there": one / "not-there",
    }
    for name, folder in opened.items():
        assert access.dataset_to_open(name) == str(folder), name
    refused = [
        str(outside),
        str(tmp_path),
        "/",
        "..",
        ".",
        f"{one}/..",
        f"{one}/../one-more",
        f"{one}/away",
        f"{one}/away/photos",
        f"{outside}/list.parquet",
        f"{outside}/of-one.parquet",
        "photos",
        "list.parquet",
        f"{outside}/not-there",
        "~",
        "~root",
        "",
        " ",
        "/proc/self/root",
        "//etc",
    ]
    for name in refused:
        with pytest.raises(InputError, match="KMEX_DATA_ROOTS"):
            access.dataset_to_open(name)
    for name in ("photos\0", "~nosuchuser/photos", "x" * 5000):
        with pytest.raises(InputError):
            access.dataset_to_open(name)


def test_a_form_opens_allowed_folders_only(
    page: Page, no_processes: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMEX_DATA_ROOTS", str(tmp_path))
    test = page("models")
    test.text_input(key="train-name").set_value("mine")
    button(test, "Train").click()
    events = test._tree.get_widget_states()
    (typed,) = [state for state in events.widgets if "train-data" in state.id]
    typed.string_value = "/etc"
    healthy(test._run(events))
    assert "does not open '/etc'" in test.error[0].value
    assert no_processes == []


def test_pages_and_pictures_of_a_model_whose_folder_is_not_allowed(
    page: Page, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "photos", ("a", "b"), 4, 2)
    info = models.describe(store, "digits")
    network = models.load(store, "digits").model
    theirs = ModelInfo(**{**vars(info), "name": "theirs", "dataset": str(folder), "embedded": False})
    models.save(store, theirs, network)
    monkeypatch.setenv("KMEX_DATA_ROOTS", str(tmp_path / "other"))
    test = page("explore", model="theirs", dataset="photos")
    assert [one.value for one in test.error] == [one.value for one in test.error if "KMEX_DATA_ROOTS" in one.value]
    assert len(test.error) == 1
    with pytest.raises(InputError, match="KMEX_DATA_ROOTS"):
        pictures._content("theirs", "any", "train", 0)
