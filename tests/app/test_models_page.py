"""The page Data and models: the lists, the forms, and the jobs they start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

from app import access
from app.components.models import forms as model_forms
from app.components.models import jobs as model_jobs
from app.components.models import model_list
from app.components.shared.job_panel import watch
from app.figures.training import loss_figure
from kmex_core.analysis.tables.models import history_table
from kmex_core.base import jobs
from kmex_core.base.errors import InputError
from kmex_core.base.jobs import Job
from kmex_core.base.plain_text import markdown
from kmex_core.base.store import Store
from kmex_core.commands.requests import JobRequest
from kmex_core.data import uploads
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo, in_display_order
from kmex_core.prototypes.operations import Hide
from kmex_core.prototypes.source import KMeans
from kmex_core.stages import versions
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.pages import Page, button, healthy


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(jobs, "start", lambda _, name, arguments: found.append((name, list(arguments))))
    return found


def test_all_models_are_listed(page: Page, demo: Store) -> None:
    table = healthy(page("models")).dataframe[0].value
    assert table["Name"].tolist() == [info.name for info in in_display_order(models.list_models(demo)[0])]
    row = table[table["Name"] == "digits-flint"].iloc[0]
    info = models.describe(demo, "digits-flint")
    assert info.accuracy is not None
    assert (row["Kind"], row["Data set"], row["Backbone"]) == ("FLINT", "Digits", "resnet20")
    assert row["Accuracy ↑"] == pytest.approx(100 * info.accuracy)
    assert row["Size"] == pytest.approx(models.path_of(demo, info.name).stat().st_size / 2**20)


def test_all_data_sets_are_listed(page: Page, demo: Store, tmp_path: Path) -> None:
    folder = demo.root / uploads.ROOM / "photos"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"x" * 2**20)
    try:
        table = healthy(page("models")).dataframe[1].value.set_index("Name")
    finally:
        (folder / "a.png").unlink()
        folder.rmdir()
    assert list(table.index) == ["Faces", "Digits", "photos"]
    assert table.loc["Digits", "Images"] == 1797
    assert table.loc["Faces", "Images"] == 8000  # its embeddings ship with the product
    assert table.loc["Digits", "Classes"] == "10"
    assert "digits-flint" in str(table.loc["Digits", "Used by"])
    assert table.loc["photos", "Size"] == "1.0 MiB"
    assert str(table.loc["photos", "Used by"]) == "[]"


def test_versions_are_listed_with_their_model(page: Page, demo: Store, digits: ModelInfo) -> None:
    subject = Subject(demo, digits, dataset_of(digits))
    versions.save(subject, "no *threes*", KMeans(5), [Hide(15)], "A note")
    try:
        test = healthy(page("models", chosen="digits"))
    finally:
        versions.delete(demo, "digits", "no *threes*")
    assert any(r"**no \*threes\*** · " in one.value and "A note" in one.value for one in test.markdown)
    (link,) = (one.proto for one in test.main.get("page_link") if one.proto.label == "Open in Explore")
    assert parse_qs(link.query_string) == {"model": ["digits"], "k": ["5"], "version": ["no *threes*"]}
    dialogues = [str(one.key) for one in test.button if "no *threes*" in str(one.key)]
    assert [key.partition("-")[0] for key in dialogues] == ["rename", "delete"]


def test_the_page_says_where_the_store_is_unless_others_can_read_it(
    page: Page, demo: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"Store: {markdown(str(demo.root))}"
    assert place in [caption.value for caption in healthy(page("models")).caption]
    monkeypatch.setattr(model_list, "for_this_machine_only", lambda: False)
    assert not any(str(demo.root) in caption.value for caption in healthy(page("models")).caption)


def test_a_training_run_is_started_as_the_form_says(page: Page, started: list[tuple[str, list[str]]]) -> None:
    test = page("models")
    test.text_input(key="train-name").set_value("mine")
    test.selectbox(key="train-kind").set_value("protovae")
    test.number_input(key="train-epochs").set_value(3)
    test.number_input(key="train-rate").set_value(0.002)
    test.text_input(key="train-class").set_value(" Glasses ")
    test.toggle(key="train-skip").set_value(True)
    healthy(button(test, "Train").click().run())
    assert started == [
        (
            "train-mine",
            [
                "train",
                "--dataset",
                "digits",
                "--name",
                "mine",
                "protovae",
                "--backbone",
                "resnet20",
                "--skip-broken",
                "--class",
                "Glasses",
                "--epochs",
                "3",
                "--lr",
                "0.002",
                "--k",
                "5",
                "--seed",
                "0",
            ],
        )
    ]


def test_a_network_from_outside_is_trained_where_its_folder_may_be_opened(
    page: Page, started: list[tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listed = model_forms.BACKBONES

    def train(place: object) -> AppTest:
        # AppTest types nothing into a list
        monkeypatch.setattr(model_forms, "BACKBONES", (*listed, f"hf:{place}"))
        test = page("models")
        test.text_input(key="train-name").set_value("mine")
        test.selectbox(key="train-backbone").set_value(f"hf:{place}")
        return healthy(button(test, "Train").click().run())

    train(tmp_path / "vit")
    assert f"hf:{tmp_path / 'vit'}" in started.pop()[1]
    monkeypatch.setenv(access.DATA_ROOTS, os.pathsep.join((str(tmp_path / "data"), str(tmp_path / "more"))))
    for place in (tmp_path / "vit", tmp_path / "data" / ".." / "vit", "owner/name"):
        assert f"This server does not open '{place}'" in train(place).error[0].value
    assert started == []
    inside = f"hf:{tmp_path / 'data' / 'vit'}"
    for name in (inside, "timm:test_vit", "resnet20"):
        assert access.network_to_open(name) == name


@pytest.mark.parametrize(("name", "why"), [("", "letters"), ("../out", "letters"), ("digits", "already")])
def test_a_name_that_cannot_be_is_said(name: str, why: str, page: Page, started: list[tuple[str, list[str]]]) -> None:
    test = page("models")
    test.text_input(key="train-name").set_value(name)
    healthy(button(test, "Train").click().run())
    assert why in test.error[0].value
    assert started == []


def test_a_folder_that_is_refused_leaves_the_other_form(
    page: Page, started: list[tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> str:
        raise InputError(f"This server does not open '{name}'.")

    monkeypatch.setattr(model_forms, "dataset_to_open", refuse)
    test = page("models")
    test.text_input(key="train-name").set_value("mine")
    healthy(button(test, "Train").click().run())
    assert "This server does not open 'digits'" in test.error[0].value
    assert button(test, "Import")
    assert started == []


def test_an_upload_is_imported_in_the_background(page: Page, demo: Store, started: list[tuple[str, list[str]]]) -> None:
    test = page("models")
    content = models.path_of(demo, "digits").read_bytes()
    healthy(button(test, "Import").click().run())
    assert "Choose a file" in test.error[0].value
    test.file_uploader(key="import-file").upload("w.safetensors", content, "application/octet-stream")
    test.text_input(key="import-name").set_value("theirs")
    test.text_input(key="import-mean").set_value("0.5")
    test.toggle(key="import-skip").set_value(True)
    healthy(button(test, "Import").click().run())
    ((name, arguments),) = started
    assert name == "import-theirs"
    path = demo.root / "uploads" / "theirs.weights"
    assert arguments == [
        "import",
        "--checkpoint",
        str(path),
        "--name",
        "theirs",
        "blackbox",
        "--dataset",
        "digits",
        "--backbone",
        "resnet34",
        "--skip-broken",
        "--mean",
        "0.5",
        "--k",
        "5",
    ]
    assert path.read_bytes() == content
    path.unlink()


def test_a_form_keeps_its_entries_when_another_page_is_opened(page: Page, started: list[tuple[str, list[str]]]) -> None:
    test = page("models")
    test.text_input(key="train-name").set_value("../out")  # which is refused
    test.number_input(key="train-epochs").set_value(7)
    test.toggle(key="train-skip").set_value(True)
    healthy(button(test, "Train").click().run())
    test.switch_page("views/prototypes.py").run()
    healthy(test.switch_page("views/models.py").run())
    assert test.text_input(key="train-name").value == "../out"
    assert test.number_input(key="train-epochs").value == 7
    assert test.toggle(key="train-skip").value
    test.text_input(key="train-name").set_value("mine")
    healthy(button(test, "Train").click().run())
    assert {"--epochs", "7", "--skip-broken"} <= set(started[0][1])


def test_a_job_that_failed_says_why_and_can_be_dismissed(
    page: Page, demo: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[list[str]] = []

    def spy(request: JobRequest, *rest: Any, **more: Any) -> None:
        watched.append([*request.arguments])
        watch(request, *rest, **more)

    monkeypatch.setattr(model_jobs, "watch", spy)
    job = Job("failed", message="The loss became nan.", arguments=("train", "--name", "wild", "--overwrite"))
    jobs._write(demo.root / jobs.ROOM / "train-wild.json", job)
    test = healthy(page("models"))
    assert "The loss became nan." in test.error[0].value
    assert any("Training wild" in one.value for one in test.markdown)
    assert watched == [["train", "--name", "wild"]]  # a new attempt overwrites nothing
    assert "Try again" in [one.label for one in test.button]
    healthy(button(test, "Dismiss").click().run())
    assert jobs.look(demo, "train-wild") is None
    assert not healthy(page("models")).error


def test_the_table_of_a_run_has_every_epoch_and_term() -> None:
    history = [
        {"loss": 3.0, "accuracy": 0.5, "stage": "warm", "terms": {"cross-entropy": 2.0, "l1": 1.0}},
        {"loss": 2.0, "accuracy": 0.75, "stage": "joint", "terms": {"cross-entropy": 1.5, "l1": 0.5}},
    ]
    table = history_table(history, 3, 1.5)
    assert table["epoch"].tolist() == [1, 2, 3]
    assert table["loss"].tolist() == [3.0, 2.0, 1.5]
    assert table["l1"].tolist()[:2] == [1.0, 0.5]
    assert len(history_table(history)) == 2  # between epochs
    assert history_table([]).empty
    figure = loss_figure(table, 9)
    assert [trace.name for trace in figure.data] == ["loss", "cross-entropy", "l1"]
    assert len({(trace.line.dash, trace.line.color) for trace in figure.data}) == 3
    assert tuple(figure.layout.xaxis.range) == (0.5, 9.5)
    assert figure.layout.xaxis.title.text == "Epoch"


def test_the_end_of_a_training_is_said_on_every_page_until_it_is_dismissed(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"train-digits-flint": Job("done"), "train-gone": Job("done"), "import-mine": Job("failed", message="no")}
    monkeypatch.setattr(jobs, "names", lambda _, beginning: [name for name in there if name.startswith(beginning)])
    monkeypatch.setattr(jobs, "look", lambda _, name: there.get(name))
    monkeypatch.setattr(jobs, "forget", lambda _, name: there.pop(name, None))
    for view in ("prototypes", "explain", "prototypes"):
        test = healthy(page(view))
        said = [one.value for one in test.markdown]
        assert any("**digits-flint** is trained. It classifies 98.0%" in text for text in said)
        assert any("Importing **mine** failed." in text for text in said)
        assert not any("gone" in text for text in said)  # a model that was deleted meanwhile
    button(test, "Open in Explore").click()
    healthy(test.run())
    assert test.sidebar.selectbox(key="model").value == "digits-flint"
    assert "train-digits-flint" not in there
    there["train-digits"] = Job("done")
    test = healthy(page("prototypes"))
    button(test, "Dismiss").click()
    healthy(test.run())
    assert not any("is trained" in one.value for one in test.markdown)
    assert "import-mine" in there  # what has failed is dismissed where it can be tried again
